"""Photos as arrays: read any file Pillow reads, then crop and resize.

`prepare` is the classifiers' own preprocessing: the largest central box with
the aspect of `size`, shrunk by `crop`, resized by Pillow's bicubic filter.

References:
  Tan and Le, EfficientNet: rethinking model scaling for convolutional neural
  networks, 2019 (the central `s / (s + 32)` crop is in its code).
  https://arxiv.org/abs/1905.11946
"""

import io
import os

from jaxtyping import Float, Shaped, UInt8
import numpy as np

try:
  from PIL import Image
  from PIL import ImageOps
except ImportError as e:
  raise ImportError(
    "reading images needs Pillow: pip install 'saliency-jax[experiments]'"
  ) from e


def read(
  source: str | os.PathLike | io.BufferedIOBase,
) -> UInt8[np.ndarray, 'H W 3']:
  """Reads an image as the RGB pixels that a viewer would show.

  The EXIF orientation is applied, transparency is laid on white, grey is
  repeated, 16-bit grey is scaled to 8 bits, an animation gives its first frame.

  Args:
    source: a path, or a binary file open at the start of the image.

  Returns:
    The pixels, in [0, 255].

  Raises:
    ValueError: missing, truncated or unreadable; names the file.
  """
  try:
    with Image.open(source) as image:
      image.load()
      return _to_rgb(ImageOps.exif_transpose(image))
  # Hostile bytes make Pillow's readers raise nearly anything: struct.error,
  # SyntaxError, EOFError, zlib.error, DecompressionBombError, ...
  except Exception as e:
    name = source if isinstance(source, str | os.PathLike) else None
    name = os.fspath(name or getattr(source, 'name', None) or 'image')
    raise ValueError(f'cannot read image {name!r}: {_reason(e)}') from e


def prepare(
  image: Shaped[np.ndarray, '...'], *, size: tuple[int, int], crop: float = 1.0
) -> Float[np.ndarray, 'h w 3']:
  """Crops and resizes pixels to the input of a classifier.

  Args:
    image: `[H, W, 3]` uint8 pixels, as `read` returns them.
    size: height and width of the result.
    crop: part of the largest central box that is kept, in (0, 1].

  Returns:
    float32 pixels in [0, 1].

  Raises:
    ValueError: `image` is not `[H, W, 3]` uint8, or a setting is out of range.
  """
  _check_pixels(image)
  if len(size) != 2 or min(size) < 1:
    raise ValueError(f'size is {size}, expected a positive (height, width)')
  if not 0 < crop <= 1:
    raise ValueError(f'crop is {crop}, expected a number in (0, 1]')
  height, width = image.shape[:2]
  # One scale for both sides keeps the aspect: pixels of the box per pixel out.
  scale = crop * min(height / size[0], width / size[1])
  box_h, box_w = (max(1, int(scale * s + 1e-6)) for s in size)
  # The reference code rounds the offsets up.
  top, left = (height - box_h + 1) // 2, (width - box_w + 1) // 2
  box = np.ascontiguousarray(image[top : top + box_h, left : left + box_w])
  resized = Image.fromarray(box).resize(
    (size[1], size[0]), Image.Resampling.BICUBIC
  )
  return np.asarray(resized, np.float32) / np.float32(255)


def encode(image: UInt8[np.ndarray, 'H W C']) -> bytes:
  """Packs grey or RGB pixels as PNG, which loses nothing."""
  pixels = image[..., 0] if image.shape[-1] == 1 else image
  png = io.BytesIO()
  Image.fromarray(np.ascontiguousarray(pixels)).save(png, 'png')
  return png.getvalue()


def decode(png: bytes) -> UInt8[np.ndarray, 'H W C']:
  """Unpacks what `encode` packed, with its one or three channels."""
  with Image.open(io.BytesIO(png)) as image:
    pixels = np.array(image)
  return pixels[..., None] if pixels.ndim == 2 else pixels


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
  return np.array(image.convert('RGB'))


def _grey(pixels: np.ndarray, limit: int) -> np.ndarray:
  """Scales grey pixels in [0, limit] to `[H, W, 3]` uint8."""
  if not np.all((pixels >= 0) & (pixels <= limit)):  # NaN compares false.
    raise ValueError(
      f'grey values span [{pixels.min()}, {pixels.max()}], '
      f'expected [0, {limit}] for {pixels.dtype}'
    )
  scaled = np.rint(pixels.astype(np.float64) * (255 / limit)).astype(np.uint8)
  return np.repeat(scaled[..., None], 3, axis=-1)


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
  if isinstance(error, Image.UnidentifiedImageError):
    return 'not an image that Pillow can read'
  if isinstance(error, OSError) and error.strerror:
    return error.strerror.lower()
  return str(error) or type(error).__name__
