"""Tests for `expected.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.gradients import expected
from saliency_jax.gradients import integrated
from tests import equivalence
from tests import until


class ExpectedGradientsTest(parameterized.TestCase):
  def test_references_may_be_numpy(self):
    references = np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2)

    def explain(references):
      return expected.expected_gradients(
        lambda x: jnp.sum(x**2),
        jnp.ones(2),
        references=references,
        key=jax.random.key(0),
        num_samples=9,
      ).scores

    np.testing.assert_array_equal(
      explain(references), explain(jnp.asarray(references))
    )

  def test_covers_the_mean_of_integrated_gradients(self):
    x = jnp.array([0.3, 1.0, -0.5])
    references = jax.random.normal(jax.random.key(0), (5, 3))
    fn = lambda x: x[0] * x[1] ** 2 + x[2]
    out = expected.expected_gradients(
      fn,
      x,
      references=references,
      key=jax.random.key(1),
      num_samples=20000,
      batch_size=500,
    )
    truth = np.mean(
      [
        integrated.integrated_gradients(fn, x, baseline=r).scores
        for r in references
      ],
      axis=0,
    )
    z = (out.scores - truth) / out.info.stderr
    self.assertLess(np.max(np.abs(z)), 4.5)
    info = out.info
    self.assertLess(info.completeness_error / info.completeness_stderr, 4.5)
    np.testing.assert_allclose(
      info.baseline_score, jnp.mean(jax.vmap(fn)(references)), rtol=1e-4
    )

  def test_until_it_is_good_and_on(self):
    def explain(fn, num, **settings):
      return expected.expected_gradients(
        fn,
        jnp.array([0.3, 1.0, -0.5]),
        references=jax.random.normal(jax.random.key(0), (5, 3)),
        key=jax.random.key(1),
        num_samples=num,
        batch_size=5,
        **settings,
      )

    until.check(
      self,
      explain,
      lambda x: x[0] * x[1] ** 2 + x[2],
      few=20,
      many=40,
      most=2000,
      tolerance=0.1,
    )

  def test_linear(self):
    # One reference and a linear function leave nothing to chance.
    w, x = jnp.arange(4.0), jnp.ones(4)
    out = expected.expected_gradients(
      lambda x: w @ x,
      x,
      references=jnp.full((1, 4), 0.5),
      key=jax.random.key(0),
      num_samples=10,
    )
    np.testing.assert_allclose(out.scores, w / 2, rtol=1e-6)
    np.testing.assert_allclose(out.info.stderr, 0, atol=1e-6)
    self.assertLess(out.info.relative_error, 1e-6)

  def test_equivalence(self):
    def method(fn, x, *, key=None, batch_size=8):
      references = equivalence.examples(5, x.dtype)
      return expected.expected_gradients(
        fn,
        x,
        references=references,
        key=key,
        num_samples=7,
        batch_size=batch_size,
      )

    equivalence.check(self, method, draws=True)

  def test_batch_size_bounds_memory(self):
    references = equivalence.examples(3, shape=(64, 64, 3))
    equivalence.check_memory(
      self,
      functools.partial(
        expected.expected_gradients, references=references, num_samples=128
      ),
    )

  @parameterized.parameters(
    (
      {'num_samples': 0},
      r'num_samples must be a whole number of at least 1, got 0',
    ),
    ({'key': None}, 'key=jax.random.key'),
    ({'references': jnp.ones((0, 3))}, 'number of references must be'),
    (
      {'references': jnp.ones((4, 2))},
      r'each of references must be like the example, \(\(3,\).*\(\(2,\)',
    ),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
  )
  def test_bad_arguments(self, settings, message):
    settings = {
      'key': jax.random.key(0),
      'references': jnp.ones((4, 3)),
    } | settings
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(expected.expected_gradients)(
        jnp.sum, jnp.ones(3), **settings
      )


if __name__ == '__main__':
  absltest.main()
