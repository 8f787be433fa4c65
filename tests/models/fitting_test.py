"""Tests for `fitting.py` and `small.py`."""

import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import models
from saliency_jax.models import fitting
from saliency_jax.models import npz
from saliency_jax.models import small


def _data(n=256):
  """Images whose class is the place of their one bright bar."""
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 10, n)
  images = 0.2 * rng.random((n, 28, 28, 1))
  for image, label in zip(images, labels, strict=True):
    image[2 * label + 3 : 2 * label + 6] += 0.8
  return images.astype(np.float32), labels


class FitSmallTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _fit(self, **settings):
    defaults = dict(name='lenet', epochs=1, cache_dir=self.folder)
    return models.fit_small(
      **(defaults | settings), images=_data()[0], labels=_data()[1]
    )

  @parameterized.parameters('lenet', 'softplus_net')
  def test_learns(self, name):
    model = self._fit(name=name, epochs=16, batch_size=32)
    images, labels = _data()
    logits = jax.vmap(model.apply, (None, 0))(model.params, images)
    self.assertGreater(np.mean(np.argmax(logits, 1) == labels), 0.95)

  def test_cache_is_used_and_keyed(self):
    first = self._fit()
    with mock.patch.object(fitting, '_train') as train:
      again = self._fit()
      train.assert_not_called()
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
    self._fit(seed=1)
    self._fit(epochs=2)
    self._fit(activation='silu')
    self.assertLen(list(self.folder.iterdir()), 4)

  def test_deterministic(self):
    first, again = self._fit(), self._fit(cache_dir=self.folder / 'other')
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)

  @parameterized.parameters(b'', b'garbage', b'PK\x03\x04')
  def test_corrupt_cache_is_replaced(self, content):
    first = self._fit()
    (path,) = self.folder.iterdir()
    path.write_bytes(content)
    again = self._fit()
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
    self.assertNotEmpty(npz.load(path))

  def test_unwritable_cache_is_passed_over(self):
    place = self.folder / 'a file, not a folder'
    place.write_bytes(b'')
    self._fit(cache_dir=place)

  @parameterized.parameters(
    (dict(name='vgg'), "lenet.*'vgg'"),
    (dict(epochs=0), 'epochs'),
    (dict(batch_size=0), 'batch_size'),
    (dict(learning_rate=-1.0), 'learning_rate'),
  )
  def test_bad_settings(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      self._fit(**settings)

  def test_bad_data(self):
    images, labels = _data(4)
    with self.assertRaisesRegex(ValueError, r'\[0, 1\]'):
      models.fit_small('lenet', images * np.float32(255), labels)
    with self.assertRaisesRegex(ValueError, 'labels .*got None'):
      models.fit_small('lenet', images, None)
    with self.assertRaisesRegex(ValueError, '0..9'):
      models.fit_small('lenet', images, labels + 10)


class SmallTest(parameterized.TestCase):
  @parameterized.parameters(
    (small.lenet, 61_706),
    (small.one_hidden, 79_510),
    (small.softplus_net, 9_050),
    (small.two_hidden, 89_610),
  )
  def test_parameters_and_taps(self, build, count):
    module = build(rngs=nnx.Rngs(0))
    model = models.from_nnx(module, small.spec('net', module))
    self.assertEqual(sum(p.size for p in jax.tree.leaves(model.params)), count)
    jaxpr = jax.make_jaxpr(model.apply)(model.params, jnp.zeros((28, 28, 1)))
    names = [e.params['name'] for e in jaxpr.eqns if e.primitive.name == 'name']
    self.assertEqual(tuple(reversed(names)), model.spec.taps)


if __name__ == '__main__':
  absltest.main()
