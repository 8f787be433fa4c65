"""Tests for `graph_shapley.py` and `neighbourhoods.py`."""

import functools
import itertools
import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax.core import graphs
from saliency_jax.perturbations import graph_shapley
from saliency_jax.perturbations import neighbourhoods
from saliency_jax.perturbations import shapley
from tests import equivalence
from tests import random_games

_RANDOM = [
  pair
  for pair, draw in zip(
    itertools.combinations(range(7), 2),
    np.random.default_rng(2).uniform(size=21),
    strict=True,
  )
  if draw < 0.3
]
# Players and edges; the last player of the random graph may be alone.
_GRAPHS = {
  'chain': (7, graphs.chain(7)),
  'grid': (6, graphs.grid((2, 3))),
  'grid with corners': (6, graphs.grid((2, 3), diagonal=True)),
  'random': (7, np.array(_RANDOM)),
}


def _explain(method, worths, **settings):
  explain = functools.partial(method, masker=maskers.entries, batch_size=None)
  fn, x = random_games.score(worths), random_games.row(worths)
  return equivalence.compiled(explain)(fn, x, **settings)


def _sets(players):
  players = list(players)
  for size in range(len(players) + 1):
    yield from map(frozenset, itertools.combinations(players, size))


def _joined(members, edges):
  """Returns whether every two members are joined by edges among them."""
  members = set(members)
  found = {min(members)}
  for _ in members:
    for i, j in edges:
      if {i, j} <= members and {i, j} & found:
        found |= {i, j}
  return found == members


def _near(i, edges, order):
  near = {i}
  for _ in range(order):
    near |= {k for e in edges if set(e) & near for k in e}
  return frozenset(near)


def _by_definition(name, worths, edges, order, others_present):
  num = len(worths).bit_length() - 1
  edges = [tuple(e) for e in np.asarray(edges).tolist()]
  worth = lambda members: float(worths[sum(1 << j for j in members)])
  values = np.zeros(num)
  for i in range(num):
    near = _near(i, edges, order)
    others = frozenset(range(num)) - near if others_present else frozenset()
    n = len(near)
    for members in _sets(near):
      size = len(members)
      if i not in members:
        continue
      if name == 'l':
        weight = 1 / (n * math.comb(n - 1, size - 1))
      elif _joined(members, edges):
        weight = 2 / (size * (size + 1) * (size + 2))
      else:
        continue
      added = worth(others | members) - worth(others | members - {i})
      values[i] += weight * added
  return values


