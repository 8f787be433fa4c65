"""Tests for `experiments/tables/methods.py`, on a network of a few numbers."""

import inspect

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from experiments.tables import entries
from experiments.tables import methods
from saliency_jax import viz
from saliency_jax.core import baselines
from saliency_jax.core import describing
from saliency_jax.gradients import quadrature
from saliency_jax.models import types as model_types
from saliency_jax.optimization import leg_tv
from saliency_jax.optimization import sparsity_weight
from saliency_jax.perturbations import shapley
from saliency_jax.propagation import attention
from tests import equivalence

_SPEC = model_types.Spec('toy', (8, 8, 3), taps=('last', 'first'))
# What makes each method cheap at 8 x 8.
_SMALL = (
  'smooth_grad.num_samples=3',
  'smooth_grad_squared.num_samples=3',
  'var_grad.num_samples=3',
  'sparsified_map.num_samples=3',
  *(
    f'{name}.num_samples=3'
    for name in ('scaled_map', 'quadratic_map', 'relaxed_map', 'median_rank')
  ),
  'integrated_gradients.num_steps=4',
  'expected_gradients.num_samples=3',
  'guided_backprop.smooth=derivative',
  'deconvnet.smooth=derivative',
  'occlusion.window=4',
  'occlusion.stride=2',
  'rise.num_masks=5',
  'rise.cells=2',
  'adaptive_integrated_gradients.min_steps=2',
  'adaptive_integrated_gradients.max_steps=4',
  *(
    f'leg{tv}.{s}' for tv in ('', '_tv') for s in ('cells=2', 'num_samples=16')
  ),
  *(
    f'{name}.cells=2'
    for name in (
      'lime',
      'kernel_shap',
      'shapley',
      'banzhaf',
      'ablation',
      'l_shapley',
      'c_shapley',
      'ball_regression',
    )
  ),
  'banzhaf.num_samples=14',
  *(f'lime.{s}' for s in ('num_samples=8', 'num_fresh=4')),
  *(f'kernel_shap.{s}' for s in ('num_samples=14', 'num_fresh=4')),
  'ball_regression.order=1',
  'leg_tv.num_steps=40',
  *(
    f'{name}.{setting}=2'
    for name in ('caso', 'smooth_caso')
    for setting in ('num_steps', 'eigen_steps')
  ),
  *(f'smooth_ca{f}o.num_samples=2' for f in 'fs'),
  'invariant_perturbation.num_steps=2',
  'linear_invariant.num_steps=20',
  *(
    f'{name}.{setting}=2'
    for name in ('invariant_perturbation', 'linear_invariant')
    for setting in ('num_checks', 'num_ascent')
  ),
  'mask.num_steps=2',
  'mask.resolution=4',
  *(
    f'{name}.{setting}'
    for name in ('igos', 'igos_pp')
    for setting in ('num_steps=2', 'path_steps=2', 'resolution=4', 'decay=0.01')
  ),
)


def _apply(params, x):
  h = checkpoint_name(jnp.tanh(x @ params[0]), 'last')
  return jnp.mean(h, (0, 1)) @ params[1]


def _params():
  rng = np.random.default_rng(0)
  shapes = ((3, 4), (4, 5))
  return [jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes]


def _settings(name, *assignments):
  return methods.settings_of([name], assignments, _SPEC)[name]


