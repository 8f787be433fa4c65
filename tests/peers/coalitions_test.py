"""Coalitions against shap, shapiq and lime, on the same values and draws.

Both sides compute in float64, and differ by rounding.
"""

import functools
import importlib
import unittest
import warnings

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.perturbations import banzhaf
from saliency_jax.perturbations import kernel_shap
from saliency_jax.perturbations import lime
from saliency_jax.perturbations import shapley
from saliency_jax.perturbations import stratified
from tests import equivalence
from tests import random_games

_NUM = 12
_WORTHS = random_games.numbers(_NUM).astype(np.float64)


def _peer(name):
  """Returns a package, or skips the test."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Of the packages' own dependencies.
      return importlib.import_module(name)
  except ImportError as e:
    raise unittest.SkipTest(f'{name} is not installed: {e}') from e


def _explain(method, worths=_WORTHS, **settings):
  """Returns what a method makes of a game, in float64."""
  explain = functools.partial(method, masker=maskers.entries, batch_size=None)
  with jax.enable_x64():
    fn, x = random_games.score(worths), random_games.row(worths)
    return jax.device_get(equivalence.compiled(explain)(fn, x, **settings))


def _play(worths):
  """Returns a game as numpy has it: rows of zeros and ones to their worth."""
  bits = 2 ** np.arange(len(worths).bit_length() - 1)
  return lambda sets: worths[(np.asarray(sets) > 0.5).astype(int) @ bits]


_worth = _play(_WORTHS)


class ShapTest(absltest.TestCase):
  def test_exact(self):
    shap = _peer('shap')
    explainer = shap.ExactExplainer(_worth, np.zeros((1, _NUM)))
    want = explainer(np.ones((1, _NUM))).values[0]
    for method, settings in (
      (shapley.shapley, {'estimator': shapley.exact}),
      (kernel_shap.kernel_shap, {'num_samples': 2**_NUM - 2}),
      (
        kernel_shap.kernel_shap,
        {'num_samples': 2**_NUM - 2, 'unbiased': True},
      ),
    ):
      got = _explain(method, **settings).scores
      np.testing.assert_allclose(got, want, atol=1e-10)

  def test_kernel(self):
    shap = _peer('shap')
    explainer = shap.KernelExplainer(_worth, np.zeros((1, _NUM)))
    want = explainer.shap_values(
      np.ones(_NUM), nsamples=2**_NUM, l1_reg=False, silent=True
    )
    out = _explain(kernel_shap.kernel_shap, num_samples=2**_NUM - 2)
    np.testing.assert_allclose(out.scores, want, atol=1e-10)

  def test_background(self):
    shap = _peer('shap')
    rng = np.random.default_rng(0)
    rows, x = rng.normal(size=(9, 5)), rng.normal(size=5)
    fn = lambda x: jnp.tanh(x[..., 0] * x[..., 1]) + x[..., 2] * x[..., 4]

    def predict(xs):
      with jax.enable_x64():
        return np.asarray(fn(xs))

    explainer = shap.ExactExplainer(predict, shap.maskers.Independent(rows))
    want = explainer(x[None]).values[0]
    background = baselines.Background(rows, batch_size=4)
    masker = functools.partial(maskers.entries, baseline=background)
    with jax.enable_x64():
      out = equivalence.compiled(shapley.shapley)(
        fn, x, masker=masker, estimator=shapley.exact
      )
    np.testing.assert_allclose(out.scores, want, atol=1e-10)

  def test_is_closer_at_equal_calls(self):
    shap = _peer('shap')
    num = 8
    worths = random_games.numbers(num)
    want = random_games.shapley_by_sets(worths)
    num_pairs, num_orders, seeds = 8, 3, range(20)
    # Both pass through every player of 8 orders and their reverses.
    num_calls = 2 + num_pairs * (2 * num - 2)
    theirs = []
    for seed in seeds:
      explainer = shap.PermutationExplainer(
        _play(worths), np.zeros((1, num)), seed=seed
      )
      row = np.ones((1, num))
      got = explainer(
        row, max_evals=num_pairs * (2 * num + 1), silent=True
      ).values[0]
      theirs.append(np.mean((got - want) ** 2))
    estimator = functools.partial(stratified.stratified, num_orders=num_orders)
    ours = []
    for seed in seeds:
      out = _explain(
        shapley.shapley, worths, key=jax.random.key(seed), estimator=estimator
      )
      self.assertLessEqual(out.info.num_calls, num_calls)
      ours.append(np.mean((out.scores - want) ** 2))
    self.assertLess(np.mean(ours), np.mean(theirs))


class ShapiqTest(absltest.TestCase):
  def test_exact(self):
    shapiq = _peer('shapiq')
    computer = shapiq.ExactComputer(n_players=_NUM, game=_worth)
    whole = 2**_NUM - 2
    for index, method, settings in (
      ('SV', shapley.shapley, {'estimator': shapley.exact}),
      ('SV', kernel_shap.kernel_shap, {'num_samples': whole}),
      ('BV', banzhaf.banzhaf, {'num_samples': whole}),
    ):
      values = computer(index)
      want = [values[(i,)] for i in range(_NUM)]
      got = _explain(method, **settings)
      np.testing.assert_allclose(got.scores, want, atol=1e-10, err_msg=index)


class LimeTest(absltest.TestCase):
  def test_same_draws(self):
    lime_base = _peer('lime.lime_base')
    num, width, key = 100, 0.25, jax.random.key(3)
    out = _explain(lime.lime, key=key, num_samples=num, num_fresh=2)
    key = jax.random.clone(key)
    draw = lambda i: jax.random.bernoulli(
      jax.random.fold_in(key, i), 0.5, (_NUM,)
    )
    with jax.enable_x64():
      sets = np.array([draw(i) for i in range(num)])
    cosine = sets.sum(1) / np.sqrt(_NUM * np.maximum(sets.sum(1), 1))
    kernel = lambda distance: np.exp(-(distance**2) / width**2)
    base = lime_base.LimeBase(kernel, random_state=0)
    intercept, pairs, _, _ = base.explain_instance_with_data(
      sets.astype(float),
      _worth(sets)[:, None],
      1 - cosine,
      label=0,
      num_features=_NUM,
      feature_selection='none',
    )
    want = [weight for _, weight in sorted(pairs)]
    np.testing.assert_allclose(out.scores, want, atol=1e-10)
    np.testing.assert_allclose(out.info.intercept, intercept, atol=1e-10)


if __name__ == '__main__':
  absltest.main()
