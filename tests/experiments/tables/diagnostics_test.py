"""Tests for `diagnostics.py`: what launchers say of maps."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.tables import diagnostics
from saliency_jax import scores
from saliency_jax.core import types


class DiagnosticsTest(parameterized.TestCase):
  @parameterized.parameters(
    (scores.prob, 1.0, True),
    (scores.log_prob, 1 - 1e-9, True),  # One, in float32.
    (scores.loss, 1.0, True),
    (scores.prob, 0.9999, False),
    (scores.logit, 1.0, False),
  )
  def test_probability_of_one(self, score, prob, warns):
    out = types.Attribution(np.ones((2, 2, 1)), ())
    found = diagnostics.warnings(out, score=score, prob=prob)
    self.assertEqual(bool(found), warns)

  def test_counted(self):
    maps = [
      {'a': {'warnings': ['w', 'v']}, 'b': {}},
      {'a': {'warnings': ['w']}},
    ]
    self.assertEqual(
      diagnostics.counted([{'maps': m} for m in maps]),
      ['a, 2 of 2: w', 'a, 1 of 2: v'],
    )


if __name__ == '__main__':
  absltest.main()
