"""Methods and metrics on examples that are no photos, in one line each.

Each kind of example has a score whose answer is known: it reads two players of
its masker and nothing else, so that these are what a map has to name.
"""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import maskers
from saliency_jax import metrics
from saliency_jax.core import graphs
from saliency_jax.metrics import fidelity
from saliency_jax.perturbations import leg

_partial = functools.partial


def _draw(*shape):
  draw = np.random.default_rng(0).uniform(0.5, 1, shape)
  return jnp.asarray(draw, jnp.float32)


# Tokens 5 and 8 are the evidence; the others mean nothing.
_EMBEDDINGS = jnp.zeros((10, 4)).at[jnp.array([5, 8]), 0].set(1.0)


def _read_tokens(ids):
  return jnp.sum(_EMBEDDINGS[ids]) - 1


# Kind: the example, its masker, a logit, and the two players that the logit
# reads.
KINDS = {
  'row of a table': (
    _draw(13),
    maskers.entries,
    lambda x: 4 * (x[2] + x[7]) - 3,
    [2, 7],
  ),
  'series': (
    _draw(100, 2),
    _partial(maskers.steps, width=10),
    lambda x: jnp.sum(x[30:40]) / 5 + jnp.sum(x[80:90]) / 5 - 3,
    [3, 8],
  ),
  'volume': (
    _draw(8, 8, 8, 1),
    _partial(maskers.grid, cells=2, axes=(0, 1, 2)),
    lambda x: 4 * jnp.mean(x[:4, :4, :4]) + 4 * jnp.mean(x[4:, 4:, 4:]) - 3,
    [0, 7],
  ),
  'two inputs': (
    {'photo': _draw(6, 6, 3), 'row': _draw(5), 'age': _draw(1)},
    maskers.leaves,
    lambda x: 4 * jnp.mean(x['photo']) + 4 * jnp.mean(x['row']) - 3,
    [1, 2],  # Leaves go by the alphabet: age, photo, row.
  ),
  'channels-first image': (
    _draw(3, 12, 12),
    _partial(maskers.grid, cells=3, axes=(1, 2)),
    lambda x: 4 * jnp.mean(x[:, :4, 8:]) + 4 * jnp.mean(x[:, 8:, :4]) - 3,
    [2, 6],
  ),
  'tokens': (
    jnp.array([1, 5, 3, 8, 2]),
    _partial(maskers.tokens, mask_id=0, special=(1, 2)),
    _read_tokens,
    [1, 3],
  ),
  # What differentiates explains embeddings in the place of tokens.
  'embeddings of tokens': (
    _EMBEDDINGS[jnp.array([1, 5, 3, 8, 2])],
    maskers.steps,
    lambda e: jnp.sum(e) - 1,
    [1, 3],
  ),
}

_LEG = {'num_samples': 400, 'sigma': 0.5}
FORWARD = {
  'occlusion': saliency_jax.occlusion,
  'rise': _partial(saliency_jax.rise, num_masks=400),
  'shapley': saliency_jax.shapley,
  'kernel_shap': _partial(saliency_jax.kernel_shap, num_samples=400),
  'ablation': saliency_jax.ablation,
  'leg': _partial(saliency_jax.leg, draw=leg.gaussian, **_LEG),
  'leg_tv': _partial(
    saliency_jax.leg_tv, draw=leg.gaussian, level=0.01, **_LEG
  ),
}
BY_GRADIENTS = {
  'mask': _partial(saliency_jax.mask, num_steps=50),
  'igos': _partial(saliency_jax.igos, tv=0.0, sigma=0.0),
}


