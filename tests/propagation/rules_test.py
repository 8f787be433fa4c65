"""Tests for `rules.py`, against numpy with every coefficient in hand."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.propagation import composites
from saliency_jax.propagation import lrp
from saliency_jax.propagation import rules
from tests import equivalence


def _draw(*shape, seed=0):
  rng = np.random.default_rng([seed, *shape])
  return rng.normal(size=shape) / max(np.prod(shape[:-1]), 1) ** 0.5


def _divided(r, z):
  return np.divide(r, z, out=np.zeros_like(z), where=z != 0)


# Each takes coefficients `w [j, i]`, inputs, bias and relevance.


def _epsilon(w, a, b, r, epsilon=1e-6):
  c = w * a
  z = c.sum(1) + b
  e = epsilon * np.abs(z[r != 0]).max(initial=0)
  return c.T @ _divided(r, z + np.where(z < 0, -e, e))


def _gamma(w, a, b, r, gamma=0.25):
  # As it is published: coefficients and inputs by their signs.
  above, below = np.maximum(w, 0), np.minimum(w, 0)
  up, down = np.maximum(a, 0), np.minimum(a, 0)
  z = w @ a + b
  given = 0
  for sign, to_up, to_down in (
    (z >= 0, w + gamma * above, w + gamma * below),
    (z < 0, w + gamma * below, w + gamma * above),
  ):
    bias = b + gamma * np.where(z >= 0, np.maximum(b, 0), np.minimum(b, 0))
    share = np.where(sign, _divided(r, to_up @ up + to_down @ down + bias), 0)
    given = given + up * (to_up.T @ share) + down * (to_down.T @ share)
  return given


def _alpha_beta(w, a, b, r, alpha=2.0, beta=1.0):
  c = w * a
  p, n = np.maximum(c, 0), np.minimum(c, 0)
  positive = p.sum(1) + np.maximum(b, 0)
  negative = n.sum(1) + np.minimum(b, 0)
  return alpha * p.T @ _divided(r, positive) - beta * n.T @ _divided(
    r, negative
  )


def _z_plus(w, a, b, r):
  return _alpha_beta(w, a, b, r, alpha=1.0, beta=0.0)


def _z_box(w, a, b, r, low=-3.0, high=3.0):
  c = w * a - np.maximum(w, 0) * low - np.minimum(w, 0) * high
  return c.T @ _divided(r, c.sum(1))


def _w_square(w, a, b, r):
  return (w**2).T @ _divided(r, (w**2).sum(1))


def _flat(w, a, b, r):
  # Zeros of `w` are places that the window does not see.
  ones = (w != 0).astype(w.dtype)
  return ones.T @ _divided(r, ones.sum(1))


_RULES = {
  'zero': (rules.zero, functools.partial(_epsilon, epsilon=0.0)),
  'epsilon': (
    functools.partial(rules.epsilon, epsilon=0.1),
    functools.partial(_epsilon, epsilon=0.1),
  ),
  'gamma': (rules.gamma, _gamma),
  'alpha_beta': (rules.alpha_beta, _alpha_beta),
  'alpha_1': (
    functools.partial(rules.alpha_beta, alpha=1.0, beta=0.0),
    _z_plus,
  ),
  'z_plus': (rules.z_plus, _z_plus),
  'z_box': (functools.partial(rules.z_box, low=-3.0, high=3.0), _z_box),
  'w_square': (rules.w_square, _w_square),
  'flat': (rules.flat, _flat),
}


class _Layer:
  """An affine map, as a function and as numbers."""

  def __init__(self, fn, shape):
    self.fn = fn
    size = int(np.prod(shape))
    flat = lambda a: jnp.ravel(fn(a.reshape(shape)))
    self.w = np.asarray(jax.jacobian(flat)(jnp.zeros(size)))
    self.b = np.asarray(flat(jnp.zeros(size)))
    self.shape = fn(jnp.zeros(shape)).shape


def _mlp():
  layers, shape = [], (5,)
  for i, n in enumerate((8, 6, 1)):
    w, b = _draw(shape[0], n), _draw(n, seed=i + 1) / 2
    layers.append(_Layer(lambda a, w=w, b=b: a @ w + b, shape))
    shape = layers[-1].shape
  return layers


def _cnn():
  # Pixels are centred, and a batch norm follows the first convolution.
  kernel, scale, shift = _draw(3, 2, 2, 3), _draw(3) * 3, _draw(3, seed=1)
  depthwise = _draw(2, 2, 1, 3, seed=2)
  dense = _draw(12, 1)

  def conv(a, k, strides, groups=1):
    return jax.lax.conv_general_dilated(
      a[None],
      k,
      strides,
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      feature_group_count=groups,
    )[0]

  first = _Layer(
    lambda a: (
      (conv(2 * a - 0.5, kernel, (2, 1)) - 0.1) / scale[None, None]
      - shift[None, None]
    ),
    (4, 4, 2),
  )
  second = _Layer(lambda a: -conv(a, depthwise, (1, 2), 3), first.shape)
  return [
    first,
    second,
    _Layer(lambda a: 0.3 + a.ravel() @ dense, second.shape),
  ]


_NETWORKS = {'mlp': (_mlp, (5,)), 'cnn': (_cnn, (4, 4, 2))}


def _forward(layers, x):
  for layer in layers[:-1]:
    x = jax.nn.relu(layer.fn(x))
  return layers[-1].fn(x)[0]


def _reference(layers, x, rule):
  values, a = [], np.ravel(x)
  for layer in layers:
    values.append(a)
    a = np.maximum(layer.w @ a + layer.b, 0)
  r = layers[-1].w @ values[-1] + layers[-1].b
  for layer, a in zip(layers[::-1], values[::-1], strict=True):
    r = rule(layer.w, a, layer.b, r)
  return r.reshape(x.shape)


def _everywhere(rule):
  """Returns the composite of one rule for all layers."""
  zero = functools.partial(composites.epsilon, epsilon=0.0)
  return lambda place: rule if composites.is_layer(place) else zero(place)


class RulesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64())

  @parameterized.product(network=tuple(_NETWORKS), name=tuple(_RULES))
  def test_is_its_definition(self, network, name):
    make, shape = _NETWORKS[network]
    rule, reference = _RULES[name]
    layers, x = make(), _draw(*shape)
    fn = functools.partial(_forward, layers)
    got = jax.jit(functools.partial(lrp.lrp, fn, composite=_everywhere(rule)))(
      x
    )
    want = _reference(layers, x, reference)
    self.assertGreater(np.max(np.abs(want)), 1e-3)
    np.testing.assert_allclose(got.scores, want, rtol=1e-9, atol=1e-12)
    whole = np.sum(got.scores) + sum(got.info.absorbed)
    np.testing.assert_allclose(whole, got.info.score, rtol=1e-9)

  def test_ends_of_a_box_may_be_arrays(self):
    x, w = _draw(5), _draw(5)
    low, high = -1 - _draw(5, seed=1) ** 2, 1 + _draw(5, seed=2) ** 2
    rule = functools.partial(rules.z_box, low=low, high=high)
    got = lrp.lrp(lambda x: x @ w, x, composite=_everywhere(rule))
    want = _z_box(w[None], x, 0, np.array([w @ x]), low, high)
    np.testing.assert_allclose(got.scores, want, rtol=1e-9)

  def test_one_of_ones_own(self):
    @rules.of_layer
    def mine(layer):
      back = jax.linear_transpose(layer.weigh(jnp.abs), *layer.inputs)
      return list(back(layer.relevance))

    w, x = _draw(5), _draw(5)
    got = lrp.lrp(lambda x: x @ w, x, composite=_everywhere(mine))
    np.testing.assert_allclose(got.scores, np.abs(w) * (w @ x), rtol=1e-9)

  @parameterized.parameters(
    (functools.partial(rules.epsilon, epsilon=-1), 'epsilon must be in'),
    (functools.partial(rules.gamma, gamma=-1), 'gamma must be in'),
  )
  def test_refuses(self, rule, message):
    with self.assertRaisesRegex(ValueError, message):
      lrp.lrp(lambda x: x @ _draw(5), _draw(5), composite=_everywhere(rule))


class RulesEquivalenceTest(parameterized.TestCase):
  def test_equivalence(self):
    composite = _everywhere(rules.alpha_beta)
    equivalence.check(self, functools.partial(lrp.lrp, composite=composite))


if __name__ == '__main__':
  absltest.main()
