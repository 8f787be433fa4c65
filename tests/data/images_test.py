"""Tests for `images.py`."""

import io
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image
from PIL import ImageFile

from saliency_jax.data import images


def _pixels(h=6, w=8):
  """A colour gradient whose corners all differ."""
  y, x = np.mgrid[:h, :w]
  channels = (y * 255 // (h - 1), x * 255 // (w - 1), (x + y) * 9)
  return np.stack(channels, axis=-1).astype(np.uint8)


def _file(image, file_format='png', **settings):
  file = io.BytesIO()
  image.save(file, file_format, **settings)
  file.seek(0)
  return file


def _folder(test):
  return pathlib.Path(test.enter_context(tempfile.TemporaryDirectory()))


class ReadTest(parameterized.TestCase):
  def test_path_and_file_give_the_pixels(self):
    path = _folder(self) / 'a.png'
    Image.fromarray(_pixels()).save(path)
    for source in (path, str(path), path.open('rb')):
      out = images.read(source)
      np.testing.assert_array_equal(out, _pixels())
      self.assertEqual(out.dtype, np.uint8)
      if hasattr(source, 'close'):
        source.close()

  @parameterized.parameters(
    (1, lambda a: a),
    (2, lambda a: a[:, ::-1]),
    (3, lambda a: a[::-1, ::-1]),
    (4, lambda a: a[::-1]),
    (5, lambda a: a.transpose(1, 0, 2)),
    (6, lambda a: np.rot90(a, -1)),
    (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
    (8, lambda a: np.rot90(a, 1)),
  )
  def test_exif_orientation(self, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = _file(Image.fromarray(_pixels()), exif=exif)
    np.testing.assert_array_equal(images.read(file), turn(_pixels()))

  def test_exif_orientation_of_jpeg(self):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = _file(Image.fromarray(_pixels(16, 32)), 'jpeg', exif=exif)
    self.assertEqual(images.read(file).shape, (32, 16, 3))

  def test_grey_is_repeated(self):
    grey = _pixels()[..., 0]
    out = images.read(_file(Image.fromarray(grey)))
    np.testing.assert_array_equal(out, np.stack([grey] * 3, axis=-1))

  def test_bilevel(self):
    out = images.read(_file(Image.new('1', (3, 2), 1)))
    np.testing.assert_array_equal(out, np.full((2, 3, 3), 255))

  def test_palette(self):
    image = Image.fromarray(_pixels()).quantize(16)
    want = np.asarray(image.convert('RGB'))
    np.testing.assert_array_equal(images.read(_file(image)), want)
    np.testing.assert_array_equal(images.read(_file(image, 'gif')), want)

  @parameterized.parameters(('RGBA',), ('LA',), ('P',))
  def test_transparency_is_laid_on_white(self, mode):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = 0, 128, 255
    if mode == 'P':
      image = Image.fromarray(rgba[..., 0])
      image = image.convert('P')
      image.putdata([0, 1, 2])
      image.putpalette([0] * 9)
      file = _file(image, transparency=bytes([0, 128, 255]))
    else:
      file = _file(Image.fromarray(rgba).convert(mode))
    out = images.read(file)
    np.testing.assert_allclose(out[0, :, 0], [255, 127, 0], atol=1)
    np.testing.assert_array_equal(out[..., 0], out[..., 2])

  def test_cmyk(self):
    # Full cyan, no ink, full black; large blocks survive JPEG.
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, :16, 0], inks[:, 32:, 3] = 255, 255
    image = Image.frombytes('CMYK', (48, 16), inks.tobytes())
    out = images.read(_file(image, 'jpeg', quality=100))
    np.testing.assert_allclose(
      out[8, [8, 24, 40]], [[0, 255, 255], [255] * 3, [0] * 3], atol=3
    )

  @parameterized.parameters('png', 'tiff', 'ppm')
  def test_16_bit_grey_is_scaled(self, file_format):
    grey = np.array([[0, 257, 32896, 65535]], np.uint16)
    out = images.read(_file(Image.fromarray(grey), file_format))
    np.testing.assert_array_equal(out[0, :, 0], [0, 1, 128, 255])
    self.assertEqual(out.shape, (1, 4, 3))

  def test_16_bit_grey_is_turned(self):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = np.array([[0, 257, 514]], np.uint16)
    out = images.read(_file(Image.fromarray(grey), exif=exif))
    np.testing.assert_array_equal(out[..., 0], [[0], [1], [2]])

  def test_float_grey(self):
    grey = np.array([[0, 0.5, 1]], np.float32)
    out = images.read(_file(Image.fromarray(grey), 'tiff'))
    np.testing.assert_array_equal(out[0, :, 1], [0, 128, 255])

  @parameterized.parameters(
    (np.array([[0, np.nan]], np.float32), r'\[nan, nan\].*\[0, 1\]'),
    (np.array([[0, 1.5]], np.float32), r'\[0.0, 1.5\].*\[0, 1\]'),
    (np.array([[0, 70000]], np.int32), r'70000\].*\[0, 65535\]'),
    (np.array([[0, -1]], np.int32), r'-1.*\[0, 65535\]'),
  )
  def test_rejects_grey_out_of_range(self, grey, message):
    with self.assertRaisesRegex(ValueError, message):
      images.read(_file(Image.fromarray(grey), 'tiff'))

  def test_one_pixel_and_black(self):
    for shape in ((1, 1, 3), (5, 4, 3)):
      black = np.zeros(shape, np.uint8)
      out = images.read(_file(Image.fromarray(black)))
      np.testing.assert_array_equal(out, black)

  def test_animation_gives_first_frame(self):
    frames = [Image.new('RGB', (4, 4), c) for c in ('red', 'blue')]
    file = _file(frames[0], 'gif', save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(images.read(file)[0, 0], [255, 0, 0])

  @parameterized.parameters('jpeg', 'png', 'gif', 'bmp', 'tiff', 'webp')
  def test_rejects_truncated(self, file_format):
    path = _folder(self) / f'cut.{file_format}'
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = _file(Image.fromarray(noise), file_format).getvalue()
    path.write_bytes(whole[: len(whole) // 2])
    with self.assertRaisesRegex(ValueError, 'cannot read image .*cut.*: .+'):
      images.read(path)

  def test_rejects_no_image(self):
    folder = _folder(self)
    (folder / 'empty.jpg').touch()
    (folder / 'notes.txt').write_text('no pixels here')
    os.mkfifo(folder / 'pipe.jpg')
    for name, reason in (
      ('empty.jpg', 'is empty'),
      ('notes.txt', 'not an image: expected JPEG, PNG'),
      ('missing.jpg', 'no such file'),
      ('.', 'is a folder'),
      ('pipe.jpg', 'is a pipe'),  # Opening it would wait for a writer.
      ('/dev/zero', 'is a device'),
      ('\0', 'null'),
    ):
      with self.assertRaisesRegex(ValueError, reason) as caught:
        images.read(folder / name)
      message = str(caught.exception)
      self.assertIn(f'cannot read image {str(folder / name)!r}', message)
      self.assertNotIn('\n', message)

  @parameterized.parameters((b'bytes',), (None,), (3,), (io.StringIO('text'),))
  def test_rejects_what_is_no_file(self, source):
    kind = type(source).__name__
    with self.assertRaisesRegex(ValueError, f'of {kind}: expected a path or a'):
      images.read.__wrapped__(source)

  def test_rejects_files_without_a_name(self):
    with tempfile.TemporaryFile() as file:  # Its name is a number.
      file.write(b'no image')
      file.seek(0)
      for source in (file, io.BytesIO(b'nothing')):
        with self.assertRaisesRegex(ValueError, "'image': not an image"):
          images.read(source)

  def test_reads_a_stream_that_cannot_seek(self):
    class Stream(io.BytesIO):
      def seekable(self):
        return False

      def seek(self, *args):
        raise io.UnsupportedOperation('seek')

    stream = Stream(_file(Image.fromarray(_pixels())).getvalue())
    np.testing.assert_array_equal(images.read(stream), _pixels())

  @parameterized.parameters(
    (b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(200), 'a HEIC photo'),
    (b'\0\0\0\x18ftypavif' + bytes(200), 'an AVIF image'),
    (b'%PDF-1.7', 'a PDF document'),
    (b'<!DOCTYPE html>', 'a text in XML or HTML'),
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'a PostScript'),
    (b'\xc5\xd0\xd3\xc6' + bytes(28), 'a PostScript program'),
  )
  def test_names_other_formats(self, content, kind):
    path = _folder(self) / 'a.jpg'
    path.write_bytes(content)
    with self.assertRaisesRegex(ValueError, f"a.jpg': {kind}.*convert it"):
      images.read(path)

  @parameterized.parameters('eps', 'tga', 'pcx', 'ico', 'pdf')
  def test_other_readers_of_pillow_never_run(self, file_format):
    path = _folder(self) / 'a.png'
    path.write_bytes(_file(Image.new('RGB', (16, 16)), file_format).getvalue())
    Image.init()
    factories = {
      name: (mock.Mock(side_effect=AssertionError), accept)
      for name, (_, accept) in Image.OPEN.items()
    }
    with mock.patch.object(Image, 'OPEN', factories):
      with self.assertRaisesRegex(ValueError, "a.png': (not an|a PDF|a PostS)"):
        images.read(path)

  @parameterized.parameters('png', 'gif', 'bmp', 'tiff', 'webp', 'ppm')
  def test_rejects_bomb_by_its_header(self, file_format):
    path = _folder(self) / 'bomb'
    path.write_bytes(_file(Image.new('RGB', (40, 30)), file_format).getvalue())
    with mock.patch.object(Image, 'MAX_IMAGE_PIXELS', 1199):
      with mock.patch.object(ImageFile.ImageFile, 'load') as load:
        with self.assertRaisesRegex(
          ValueError,
          "bomb': it has 40 x 30 pixels, more than the 1199.*smaller",
        ):
          images.read(path)
    load.assert_not_called()

  def test_rejects_real_bomb(self):
    bomb = _file(Image.new('1', (10000, 9000)))
    with self.assertRaisesRegex(ValueError, '10000 x 9000 pixels.*smaller'):
      images.read(bomb)

  def test_large_jpeg_is_read_at_half_its_size(self):
    """Of a photo of 200 megapixels, by the same rule, 50 are kept."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.fromarray(_pixels(64, 96)).resize((192, 128))
    file = _file(photo, 'jpeg', exif=exif, quality=100)
    with mock.patch.object(Image, 'MAX_IMAGE_PIXELS', 192 * 128 // 4):
      out = images.read(file)
    want = np.rot90(np.asarray(photo.reduce(2), np.float32), -1)
    np.testing.assert_allclose(out, want, atol=12)
    file.seek(0)
    with mock.patch.object(Image, 'MAX_IMAGE_PIXELS', 192 * 128 // 4 - 1):
      with self.assertRaisesRegex(ValueError, '192 x 128 pixels, more than'):
        images.read(file)


class PrepareTest(parameterized.TestCase):
  def test_identity(self):
    out = images.prepare(_pixels(), size=(6, 8))
    np.testing.assert_array_equal(out, _pixels() / np.float32(255))
    self.assertEqual(out.dtype, np.float32)

  @parameterized.parameters(
    ((300, 400), (224, 224), 224 / 256, (262, (19, 69))),
    ((401, 300), (240, 240), 240 / 272, (264, (69, 18))),
    ((256, 256), (224, 224), 224 / 256, (224, (16, 16))),
    ((101, 102), (227, 227), 1.0, (101, (0, 1))),
  )
  def test_matches_reference_crop(self, shape, size, crop, box):
    """The code of EfficientNet: side int(crop * shorter), offsets round up."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    side, (top, left) = box
    cut = Image.fromarray(image).crop((left, top, left + side, top + side))
    want = np.asarray(cut.resize(size[::-1], Image.Resampling.BICUBIC))
    out = images.prepare(image, size=size, crop=crop)
    np.testing.assert_array_equal(out, want / np.float32(255))

  def test_keeps_the_aspect_of_size(self):
    # Columns 0 to 9 of black, then white; a 2:1 box of 20 x 10 cuts rows only.
    image = np.zeros((30, 20, 3), np.uint8)
    image[:10], image[20:] = 255, 255
    out = images.prepare(image, size=(5, 10))
    np.testing.assert_array_equal(out, np.zeros((5, 10, 3)))

  @parameterized.parameters((1, 1), (1, 50), (50, 1), (2, 3))
  def test_tiny_images(self, h, w):
    image = np.full((h, w, 3), 51, np.uint8)
    out = images.prepare(image, size=(8, 8), crop=0.875)
    np.testing.assert_allclose(out, np.full((8, 8, 3), 0.2), rtol=1e-6)

  def test_black_stays_black_and_range_holds(self):
    black = np.zeros((30, 30, 3), np.uint8)
    self.assertEqual(images.prepare(black, size=(8, 8)).max(), 0)
    steps = np.kron(np.eye(8, dtype=np.uint8) * 255, np.ones((4, 4), np.uint8))
    out = images.prepare(np.stack([steps] * 3, -1), size=(50, 50))
    self.assertGreaterEqual(out.min(), 0)  # Bicubic overshoots; Pillow clips.
    self.assertLessEqual(out.max(), 1)

  @parameterized.parameters(
    (np.full((4, 4, 3), np.nan, np.float32), 'float32.*holding NaN.*uint8'),
    (np.zeros((4, 4, 3), np.float32), r'float32 of shape \(4, 4, 3\),.*uint8'),
    (np.zeros((4, 4, 3), np.int64), 'int64.*uint8'),
    (np.zeros((4, 4), np.uint8), r'\(4, 4\)'),
    (np.zeros((4, 4, 4), np.uint8), r'\(4, 4, 4\)'),
    (np.zeros((0, 4, 3), np.uint8), r'\(0, 4, 3\)'),
  )
  def test_rejects_arrays(self, image, message):
    with self.assertRaisesRegex(ValueError, message):
      images.prepare(image, size=(8, 8))

  @parameterized.parameters(
    (dict(size=(0, 8)), r'size is \(0, 8\)'),
    (dict(size=(8, 8), crop=0.0), 'crop is 0.0'),
    (dict(size=(8, 8), crop=1.5), 'crop is 1.5'),
    (dict(size=(8, 8), crop=float('nan')), 'crop is nan'),
    (dict(size=(8, 8), resample='box'), "resample is 'box', expected .*bilin"),
  )
  def test_rejects_settings(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      images.prepare(_pixels(), **settings)

  def test_bilinear(self):
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 100
    out = images.prepare(image, size=(4, 4), resample='bilinear')
    want = np.broadcast_to(np.array([0, 25, 75, 100])[:, None], out.shape)
    np.testing.assert_allclose(255 * out, want, rtol=1e-6)

  def test_central_box_is_what_is_kept(self):
    rows, columns = images.central_box((100, 400), (8, 8), 0.5)
    self.assertEqual((rows, columns), (slice(25, 75), slice(175, 225)))

  @parameterized.parameters(
    ((30, 120), (32, 32), (slice(12, 20), slice(0, 32))),
    ((120, 30), (32, 32), (slice(0, 32), slice(12, 20))),
    ((30, 120), (32, 64), (slice(8, 24), slice(0, 64))),
    ((1, 9000), (8, 8), (slice(3, 4), slice(0, 8))),
  )
  def test_fit_pads_with_grey(self, shape, size, place):
    """The whole image stands in the middle, between bars of half the range."""
    image = np.full((*shape, 3), 255, np.uint8)
    out = images.prepare(image, size=size, crop=0.5, fit=True)
    want = np.full((*size, 3), 127 / 255, np.float32)
    want[place] = 1
    np.testing.assert_allclose(out, want, rtol=1e-6)

  def test_fit_of_the_same_aspect_is_the_resized_image(self):
    image = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    want = images.prepare(image, size=(10, 20))
    out = images.prepare(image, size=(10, 20), fit=True)
    np.testing.assert_array_equal(out, want)


class PngTest(parameterized.TestCase):
  @parameterized.parameters(1, 3)
  def test_round_trip(self, channels):
    image = _pixels()[..., :channels]
    out = images.decode(images.encode(image))
    np.testing.assert_array_equal(out, image)


if __name__ == '__main__':
  absltest.main()
