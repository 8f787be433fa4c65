"""Tests for `trained.py`."""

import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import models
from saliency_jax.models import npz

_SETTINGS = {
  'lenet': {'activation': 'softplus'},
  'softplus_net': {},
  'vit_digits': {'activation': 'silu'},
  'resnet18': {'width': 4, 'num_classes': 7, 'activation': 'softplus'},
}


class TrainedTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  @parameterized.parameters(*_SETTINGS)
  def test_saved_and_loaded(self, name):
    settings = _SETTINGS[name]
    class_names = tuple('abcdefghij'[: settings.get('num_classes', 10)])
    model = models.create(
      name, key=jax.random.key(1), class_names=class_names, **settings
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

  def test_starts_from_another(self):
    first, second = (
      models.create('lenet', key=jax.random.key(i), activation=name)
      for i, name in enumerate(('relu', 'softplus'))
    )
    models.save(self.folder / models.FILE, first, {'activation': 'relu'})
    for path in (self.folder, self.folder / models.FILE):
      found = models.start_from(second, path)
      jax.tree.map(np.testing.assert_array_equal, found.params, first.params)
    x = jax.random.uniform(jax.random.key(0), (28, 28, 1))
    np.testing.assert_array_equal(
      found.apply(found.params, x), second.apply(first.params, x)
    )
    half = jax.tree.map(lambda a: a.astype(jnp.float16), first.params)
    models.save(self.folder / models.FILE, first._replace(params=half))
    found = models.start_from(second, self.folder)
    self.assertEqual(
      {a.dtype for a in jax.tree.leaves(found.params)}, {np.dtype('float32')}
    )

  def test_starts_from_no_other_architecture(self):
    settings = {'width': 4}
    group = models.create('resnet18', key=jax.random.key(0), **settings)
    path = self.folder / models.FILE
    models.save(path, group, settings)
    batch = models.create(
      'resnet18', key=jax.random.key(0), batch_norm=True, **settings
    )
    with self.assertRaisesRegex(
      ValueError, f'{path} does not fit resnet18: .*mean'
    ):
      models.start_from(batch, path)
    with self.assertRaisesRegex(FileNotFoundError, 'no file of weights at'):
      models.start_from(batch, self.folder.parent)

  def test_paper_net_has_its_number_of_parameters(self):
    params = models.create('softplus_net', key=jax.random.key(0)).params
    self.assertEqual(sum(a.size for a in jax.tree.leaves(params)), 9050)

  @parameterized.parameters(
    (dict(name='lenett'), "expected one of .*got 'lenett'"),
    (dict(name='lenet', activation='tanhh'), "got 'tanhh'"),
    (dict(name='lenet', depth=3), 'lenet: .*depth'),
    (dict(name='lenet', activation=['relu']), r"got \['relu'\]"),
    (dict(name='resnet18', width=0), "resnet18: .*zero, from {'width': 0}"),
  )
  def test_create_refuses(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      models.create(key=jax.random.key(0), **settings)

  def test_load_refuses_what_it_cannot_read(self):
    path = self.folder / 'model.npz'
    (self.folder / 'saved_model.pb').touch()
    with self.assertRaisesRegex(
      FileNotFoundError, 'expected model.npz, .* holds saved_model.pb'
    ):
      models.load(self.folder)
    for name in ('', '~no_such_user_here', '\0'):
      with self.assertRaisesRegex(ValueError, 'expected one of .*efficientnet'):
        models.load(name)
    model = models.create('lenet', key=jax.random.key(0))
    models.save(path, model)
    with self.assertRaisesRegex(ValueError, 'says itself how it is built'):
      models.load(path, fast=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with self.assertRaisesRegex(ValueError, 'not a whole file of weights'):
      models.load(path)
    npz.save(path, {'a': np.ones(3)})
    with self.assertRaisesRegex(ValueError, 'no trained network'):
      models.load(path)
    models.save(path, model._replace(spec=model.spec._replace(name='resnet18')))
    with self.assertRaisesRegex(ValueError, 'does not fit resnet18'):
      models.load(path)

  @parameterized.parameters(
    (dict(network=['lenet']), r"network is \['lenet'\], no str"),
    (dict(network=None), 'network is None'),
    (dict(network='vgg'), "expected one of .*got 'vgg'"),
    (dict(settings=5), 'settings is 5, no dict'),
    (dict(settings={'activation': {'a': []}}), 'expected an activation of'),
    (dict(settings={'rngs': 1}), 'lenet: .*rngs'),
    (dict(class_names='abcdefghij'), "class_names is 'abcdefghij', no list"),
    (dict(class_names=['a', 'b']), '10 outputs, got 2 class_names'),
    (dict(class_names=[[]] * 10), r'expected texts as class_names, got \[\]'),
    ('[' * 10**5, 'no trained network .*recursion'),
    ('[1, 2]', 'no JSON object'),
    ('{', 'no trained network'),
    (' ' * (2**20 + 1), 'over 1048576 letters'),
    (7, 'is no text'),
  )
  def test_load_refuses_what_does_not_describe_a_network(self, about, message):
    path = self.folder / 'model.npz'
    if isinstance(about, dict):
      whole = dict(network='lenet', settings={}, class_names=[])
      about = json.dumps({**whole, **about})
    npz.save(path, {'__about__': np.array(about)})
    with self.assertRaisesRegex(ValueError, f'{path}.*{message}') as caught:
      models.load(path)
    self.assertNotIn('\n', str(caught.exception))

  @parameterized.parameters(
    (lambda a: a.astype(str), 'as <U32, expected floats'),
    (lambda a: a.astype(np.complex64), 'as complex64, expected floats'),
    (lambda a: a.astype(np.int32), 'as int32, expected floats'),
    (lambda a: a.astype(np.longdouble), 'expected floats'),
    (lambda a: a * np.nan, 'NaN or infinity in .*: train the network again'),
    (lambda a: a + np.inf, 'NaN or infinity'),
    (lambda a: a[:-1], 'does not fit lenet'),
  )
  def test_load_refuses_weights(self, change, message):
    path = self.folder / 'model.npz'
    models.save(path, models.create('lenet', key=jax.random.key(0)))
    arrays = npz.load(path)
    name = next(k for k in arrays if k.startswith("['dense'][1]['bias']"))
    npz.save(path, {**arrays, name: change(arrays[name])})
    with self.assertRaisesRegex(ValueError, f'{path}.*{message}'):
      models.load(path)


if __name__ == '__main__':
  absltest.main()
