"""Tests for `diagnostics.py`: what a map says against itself."""

from typing import Any, NamedTuple

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.tables import diagnostics
from saliency_jax import scores
from saliency_jax.core import types


class _Info(NamedTuple):
  explained: Any = 0.5
  split_half: Any = 0.9
  accepted_fraction: Any = 0.3
  relative_error: Any = 0.01
  num_rectifiers: Any = 3
  num_smooth: Any = 0
  lost: Any = 0.1
  solver: Any = ()


class _Solver(NamedTuple):
  converged: Any


_GOOD = _Info()


def _warnings(info=_GOOD, *, scale=1.0, score=scores.logit, prob=0.5):
  out = types.Attribution(scale * np.ones((2, 2, 1)), info)
  return diagnostics.warnings(out, score=score, prob=prob)


class WarningsTest(parameterized.TestCase):
  def test_a_good_map_has_none(self):
    self.assertEqual(_warnings(), ())
    self.assertEqual(_warnings(()), ())
    self.assertEqual(_warnings(_Info(solver=_Solver(np.array(True)))), ())

  @parameterized.parameters(
    ({'explained': -0.15}, 'explains nothing of the score'),
    ({'explained': np.nan}, 'explains nothing of the score'),
    ({'split_half': 0.2}, 'halves of the draws disagree'),
    ({'split_half': np.nan}, 'halves of the draws disagree'),
    ({'accepted_fraction': 0.0}, 'no step of the search'),
    ({'relative_error': 0.2}, "does not sum to the score's change"),
    ({'relative_error': np.inf}, "does not sum to the score's change"),
    ({'solver': _Solver(np.array([True, False]))}, 'has not converged'),
    ({'num_rectifiers': 0}, 'nothing was rectified'),
    ({'lost': 0.9}, 'probability was lost'),
  )
  def test_info_that_speaks(self, fields, want):
    (sentence,) = _warnings(_Info(**fields))
    self.assertIn(want, sentence)

  def test_zero_map(self):
    self.assertEqual(_warnings(scale=0), ('the map is zero everywhere',))

  @parameterized.parameters(
    (scores.prob, 1.0, True),
    (scores.log_prob, 1 - 1e-9, True),  # One, in float32.
    (scores.loss, 1.0, True),
    (scores.prob, 0.9999, False),
    (scores.logit, 1.0, False),
  )
  def test_probability_of_one(self, score, prob, warns):
    found = _warnings(score=score, prob=prob)
    self.assertEqual(bool(found), warns)

  def test_sentences_fit_their_place_in_a_figure(self):
    info = _Info(-1.0, 0.0, 0.0, 1.0, 0, 0, 1.0, _Solver(np.array(False)))
    found = _warnings(info, scale=0, score=scores.prob, prob=1.0)
    self.assertLen(found, 9)
    self.assertLessEqual(max(map(len, found)), 80)

  def test_counted(self):
    maps = [
      {'a': {'warnings': ['w', 'v']}, 'b': {}},
      {'a': {'warnings': ['w']}},
    ]
    self.assertEqual(
      diagnostics.counted([{'maps': m} for m in maps]),
      ['a, 2 of 2: w', 'a, 1 of 2: v'],
    )


class SentencesTest(absltest.TestCase):
  def test_players_count_once_whatever_their_size(self):
    class Info(NamedTuple):
      values: Any = np.array([3.0, 4.0])
      stderr: Any = np.array([0.6, 0.8])
      explained: Any = 0.25
      score: Any = 0.5
      baseline_score: Any = -0.25

    out = types.Attribution(np.array([3.0, 3, 3, 4]), Info())
    self.assertEqual(
      [
        describe(out)
        for describe in (
          diagnostics.fitted,
          diagnostics.summed,
          diagnostics.ends,
        )
      ],
      [
        '25% of the variance explained; standard error 20.0% of the map',
        'values sum to +7.000, the score changes by +0.750',
        'score 0.500, -0.250 with all hidden',
      ],
    )


if __name__ == '__main__':
  absltest.main()
