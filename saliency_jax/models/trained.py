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

from saliency_jax.models import batch_norm
from saliency_jax.models import npz
from saliency_jax.models import resnet
from saliency_jax.models import small
from saliency_jax.models import types
from saliency_jax.models import vit
from saliency_jax.models import wrap_nnx

# Name -> the network, and its facts.
_NETS = {
  'resnet18': (resnet.ResNet18, resnet.spec),
  **{name: (build, small.spec) for name, build in small.NETS.items()},
  **{name: (build, vit.spec) for name, build in vit.NETS.items()},
}
ACTIVATIONS = {
  'gelu': jax.nn.gelu,
  'relu': jax.nn.relu,
  'silu': jax.nn.silu,
  'softplus': jax.nn.softplus,
}
_ABOUT = '__about__'
_ABOUT_LENGTH = 2**20  # Letters; a thousand names of classes take 20,000.
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
    name: 'lenet', 'one_hidden', 'resnet18', 'softplus_net', 'two_hidden' or
      'vit_digits'.
    key: of the parameters; consumed.
    class_names: one name a class, for `spec`.
    **settings: of the network; `activation` by its name, one of `ACTIVATIONS`;
      `batch_norm=True` of 'resnet18' in the place of group normalisation.

  Raises:
    ValueError: no such network, setting or activation, or not one name for
      each output.
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
  npz.save(path, {_ABOUT: np.array(json.dumps(about)), **arrays})


def restore(path: str | os.PathLike[str]) -> types.Model:
  """Reads what `save` wrote.

  Args:
    path: of the file, or of the folder that holds it as `model.npz`.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a damaged file, or one of something else.
  """
  path, about, arrays = _read(path)
  name, settings, class_names = about
  try:
    # Shapes alone: what is drawn would be thrown away.
    model = _build(
      name,
      settings,
      class_names,
      lambda module: nnx.eval_shape(module, jax.random.key(0)),
    )
  except Exception as error:  # Whatever the settings make of a network.
    raise ValueError(f'{path}: {error}') from error
  return model._replace(params=_filled(path, model, arrays))


def start_from(model: types.Model, path: str | os.PathLike[str]) -> types.Model:
  """Returns a network with the parameters of another one of its architecture.

  Settings without parameters, the activation above all, stay as they are, and
  so do the names of the classes.

  Args:
    model: that `create` made.
    path: of a file that `save` wrote, or of its folder.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a damaged file, or one whose parameters have other shapes.
  """
  path, _, arrays = _read(path)
  like = lambda new, old: new.astype(old.dtype)
  params = jax.tree.map(like, _filled(path, model, arrays), model.params)
  return model._replace(params=params)


def file_of(path: str | os.PathLike[str]) -> pathlib.Path:
  """Returns the file of a network, given it or its folder.

  Raises:
    FileNotFoundError: the folder has none.
  """
  path = pathlib.Path(os.path.expanduser(path))
  return _in_folder(path) if path.is_dir() else path


def names() -> list[str]:
  """Returns the names that `create` knows."""
  return sorted(_NETS)


def _read(path):
  """Returns the file at a path, what it says that it holds, and its arrays."""
  path = file_of(path)
  arrays = npz.load(path)
  return path, _about(path, arrays.pop(_ABOUT, None)), arrays


def _in_folder(folder: pathlib.Path) -> pathlib.Path:
  """Returns the file of the network in a folder."""
  path = folder / FILE
  if not path.exists():
    found = sorted(os.listdir(folder))
    some = ', '.join(found[:5]) + (', ...' if len(found) > 5 else '')
    raise FileNotFoundError(
      f'no file of weights at {path}: expected {FILE}, which models.save '
      f'writes, and the folder holds {some or "nothing"}'
    )
  return path


def _about(
  path: pathlib.Path, text: np.ndarray | None
) -> tuple[str, dict[str, Any], tuple[Any, ...]]:
  """Reads name, settings and class names from a file's own JSON."""
  try:
    if text is None or text.shape or text.dtype.kind != 'U':
      raise ValueError('its description is no text')
    if text.dtype.itemsize > 4 * _ABOUT_LENGTH:
      raise ValueError(f'its description has over {_ABOUT_LENGTH} letters')
    about = json.loads(text.item())
    if not isinstance(about, dict):
      raise ValueError('its description is no JSON object')
    for key, kind in (
      ('network', str),
      ('settings', dict),
      ('class_names', list),
    ):
      if not isinstance(about.get(key), kind):
        raise ValueError(f'{key} is {about.get(key)!r:.60}, no {kind.__name__}')
  except (ValueError, RecursionError) as error:
    raise ValueError(
      f'{path} is no trained network ({error}): expected what models.save wrote'
    ) from error
  return about['network'], about['settings'], tuple(about['class_names'])


def _filled(
  path: pathlib.Path, model: types.Model, arrays: dict[str, np.ndarray]
) -> Any:
  """Returns the parameters of a model, taken from the arrays of a file."""
  leaves = jax.tree_util.tree_leaves_with_path(model.params)
  want = {jax.tree_util.keystr(p): a.shape for p, a in leaves}
  got = {name: a.shape for name, a in arrays.items()}
  if got != want:
    wrong = sorted(set(got.items()) ^ set(want.items()))
    raise ValueError(f'{path} does not fit {model.spec.name}: {wrong[:4]}')
  for name, array in arrays.items():
    if array.dtype not in (np.float16, np.float32, np.float64):
      raise ValueError(f'{path} holds {name} as {array.dtype}, expected floats')
    if not np.isfinite(array).all():
      raise ValueError(
        f'{path} holds NaN or infinity in {name}: train the network again'
      )
  filled = [jnp.asarray(arrays[name]) for name in want]
  return jax.tree.unflatten(jax.tree.structure(model.params), filled)


def _build(name, settings, class_names, make):
  if not isinstance(name, str) or name not in _NETS:
    raise ValueError(f'expected one of {sorted(_NETS)}, got {name!r}')
  build, spec = _NETS[name]
  given, settings = settings, dict(settings)
  if 'activation' in settings:
    activation = settings['activation']
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
      raise ValueError(
        f'expected an activation of {sorted(ACTIVATIONS)}, got {activation!r}'
      )
    settings['activation'] = ACTIVATIONS[activation]
  for text in class_names:
    if not isinstance(text, str):
      raise ValueError(f'expected texts as class_names, got {text!r:.60}')
  try:
    module = make(lambda key: build(**settings, rngs=nnx.Rngs(params=key)))
  except (TypeError, ArithmeticError) as error:
    raise ValueError(f'{name}: {error}, from {given!r:.80}') from error
  model = wrap_nnx.from_nnx(module, spec(name, module, tuple(class_names)))
  model = model._replace(statistics=batch_norm.statistics(module))
  if class_names:
    _check_names(model)
  return model


def _check_names(model: types.Model) -> None:
  """Raises `ValueError` unless each output has a name."""
  x = jax.ShapeDtypeStruct(model.spec.input_shape, jnp.float32)
  (num,) = jax.eval_shape(model.apply, model.params, x).shape
  names = model.spec.class_names
  if len(names) != num:
    raise ValueError(
      f'{model.spec.name} has {num} outputs, got {len(names)} class_names: '
      'expected one each, or none'
    )