class MethodsTest(parameterized.TestCase):
  @parameterized.parameters(*methods.METHODS)
  def test_entry_runs_counts_and_describes(self, name):
    chosen = [s for s in _SMALL if s.startswith(f'{name}.')]
    settings = _settings(name, *chosen)
    count = 0

    def apply(params, x):
      def counted(_):
        nonlocal count
        count += 1

      jax.debug.callback(counted, x[0, 0, 0])
      return _apply(params, x)

    x = jnp.asarray(np.random.default_rng(1).uniform(size=(1, 8, 8, 3)))
    x = x.astype(jnp.float32)
    args = (jnp.array([2]), jax.random.split(jax.random.key(0), 1))
    if 'references' in settings:  # The photos are larger than this network's.
      settings['references'] = settings['references'][:4]
    out = methods.build(name, settings, apply)(_params(), x, *args)
    jax.effects_barrier()
    one = jax.tree.map(lambda a: np.asarray(a[0]), out)
    entry = methods.METHODS[name]
    calls = entry.cost(settings, one.info)
    self.assertGreaterEqual(min(calls), 0)
    # Batches are filled up, and a method may look at the clean example too.
    # One derivative of a gradient serves many products with the Hessian.
    if name != 'linear_invariant':  # One forward call serves all margins.
      self.assertBetween(calls.gradients + calls.forwards, 1, count)
    self.assertLessEqual(count, sum(calls) + 4)
    self.assertRegex(describing.facts(one), r'\d')
    self.assertEqual(viz.paint(entry.drawing, one.scores).shape, (8, 8, 3))

  @parameterized.parameters(
    *(
      name
      for name, entry in methods.METHODS.items()
      if entry.units in (entries.Units.SLOPE, entries.Units.DIFFERENCE)
    )
  )
  def test_units_of_a_linear_score(self, name):
    rng = np.random.default_rng(0)
    w, x, *references = jnp.asarray(rng.normal(size=(4, 8, 8, 3)), jnp.float32)
    small = [s for s in _SMALL if s.startswith(f'{name}.')]
    settings, start = _settings(name, *small), 0
    if 'references' in settings:
      settings['references'] = jnp.stack(references)
      start = jnp.mean(settings['references'], 0)
      settings['num_samples'] = 100
    entry = methods.METHODS[name]
    fn, key = lambda x: jnp.sum(w * x), jax.random.key(0)
    got, info = entry.method(fn, x, key=key, **settings)
    if entry.units is entries.Units.SLOPE:
      np.testing.assert_allclose(got, w, rtol=1e-4)
      return
    change = fn(x) - fn(start + jnp.zeros_like(x))
    chance = getattr(info, 'completeness_stderr', 0)
    # z = 4, or rounding on the scale of what is summed.
    rounding = 1e-5 * float(jnp.sum(jnp.abs(got)))
    self.assertLess(abs(jnp.sum(got) - change), 4 * chance + rounding)

  def test_leg_is_the_slope_of_a_cell(self):
    entry = methods.METHODS['leg']
    self.assertIs(entry.units, entries.Units.CELL_SLOPE)
    fn, x = lambda x: 2 * jnp.sum(x), jnp.full((8, 8, 3), 0.5)
    method = equivalence.compiled(entry.method)
    got = method(fn, x, key=jax.random.key(0), cells=2, num_samples=16)
    # A cell has 4 x 4 pixels of three channels, and 48 times their slope.
    np.testing.assert_allclose(got.scores, np.full((8, 8, 1), 96), rtol=1e-3)

  @parameterized.parameters(*methods.METHODS)
  def test_settings_bind(self, name):
    settings = _settings(name)
    self.assertNotIn('key', settings)
    self.assertNotIn(inspect.Parameter.empty, map(type, settings.values()))
    inspect.signature(methods.METHODS[name].method).bind(
      None, None, key=None, **settings
    )

  @parameterized.parameters('mask', 'invariant_perturbation')
  def test_optimizer_by_name_steps_as_the_methods_own(self, name):
    chosen = [s for s in _SMALL if s.startswith(f'{name}.')]
    x = jax.random.uniform(jax.random.key(1), (1, 8, 8, 3))
    args = (
      _params(),
      x,
      jnp.array([2]),
      jax.random.split(jax.random.key(0), 1),
    )
    own, named = (
      methods.build(name, _settings(name, *chosen, *given), _apply)(*args)
      for given in ((), (f'{name}.optimizer=adam',))
    )
    np.testing.assert_array_equal(own.scores, named.scores)

  def test_choose(self):
    self.assertEqual(methods.choose(['all']), list(methods.METHODS))
    quick = methods.choose(['quick'])
    self.assertContainsSubset(['gradient', 'igos'], quick)
    self.assertNotIn('mask', quick)
    self.assertEqual(
      methods.choose([' rise', 'gradient']), ['rise', 'gradient']
    )

  @parameterized.parameters(
    ('rise.num_masks=30', 'num_masks', 30),
    ('rise.num_masks = 30', 'num_masks', 30),
    ('rise.keep_prob=0.25', 'keep_prob', 0.25),
    ('rise.keep_prob=1', 'keep_prob', 1),
    ('rise.cells=(3, 4)', 'cells', (3, 4)),
    ('rise.batch_size=None', 'batch_size', None),
    ('lime.segments=50', 'segments', 50),
    ('shapley.estimator=permutation', 'estimator', shapley.permutation),
    ('rise.baseline=uniform', 'baseline', baselines.uniform),
    ('rise.keep_prob=inf', 'keep_prob', float('inf')),
    ('rise.baseline=1', 'baseline', 1.0),
    ('leg_tv.radius=bootstrap', 'radius', leg_tv.bootstrap),
    ('caso.lam1=search', 'lam1', sparsity_weight.search),
    ('lrp.composite=cp_lrp', 'composite', attention.cp_lrp),
    ('grad_cam.name=7', 'name', '7'),
    ('grad_cam.activation=identity', 'activation', jax.nn.identity),
    (
      'integrated_gradients.quadrature_fn=trapezoid',
      'quadrature_fn',
      quadrature.trapezoid,
    ),
  )
  def test_values_by_type(self, assignment, setting, value):
    found = _settings(assignment.partition('.')[0], assignment)[setting]
    self.assertEqual((type(found), found), (type(value), value))

  def test_lrp_knows_norms_of_one_example(self):
    self.assertIs(_settings('lrp')['composite'], attention.attn_lrp)
    with self.assertRaisesRegex(ValueError, 'expected epsilon or .* cp_lrp'):
      _settings('lrp', 'lrp.composite=zero')

  def test_are_named(self):
    for names, want in (
      (None, False), (['all'], False), ([' quick'], False), (['lrp'], True)
    ):  # fmt: skip
      self.assertEqual(methods.are_named(names), want)

  def test_sources_of_settings(self):
    self.assertEqual(_settings('rise')['num_masks'], 500)  # The launchers'.
    self.assertEqual(_settings('rise')['cells'], 7)  # The method's own.
    self.assertEqual(_settings('grad_cam')['name'], 'last')  # The network's.
    self.assertEqual(_settings('occlusion')['window'], 2)
    self.assertEqual(_settings('grad_cam', 'grad_cam.name=a')['name'], 'a')
    self.assertEqual(
      _settings('rise', 'rise.cells=2', 'rise.cells=3')['cells'], 3
    )

  @parameterized.parameters(
    ('rise.num_masks=1.5', "'rise.num_masks=1.5': expected int"),
    ('rise.num_masks=True', 'expected int'),
    ('rise.num_masks=', 'expected int'),
    ('rise.batch_size=few', 'expected None or int'),
    ('rise.keep_prob=half', 'expected float or int'),
    ('rise.baseline=pink', 'expected float or black or white or grey'),
    ('rise.key=0', "as 'key', rise has num_masks"),
    ('rise.=1', 'no such setting'),
    ('gradient.sigma=1', "as 'sigma', gradient has none"),
    ('expected_gradients.references=1', 'expected_gradients has num_samples'),
    ('smooth_grad.sigma=[1]', 'expected float or int or of_range'),
    ('leg.sigma=of_range', "expected float or int or 'auto'$"),
  )
  def test_refuses(self, assignment, message):
    with self.assertRaisesRegex(ValueError, message):
      _settings(assignment.partition('.')[0], assignment)


if __name__ == '__main__':
  absltest.main()
