"""Tests for `experiments/core/inputs.py`."""

import io
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from experiments.core import inputs
from saliency_jax.models import types

_SPEC = types.Spec('toy', (16, 16, 3), crop=0.5)
_NAMES = ('tabby cat', 'tiger cat', 'tiger', 'crane', 'crane', 'Égret $5')


class InputsTest(parameterized.TestCase):
  def test_reads_a_file(self):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    path = pathlib.Path(folder) / 'a.png'
    Image.new('RGB', (40, 60), (255, 0, 51)).save(path)
    found = inputs.read_image(str(path), _SPEC)
    self.assertEqual((found.shape, found.dtype), ((16, 16, 3), np.float32))
    np.testing.assert_allclose(found[3, 4], [1, 0, 0.2], atol=1e-6)

  @parameterized.parameters(
    # A panorama of 4 : 1 of which half the height remains; a square photo whose
    # central quarter is the network's own crop; one that is seen whole.
    (
      (80, 20),
      0.5,
      'toy sees 6% .* central 10 x 10 of 80 x 20 ',
    ),
    ((40, 40), 0.5, '25%'),
    ((80, 20), 1.0, '25% .*--fit shows all'),
    ((32, 20), 1.0, None),
    ((20, 20), 1.0, None),
  )
  def test_says_how_little_the_network_sees(self, size, crop, message):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    path = pathlib.Path(folder) / 'a.png'
    Image.new('RGB', size, 'white').save(path)
    spec = _SPEC._replace(crop=crop)
    with mock.patch('sys.stderr', io.StringIO()) as err:
      inputs.read_image(str(path), spec)
    if message is None:
      self.assertEqual(err.getvalue(), '')
    else:
      self.assertRegex(err.getvalue(), f'^{path}: .*{message}')
    with mock.patch('sys.stderr', io.StringIO()) as err:
      fitted = inputs.read_image(str(path), spec, fit=True)
    self.assertEqual(err.getvalue(), '')
    # White from side to side, grey above and below.
    white = np.all(fitted == 1, axis=(1, 2))
    self.assertEqual(white.sum(), 16 * size[1] // size[0])
    self.assertTrue(np.all(fitted[~white] == np.float32(127 / 255)))

  def test_refuses_what_is_no_regular_file(self):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    os.mkfifo(f'{folder}/pipe.png')
    for name, kind in (
      (folder, 'folder'),
      (f'{folder}/pipe.png', 'pipe'),
      ('/dev/zero', 'device'),
    ):
      with self.assertRaisesRegex(ValueError, f'{name}.*is a {kind}, expected'):
        inputs.read_image(name, _SPEC)

  def test_grey_for_a_network_of_one_channel(self):
    colours = inputs.read_image('imagenet_14_129', _SPEC)
    grey = inputs.read_image(
      'imagenet_14_129', _SPEC._replace(input_shape=(*colours.shape[:2], 1))
    )
    self.assertEqual(grey.shape, (*colours.shape[:2], 1))
    want = colours @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[:, :, 0], want, atol=1e-6)

  def test_photo_by_name_or_its_end(self):
    whole = inputs.read_image('imagenet_14_129', _SPEC)
    for name in ('14_129', '129', 'imagenet_14_129.jpg'):
      np.testing.assert_array_equal(inputs.read_image(name, _SPEC), whole)
    np.testing.assert_array_equal(inputs.photos(_SPEC, num=15)[14], whole)

  def test_digits_for_a_network_that_reads_them(self):
    spec = _SPEC._replace(input_shape=(28, 28, 1))
    name = inputs.image_name(None, spec)
    self.assertRegex(name, r'^digit_\d{4}$')
    self.assertEqual(inputs.image_name('a.png', spec), 'a.png')
    self.assertEqual(inputs.image_name(None, _SPEC), 'imagenet_00_243')
    digit = inputs.read_image(name, spec)
    self.assertEqual((digit.shape, digit.dtype), ((28, 28, 1), np.float32))
    self.assertEqual((digit.min(), digit.max()), (0, 1))
    np.testing.assert_array_equal(inputs.read_image(name[6:], spec), digit)
    np.testing.assert_array_equal(inputs.photos(spec, num=2)[0], digit)
    with self.assertRaisesRegex(ValueError, 'nor one of the digits digit_'):
      inputs.read_image('imagenet_00_243', spec)

  @parameterized.parameters(
    '609',
    'imagenet',
    'nowhere/else.jpg',
    '\0',
    '',
    'a' * 999,
    '~no_such_user/a.jpg',
  )
  def test_refuses_no_photo_or_several(self, name):
    with self.assertRaisesRegex(ValueError, 'no such file, nor one of'):
      inputs.read_image(name, _SPEC)

  @parameterized.parameters(
    ('0', 0), ('5', 5), (' tiger ', 2), ('TIGER CAT', 1), ('tabby', 0),
    ('éGRET', 5), ('+2', 2),
  )  # fmt: skip
  def test_finds(self, text, label):
    self.assertEqual(inputs.find_label(text, _NAMES, 6), label)

  @parameterized.parameters(
    ('6', '--label 6: expected 0 to 5'),
    ('-1', '--label -1: expected 0 to 5'),
    ('crane', r"'crane' is one of several: crane \(3\), crane \(4\)$"),
    ('cat', r'tabby cat \(0\), tiger cat \(1\)$'),
    ('tigre', 'did you mean tiger'),
    ('xyzzy', "'xyzzy': no such class, nor an index to 5"),
    ('', 'no such class'),
    ('1.5', 'no such class'),
    ('²', 'no such class'),
  )
  def test_refuses_labels(self, text, message):
    with self.assertRaisesRegex(ValueError, message):
      inputs.find_label(text, _NAMES, 6)

  def test_without_names(self):
    self.assertEqual(inputs.find_label('3', (), 4), 3)
    with self.assertRaisesRegex(ValueError, 'no class names'):
      inputs.find_label('cat', (), 4)


if __name__ == '__main__':
  absltest.main()