class KindsTest(parameterized.TestCase):
  @parameterized.parameters(*KINDS)
  def test_maps_name_the_evidence(self, kind):
    x, masker, logit, evidence = KINDS[kind]
    fn = lambda x: jax.nn.sigmoid(logit(x))
    methods = FORWARD if kind == 'tokens' else FORWARD | BY_GRADIENTS
    players = masker(x)
    # Cells, times and tokens have neighbours; others are given some.
    edges = None if players.ordered else graphs.chain(players.num)
    methods |= {'c_shapley': _partial(saliency_jax.c_shapley, edges=edges)}

    players = masker(x)
    # What has no order has any two players for neighbours.
    edges = None if players.ordered else graphs.complete(players.num)
    methods = methods | {'leg_tv': _partial(methods['leg_tv'], edges=edges)}

    @jax.jit
    def explain(x, key):
      return {
        name: method(fn, x, key=key, masker=masker).scores
        for name, method in methods.items()
      }

    for name, scores in explain(x, jax.random.key(0)).items():
      shapes = jax.tree.map(lambda s, a: np.broadcast(s, a).shape, scores, x)
      self.assertEqual(shapes, jax.tree.map(jnp.shape, x), name)
      values = np.ravel(players.pool(scores))
      self.assertCountEqual(np.argsort(-values)[:2], evidence, name)

  @parameterized.parameters(*KINDS)
  def test_metrics_hide_the_players(self, kind):
    x, masker, logit, evidence = KINDS[kind]
    fn = lambda x: jax.nn.sigmoid(logit(x))
    logits_fn = lambda x: jnp.stack([jnp.zeros(()), logit(x)])
    players = masker(x)
    at = jnp.zeros(players.num).at[jnp.array(evidence)].set(1.0)
    best = players.spread(at.reshape(players.shape))

    @jax.jit
    def measure(x, best):
      share = jnp.array([2 / players.num])
      return (
        metrics.deletion_insertion(fn, x, best, masker=masker),
        metrics.deletion_insertion(
          fn, x, best, masker=masker, protocol=metrics.rise_protocol
        ),
        metrics.decision_flips(
          logits_fn, x, best, masker=masker, largest_first=True
        ),
        metrics.log_odds_curves(
          logits_fn, x, best, masker=masker, fractions=share, label=1
        ),
      )

    igos, rise, flips, odds = measure(x, best)
    # Without the two players of the evidence the score is that of nothing.
    nothing = players.hide(jnp.zeros(players.shape))
    for areas in (igos, rise):
      np.testing.assert_allclose(areas.deletion_curve[2:], fn(nothing), 1e-5)
      np.testing.assert_allclose(areas.insertion_curve[2:], fn(x), 1e-5)
    self.assertEqual(int(flips.flipped[-1]), 1)
    np.testing.assert_allclose(odds.log_odds, logit(nothing), rtol=1e-4)

  @parameterized.parameters('series', 'tokens', 'two inputs', 'volume')
  def test_infidelity_of_an_exact_map_of_players(self, kind):
    x, masker, logit, _ = KINDS[kind]
    measure = jax.jit(
      lambda x, key: metrics.infidelity(
        logit,
        x,
        saliency_jax.occlusion(logit, x, masker=masker).scores,
        key=key,
        masker=masker,
      )
    )
    # The logit adds up over players: occlusion is exact.
    self.assertLess(measure(x, jax.random.key(0)).infidelity, 1e-8)

  def test_infidelity_takes_players_out(self):
    x, masker, _, _ = KINDS['series']
    slope = _draw(100, 2)
    measured = metrics.infidelity(
      lambda x: jnp.sum(slope * x),
      x,
      slope,
      key=jax.random.key(0),
      perturbation=_partial(fidelity.players, masker=masker),
    )
    self.assertLess(measured.infidelity, 1e-6)
    draws = jax.vmap(lambda k: fidelity.players(k, x, masker=masker))(
      jax.random.split(jax.random.key(1), 200)
    )
    # Windows are taken out whole, half of them.
    gone = np.asarray(draws != 0).reshape(200, 10, 20)
    np.testing.assert_array_equal(gone.all(-1), gone.any(-1))
    self.assertBetween(gone.mean(), 0.4, 0.6)

  @parameterized.parameters(
    'occlusion',
    'rise',
    'leg',
    'shapley',
    'guided_backprop',
    'deconvnet',
    'excitation_backprop',
  )
  def test_several_scores_are_refused(self, name):
    x, masker, _, _ = KINDS['row of a table']
    method = _partial(getattr(saliency_jax, name), lambda x: 2 * x)
    if name in ('occlusion', 'rise', 'leg', 'shapley'):
      method = FORWARD[name]
      method = _partial(method, lambda x: 2 * x, masker=masker)
    with self.assertRaisesRegex(ValueError, r'one number, got \(13,\)'):
      jax.eval_shape(method, x, key=jax.random.key(0))

  def test_a_decision_needs_classes(self):
    x, masker, logit, _ = KINDS['series']
    with self.assertRaisesRegex(ValueError, 'logits of several classes'):
      metrics.decision_flips(logit, x, jnp.ones((100, 1)), masker=masker)

  def test_nan_in_nan_out(self):
    x, masker, logit, _ = KINDS['row of a table']
    out = jax.jit(_partial(saliency_jax.igos, logit, masker=masker, sigma=0.0))(
      x.at[3].set(jnp.nan)
    )
    logit_sees_it = jax.jit(
      _partial(saliency_jax.igos, jnp.sum, masker=masker, sigma=0.0)
    )(x.at[3].set(jnp.nan))
    self.assertTrue(np.isnan(logit_sees_it.scores).all())
    self.assertTrue(np.isfinite(out.scores).all())


if __name__ == '__main__':
  absltest.main()
