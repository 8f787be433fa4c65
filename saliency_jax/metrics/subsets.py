"""Does the score fall by what a map says of the features that are hidden?

For random sets `S` of features and the score `f`,

    corr_S(sum_{i in S} scores_i, f(x) - f(x without S)),

from -1 to 1, and 1 for a map that adds up. Three papers draw the sets in three
ways: sets of one size (faithfulness correlation), of each of some sizes
(sensitivity-n), and cells of a grid, each hidden with one chance (MuFidelity,
which correlates ranks).

Sums ask for scores that are differences of the score. A gradient's are slopes:
times the way to what a hidden feature becomes, `(x - baseline) * gradient`,
they are differences.

References:
  Ancona et al., Towards better understanding of gradient-based attribution
  methods for deep neural networks, 2018. https://arxiv.org/abs/1711.06104
  Bhatt, Weller and Moura, Evaluating and aggregating feature-based model
  explanations, 2020. https://arxiv.org/abs/2005.00631
  Fel, Vigouroux, Cadene and Serre, How good is your explanation? Algorithmic
  stability measures to assess the quality of explanations for deep neural
  networks, 2021. https://arxiv.org/abs/2009.04521
"""

from collections.abc import Callable, Sequence
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import selection
from saliency_jax.core import types
from saliency_jax.metrics import maps
from saliency_jax.metrics import overlap

# `(a, b)` to their correlation.
Correlation = Callable[[Float[Array, 'n'], Float[Array, 'n']], Float[Array, '']]


class SubsetCorrelation(NamedTuple):
  """How a map's sums go with the falls of the score.

  The correlation is NaN where the sums, or the falls, are all the same: nothing
  follows from that.
  """

  correlation: Float[Array, '']  # In [-1, 1].
  stderr: Float[Array, '']  # By the jackknife over sets.
  sums: Float[Array, 'n']  # Of the scores of what is hidden, a set each.
  falls: Float[Array, 'n']  # Of the score, in its units.


class SensitivityN(NamedTuple):
  """The correlation by the number of features that are hidden."""

  sizes: Int[Array, 'm']
  correlation: Float[Array, 'm']  # In [-1, 1]; NaN as in `SubsetCorrelation`.
  stderr: Float[Array, 'm']  # By the jackknife over sets.
  mean: Float[Array, '']  # Over the sizes that have a correlation.
  mean_stderr: Float[Array, '']


def faithfulness_correlation(
  fn: types.ScoreFn,
  x: types.Example,
  scores: types.Example,
  *,
  key: Key[Array, ''],
  share: types.Scalar = 0.2,
  baseline: baselines.Baseline = baselines.black,
  masker: maskers.Constructor | None = None,
  num_samples: int = 100,
  batch_size: int | None = None,
) -> SubsetCorrelation:
  """Correlates sums with falls over random sets of one size.

  All is NaN where the map is not finite.

  Args:
    fn: score of one example.
    x: the example: an array, or anything with a masker.
    scores: differences of the score, broadcastable against `x`; or one a
      player, `[*players, 1]`.
    key: consumed.
    share: of the features that is hidden, rounded up; the paper leaves it open.
    baseline: what a hidden feature becomes.
    masker: its players are the features, their scores read as in
      `maps.per_player`; `None` takes the entries of `x`.
    num_samples: sets.
    batch_size: calls of `fn` held in memory at once; `None` holds all.
  """
  checks.within('share', share, '(0, 1]')
  players, values = _entries(
    faithfulness_correlation, x, scores, key, baseline, masker
  )
  size = selection.count(share, players.num)
  out = _correlated(
    fn,
    x,
    players,
    values,
    lambda i: _of_size(sampling.draw_key(key, i), size, values),
    num_samples=num_samples,
    correlation=overlap.linear_correlation,
    batch_size=batch_size,
  )
  return maps.if_finite(out, scores)


