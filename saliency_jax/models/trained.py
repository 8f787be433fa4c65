"""Networks to train, and the one file that a trained network is.

The file is an `.npz` of the parameters by their path and of what built the
network, as JSON. Nothing in it can run code.
"""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key
import numpy as np

from saliency_jax.models import checkpoints
from saliency_jax.models import resnet
from saliency_jax.models import small
from saliency_jax.models import types
from saliency_jax.models import wrap

# Name -> the network, and its facts.
_NETS = {
  'resnet18': (resnet.ResNet18, resnet.spec),
  **{name: (build, small.spec) for name, build in small.NETS.items()},
}
ACTIVATIONS = {
  'gelu': jax.nn.gelu,
  'relu': jax.nn.relu,
  'silu': jax.nn.silu,
  'softplus': jax.nn.softplus,
}
_ABOUT = '__about__'
FILE = 'model.npz'


def create(
  name: str,
  *,
  key: Key[Array, ''],
  class_names: tuple[str, ...] = (),
  **settings: Any,
) -> types.Model:
  """Makes a network with random parameters.

  Args:
    name: 'lenet', 'resnet18' or 'softplus_net'.
    key: of the parameters; consumed.
    class_names: one name a class, for `spec`.
    **settings: of the network; `activation` by its name, one of `ACTIVATIONS`.

  Raises:
    ValueError: no such network, setting or activation.
  """
  return _build(name, settings, class_names, lambda module: module(key))


def save(
  path: str | os.PathLike[str],
  model: types.Model,
  settings: Mapping[str, Any] | None = None,
) -> None:
  """Writes a network that `create` made, whole or not at all.

  Args:
    path: of the file, `.npz`.
    model: the network.
    settings: those that `create` was given.
  """
  about = {
    'network': model.spec.name,
    'settings': dict(settings or {}),
    'class_names': list(model.spec.class_names),
  }
  leaves = jax.tree_util.tree_leaves_with_path(model.params)
  arrays = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
  checkpoints.save(path, {_ABOUT: np.array(json.dumps(about)), **arrays})


def restore(path: str | os.PathLike[str]) -> types.Model:
  """Reads what `save` wrote.

  Args:
    path: of the file, or of the folder that holds it as `model.npz`.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a damaged file, or one of something else.
  """
  path = pathlib.Path(path).expanduser()
  if path.is_dir():
    path = path / FILE
  arrays = checkpoints.load(path)
  try:
    about = json.loads(str(arrays.pop(_ABOUT)))
    name, settings = about['network'], about['settings']
    class_names = tuple(about['class_names'])
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'{path} is no trained network: expected what models.save wrote'
    ) from error
  try:
    # Shapes alone: what is drawn would be thrown away.
    model = _build(
      name,
      settings,
      class_names,
      lambda module: nnx.eval_shape(module, jax.random.key(0)),
    )
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  leaves = jax.tree_util.tree_leaves_with_path(model.params)
  want = {jax.tree_util.keystr(p): a.shape for p, a in leaves}
  got = {name: a.shape for name, a in arrays.items()}
  if got != want:
    wrong = sorted(set(got.items()) ^ set(want.items()))
    raise ValueError(f'{path} does not fit {name}: {wrong[:4]}')
  filled = [jnp.asarray(arrays[name]) for name in want]
  structure = jax.tree.structure(model.params)
  return model._replace(params=jax.tree.unflatten(structure, filled))


def names() -> list[str]:
  """Returns the names that `create` knows."""
  return sorted(_NETS)


def _build(name, settings, class_names, make):
  if name not in _NETS:
    raise ValueError(f'expected one of {sorted(_NETS)}, got {name!r}')
  build, spec = _NETS[name]
  settings = dict(settings)
  if 'activation' in settings:
    activation = settings['activation']
    if activation not in ACTIVATIONS:
      raise ValueError(
        f'expected an activation of {sorted(ACTIVATIONS)}, got {activation!r}'
      )
    settings['activation'] = ACTIVATIONS[activation]
  try:
    module = make(lambda key: build(**settings, rngs=nnx.Rngs(params=key)))
  except TypeError as error:
    raise ValueError(f'{name}: {error}') from error
  return wrap.from_nnx(module, spec(name, module, tuple(class_names)))
