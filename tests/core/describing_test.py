"""Tests for `describing.py`: what a map says for itself, and against itself."""

from typing import Any, NamedTuple

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax.core import describing
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
  sigma_found: Any = True
  met: Any = True
  values: Any = np.array([3.0, 4.0])
  effective_samples: Any = 3.0
  shrinkage: Any = 0.1
  score_std: Any = 0.2
  sigma: Any = 0.05


class _Solver(NamedTuple):
  converged: Any


class _Sums(NamedTuple):
  values: Any = np.array([3.0, 4.0])
  score: Any = np.array(0.5)
  baseline_score: Any = np.array(-0.25)


class _Players(NamedTuple):
  values: Any = np.array([3.0, 4.0])
  stderr: Any = np.array([0.6, 0.8])
  explained: Any = 0.25
  score: Any = np.array(0.5)
  baseline_score: Any = np.array(-0.25)


class _Stderr(NamedTuple):
  stderr: Any


class _Score(NamedTuple):
  score: Any


_GOOD = _Info()


def _out(info=_GOOD, *, scale=1.0):
  return types.Attribution(scale * np.ones((2, 2, 1)), info)


class WarningsTest(parameterized.TestCase):
  def test_a_good_map_has_none(self):
    self.assertEqual(describing.warnings(_out()), ())
    self.assertEqual(describing.warnings(_out(())), ())
    solved = _Info(solver=_Solver(np.array(True)))
    self.assertEqual(describing.warnings(_out(solved)), ())

  @parameterized.parameters(
    ({'explained': -0.15}, 'explains nothing of the score'),
    ({'explained': np.nan}, 'explains nothing of the score'),
    ({'split_half': 0.2}, 'halves of the draws disagree'),
    ({'split_half': np.nan}, 'halves of the draws disagree'),
    ({'sigma_found': np.array(False)}, "no sigma leaves the share that 'auto'"),
    ({'accepted_fraction': 0.0}, 'no step of the search'),
    ({'relative_error': 0.2}, "does not sum to the score's change"),
    ({'relative_error': np.inf}, "does not sum to the score's change"),
    ({'solver': _Solver(np.array([True, False]))}, 'has not converged'),
    ({'num_rectifiers': 0}, 'nothing was rectified'),
    ({'lost': 0.9}, 'probability was lost'),
    ({'met': False}, 'not within the tolerance'),
    ({'effective_samples': 2.5}, 'too few effective samples'),
    ({'shrinkage': 0.4}, 'more draws or a smaller alpha'),
    ({'score_std': 0.0, 'split_half': 0.0}, 'noise does not move the score'),
  )
  def test_info_that_speaks(self, fields, want):
    (sentence,) = describing.warnings(_out(_Info(**fields)))
    self.assertIn(want, sentence)

  def test_map_that_is_none(self):
    zero, nan = (describing.warnings(_out(scale=s)) for s in (0, np.nan))
    self.assertEqual(zero, ('the map is zero everywhere',))
    self.assertEqual(nan, ('scores are NaN or infinite',))

  def test_numbers_that_are_none_are_told_once(self):
    info = _Info(explained=np.nan, split_half=np.nan, relative_error=np.nan)
    self.assertLen(describing.warnings(_out(info, scale=np.nan)), 1)

  def test_what_is_explained_needs_no_halves(self):
    # Of one number, or of equal ones, there is no correlation.
    info = _Info(explained=1.0, split_half=0.0)
    self.assertEqual(describing.warnings(_out(info)), ())

  @parameterized.parameters(
    (1.0, None, True),
    (1 - 1e-9, None, True),  # One, in float32.
    (0.9999, None, False),
    (1.0, 0.2, False),  # A logit of one.
    (9.0, 1.0, True),
  )
  def test_probability_of_one(self, score, prob, warns):
    found = describing.warnings(_out(_Score(np.array(score))), prob=prob)
    self.assertEqual(bool(found), warns)

  def test_sentences_fit_their_place_in_a_figure(self):
    solver = _Solver(np.array(False))
    info = _Info(-1.0, 0.0, 0.0, 1.0, 0, 0, 1.0, solver, np.array(False))
    found = describing.warnings(_out(info, scale=0), prob=1.0)
    self.assertLen(found, 10)
    self.assertLessEqual(max(map(len, found)), 80)


class FactsTest(absltest.TestCase):
  def test_players_count_once_whatever_their_size(self):
    spread = np.array([3.0, 3, 3, 4])
    found = [
      describing.facts(types.Attribution(spread, info))
      for info in (_Players(), _Sums())
    ]
    self.assertEqual(
      found,
      [
        '25% of the variance explained; standard error 20.0% of the map; '
        'score 0.500, -0.250 with all hidden',
        'values sum to +7.000, the score changes by +0.750',
      ],
    )

  def test_what_a_penalty_and_few_samples_leave(self):
    info = _Info(shrinkage=0.42, effective_samples=1.04, split_half=0.5)
    told = describing.facts(_out(info))
    self.assertIn('1.0 effective samples for 2 players', told)
    self.assertIn('the penalty takes 42% of the map away', told)
    self.assertNotIn('penalty', describing.facts(_out()))

  def test_standard_error_of_several_inputs(self):
    scores = {'a': np.array([3.0]), 'b': np.array([4.0])}
    info = _Stderr({'a': np.array([0.6]), 'b': np.array([0.8])})
    found = describing.facts(types.Attribution(scores, info))
    self.assertEqual(found, 'standard error 20.0% of the map')


class DescribeTest(absltest.TestCase):
  def test_of_a_map(self):
    out = saliency_jax.integrated_gradients(
      lambda x: jnp.sum(x**2), jnp.ones(3), num_steps=4
    )
    self.assertEqual(saliency_jax.describe(out), 'completeness error 0.0%')

  def test_a_warning_is_a_line_of_its_own(self):
    found = saliency_jax.describe(_out(_Score(np.array(2.0)), scale=0))
    self.assertEqual(found, 'score 2\n! the map is zero everywhere')

  def test_refuses_what_is_no_attribution(self):
    with self.assertRaisesRegex(TypeError, 'expected an attribution'):
      saliency_jax.describe(jnp.ones(3))


if __name__ == '__main__':
  absltest.main()
