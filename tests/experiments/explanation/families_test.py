"""Tests for `families.py`, on a network of a few numbers."""

import re

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments.explanation import families
import saliency_jax
from saliency_jax import explainer
from saliency_jax import scores


def _apply(params, x):
  return jnp.tanh(x @ params).sum(0) ** 2


def _args():
  rng = np.random.default_rng(0)
  params = jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)
  x = jnp.asarray(rng.normal(size=(2, 5, 3)), jnp.float32)
  return params, x, jnp.array([1, 3]), jax.random.split(jax.random.key(0), 2)


def _methods():
  """Returns methods with results of different kinds."""
  return [
    saliency_jax.gradient,
    lambda fn, x, *, key: saliency_jax.smooth_grad(
      fn, x, key=key, num_samples=4, batch_size=2
    ),
    lambda fn, x, *, key: saliency_jax.caso(
      fn, x, key=key, num_steps=3, eigen_steps=2
    ),
  ]


class FamiliesTest(parameterized.TestCase):
  def test_each_is_as_it_is_alone(self):
    score = scores.loss
    whole = families.shared(score)
    program = families.join(
      [explainer.build(m, _apply, whole) for m in _methods()]
    )
    for i, method in enumerate(_methods()):
      alone = explainer.build(method, _apply, score)(*_args())
      found = program(np.int32(i), *_args())
      self.assertLen(found, 3)
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
          a, b, rtol=1e-4, atol=1e-5 * np.max(np.abs(b))
        ),
        found[i],
        alone,
      )
      for j, other in enumerate(found):
        if i != j:
          self.assertFalse(np.any(other.scores))

  def test_derivatives(self):
    params, x, _, _ = _args()
    fn = scores.loss(_apply, params, 2)
    whole = families.shared(scores.loss)(_apply, params, 2)
    t = jnp.ones_like(x[1])
    for derive in (
      lambda f: f(x[0]),
      lambda f: jax.grad(f)(x[0]),
      lambda f: jax.jvp(f, (x[0],), (t,))[1],
      lambda f: jax.jvp(jax.grad(f), (x[0],), (t,))[1],
      lambda f: jax.grad(lambda x: jnp.sum(jax.grad(f)(x) * t))(x[0]),
    ):
      got, want = jax.jit(lambda d=derive: (d(whole), d(fn)))()
      np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-5)

  def test_score_of_several_numbers(self):
    params, x, _, _ = _args()
    whole = families.shared(scores.margins)(_apply, params, 2)
    expected = scores.margins(_apply, params, 2)
    np.testing.assert_allclose(whole(x[0]), expected(x[0]), rtol=1e-6)
    np.testing.assert_allclose(
      jax.jacrev(whole)(x[0]), jax.jacrev(expected)(x[0]), rtol=1e-5, atol=1e-6
    )

  def test_network_is_kept_whole(self):
    whole = families.shared(scores.logit)
    smooth = explainer.build(_methods()[1], _apply, whole)
    lowered = families.join([smooth]).lower(np.int32(0), *_args())
    (call,) = [
      line
      for line in lowered.as_text().splitlines()
      if re.search(r'call @packed', line)
    ]
    self.assertIn('inlineable = "false"', call)
    # XLA does as it is told.
    self.assertRegex(lowered.compile().as_text(), r'call\(.*packed')


if __name__ == '__main__':
  absltest.main()