class GraphShapleyTest(parameterized.TestCase):
  @parameterized.product(
    graph=tuple(_GRAPHS),
    settings=(('l', 1, False), ('l', 2, True), ('c', 1, True), ('c', 2, False)),
  )
  def test_matches_the_definition(self, graph, settings):
    num, edges = _GRAPHS[graph]
    name, order, others_present = settings
    worths = random_games.numbers(num)
    method = {'l': graph_shapley.l_shapley, 'c': graph_shapley.c_shapley}[name]
    out = _explain(
      method, worths, edges=edges, order=order, others_present=others_present
    )
    want = _by_definition(name, worths, edges, order, others_present)
    np.testing.assert_allclose(out.scores, want, atol=1e-5)
    error = abs(want.sum() - (worths[-1] - worths[0]))
    np.testing.assert_allclose(out.info.efficiency_error, error, atol=1e-5)

  def test_of_everyone_is_exact(self):
    worths = random_games.numbers(5)
    out = _explain(
      graph_shapley.l_shapley, worths, edges=graphs.chain(5), order=4
    )
    np.testing.assert_allclose(
      out.scores, random_games.shapley(worths), atol=1e-5
    )
    # Each of the coalitions once.
    self.assertEqual(out.info.num_calls, 2**5)

  def test_of_a_complete_graph_only_one_is_shapley(self):
    worths = random_games.numbers(4)
    want = random_games.shapley(worths)
    edges = list(itertools.combinations(range(4), 2))
    local = _explain(graph_shapley.l_shapley, worths, edges=edges)
    np.testing.assert_allclose(local.scores, want, atol=1e-5)
    connected = _explain(graph_shapley.c_shapley, worths, edges=edges)
    self.assertGreater(np.max(np.abs(connected.scores - want)), 0.05)

  def test_a_grid_is_the_default_of_cells(self):
    fn = lambda x: jnp.sum(x[:-1] * x[1:]) + jnp.sum(x[:, :-1] * x[:, 1:])
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(4, 3, 1)))
    masker = functools.partial(maskers.grid, cells=(4, 3))
    explain = functools.partial(graph_shapley.l_shapley, fn, masker=masker)
    default, given, want = jax.jit(
      lambda x: (
        explain(x),
        explain(x, edges=graphs.grid((4, 3))),
        shapley.shapley(fn, x, masker=masker, estimator=shapley.exact),
      )
    )(x)
    np.testing.assert_array_equal(default.scores, given.scores)
    # Players play with neighbours alone.
    np.testing.assert_allclose(default.scores, want.scores, atol=1e-5)

  def test_connected_sets_of_a_chain(self):
    neighbours = graphs.neighbours(graphs.chain(9), 9)
    near = neighbourhoods.reach(neighbours, 2)[4]
    terms = list(neighbourhoods.connected(near, 4, neighbours))
    spans = [t for t, w in terms if w > 0]
    self.assertLen(set(spans), 9)
    for span in spans:
      self.assertEqual(span, tuple(range(span[0], span[-1] + 1)))

  def test_ball_regression(self):
    num, shape = 12, (3, 4)
    worths = random_games.numbers(num)
    edges = graphs.grid(shape)
    out = _explain(graph_shapley.ball_regression, worths, edges=edges, order=2)
    rows, scores = [], []
    for radius in range(3):
      for i in range(num):
        row = np.zeros(shape)
        for place in np.ndindex(*shape):
          home = np.unravel_index(i, shape)
          row[place] = np.abs(np.subtract(place, home)).sum() <= radius
        rows.append(row.ravel())
        scores.append(worths[int(row.ravel() @ 2 ** np.arange(num))])
    rows, scores = np.array(rows), np.array(scores) - worths[0]
    sizes = rows.sum(1).astype(int)
    weights = [(num - 1) / (math.comb(num, s) * s * num) for s in sizes]
    want = np.linalg.solve(rows.T * weights @ rows, rows.T @ scores)
    np.testing.assert_allclose(out.scores, want, atol=1e-4)

  def test_diamonds_of_a_photo(self):
    balls = [
      near
      for radius in range(4)
      for near in neighbourhoods.reach(
        graphs.neighbours(graphs.grid((28, 28)), 784), radius
      )
    ]
    table = neighbourhoods.table(neighbourhoods.in_balls(balls, 784), 784)
    self.assertEqual(table.listed.shape, (3136, 25))

  @parameterized.parameters(
    (graph_shapley.l_shapley, {}),
    (graph_shapley.c_shapley, {'order': 2, 'others_present': True}),
    (graph_shapley.ball_regression, {'order': 1}),
  )
  def test_equivalence(self, method, settings):
    masker = functools.partial(maskers.grid, cells=(2, 3))
    method = functools.partial(method, masker=masker, **settings)
    equivalence.check(self, method)

  def test_batch_size_bounds_memory(self):
    masker = functools.partial(maskers.grid, cells=28)
    method = functools.partial(graph_shapley.c_shapley, masker=masker)
    equivalence.check_memory(self, method, shape=(112, 112, 3))

  @parameterized.parameters(
    ({'edges': None}, r'without an order are no graph: pass edges=.*segments'),
    ({'order': -1}, 'order must be a whole number of at least 0, got -1'),
    ({'edges': [[0, 9]]}, r'numbers 0 to 8, got \[0, 9\]'),
  )
  def test_bad_arguments(self, settings, message):
    explain = functools.partial(
      graph_shapley.l_shapley, masker=maskers.entries, batch_size=None
    )
    settings = {'edges': graphs.chain(9)} | settings
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(explain)(jnp.sum, jnp.ones(9), **settings)

  def test_too_many_terms(self):
    explain = functools.partial(
      graph_shapley.l_shapley, masker=maskers.steps, order=10
    )
    with self.assertRaisesRegex(ValueError, 'more than 1048576 terms: take'):
      equivalence.traced(explain)(jnp.sum, jnp.ones((30, 1)))


if __name__ == '__main__':
  absltest.main()
