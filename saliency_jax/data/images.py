"""Photos as arrays: read the common formats, then crop, or fit, and resize.

`prepare` is the classifiers' own preprocessing: the largest central box with
the aspect of `size`, shrunk by `crop`, resized by one of Pillow's filters.

References:
  Tan and Le, EfficientNet: rethinking model scaling for convolutional neural
  networks, 2019 (the central `s / (s + 32)` crop is in its code).
  https://arxiv.org/abs/1905.11946
"""

import io
import math
import os
import re
import struct
from typing import Any

from jaxtyping import Float, Shaped, UInt8
import numpy as np

from saliency_jax.data import files

try:
  from PIL import BmpImagePlugin
  from PIL import GifImagePlugin
  from PIL import Image
  from PIL import ImageOps
  from PIL import JpegImagePlugin
  from PIL import PngImagePlugin
  from PIL import PpmImagePlugin
  from PIL import TiffImagePlugin
  from PIL import WebPImagePlugin
except ImportError as e:
  raise ImportError(
    "reading images needs Pillow: pip install 'saliency-jax[viz]'"
  ) from e

# How a file starts -> the only reader that sees it. `Image.open` would try
# forty: an EPS under any name starts Ghostscript. It also warns of photos that
# are shrunk below.
_READERS = {
  rb'BM': BmpImagePlugin.BmpImageFile,
  rb'GIF8[79]a': GifImagePlugin.GifImageFile,
  rb'\xff\xd8\xff': JpegImagePlugin.JpegImageFile,
  rb'\x89PNG\r\n\x1a\n': PngImagePlugin.PngImageFile,
  rb'P[1-6]\s': PpmImagePlugin.PpmImageFile,
  rb'II[*+]\0|MM\0[*+]': TiffImagePlugin.TiffImageFile,
  rb'RIFF....WEBP': WebPImagePlugin.WebPImageFile,
}
# What else is found under the name of an image.
_OTHERS = {
  rb'....ftyp(hei|hev|mif1|msf1)': 'a HEIC photo',
  rb'....ftypavi': 'an AVIF image',
  rb'%!PS|\xc5\xd0\xd3\xc6': 'a PostScript program',
  rb'%PDF': 'a PDF document',
  rb'\s*<': 'a text in XML or HTML',
}
_MOST_BYTES = 2**28  # Of an image that comes through a pipe.
_FILTERS = ('bicubic', 'bilinear')
_GREY = 127  # Of the bars around an image that is fitted.


def read(
  source: str | os.PathLike | io.BufferedIOBase,
) -> UInt8[np.ndarray, 'H W 3']:
  """Reads an image as the RGB pixels that a viewer would show.

  The EXIF orientation is applied, transparency is laid on white, grey is
  repeated, 16-bit grey is scaled to 8 bits, an animation gives its first frame.
  A JPEG of more than `PIL.Image.MAX_IMAGE_PIXELS`, up to four times as many, is
  read at half its size.

  Args:
    source: a path, or a binary file open at the start of the image.

  Returns:
    The pixels, in [0, 255].

  Raises:
    ValueError: missing, truncated, too large, no regular file, or not a JPEG,
      PNG, WebP, GIF, TIFF, BMP or PPM image; names the file.
  """
  is_path = isinstance(source, str | os.PathLike)
  if not is_path and (
    not hasattr(source, 'read') or isinstance(source, io.TextIOBase)
  ):
    raise ValueError(
      f'cannot read an image of {type(source).__name__}: expected a path or a '
      'binary file; bytes go in io.BytesIO'
    )
  name = os.fspath(source) if is_path else getattr(source, 'name', None)
  try:
    if not is_path:
      return _read(source)
    with files.open_regular(source) as file:
      return _read(file)
  # Hostile bytes make Pillow's readers raise nearly anything: struct.error,
  # SyntaxError, EOFError, zlib.error, ...
  except Exception as e:
    # A temporary file's name may be a number.
    name = name if isinstance(name, str) else 'image'
    raise ValueError(f'cannot read image {name!r}: {_reason(e)}') from e


