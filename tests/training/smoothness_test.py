"""Tests for `smoothness.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import training
from tests.training import problems


class SmoothnessTest(parameterized.TestCase):
  @parameterized.parameters(
    functools.partial(training.input_gradient, lam=0.5), training.curvature
  )
  def test_gradient(self, penalized):
    with jax.enable_x64(True):
      x, label = problems.example(jnp.float64), jnp.array(1)
      loss = jax.jit(
        lambda params: (
          penalized(problems.apply, params, x, label, jax.random.key(0)).loss
        )
      )
      problems.check_gradient(loss, problems.params(jnp.float64))

  def test_penalties_of_a_softmax(self):
    # Linear logits W' x: the gradient of the loss is W (p - e).
    w, x, label = (
      problems.params()['w'][:, : problems.NUM_CLASSES],
      problems.example(),
      1,
    )
    apply = lambda params, x: x @ params
    args = (apply, w, x, jnp.array(label), jax.random.key(0))
    grad = lambda x: (
      w @ (jax.nn.softmax(x @ w) - jax.nn.one_hot(label, problems.NUM_CLASSES))
    )
    got = training.input_gradient(*args, lam=2.0)
    np.testing.assert_allclose(got.penalty, jnp.sum(grad(x) ** 2), rtol=1e-5)
    np.testing.assert_allclose(
      got.loss, got.cross_entropy + 2 * got.penalty, rtol=1e-6
    )
    z = jnp.sign(grad(x)) / np.sqrt(problems.SIZE)
    got = training.curvature(*args, h=0.7)
    np.testing.assert_allclose(
      got.penalty, jnp.sum((grad(x + 0.7 * z) - grad(x)) ** 2), rtol=1e-4
    )

  @parameterized.parameters(
    (training.curvature, dict(h=0), r'h must be in \(0, inf\), got 0'),
    (training.input_gradient, dict(lam=-1), r'lam must be in \[0, inf\)'),
  )
  def test_bad_arguments(self, loss, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      loss(
        problems.apply,
        problems.params(),
        problems.example(),
        jnp.array(0),
        jax.random.key(0),
        **settings,
      )


if __name__ == '__main__':
  absltest.main()
