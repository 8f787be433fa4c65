"""Tests for `explainer.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax import transforms
from saliency_jax.core import curvature
from saliency_jax.core import types
from saliency_jax.gradients import integrated
from tests import equivalence


def _gradient(fn, x, *, key=None):
  del key
  return types.Attribution(jax.grad(fn)(x), {'value': fn(x)})


def _at_constants(fn, x, *, key=None):
  """Differentiates at values that do not vary over a mesh.

  With `shard_map`'s own check these gradients are summed over the devices.
  """
  del key
  mask = jnp.full(x.shape, 0.5, x.dtype)
  by_mask = jax.grad(lambda m: fn(x * m))(mask)
  by_baseline = jax.grad(lambda b: fn(x + b))(jnp.zeros_like(x))
  by_scale = jax.grad(lambda s: fn(s * x))(jnp.ones((), x.dtype))
  return types.Attribution(by_mask + by_baseline * by_scale)


_smooth = transforms.smooth(_gradient, num_samples=10, batch_size=4)


def _apply(params, x):
  return jax.nn.relu(x.reshape(-1) @ params['w1']) @ params['w2']


def _data(n, dtype):
  k1, k2, kx, kl, kk = jax.random.split(jax.random.key(0), 5)
  params = {
    'w1': jax.random.normal(k1, (12, 16), dtype),
    'w2': jax.random.normal(k2, (16, 5), dtype),
  }
  xs = jax.random.normal(kx, (n, 3, 4), dtype)
  labels = jax.random.randint(kl, (n,), 0, 5)
  return params, xs, labels, jax.random.split(kk, n)


def _mesh(*shape):
  names = ('data', 'model')[: len(shape)]
  auto = (jax.sharding.AxisType.Auto,) * len(shape)
  return jax.make_mesh(shape, names, axis_types=auto)


class ExplainerTest(parameterized.TestCase):
  @parameterized.parameters(
    (_gradient, (8,), 21, jnp.float32, 1e-5),
    (_gradient, (8,), 21, jnp.float64, 1e-12),
    (_at_constants, (8,), 21, jnp.float64, 1e-12),
    (_at_constants, (2,), 3, jnp.float32, 1e-5),
    (_smooth, (8,), 21, jnp.float32, 1e-5),
    (_smooth, (8,), 3, jnp.float64, 1e-12),
    (_smooth, (2, 4), 16, jnp.float64, 1e-12),
    (saliency_jax.lrp, (8,), 21, jnp.float64, 1e-12),
    (saliency_jax.deeplift, (8,), 21, jnp.float64, 1e-12),
  )
  def test_mesh_equals_one_device(self, method, mesh, n, dtype, atol):
    with jax.enable_x64(dtype == jnp.float64):
      params, xs, labels, keys = _data(n, dtype)
      build = functools.partial(explainer.build, method, _apply, scores.prob)
      one = build()(params, xs, labels, keys)
      many = build(mesh=_mesh(*mesh))(
        params, xs, labels, jax.random.clone(keys)
      )
      self.assertEqual(one.scores.shape, xs.shape)
      self.assertEqual(many.scores.dtype, dtype)
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=atol, atol=atol),
        one,
        many,
      )

  def test_matches_a_loop(self):
    params, xs, labels, keys = _data(4, jnp.float32)
    explain = explainer.build(_smooth, _apply, scores.margin)
    got = explain(params, xs, labels, jax.random.clone(keys))
    for i in range(4):
      fn = scores.margin(_apply, params, labels[i])
      want = _smooth(fn, xs[i], key=jax.random.clone(keys[i]))
      np.testing.assert_allclose(
        got.scores[i], want.scores, rtol=1e-4, atol=1e-5
      )

  def test_explains_the_prediction_unless_told_otherwise(self):
    params, xs, _, _ = _data(6, jnp.float32)
    explain = explainer.build(_gradient, _apply, scores.margin)
    predicted = jax.vmap(functools.partial(_apply, params))(xs).argmax(-1)
    got = explain(params, xs)
    want = explain(params, xs, predicted)
    np.testing.assert_array_equal(got.scores, want.scores)
    self.assertTrue(bool(jnp.all(got.info['value'] > 0)))

  def test_parameters_are_arguments(self):
    """Other weights use the program that is there: nothing is baked in."""
    params, xs, labels, _ = _data(2, jnp.float32)
    traces = []

    def apply(params, x):
      traces.append(x)
      return _apply(params, x)

    explain = explainer.build(_gradient, apply)
    a = explain(params, xs, labels).scores
    count = len(traces)
    b = explain(jax.tree.map(lambda p: 2 * p, params), xs, labels).scores
    self.assertLen(traces, count)
    self.assertGreater(float(jnp.max(jnp.abs(a - b))), 0.1)

  def test_examples_may_be_pytrees(self):
    def apply(params, x):
      return params @ (x['a'] * x['b'])

    xs = {'a': jnp.ones((3, 4)), 'b': jnp.arange(12.0).reshape(3, 4)}

    def method(fn, x, *, key=None):
      return types.Attribution(jax.grad(fn)(x))

    params = jnp.arange(8.0).reshape(2, 4)
    explain = explainer.build(method, apply, mesh=_mesh(2))
    got = explain(params, xs, jnp.array([0, 1, 1])).scores
    np.testing.assert_allclose(got['b'], params[jnp.array([0, 1, 1])])

  def test_rejects(self):
    params, xs, labels, keys = _data(4, jnp.float32)
    explain = explainer.build(_gradient, _apply)
    with self.assertRaisesRegex(ValueError, r'labels for each of 4 .*\(3,\)'):
      explain(params, xs, labels[:3])
    with self.assertRaisesRegex(ValueError, r'keys for each of 4 .*\(2,\)'):
      explain(params, xs, labels, keys[:2])
    with self.assertRaisesRegex(ValueError, r'batch of examples.*\(0, 3, 4\)'):
      explain(params, xs[:0])
    explicit = jax.make_mesh((2,), ('data',))
    with self.assertRaisesRegex(ValueError, 'axes of type Auto'):
      explainer.build(_gradient, _apply, mesh=explicit)

  def test_labels_and_keys_that_are_taken(self):
    params, xs, _, keys = _data(4, jnp.float32)
    explain = explainer.build(_smooth, _apply)
    want = explain(params, xs, jnp.full(4, 3), keys).scores
    for labels in ([3, 3, 3, 3], 3, np.array(3), np.full(4, 3, np.uint8)):
      got = explain(params, xs, labels, jax.random.clone(keys)).scores
      np.testing.assert_array_equal(got, want)

  def test_labels_and_keys_that_are_refused(self):
    params, xs, labels, keys = _data(4, jnp.float32)
    explain = explainer.build(_smooth, _apply)
    remedy = r'pass keys=jax.random.split\(jax.random.key\(seed\), 4\)'
    for wrong, message in (
      (0, f'got 0: {remedy}'),
      (jax.random.key(0), rf'got \(\): {remedy}'),
      (np.zeros((4, 2), np.uint32), f'got an array of uint32.*{remedy}'),
      (None, r'this method draws: .*keys=jax.random.split\(key, n\)'),
    ):
      with self.assertRaisesRegex(ValueError, message):
        explain(params, xs, labels, wrong)
    for wrong, message in (
      ([0, 1, 2, 5], 'label 5 of example 3 is not one of 5 classes'),
      (-1, 'label -1 of example 0 .*labels=None'),
      (np.zeros(4), 'expected classes as whole numbers, got labels array'),
      (
        ['a', 'b', 'c', 'd'],
        'whole numbers, got labels .*the index of a class',
      ),
      ([None, 1, 2, 3], 'whole numbers'),
      ([1, [2], 3, 4], 'whole numbers'),
      (jnp.zeros(4), 'labels of float'),
    ):
      for run in (explain, explain.trace, explain.lower):
        with self.assertRaisesRegex(ValueError, message):
          run(params, xs, wrong, jax.random.clone(keys))

  def test_classes_are_those_of_the_network_at_hand(self):
    """One program may be called with heads of different sizes."""
    params, xs, _, _ = _data(3, jnp.float32)
    explain = explainer.build(_gradient, lambda p, x: jnp.dot(p, x.ravel()))
    heads = [jnp.ones((k, xs[0].size)) for k in (10, 7)]
    explain(heads[0], xs, [9, 8, 7])
    with self.assertRaisesRegex(ValueError, 'label 9 .*one of 7 classes'):
      explain(heads[1], xs, [0, 9, 1])

  def test_names_its_arguments(self):
    params, xs, _, keys = _data(4, jnp.float32)
    with self.assertRaisesRegex(
      TypeError, 'got key; one key an example is keys'
    ):
      explainer.build(_smooth, _apply)(params, xs, key=keys)

  def test_one_example_is_no_batch(self):
    params, xs, _, keys = _data(3, jnp.float32)
    explain = explainer.build(_gradient, _apply)
    for args in ((None, keys), (2,), (None, keys[:1])):
      with self.assertRaisesRegex(ValueError, r'\(3, 4\): pass x\[None\]'):
        explain(params, xs[0], *args)

  @parameterized.parameters(1, 2)
  def test_no_class_has_no_map(self, num_devices):
    """Labels that are traced cannot raise: their maps are NaN."""
    params, xs, _, _ = _data(3, jnp.float32)

    def method(fn, x, *, key):
      first, product = curvature.hvp_fn(fn, x)
      path = integrated.integrated_gradients(fn, x, num_steps=2, key=key)
      return types.Attribution((first, product(first), path.scores))

    explain = explainer.build(
      method, _apply, scores.prob, mesh=_mesh(num_devices)
    )
    labels = jnp.array([4, 5, -1])
    got = jax.jit(lambda labels: explain(params, xs, labels))(labels)
    for maps in got.scores:
      self.assertTrue(np.all(np.isfinite(maps[0])))
      self.assertTrue(np.all(np.isnan(maps[1:])))

  def test_a_list_is_no_batch(self):
    apply, params = equivalence.network()
    explain = explainer.build(saliency_jax.gradient, apply, scores.logit)
    with self.assertRaisesRegex(ValueError, r'pass jnp.stack\(xs\)'):
      explain(params, [*equivalence.examples(2)])


if __name__ == '__main__':
  absltest.main()