def prepare(
  image: Shaped[np.ndarray, '...'],
  *,
  size: tuple[int, int],
  crop: float = 1.0,
  fit: bool = False,
  resample: str = 'bicubic',
) -> Float[np.ndarray, 'h w 3']:
  """Crops and resizes pixels to the input of a classifier.

  Args:
    image: `[H, W, 3]` uint8 pixels, as `read` returns them.
    size: height and width of the result.
    crop: part of the largest central box that is kept, in (0, 1].
    fit: show the whole image between grey bars, whatever `crop` is.
    resample: the filter, 'bicubic' or 'bilinear'.

  Returns:
    float32 pixels in [0, 1].

  Raises:
    ValueError: `image` is not `[H, W, 3]` uint8, or a setting is out of range.

  Examples:
    >>> import numpy as np
    >>> from saliency_jax import data
    >>> pixels = np.full((30, 40, 3), 255, np.uint8)
    >>> image = data.prepare(pixels, size=(8, 8))
    >>> image.shape, float(image.max())
    ((8, 8, 3), 1.0)
  """
  _check_pixels(image)
  if resample not in _FILTERS:
    raise ValueError(f'resample is {resample!r}, expected one of {_FILTERS}')
  shape = image.shape[:2]
  box = central_box(shape, size, crop)
  if fit:
    # Resize first: a strip may be a million times as long as it is wide.
    scale = min(s / n for s, n in zip(size, shape, strict=True))
    inner = tuple(max(1, round(scale * n)) for n in shape)
    top, left = ((s - n) // 2 for s, n in zip(size, inner, strict=True))
    out = np.full((*size, 3), _GREY, np.uint8)
    place = slice(top, top + inner[0]), slice(left, left + inner[1])
    out[place] = _resize(image, inner, resample)
  else:
    out = _resize(image[box], size, resample)
  return out.astype(np.float32) / np.float32(255)


def central_box(
  shape: tuple[int, int], size: tuple[int, int], crop: float = 1.0
) -> tuple[slice, slice]:
  """Returns the rows and columns of an image that `prepare` keeps.

  Args:
    shape: height and width of the image.
    size: height and width of what becomes of it.
    crop: part of the largest central box that is kept, in (0, 1].

  Raises:
    ValueError: a setting is out of range.
  """
  if len(size) != 2 or min(size) < 1:
    raise ValueError(f'size is {size}, expected a positive (height, width)')
  if not 0 < crop <= 1:
    raise ValueError(f'crop is {crop}, expected a number in (0, 1]')
  # One scale for both sides keeps the aspect: pixels of the box per pixel out.
  scale = crop * min(n / s for n, s in zip(shape, size, strict=True))
  box = (max(1, int(scale * s + 1e-6)) for s in size)
  # The reference code rounds the offsets up.
  starts_and_sides = (
    ((n - side + 1) // 2, side) for n, side in zip(shape, box, strict=True)
  )
  rows, columns = (slice(i, i + side) for i, side in starts_and_sides)
  return rows, columns


def encode(image: UInt8[np.ndarray, 'H W C']) -> bytes:
  """Packs grey or RGB pixels as PNG, which loses nothing."""
  pixels = image[..., 0] if image.shape[-1] == 1 else image
  png = io.BytesIO()
  Image.fromarray(np.ascontiguousarray(pixels)).save(png, 'png')
  return png.getvalue()


def decode(png: bytes) -> UInt8[np.ndarray, 'H W C']:
  """Unpacks what `encode` packed, with its one or three channels."""
  pixels = np.array(_open(io.BytesIO(png)))
  return pixels[..., None] if pixels.ndim == 2 else pixels


def _read(file: io.BufferedIOBase) -> np.ndarray:
  image = _open(file)
  image.load()
  ImageOps.exif_transpose(image, in_place=True)
  return _to_rgb(image)


def _open(file: io.BufferedIOBase) -> Image.Image:
  """Opens an image of a known format, whose pixels fit into memory."""
  if not file.seekable():
    file = io.BytesIO(file.read(_MOST_BYTES))  # A pipe may never end.
  start = file.read(32)
  file.seek(-len(start), io.SEEK_CUR)
  reader = _matching(_READERS, start)
  if reader is None:
    other = _matching(_OTHERS, start)
    if other is not None:
      raise ValueError(f'{other}, which is not read: convert it to JPEG or PNG')
    raise ValueError(
      'not an image: expected JPEG, PNG, WebP, GIF, TIFF, BMP or PPM'
    )
  image = reader(file)
  limit = Image.MAX_IMAGE_PIXELS or math.inf
  if math.prod(image.size) > limit:
    full = image.size
    # Decode at half the size. Only JPEG can; elsewhere this does nothing.
    image.draft(None, (full[0] // 2, full[1] // 2))
    if math.prod(image.size) > limit:
      raise ValueError(
        f'it has {full[0]} x {full[1]} pixels, more than the {limit} of '
        'PIL.Image.MAX_IMAGE_PIXELS: save a smaller copy'
      )
  return image


def _resize(
  pixels: np.ndarray, size: tuple[int, int], resample: str
) -> np.ndarray:
  """Resizes `[H, W, 3]` uint8 pixels to a height and a width."""
  image = Image.fromarray(np.ascontiguousarray(pixels))
  resized = image.resize((size[1], size[0]), Image.Resampling[resample.upper()])
  return np.asarray(resized)


def _matching(table: dict[bytes, Any], start: bytes) -> Any:
  """Returns the entry whose pattern fits the start of a file, or `None`."""
  found = (v for k, v in table.items() if re.match(k, start, re.DOTALL))
  return next(found, None)


def _to_rgb(image: Image.Image) -> np.ndarray:
  """Converts a loaded image of any mode to `[H, W, 3]` uint8."""
  if image.mode == 'I' or image.mode.startswith('I;16'):
    # Pillow clips these modes at 255. It reads 16-bit formats into 'I' too.
    return _grey(np.asarray(image), limit=65535)
  if image.mode == 'F':
    return _grey(np.asarray(image), limit=1)
  if image.has_transparency_data:
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, 'white')
    image = Image.alpha_composite(white, image)
  return np.array(image if image.mode == 'RGB' else image.convert('RGB'))


def _grey(pixels: np.ndarray, limit: int) -> np.ndarray:
  """Scales grey pixels in [0, limit] to `[H, W, 3]` uint8."""
  if not np.all((pixels >= 0) & (pixels <= limit)):  # NaN compares false.
    raise ValueError(
      f'grey values span [{pixels.min()}, {pixels.max()}], '
      f'expected [0, {limit}] for {pixels.dtype}'
    )
  scaled = pixels.astype(np.float32) * np.float32(255 / limit)
  grey = np.rint(scaled, out=scaled).astype(np.uint8)
  return np.repeat(grey[..., None], 3, axis=-1)


def _check_pixels(image: np.ndarray) -> None:
  shape, dtype = np.shape(image), getattr(image, 'dtype', type(image))
  if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
    nan = ''
    if dtype != np.uint8 and np.issubdtype(dtype, np.floating):
      nan = ' holding NaN' if np.isnan(image).any() else ''
    raise ValueError(
      f'image is {dtype} of shape {shape}{nan}, '
      'expected uint8 [H, W, 3] with values in [0, 255], as read() returns'
    )


def _reason(error: Exception) -> str:
  """Says what went wrong, without the file's name."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror.lower()
  if isinstance(error, struct.error):
    return 'it is truncated'
  return str(error) or type(error).__name__
