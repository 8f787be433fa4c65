"""Tests for `linear_softmax.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from saliency_jax.core import linear_bounds
from saliency_jax.core import linear_softmax
from saliency_jax.core import linear_steps
from saliency_jax.core import primitives
from saliency_jax.core import rounding
from saliency_jax.core import units
from saliency_jax.core import wide

_LOW = np.array([[-0.5, 0.25, -1.0, 0.0], [1.0, 1.0, -20.0, 3.0]])
_HIGH = np.array([[0.25, 0.75, -0.5, 2.0], [1.0, 2.0, 20.0, 3.5]])


def _softmax(axis=-1):
  """Returns the equation of a softmax, as it is recognised."""
  traced = linear_bounds.trace(
    lambda x: jax.nn.softmax(x, axis), jnp.zeros(_LOW.shape)
  )
  (eqn,) = (
    e for e in traced.closed.jaxpr.eqns if e.primitive.name == units.SOFTMAX
  )
  return primitives.Equation(eqn, (True,) * len(eqn.invars))


class LinearSoftmaxTest(parameterized.TestCase):
  @parameterized.parameters(0, 1)
  def test_interval_is_exact_but_for_rounding(self, axis):
    pair = _softmax(axis)
    with wide.precision():
      box = rounding.Interval(jnp.asarray(_LOW), jnp.asarray(_HIGH))
      low, high = map(np.asarray, linear_softmax.interval(pair, box))
    # An entry is least at its low end, where the others are at their high.
    for i in np.ndindex(_LOW.shape):
      for end, own, others in ((low, _LOW, _HIGH), (high, _HIGH, _LOW)):
        x = others.copy()
        x[i] = own[i]
        want = special.softmax(x, axis)[i]
        np.testing.assert_allclose(end[i], want, rtol=1e-12)
        side = 1 if end is high else -1
        self.assertGreaterEqual(side * (end[i] - want), -1e-16)

  def test_interval_of_logits_that_are_masked(self):
    pair = _softmax()
    with wide.precision():
      low = jnp.asarray(_LOW).at[:, 0].set(-jnp.inf)
      high = jnp.asarray(_HIGH).at[:, 0].set(-jnp.inf)
      found = linear_softmax.interval(pair, rounding.Interval(low, high))
    self.assertTrue(np.isfinite(np.stack(found)).all())
    np.testing.assert_allclose(np.stack(found)[..., 0], 0, atol=1e-12)

  def test_rule_holds_every_value(self):
    pair, rng = _softmax(), np.random.default_rng(0)
    rows = np.concatenate([np.eye(8), -np.eye(8), rng.normal(size=(20, 8))])
    x = rng.uniform(_LOW, _HIGH, size=(4000, 2, 4))
    corners = rng.uniform(size=(2000, 2, 4)) < 0.5
    x[:2000] = np.where(corners, _LOW, _HIGH)
    for scale in (1.0, 0.05):
      middle, radius = (_LOW + _HIGH) / 2, scale * (_HIGH - _LOW) / 2
      inside = middle + scale * (x - middle)
      values = special.softmax(inside, -1).reshape(-1, 8) @ rows.T
      with wide.precision():
        box = rounding.Interval(
          jnp.asarray(middle - radius), jnp.asarray(middle + radius)
        )
        out = linear_softmax.interval(pair, box)
        found = linear_softmax.softmax(
          pair,
          [box],
          [out],
          [jnp.asarray(rows.reshape(-1, 2, 4))],
          linear_steps.Settings({}, {}),
        )
        given, offset = np.asarray(found.given[0]), np.asarray(found.offset)
        ends = np.asarray(
          linear_steps.ends(jnp.asarray(rows.reshape(-1, 2, 4)), out)
        )
      lines = np.einsum('kij,nij->nk', given, inside) + offset
      self.assertTrue(np.all(lines <= values + 1e-9))
      self.assertTrue(np.all(np.isfinite(given)))
    # Of a small box it is nearer than the interval is.
    loss = lambda bound: np.mean((values - bound)[:, :16])
    self.assertLess(loss(lines), 0.5 * loss(ends))


if __name__ == '__main__':
  absltest.main()
