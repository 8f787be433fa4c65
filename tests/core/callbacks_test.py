"""Tests for `callbacks.py`: a host's derivatives under JAX's transformations.

The host has `y = tanh(W x)`, with `J' u = W'(u (1 - y^2))` and
`H_u v = -2 W'(u y (1 - y^2) W v)`; as one score it is the sum of `y`.
"""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import callbacks
from saliency_jax.core import host

_W = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
_X, _V = jnp.array([0.3, -0.1, 0.5, 0.2]), jnp.array([1.0, -2.0, 0.5, 1.0])


def _y(x):
  return np.tanh(x @ _W.T)


def _pullback(x, u):
  return (u * (1 - _y(x) ** 2)) @ _W


def _curvature(x, u, v):
  y = _y(x)
  return (-2 * u * y * (1 - y**2) * (v @ _W.T)) @ _W


def _pushforward(x, v):
  return (1 - _y(x) ** 2) * (v @ _W.T)


def _in_jax(x):
  return jnp.tanh(jnp.asarray(_W) @ x)


def _score():
  return host.from_host(
    lambda x: _y(x).sum(-1),
    gradient=lambda x: _pullback(x, np.float32(1)),
    hvp=lambda x, v: _curvature(x, np.float32(1), v),
  )


def _outputs():
  return host.from_host(
    _y, (3,), gradient=_pullback, hvp=_curvature, jvp=_pushforward
  )


_CASES = {
  'one number': (_score, lambda x: jnp.sum(_in_jax(x)), lambda y: y),
  'several': (_outputs, _in_jax, jax.nn.logsumexp),
}
_LADDER = jnp.arange(3, dtype=jnp.float32)


def _path(fn, start):
  """Returns where gradient steps lead, and the score on the way."""

  def step(x, _):
    value, slope = jax.value_and_grad(fn)(x)
    return x - 0.1 * slope, value

  return jax.lax.scan(step, start, _LADDER)


_TRANSFORMS = {
  'value': lambda fn: fn(_X),
  'grad': lambda fn: jax.grad(fn)(_X),
  'jvp': lambda fn: jax.jvp(fn, (_X,), (_V,)),
  'jvp of grad': lambda fn: jax.jvp(jax.grad(fn), (_X,), (_V,)),
  'linearize grad': lambda fn: jax.linearize(jax.grad(fn), _X)[1](_V),
  'grad of grad': lambda fn: jax.grad(lambda x: jnp.vdot(jax.grad(fn)(x), _V))(
    _X
  ),
  'hessian': lambda fn: jax.hessian(fn)(_X),
  'remat': lambda fn: jax.grad(jax.checkpoint(fn))(_X),
  'vmap': lambda fn: jax.vmap(jax.value_and_grad(fn))(jnp.stack([_X, _V])),
  'vmap of jvp of grad': lambda fn: jax.vmap(
    lambda s: jax.jvp(jax.grad(fn), (_X,), (s * _V,))
  )(_LADDER),
  'loop': lambda fn: _path(fn, _X),
  'through a loop': lambda fn: jax.grad(lambda x: jnp.sum(_path(fn, x)[1]))(_X),
}


