"""A short, seeded training of the small networks, remembered on disk.

The parameters are those that Adam reaches from a seeded start in a fixed number
of epochs of `argmin_params mean_i -log softmax(apply(params, x_i))[y_i]`.

References:
  Kingma and Ba, Adam: a method for stochastic optimization, 2015.
  https://arxiv.org/abs/1412.6980
"""

import hashlib
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer
import numpy as np
import optax

from saliency_jax.core import cache
from saliency_jax.models import npz
from saliency_jax.models import small
from saliency_jax.models import trained
from saliency_jax.models import types
from saliency_jax.models import vit

# The networks that are fitted in a minute.
NAMES = tuple(sorted([*small.NETS, *vit.NETS]))
# Part of the cache's key: raise it when the training below changes.
_VERSION = 1


def fit_small(
  name: str,
  images: Float[Array | np.ndarray, 'n 28 28 1'],
  labels: Integer[Array | np.ndarray, ' n'] | None,
  *,
  activation: str | None = None,
  seed: int = 0,
  epochs: int = 12,
  batch_size: int = 32,
  learning_rate: float = 5e-3,
  class_names: tuple[str, ...] = (),
  cache_dir: str | os.PathLike[str] | None = None,
) -> types.Model:
  """Trains a small network, or recalls that it did.

  Args:
    name: one of `NAMES`.
    images: grey, in [0, 1].
    labels: in 0..9; `None`, which `data.arrays` returns of images without
      labels, is refused.
    activation: one of `trained.ACTIVATIONS`; `None` is the network's own.
    seed: of the start and of the order of the images.
    epochs: passes over the images; a last, incomplete batch is left out.
    batch_size: images a step, at most all of them.
    learning_rate: of Adam, falling to zero along a cosine.
    class_names: one name a class, for `spec`.
    cache_dir: where to remember weights; `None` is the user's cache folder.
      A place that cannot be written to is passed over.

  Returns:
    The model.

  Raises:
    ValueError: if a setting, an image or a label is out of its range.
  """
  if labels is None:
    raise ValueError('expected labels [n], got None: these images have none')
  images, labels = np.asarray(images, np.float32), np.asarray(labels, np.int32)
  _check(name, images, labels, epochs, batch_size, learning_rate)
  init_key, order_key = jax.random.split(jax.random.key(seed))
  own = {} if activation is None else {'activation': activation}
  model = trained.create(name, key=init_key, class_names=class_names, **own)
  settings = (_VERSION, name, own, seed, epochs, batch_size, learning_rate)
  path = _cache_path(cache_dir, name, settings, images, labels)
  params = _recall(path, model.params)
  if params is None:
    params = _train(
      model,
      images,
      labels,
      key=order_key,
      epochs=epochs,
      batch_size=min(batch_size, len(images)),
      learning_rate=learning_rate,
    )
    try:
      npz.save(path, _flatten(params))
    except OSError:
      pass  # A cache is a convenience: a read-only disk must not end a run.
  return model._replace(params=params)


def _train(model, images, labels, *, key, epochs, batch_size, learning_rate):
  num_steps = len(images) // batch_size
  schedule = optax.cosine_decay_schedule(learning_rate, epochs * num_steps)
  optimizer = optax.adam(schedule)

  def loss(params, x, y):
    logits = jax.vmap(model.apply, (None, 0))(params, x)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return jnp.mean(losses)

  @jax.jit
  def step(params, state, x, y):
    grads = jax.grad(loss)(params, x, y)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state

  params = model.params
  # optax mixes Python and array scalars, which strict promotion refuses.
  with jax.numpy_dtype_promotion('standard'):
    state = optimizer.init(params)
    for epoch in range(epochs):
      order = jax.random.permutation(
        jax.random.fold_in(key, epoch), len(images)
      )
      batches = np.asarray(order)[: num_steps * batch_size]
      # Not a scan: inside a loop XLA's CPU backend runs convolutions several
      # times slower.
      for batch in batches.reshape(num_steps, batch_size):
        params, state = step(params, state, images[batch], labels[batch])
  return params


def _check(name, images, labels, epochs, batch_size, learning_rate):
  if name not in NAMES:
    raise ValueError(f'expected one of {list(NAMES)}, got {name!r}')
  if images.shape[1:] != (28, 28, 1) or labels.shape != images.shape[:1]:
    raise ValueError(
      'expected images [n, 28, 28, 1] and labels [n], got '
      f'{images.shape} and {labels.shape}'
    )
  if not len(images):
    raise ValueError('expected at least one image, got none')
  if not (images.min() >= 0 and images.max() <= 1):
    raise ValueError(
      f'expected images in [0, 1], got [{images.min()}, {images.max()}]'
    )
  if labels.min() < 0 or labels.max() > 9:
    raise ValueError(
      f'expected labels in 0..9, got {labels.min()}..{labels.max()}'
    )
  if epochs < 1 or batch_size < 1 or not learning_rate > 0:
    raise ValueError(
      'expected epochs >= 1, batch_size >= 1 and learning_rate > 0, got '
      f'{epochs}, {batch_size} and {learning_rate}'
    )


def _cache_path(cache_dir, name, settings, images, labels):
  if cache_dir is None:
    cache_dir = cache.folder('weights')
  digest = hashlib.sha256(repr((settings, images.shape)).encode())
  digest.update(np.ascontiguousarray(images))
  digest.update(np.ascontiguousarray(labels))
  return pathlib.Path(cache_dir, f'{name}-{digest.hexdigest()[:16]}.npz')


def _flatten(params: Any) -> dict[str, Any]:
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _recall(path, template):
  """Returns the remembered parameters, or `None` unless they are whole."""
  try:
    arrays = npz.load(path)
  except (OSError, ValueError):
    return None
  want = _flatten(template)
  if {k: v.shape for k, v in arrays.items()} != {
    k: v.shape for k, v in want.items()
  } or not all(np.isfinite(a).all() for a in arrays.values()):
    return None
  leaves = [jnp.asarray(arrays[name], want[name].dtype) for name in want]
  return jax.tree.unflatten(jax.tree.structure(template), leaves)
