"""Tests for `trained.py`."""

import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import models
from saliency_jax.models import checkpoints

_SETTINGS = {
  'lenet': {'activation': 'softplus'},
  'softplus_net': {},
  'resnet18': {'width': 4, 'num_classes': 7, 'activation': 'softplus'},
}


class TrainedTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  @parameterized.parameters(*_SETTINGS)
  def test_saved_and_loaded(self, name):
    settings = _SETTINGS[name]
    model = models.create(
      name, key=jax.random.key(1), class_names=('a', 'b'), **settings
    )
    path = self.folder / 'model.npz'
    models.save(path, model, settings)
    for place in (path, self.folder, str(self.folder)):
      found = models.load(place)
      self.assertEqual(found.spec, model.spec)
      jax.tree.map(np.testing.assert_array_equal, found.params, model.params)
    x = jax.random.uniform(jax.random.key(0), model.spec.input_shape)
    np.testing.assert_array_equal(
      jax.jit(found.apply)(found.params, x),
      jax.jit(model.apply)(model.params, x),
    )
    self.assertEqual(
      {a.dtype for a in jax.tree.leaves(models.load(path, dtype=jnp.float16))
       if hasattr(a, 'dtype')},
      {np.dtype('float16')},
    )  # fmt: skip

  def test_networks_start_as_their_key_says(self):
    one, same, other = (
      models.create('lenet', key=jax.random.key(i)).params for i in (1, 1, 2)
    )
    jax.tree.map(np.testing.assert_array_equal, one, same)
    kernels = [p['dense'][0]['kernel'] for p in (one, other)]
    self.assertGreater(jnp.max(jnp.abs(kernels[0] - kernels[1])), 0)

  def test_paper_net_has_its_number_of_parameters(self):
    params = models.create('softplus_net', key=jax.random.key(0)).params
    self.assertEqual(sum(a.size for a in jax.tree.leaves(params)), 9050)

  @parameterized.parameters(
    (dict(name='lenett'), "expected one of .*got 'lenett'"),
    (dict(name='lenet', activation='tanhh'), "got 'tanhh'"),
    (dict(name='lenet', depth=3), 'lenet: .*depth'),
  )
  def test_create_refuses(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      models.create(key=jax.random.key(0), **settings)

  def test_load_refuses_what_it_cannot_read(self):
    path = self.folder / 'model.npz'
    with self.assertRaisesRegex(FileNotFoundError, 'model.npz'):
      models.load(self.folder)
    model = models.create('lenet', key=jax.random.key(0))
    models.save(path, model)
    with self.assertRaisesRegex(ValueError, 'says itself how it is built'):
      models.load(path, fast=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with self.assertRaisesRegex(ValueError, 'not a whole file of weights'):
      models.load(path)
    checkpoints.save(path, {'a': np.ones(3)})
    with self.assertRaisesRegex(ValueError, 'no trained network'):
      models.load(path)
    models.save(path, model._replace(spec=model.spec._replace(name='resnet18')))
    with self.assertRaisesRegex(ValueError, 'does not fit resnet18'):
      models.load(path)


if __name__ == '__main__':
  absltest.main()
