"""Tests for `scores.py`."""

import functools
import itertools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import scores


def _apply(params, x):
  return params @ x


_PARAMS = jnp.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])
_X = jnp.array([1.0, -2.0])
_Z = np.array([-3.0, 2.5, 3.0])


class ScoresTest(parameterized.TestCase):
  @parameterized.parameters(
    (scores.logit, 2.5),
    (scores.prob, np.exp(2.5) / np.exp(_Z).sum()),
    (scores.log_prob, 2.5 - np.log(np.exp(_Z).sum())),
    (scores.loss, np.log(np.exp(_Z).sum()) - 2.5),
    (scores.log_odds, 2.5 - np.log(np.exp(-3) + np.exp(3))),
    (scores.margin, -0.5),
  )
  def test_values(self, score, want):
    for label in (1, np.int64(1), np.array(1), jnp.array(1, jnp.uint8)):
      got = score(_apply, _PARAMS, label)(_X)
      np.testing.assert_allclose(got, want, rtol=1e-6)

  def test_margins_are_against_every_other_class(self):
    p = np.exp(_Z) / np.exp(_Z).sum()
    for label in (1, np.int64(1), jnp.array(1)):
      got = scores.margins(_apply, _PARAMS, label)(_X)
      np.testing.assert_allclose(got, [-0.5, 5.5], rtol=1e-6)
      got = scores.prob_margins(_apply, _PARAMS, label)(_X)
      np.testing.assert_allclose(got, [p[1] - p[2], p[1] - p[0]], rtol=1e-6)

  def test_margin_of_the_predicted_class_is_positive(self):
    label = scores.predict(_apply, _PARAMS, _X)
    self.assertEqual(label, 2)
    self.assertAlmostEqual(
      float(scores.margin(_apply, _PARAMS, label)(_X)), 0.5
    )

  @parameterized.parameters(
    scores.logit,
    scores.prob,
    scores.log_prob,
    scores.loss,
    scores.log_odds,
    scores.margin,
    scores.margins,
    scores.prob_margins,
    scores.sigmoid,
    functools.partial(scores.contrast, other=0),
  )
  def test_label_out_of_range(self, score):
    """Known, it raises; traced, it must not pass for a class with a map."""
    kinds = (int, np.int64, np.array, jnp.array)
    for label, kind in itertools.product((3, -1), kinds):
      with self.assertRaisesRegex(ValueError, f'label {label} is not one of 3'):
        score(_apply, _PARAMS, kind(label))(_X)

    @jax.jit
    @jax.vmap
    def derivatives(label):
      fn = score(_apply, _PARAMS, label)
      return fn(_X), jax.jacrev(fn)(_X), jax.jacfwd(fn)(_X)

    for got in derivatives(jnp.array([1, 3, -1])):
      self.assertTrue(np.all(np.isfinite(got[0])))
      self.assertTrue(np.all(np.isnan(got[1:])))
    fn = score(_apply, _PARAMS, 1)
    for got, want in zip(
      derivatives(jnp.array([1])),
      (fn(_X), *[jax.jacrev(fn)(_X)] * 2),
      strict=True,
    ):
      np.testing.assert_allclose(got[0], want, rtol=1e-6, atol=1e-7)

  def test_no_second_derivative_of_no_class(self):
    hessian = jax.jit(
      lambda label: jax.hessian(scores.prob(_apply, _PARAMS, label))(_X)
    )
    self.assertTrue(np.all(np.isnan(hessian(3))))
    p, w = np.exp(_Z) / np.exp(_Z).sum(), np.asarray(_PARAMS)
    away = w - p @ w  # Of each class from the mean: grad p_c = p_c away_c.
    want = p[1] * (np.outer(away[1], away[1]) - away.T @ (p[:, None] * away))
    np.testing.assert_allclose(hessian(1), want, rtol=1e-4, atol=1e-6)

  def test_contrast(self):
    p, w = np.exp(_Z) / np.exp(_Z).sum(), np.asarray(_PARAMS)
    fn = scores.contrast(_apply, _PARAMS, 2, 1)
    np.testing.assert_allclose(fn(_X), p[2] - p[1], rtol=1e-6)
    grads = p[:, None] * (w - p @ w)
    np.testing.assert_allclose(jax.grad(fn)(_X), grads[2] - grads[1], rtol=1e-5)
    with self.assertRaisesRegex(ValueError, 'label 5 is not one of 3'):
      scores.contrast(_apply, _PARAMS, 2, other=5)(_X)

  def test_one_output(self):
    """A softmax of one number is 1: its map would be zero everywhere."""
    params = _PARAMS[1:2]
    fn = scores.sigmoid(_apply, params, scores.predict(_apply, params, _X))
    p = 1 / (1 + np.exp(-2.5))
    np.testing.assert_allclose(fn(_X), p, rtol=1e-6)
    np.testing.assert_allclose(
      jax.grad(fn)(_X), p * (1 - p) * np.array([0.5, -1]), rtol=1e-5
    )
    self.assertEqual(scores.logit(_apply, params, 0)(_X), 2.5)
    for score in (
      scores.prob,
      scores.log_prob,
      scores.loss,
      scores.margin,
      scores.margins,
      scores.prob_margins,
      functools.partial(scores.contrast, other=0),
    ):
      with self.assertRaisesRegex(ValueError, 'got 1.*use scores.sigmoid'):
        score(_apply, params, 0)(_X)

  def test_sigmoid_takes_each_label_alone(self):
    fn = scores.sigmoid(_apply, _PARAMS, 0)
    np.testing.assert_allclose(fn(_X), 1 / (1 + np.exp(3)), rtol=1e-6)

  def test_wants_one_example(self):
    with self.assertRaisesRegex(ValueError, r'logits \[k\].*\(3, 1\)'):
      scores.logit(_apply, _PARAMS, 0)(_X[:, None])

  def test_extreme_logits_stay_finite(self):
    params = _PARAMS * 1e4
    for score in (scores.prob, scores.log_prob, scores.loss):
      self.assertTrue(jnp.isfinite(score(_apply, params, 0)(_X)))

  def test_black_box_is_a_score(self):
    fn = scores.from_host(lambda batch: batch.sum(-1))
    self.assertEqual(fn(_X), -1)
    logits_fn = scores.from_host(
      lambda batch: batch @ np.asarray(_PARAMS).T, output_shape=(3,)
    )
    got = scores.prob(logits_fn, None, 1)(_X)
    np.testing.assert_allclose(
      got, scores.prob(_apply, _PARAMS, 1)(_X), rtol=1e-6
    )
    self.assertEqual(jax.vmap(fn)(jnp.ones((4, 2))).shape, (4,))

  def test_max_logit_follows_the_class(self):
    fn = scores.max_logit(lambda params, x: params * x, jnp.array([1.0, -2.0]))
    self.assertEqual(fn(jnp.array([3.0, 1.0])), 3)
    self.assertEqual(fn(jnp.array([1.0, -3.0])), 6)


if __name__ == '__main__':
  absltest.main()
