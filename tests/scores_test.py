"""Tests for `scores.py`."""

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
    (scores.margin, -0.5),
  )
  def test_values(self, score, want):
    for label in (1, np.int64(1), jnp.array(1)):
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
    scores.margin,
    scores.margins,
    scores.prob_margins,
  )
  def test_label_out_of_range(self, score):
    for label in (3, -1):
      with self.assertRaisesRegex(ValueError, f'label {label} is not one of 3'):
        score(_apply, _PARAMS, label)(_X)
      # A traced label cannot raise; it must not pass for another class.
      got = score(_apply, _PARAMS, jnp.array(label))(_X)
      self.assertTrue(np.all(np.isnan(got)))

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
    got = scores.prob(lambda _, x: logits_fn(x), None, 1)(_X)
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
