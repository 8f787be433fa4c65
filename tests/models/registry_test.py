"""Tests for `registry.py`, on the real weights and photos."""

import functools
import importlib.util
import pathlib
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from saliency_jax import models
from saliency_jax.models import registry
from saliency_jax.models import wrap

_load = functools.cache(models.load)
# Those whose weights come in packages.
_PACKAGED = (
  'efficientnet_lite0',
  'efficientnet_lite1',
  'efficientnet_lite2',
  'squeezenet',
)


def _photos(spec):
  """The 20 photos that foolbox ships, prepared, and their labels."""
  # Importing foolbox warns.
  (folder,) = importlib.util.find_spec('foolbox').submodule_search_locations
  paths = sorted(pathlib.Path(folder, 'data').glob('imagenet_*.jpg'))
  images, labels = [], []
  for path in paths:
    image = Image.open(path)
    side = spec.crop * min(image.size)
    box = [(n + sign * side) / 2 for sign in (-1, 1) for n in image.size]
    size = spec.input_shape[:2]
    images.append(np.asarray(image.resize(size, Image.BICUBIC, box)))
    labels.append(int(path.stem.split('_')[-1]))
  images = np.stack(images).astype(np.float32) / np.float32(255)
  return images, np.array(labels)


class LoadTest(parameterized.TestCase):
  @parameterized.parameters(('efficientnet_lite0', 18), ('squeezenet', 14))
  def test_classifies_photos(self, name, num_right):
    model = _load(name)
    xs, labels = _photos(model.spec)
    self.assertLen(xs, 20)
    logits = jax.jit(jax.vmap(model.apply, (None, 0)))(model.params, xs)
    self.assertGreaterEqual(np.sum(np.argmax(logits, 1) == labels), num_right)

  @parameterized.parameters(*_PACKAGED)
  def test_spec_describes_the_network(self, name):
    model = _load(name)
    spec = model.spec
    self.assertEqual(spec.name, name)
    self.assertLen(spec.class_names, 1000)
    self.assertEqual(spec.class_names[243], 'bull mastiff')
    x = jax.ShapeDtypeStruct(spec.input_shape, jnp.float32)
    jaxpr = jax.make_jaxpr(model.apply)(model.params, x)
    self.assertEqual(jaxpr.out_avals[0].shape, (1000,))
    names = [e.params['name'] for e in jaxpr.eqns if e.primitive.name == 'name']
    # The last feature map may bear its stage's name besides 'features'.
    self.assertCountEqual(spec.taps, names)
    self.assertEqual(spec.taps[0], names[-1])
    paths = [
      '/'.join(str(key.key) for key in path)
      for path, _ in jax.tree_util.tree_leaves_with_path(model.params)
    ]
    for path in paths:
      owners = [p for p in spec.layers if path.startswith(p + '/')]
      self.assertLen(owners, 1, path)

  def test_dtype(self):
    with jax.enable_x64(True):
      model = models.load('squeezenet', dtype=jnp.float64)
      x = jax.ShapeDtypeStruct(model.spec.input_shape, jnp.float64)
      out = jax.eval_shape(model.apply, model.params, x)
      self.assertEqual(out.dtype, jnp.float64)

  def test_unknown_name(self):
    with self.assertRaisesRegex(ValueError, "efficientnet_lite0.*'resnet'"):
      models.load('resnet')

  def test_missing_package(self):
    with mock.patch.object(importlib.util, 'find_spec', return_value=None):
      with self.assertRaisesRegex(ImportError, r'saliency-jax\[experiments\]'):
        models.load('squeezenet')

  def test_wrong_weights(self):
    path = models.weights_path('efficientnet_lite1')
    # All of EfficientNet, and one network of each other module.
    few = {
      name: home
      for name, home in registry._HOMES.items()
      if name in _PACKAGED or name == min(home.NETS)
    }
    with (
      mock.patch.object(registry, '_HOMES', few),
      self.assertRaisesRegex(
        ValueError,
        r'lite1.*pth: efficientnet_lite2 does not fit it.* 246 of another '
        r'shape \(.*\); efficientnet_lite1 fits it best: (\d+) of its \1 ',
      ),
    ):
      models.load('efficientnet_lite2', weights=path)

  def test_wrong_inputs(self):
    model = _load('efficientnet_lite0')
    with self.assertRaisesRegex(ValueError, r'\(224, 224, 3\).*\(2, 2, 3\)'):
      model.apply(model.params, jnp.zeros((2, 2, 3)))
    with self.assertRaisesRegex(ValueError, 'float32.*float16'):
      model.apply(model.params, jnp.zeros((224, 224, 3), jnp.float16))


# The first block of each stage of `efficientnet_lite0`, and one that adds its
# input back for each size of window: of every kind of block, one.
_KINDS = (0, 1, 3, 5, 6, 8, 9, 11, 15)


def _of_each_kind(name, *, fast):
  """A network in float64, with one block of each kind.

  On an odd and an even number of pixels.
  """
  module, spec = registry.build(name, fast=fast)
  if name == 'efficientnet_lite0':
    module.blocks = nnx.List([module.blocks[i] for i in _KINDS])
  model = models.from_nnx(module, spec._replace(input_shape=(33, 32, 3)))
  return model._replace(params=wrap.cast(model.params, jnp.float64))


class FastTest(parameterized.TestCase):
  @parameterized.parameters('efficientnet_lite0', 'squeezenet')
  def test_fast_matches_plain(self, name):
    with jax.enable_x64(True):
      fast = _of_each_kind(name, fast=True)
      plain = _of_each_kind(name, fast=False)
      x = jax.random.uniform(
        jax.random.key(0), fast.spec.input_shape, jnp.float64
      )

      @functools.partial(jax.jit, static_argnums=0)
      def value_and_derivatives(apply, params, x):
        # A probability's Hessian is not zero, though the logits are linear.
        def score(x):
          logits = apply(params, x)
          return jax.nn.softmax(logits)[7], logits

        # The network carries tangents of tangents through the primitives.
        first = jax.grad(score, has_aux=True)
        (grad, logits), (product, _) = jax.jvp(first, (x,), (jnp.cos(x),))
        return logits, grad, product

      got = value_and_derivatives(fast.apply, fast.params, x)
      want = value_and_derivatives(plain.apply, plain.params, x)
      for a, b in zip(got, want, strict=True):
        scale = np.max(np.abs(b))
        self.assertGreater(scale, 0)
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=1e-9)


if __name__ == '__main__':
  absltest.main()
