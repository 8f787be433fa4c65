"""Tests for `experiments/core/examples.py`."""

import pathlib
import tempfile

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from experiments.core import examples
from saliency_jax import data
from saliency_jax import models
from saliency_jax.models import types

_GRAY = types.Spec('gray', (28, 28, 1), class_names=tuple('0123456789'))
_COLOR = types.Spec('color', (32, 32, 3), class_names=('cat', 'dog'))


class ExamplesTest(parameterized.TestCase):
  def _folder(self, *classes):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    for name in classes:
      (folder / name).mkdir()
      image = np.full((40, 50, 3), 128, np.uint8)
      Image.fromarray(image).save(folder / name / 'a.png')
    return str(folder)

  def test_digit(self):
    source = examples.load_source({'data': 'digits', 'num_examples': 2})
    found = examples.prepare(source, 1, _GRAY)
    self.assertEqual(found.image.shape, (28, 28, 1))
    self.assertEqual((found.image.dtype, found.image.max()), (np.float32, 1))
    self.assertEqual(found.label, int(source[1]['label']))
    self.assertEqual(found.name, source[1]['name'])

  def test_photo(self):
    source = data.load('photos')
    found = examples.prepare(source, 0, _COLOR)
    self.assertEqual(found.image.shape, (32, 32, 3))
    self.assertBetween(found.image.max(), 0.5, 1)
    self.assertEqual(found.label, 243)

  @parameterized.parameters((('cat', 'dog'), 0), (('bird', 'cat'), None))
  def test_labels_of_a_folder_count_if_they_are_the_networks(self, names, want):
    config = {'data': self._folder(*names), 'num_examples': 1}
    found = examples.prepare(examples.load_source(config), 0, _COLOR)
    self.assertEqual(found.label, want)

  def test_image_that_does_not_suit_the_network(self):
    source = data.load(self._folder('cat'))
    with self.assertRaisesRegex(
      ValueError, r"'cat/a.png' has the shape \(40, 50, 3\), gray takes \(28"
    ):
      examples.prepare(source, 0, _GRAY)

  def test_raw_files_come_from_the_flags_folder(self):
    with flagsaver.flagsaver(data_dir=self._folder()):
      with self.assertRaisesRegex(ValueError, 'cifar10.*data_batch_1'):
        examples.open_source('cifar10')

  @parameterized.parameters(0, 1001)
  def test_too_many_examples(self, num):
    with self.assertRaisesRegex(
      ValueError, f'is {num}, expected 1 to the 1000'
    ):
      examples.load_source({'data': 'digits', 'num_examples': num})

  def test_unknown_model(self):
    with self.assertRaisesRegex(
      ValueError,
      "config.model is 'vgg', expected .*vit_s_16, lenet",
    ):
      examples.load_model({'model': 'vgg'})

  def test_weights_of_a_flag(self):
    with self.assertRaisesRegex(ValueError, "'resnet50': give weights=FILE"):
      examples.load_model({'model': 'resnet50'})
    if not flags.FLAGS.is_parsed():
      flags.FLAGS(['examples_test'])
    with flagsaver.flagsaver(weights='nowhere.pth'):
      with self.assertRaisesRegex(FileNotFoundError, 'no file .*nowhere.pth'):
        examples.load_model({'model': 'resnet50'})
      with self.assertRaisesRegex(ValueError, "'lenet', .*expected no --weigh"):
        examples.load_model({'model': 'lenet'})

  def test_trained_network_by_its_path(self):
    folder = self._folder()
    model = models.create('softplus_net', key=jax.random.key(0))
    models.save(pathlib.Path(folder, models.FILE), model)
    found = examples.load_model({'model': folder})
    x = jnp.ones(model.spec.input_shape)
    np.testing.assert_array_equal(
      found.apply(found.params, x), model.apply(model.params, x)
    )

  def test_small_network_learns_from_what_is_not_explained(self):
    config = {
      'model': 'lenet',
      'data': 'digits',
      'fit': {'split': 'train[:640]', 'epochs': 1},
    }
    model = examples.load_model(config)
    self.assertEqual(model.spec.class_names, _GRAY.class_names)
    train, test = (data.load('digits', s) for s in ('train[:640]', 'test'))
    self.assertEmpty(
      {train[i]['name'] for i in range(640)}
      & {test[i]['name'] for i in range(1000)}
    )


if __name__ == '__main__':
  absltest.main()