class CallbacksTest(parameterized.TestCase):
  @parameterized.parameters(*_CASES)
  def test_is_differentiated_as_in_jax(self, case):
    make, twin, head = _CASES[case]
    fn = make()

    def everything(fn):
      full = lambda x: head(fn(x))
      return {name: run(full) for name, run in _TRANSFORMS.items()}

    got, want = (jax.jit(everything, static_argnums=0)(f) for f in (fn, twin))
    for name, value in got.items():
      for a, b in zip(*map(jax.tree.leaves, (value, want[name])), strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5, err_msg=name)
    # Outside of a program.
    for name in ('grad', 'jvp of grad'):
      value = _TRANSFORMS[name](lambda x: head(fn(x)))
      for a, b in zip(*map(jax.tree.leaves, (value, want[name])), strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5, err_msg=name)

  def test_jacobians(self):
    want = jax.jacfwd(_in_jax)(_X)
    for jacobian in (jax.jacfwd, jax.jacrev):
      np.testing.assert_allclose(jacobian(_outputs())(_X), want, rtol=1e-5)

  def test_one_call_for_all_directions(self):
    """What is not mapped is repeated."""
    shapes = []

    def gradient(x, u):
      shapes.append((x.shape, u.shape))
      return _pullback(x, u)

    fn = host.from_host(_y, (3,), gradient=gradient)
    jax.jit(jax.vmap(jax.jacrev(fn)))(jnp.stack([_X, _V]))
    self.assertEqual(shapes, [((6, 4), (6, 3))])

  def test_trees(self):
    """Whole numbers are constants, whose gradients nobody reads."""
    seen = []

    def gradient(batch):
      seen.append(jax.tree.map(np.shape, batch))
      return {'a': 2 * batch['a'] * batch['i'][:, None], 'b': batch['b'] * 0}

    def returned(batch):
      return {**gradient(batch), 'i': None}

    def hvp(batch, v):
      self.assertEqual(v['i'].shape, batch['i'].shape)
      return {'a': 2 * v['a'] * batch['i'][:, None], 'b': 0 * v['b'], 'i': None}

    def predict(batch):
      return (batch['a'] ** 2).sum(-1) * batch['i']

    fn = host.from_host(predict, gradient=returned, hvp=hvp)
    x = {'a': _X, 'b': jnp.ones((2, 2)), 'i': jnp.array(3)}
    floats = lambda a: fn({**x, 'a': a})
    for run in (lambda f: f, jax.jit):
      np.testing.assert_allclose(run(fn)(x), 3 * _X @ _X, rtol=1e-6)
      np.testing.assert_allclose(run(jax.grad(floats))(_X), 6 * _X, rtol=1e-6)
      got = run(jax.hessian(floats))(_X)
      np.testing.assert_allclose(got, 6 * np.eye(4), rtol=1e-6)
    self.assertEqual(seen[0], {'a': (1, 4), 'b': (1, 2, 2), 'i': (1,)})
    wrong = host.from_host(predict, gradient=lambda batch: batch['a'])
    with self.assertRaisesRegex(
      ValueError, 'gradient got a batch .* returned ndarray, expected the same'
    ):
      jax.grad(lambda a: wrong({**x, 'a': a}))(_X)
    with self.assertRaisesRegex(ValueError, 'example of arrays, got '):
      fn({})

  @parameterized.parameters(
    ({}, jax.grad, r'no gradient: pass from_host\(.*occlusion, rise, leg'),
    ({}, jax.hessian, r'no gradient: pass from_host\('),
    ({'gradient': 1}, jax.hessian, r'no second derivatives: .*hvp=.*cafo'),
    ({'gradient': 1, 'hvp': 1}, lambda f: jax.jacfwd(jax.hessian(f)), 'third'),
    ({'gradient': 1, 'hvp': 1}, lambda f: jax.jacrev(jax.hessian(f)), 'third'),
  )
  def test_says_which_derivative_is_missing(self, given, derivative, message):
    own = {
      'gradient': lambda x: _pullback(x, np.float32(1)),
      'hvp': lambda x, v: _curvature(x, np.float32(1), v),
    }
    fn = host.from_host(
      lambda x: _y(x).sum(-1), **{name: own[name] for name in given}
    )
    for run in (lambda f: f, jax.jit):
      with self.assertRaisesRegex(ValueError, message):
        run(derivative(fn))(_X)

  def test_forwards_needs_more(self):
    fn = host.from_host(_y, (3,), gradient=_pullback, hvp=_curvature)
    for run in (lambda f: f, jax.jit):
      with self.assertRaisesRegex(ValueError, r'forwards: .*jvp=\.\.\.'):
        run(jax.jacfwd(fn))(_X)
      # Backwards it is not asked for.
      np.testing.assert_allclose(
        run(jax.jacrev(fn))(_X), jax.jacrev(_in_jax)(_X), rtol=1e-5
      )
    with self.assertRaisesRegex(ValueError, 'forwards of its derivative'):
      jax.jacfwd(jax.jacfwd(_outputs()))(_X)

  def test_half_precision_and_nan(self):
    x = jnp.array([0.5, jnp.nan, 0.25, 1], jnp.bfloat16)
    fn = host.from_host(
      lambda x: (x.astype(np.float32) ** 2).sum(-1),
      gradient=lambda x: 2 * x.astype(np.float32),
    )
    for run in (lambda f: f, jax.jit):
      value, slope = run(jax.value_and_grad(fn))(x)
      self.assertEqual((value.dtype, slope.dtype), (x.dtype, x.dtype))
      self.assertTrue(jnp.isnan(value))
      np.testing.assert_array_equal(*(a.astype(float) for a in (slope, 2 * x)))

  def test_call_of_accelerators(self):
    """As far as it goes without one: the same call, compiled for CPUs."""
    fn = _outputs()
    with mock.patch.object(callbacks, '_buffers', callbacks._arrays):
      got = jax.jit(jax.vmap(jax.jacrev(fn)))(jnp.stack([_X, _V]))
    want = jax.vmap(jax.jacrev(_in_jax))(jnp.stack([_X, _V]))
    np.testing.assert_allclose(got, want, rtol=1e-5)
    bad = host.from_host(lambda x: x)
    with mock.patch.object(callbacks, '_buffers', callbacks._arrays):
      with self.assertRaisesRegex(ValueError, r'returned \(1, 4\), expected'):
        with host.own_errors():
          jax.block_until_ready(jax.jit(bad)(_X))


if __name__ == '__main__':
  absltest.main()
