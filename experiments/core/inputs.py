"""What the launchers are asked to explain: an image and a class."""

from collections.abc import Sequence
import difflib
import math
import os
import pathlib
import sys

from jaxtyping import Float
import numpy as np

from experiments.core import app
from experiments.core import fits
from saliency_jax import data
from saliency_jax.models import types

_DIGIT = (28, 28, 1)
_NUM_PHOTOS = 20


def image_name(given: str | None, spec: types.Spec) -> str:
  """Returns the image that is explained: the given one, or a network's own.

  That is the first photo, or of a network that reads digits the first digit.
  """
  return _source(spec)[0]['name'] if given is None else given


def read_image(
  name: str, spec: types.Spec, *, fit: bool = False
) -> Float[np.ndarray, 'h w c']:
  """Reads an image as the input of a network; says if it sees little of it.

  Args:
    name: a path, or the name of one of the 20 photos or the end of it; or of a
      digit, where the network reads digits.
    spec: of the network.
    fit: show the whole image, between grey bars.

  Raises:
    ValueError: no such image, or one that cannot be read.
  """
  path = os.path.expanduser(name)
  # What is no regular file is told by `data.read`, and not opened.
  pixels = data.read(path) if os.path.exists(path) else _named(name, spec)
  if not fit:
    tell_crop(name, pixels.shape, spec, '; --fit shows all')
  return _prepared(pixels, spec, fit)


def photos(
  spec: types.Spec, *, num: int | None = None
) -> Float[np.ndarray, 'n h w c']:
  """Returns the first of the 20 photos, each as the input of a network.

  Of a network that reads digits they are digits.
  """
  source = _source(spec)
  return np.stack(
    [
      _prepared(source[i]['image'], spec)
      for i in range(_NUM_PHOTOS if num is None else num)
    ]
  )


def find_label(text: str, class_names: tuple[str, ...], num: int) -> int:
  """Returns the class that a user means.

  Args:
    text: an index, a class's name, or a part that only one name holds.
    class_names: the names, or none.
    num: of classes.

  Raises:
    ValueError: no such class, or several; suggests what is near.
  """
  text = text.strip()
  if text.removeprefix('+').removeprefix('-').isdecimal():
    label = int(text)
    if not 0 <= label < num:
      raise ValueError(f'--label {label}: expected 0 to {num - 1}')
    return label
  if not class_names:
    raise ValueError(
      f'--label {text!r}: this network has no class names, expected an index '
      f'from 0 to {num - 1}'
    )
  wanted = text.casefold()
  names = [name.casefold() for name in class_names]
  found = [i for i, name in enumerate(names) if name == wanted]
  if not found and wanted:
    found = [i for i, name in enumerate(names) if wanted in name]
  if len(found) == 1:
    return found[0]
  if found:
    some = ', '.join(f'{class_names[i]} ({i})' for i in found[:6])
    more = ', ...' if len(found) > 6 else ''
    raise ValueError(f'--label {text!r} is one of several: {some}{more}')
  near = difflib.get_close_matches(wanted, names, n=4, cutoff=0.5)
  hint = ', '.join(class_names[names.index(n)] for n in near)
  raise ValueError(
    f'--label {text!r}: no such class'
    + (f'; did you mean {hint}?' if hint else f', nor an index to {num - 1}')
  )


def tell_crop(
  name: str, shape: Sequence[int], spec: types.Spec, remedy: str = ''
) -> None:
  """Prints what is left of an image when that is less than half of it."""
  rows, columns = data.central_box(shape[:2], spec.input_shape[:2], spec.crop)
  height, width = rows.stop - rows.start, columns.stop - columns.start
  share = height * width / math.prod(shape[:2])
  if share < 0.5 and app.is_first():
    print(
      f'{name}: {spec.name} sees {share:.0%} of the image, the central '
      f'{width} x {height} of {shape[1]} x {shape[0]} pixels{remedy}',
      file=sys.stderr,
      flush=True,
    )


def _prepared(pixels, spec, fit=False):
  """Returns an image as a network takes it: grey, if it has one channel."""
  if len(spec.input_shape) != 3:
    raise ValueError(f'{spec.name} reads no images: expected another --model')
  height, width, channels = spec.input_shape
  if pixels.shape == spec.input_shape and channels == 1:
    return pixels.astype(np.float32) / np.float32(255)
  image = data.prepare(
    pixels,
    size=(height, width),
    crop=spec.crop,
    fit=fit,
    resample=spec.resample,
  )
  if channels == 1:
    weights = np.array([[0.299], [0.587], [0.114]], image.dtype)
    return image @ weights
  return image


def _source(spec: types.Spec) -> data.Source:
  """Returns the images that come with packages and suit a network."""
  return data.load(fits.DATA if spec.input_shape == _DIGIT else 'photos')


def _named(name: str, spec: types.Spec) -> np.ndarray:
  source = _source(spec)
  names = [source[i]['name'] for i in range(len(source))]
  stem = pathlib.Path(name).stem
  found = [i for i, n in enumerate(names) if n == stem]
  if not found and stem:
    found = [i for i, n in enumerate(names) if n.endswith(f'_{stem}')]
  if len(found) != 1:
    raise ValueError(
      f'--image {name!r}: no such file, nor one of the {source.name} '
      f'{names[0]} ... {", ".join(names[-3:])}'
    )
  return source[found[0]]['image']
