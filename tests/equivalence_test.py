"""Tests for `equivalence.py`: what it takes for equal, and what it does not."""

import collections

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saliency_jax.core import types
from saliency_jax.gradients import integrated
from saliency_jax.gradients import smoothgrad
from tests import equivalence


def _attribution(**changes):
  """A map whose scores differ by a hundredth of their size."""
  info = {
    'completeness_error': 1e-3,
    'relative_error': 0.1,
    'score': 1.0,
    'baseline_score': 0.99,
  }
  info = {k: np.float32(v) for k, v in (info | changes).items()}
  return types.Attribution(
    np.ones(3, np.float32), integrated.IntegratedGradientsInfo(**info)
  )


class AssertCloseTest(parameterized.TestCase):
  @parameterized.parameters(
    # A difference of scores, known as well as they are: 1e-5.
    ('completeness_error', 1e-3, 8e-6, 1.2e-5),
    # Over a hundredth of their size: 1e-5 (1 + 0.1) / 0.01.
    ('relative_error', 0.1, 1e-3, 1.2e-3),
    ('score', 1.0, 8e-6, 1.2e-5),
  )
  def test_scale(self, name, value, small, large):
    want = _attribution()
    equivalence.assert_close(_attribution(**{name: value + small}), want)
    with self.assertRaisesRegex(AssertionError, f'info.{name}'):
      equivalence.assert_close(_attribution(**{name: value + large}), want)

  def test_arrays_have_a_scale_of_their_own(self):
    want = _attribution()._replace(scores=np.full(3, 1e-4, np.float32))
    got = want._replace(scores=np.full(3, 1.001e-4, np.float32))
    with self.assertRaisesRegex(AssertionError, 'scores'):
      equivalence.assert_close(got, want)

  def test_standard_errors_are_known_as_the_draws_are(self):
    def smooth(stderr):
      info = smoothgrad.SmoothGradInfo(
        np.full(3, stderr, np.float32),
        mean_score=np.float32(0.5),
        draws=np.int32(2),
      )
      return types.Attribution(np.ones(3, np.float32), info)

    equivalence.assert_close(smooth(1e-3 + 8e-6), smooth(1e-3))
    with self.assertRaisesRegex(AssertionError, 'info.stderr'):
      equivalence.assert_close(smooth(1e-3 + 1.2e-5), smooth(1e-3))

  def test_margins_are_some_standard_errors(self):
    info = collections.namedtuple('Info', 'stderr margin score')

    def map_of(margin):
      numbers = np.full(3, 1e-3, np.float32), np.full(3, margin, np.float32)
      return types.Attribution(
        np.ones(3, np.float32), info(*numbers, score=np.float32(1))
      )

    equivalence.assert_close(map_of(1e-2 + 8e-5), map_of(1e-2))
    with self.assertRaisesRegex(AssertionError, 'info.margin'):
      equivalence.assert_close(map_of(1e-2 + 1.2e-4), map_of(1e-2))

  def test_counts_are_exact(self):
    with self.assertRaises(AssertionError):
      equivalence.assert_close({'n': np.int32(3)}, {'n': np.int32(4)})


if __name__ == '__main__':
  absltest.main()
