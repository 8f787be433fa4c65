"""The classifier and the data set of an evaluation, from its config."""

from collections.abc import Iterator, Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments.core import fits
from experiments.core import inputs
from experiments.core import weights
from saliency_jax import data
from saliency_jax import models
from saliency_jax.core import batching
from saliency_jax.models import fitting
from saliency_jax.models import types

_DATA_DIR = flags.DEFINE_string(
  'data_dir', None, 'Folder of the raw files of mnist, fashion_mnist, cifar10.'
)


class Example(NamedTuple):
  """One example as a classifier takes it."""

  name: str
  image: np.ndarray  # [H, W, C], in [0, 1].
  label: int | None  # True class, where it is known to be one of the network's.


def open_source(name: str, split: str = 'test') -> data.Source:
  """Opens what `data.load` knows, raw files from `--data_dir`.

  Raises:
    ValueError: no such data.
  """
  # A notebook or a test has parsed no flags.
  folder = _DATA_DIR.value if flags.FLAGS.is_parsed() else None
  return data.load(name, split, data_dir=folder)


def load_model(config: Mapping[str, Any]) -> types.Model:
  """Loads the network `config.model`, or fits it to `config.data`.

  Raises:
    ValueError: no such network or data.
  """
  name = config['model']
  if name not in fitting.NAMES:
    known = (*models.names(), *fitting.NAMES)
    if name not in known and not pathlib.Path(name).exists():
      raise ValueError(
        f'config.model is {name!r}, expected one of {", ".join(known)}, or the '
        'path of a network that was trained here'
      )
    return weights.load(name)
  if weights.given() is not None:
    raise ValueError(
      f'config.model is {name!r}, which is trained here: expected no --weights'
    )
  # Digits to learn from: never those that are explained.
  settings = dict(config.get('fit', {}))
  split = settings.pop('split', 'train')
  source = open_source(config['data'], split)
  return fits.fit(name, source, **settings)


def load_source(config: Mapping[str, Any]) -> data.Source:
  """Opens the examples of `config.data`.

  Raises:
    ValueError: no such data, or fewer than `config.num_examples`.
  """
  source = open_source(config['data'])
  wanted = config['num_examples']
  if not 1 <= wanted <= len(source):
    raise ValueError(
      f'config.num_examples is {wanted}, expected 1 to the {len(source)} that '
      f'{config["data"]!r} holds'
    )
  return source


def prepare(source: data.Source, index: int, spec: types.Spec) -> Example:
  """Reads one example as the input of a network.

  Raises:
    ValueError: an image that does not suit the network, by its name.
  """
  found = source[index]
  image, name = found['image'], str(found['name'])
  if spec.input_shape[-1] == 3 and image.shape[-1] == 3:
    size = spec.input_shape[:2]
    inputs.tell_crop(name, image.shape, spec)
    image = data.prepare(
      image,
      size=(size[0], size[1]),
      crop=spec.crop,
      resample=spec.resample,
    )
  elif image.shape == spec.input_shape:
    image = image.astype(np.float32) / np.float32(255)
  else:
    raise ValueError(
      f'{name!r} has the shape {image.shape}, {spec.name} takes '
      f'{spec.input_shape}'
    )
  label = int(found['label'])
  return Example(name, image, label if _is_own(source, spec, label) else None)


def _is_own(source: data.Source, spec: types.Spec, label: int) -> bool:
  """Returns whether a label of the source is one of the network's classes.

  The photos have ImageNet's labels; elsewhere the names of the classes tell.
  """
  return label >= 0 and (
    source.name == 'photos'
    or source.class_names == spec.class_names
    and bool(spec.class_names)
  )


class Batch(NamedTuple):
  """Examples that are explained at once.

  Attributes:
    indices: of those that are asked for; the arrays may hold more.
    names: of those.
    images: `[size, H, W, C]`, the last one again where there are too few.
    keys: of each, whatever batch it is in.
  """

  indices: list[int]
  names: list[str]
  images: jax.Array
  keys: jax.Array


def batches(
  config: Mapping[str, Any],
  source: data.Source,
  spec: types.Spec,
  indices: Sequence[int],
  num_devices: int,
) -> Iterator[Batch]:
  """Reads examples, `config.batch_size` for each device at a time."""
  size = num_devices * config['batch_size']
  for start in range(0, len(indices), size):
    wanted = list(indices[start : start + size])
    filled = batching.fill(wanted, size)
    found = [prepare(source, i, spec) for i in filled]
    keys = jax.vmap(jax.random.fold_in)(
      jnp.broadcast_to(jax.random.key(config['seed']), (size,)),
      jnp.asarray(filled),
    )
    images = jnp.asarray(np.stack([example.image for example in found]))
    names = [example.name for example in found[: len(wanted)]]
    yield Batch(wanted, names, images, keys)