def sensitivity_n(
  fn: types.ScoreFn,
  x: types.Example,
  scores: types.Example,
  *,
  key: Key[Array, ''],
  sizes: Sequence[int] | None = None,
  baseline: baselines.Baseline = baselines.black,
  masker: maskers.Constructor | None = None,
  num_samples: int = 100,
  batch_size: int | None = None,
) -> SensitivityN:
  """Correlates sums with falls over random sets of each of some sizes.

  Correlations are NaN where the map is not finite. A size has none where all
  sums, or all falls, of its sets are the same, as where one hidden pixel leaves
  a sure prediction as it was; it is left out of the mean.

  Args:
    fn: score of one example.
    x: the example: an array, or anything with a masker.
    scores: differences of the score, broadcastable against `x`; or one a
      player, `[*players, 1]`.
    key: consumed; set `j` of size `i` is draw `i num_samples + j`.
    sizes: numbers of features that are hidden; `None` is up to ten of them,
      from 1 to four fifths of the features in equal ratios.
    baseline: what a hidden feature becomes.
    masker: its players are the features, their scores read as in
      `maps.per_player`; `None` takes the entries of `x`.
    num_samples: sets of each size.
    batch_size: calls of `fn` held in memory at once; `None` holds all.
  """
  checks.count('num_samples', num_samples)
  players, values = _entries(sensitivity_n, x, scores, key, baseline, masker)
  if sizes is None:
    sizes = _spaced(players.num)
  for size in sizes:
    checks.count('sizes', size, 1, players.num)
  sizes = jnp.asarray(np.asarray(sizes, np.int32))
  sums, falls = _measured(
    fn,
    x,
    players,
    values,
    lambda i: _of_size(
      sampling.draw_key(key, i), sizes[i // num_samples], values
    ),
    num_samples=sizes.size * num_samples,
    batch_size=batch_size,
  )
  correlation, stderr = jax.vmap(
    functools.partial(
      _with_error,
      correlation=overlap.linear_correlation,
      batch_size=batch_size,
    )
  )(sums.reshape(-1, num_samples), falls.reshape(-1, num_samples))
  known = ~jnp.isnan(correlation)
  num = jnp.sum(known, dtype=correlation.dtype)
  out = maps.if_finite(
    {
      'correlation': correlation,
      'stderr': stderr,
      'mean': jnp.sum(correlation, where=known) / num,
      # The sets of one size are independent of all others.
      'mean_stderr': jnp.sqrt(jnp.sum(stderr**2, where=known)) / num,
    },
    scores,
  )
  return SensitivityN(sizes=sizes, **out)


def mu_fidelity(
  fn: types.ScoreFn,
  x: types.Example,
  scores: types.Example,
  *,
  key: Key[Array, ''],
  cells: int = 9,
  hide_prob: types.Scalar = 0.2,
  baseline: baselines.Baseline = baselines.black,
  masker: maskers.Constructor | None = None,
  num_samples: int = 200,
  batch_size: int | None = None,
) -> SubsetCorrelation:
  """Correlates the ranks of sums and falls over random cells of a grid.

  The settings are the ones of Xplique, the library of the paper's authors,
  where no variation counts as a correlation of 0; here it is NaN.

  All is NaN where the map is not finite.

  Args:
    fn: score of one example.
    x: one image; any example with a masker.
    scores: differences of the score, broadcastable against `x`, summed by cell;
      or one a player, `[*players, 1]`.
    key: consumed.
    cells: a side of the grid.
    hide_prob: chance of each cell to be hidden.
    baseline: what a hidden cell becomes.
    masker: its players take the place of cells, their scores read as in
      `maps.per_player`.
    num_samples: sets.
    batch_size: calls of `fn` held in memory at once; `None` holds all.
  """
  checks.within('hide_prob', hide_prob, '(0, 1)')
  x = examples.arrays(x)
  if masker is None:
    players = maskers.grid(x, key=key, cells=cells, baseline=baseline)
    values = maps.totals(scores, x, players)
  else:
    checks.no_masker(mu_fidelity, cells=cells, baseline=baseline)
    players = checks.constructor(masker)(x, key=key)
    values = examples.wide(maps.per_player(scores, players))

  def hidden(i):
    unit = sampling.uniform(sampling.draw_key(key, i), values)
    return (unit < hide_prob).astype(values.dtype)

  out = _correlated(
    fn,
    x,
    players,
    values,
    hidden,
    num_samples=num_samples,
    correlation=overlap.rank_correlation,
    batch_size=batch_size,
  )
  return maps.if_finite(out, scores)


def _entries(metric, x, scores, key, baseline, masker):
  """Returns the players, entries unless told otherwise, and their scores."""
  x = examples.arrays(x)
  if masker is None:
    players = maskers.entries(x, key=key, baseline=baseline)
    return players, maps.totals(scores, x, players)
  checks.no_masker(metric, baseline=baseline)
  players = checks.constructor(masker)(x, key=key)
  return players, examples.wide(maps.per_player(scores, players))


def _spaced(num):
  return np.unique(np.rint(np.geomspace(1, max(1, 0.8 * num), 10)).astype(int))


def _of_size(key, size, like):
  """Draws which players are hidden, exactly `size` of them."""
  order = jax.random.permutation(key, jnp.arange(like.size, dtype=jnp.int32))
  return (order < size).astype(like.dtype).reshape(like.shape)


def _correlated(
  fn, x, players, values, hidden, *, num_samples, correlation, batch_size
):
  sums, falls = _measured(
    fn,
    x,
    players,
    values,
    hidden,
    num_samples=num_samples,
    batch_size=batch_size,
  )
  found, stderr = _with_error(
    sums, falls, correlation=correlation, batch_size=batch_size
  )
  return SubsetCorrelation(found, stderr, sums, falls)


def _measured(fn, x, players, values, hidden, *, num_samples, batch_size):
  """Returns the sums and the falls of sets, drawn by `hidden(i)`."""
  checks.count('num_samples', num_samples)
  x = examples.arrays(x)
  whole = examples.wide(checks.one_number(fn(x)))

  def sample(i):
    gone = hidden(i)
    left = examples.wide(fn(players.hide(1 - gone)))
    return jnp.sum(gone * values), whole - left

  return sampling.batched_map(
    sample, jnp.arange(num_samples), batch_size=batch_size
  )


def _with_error(sums, falls, *, correlation, batch_size):
  """Returns a correlation and its standard error, without assumptions.

  The jackknife makes the correlation again without each of the sets; one that
  does not vary without some set has no error.
  """
  n = sums.size

  def without(i):
    rest = jnp.arange(n - 1)
    rest = rest + (rest >= i).astype(rest.dtype)
    return correlation(sums[rest], falls[rest])

  found = correlation(sums, falls)
  if n < 3:
    return found, jnp.full_like(found, jnp.nan)
  left = sampling.batched_map(without, jnp.arange(n), batch_size=batch_size)
  return found, jnp.sqrt((n - 1) * jnp.var(left))
