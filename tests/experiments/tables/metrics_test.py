"""Tests for `tables/metrics.py`, on a network of a few numbers."""

import functools
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from experiments.configs import common
from experiments.tables import contenders
from experiments.tables import metrics
from experiments.tables import settings
import saliency_jax
from saliency_jax import maskers
from saliency_jax import metrics as library
from saliency_jax import scores as score_functions
from saliency_jax.core import sampling
from saliency_jax.core import stretching
from saliency_jax.core import types
from saliency_jax.models import types as model_types
from saliency_jax.optimization import masks

_NUM, _SIDE = 3, 8
# What makes each metric cheap, or is missing.
_SETTINGS = {
  'igos_protocol': {'resolution': 4},
  'mask_objective': {'l1': 0.5, 'tv': 2.0, 'resolution': 4},
  'infidelity': {'num_samples': 4, 'perturbation': 'gaussian'},
  'max_sensitivity': {'num_samples': 2},
  'sensitivity': {'num_points': 5},
  'faithfulness_correlation': {'num_samples': 6},
  'sensitivity_n': {'num_samples': 4},
  'mu_fidelity': {'num_samples': 6, 'cells': 4},
  'relative_stability': {'num_samples': 2},
  'information_curves': {'num_points': 5},
}
# What is NaN where the blurred image is decided as the whole one is.
_MAY_BE_NAN = ('information_curves',)


def _apply(params, x):
  h = checkpoint_name(jnp.mean(jnp.tanh(x @ params[0]), (0, 1)), 'features')
  return h @ params[1]


def _params():
  rng = np.random.default_rng(0)
  shapes = ((3, 4), (4, 5))
  return [jnp.asarray(3 * rng.normal(size=s), jnp.float32) for s in shapes]


def _batch():
  rng = np.random.default_rng(1)
  xs = rng.uniform(size=(_NUM, _SIDE, _SIDE, 3)).astype(np.float32)
  scores = rng.normal(size=(_NUM, _SIDE, _SIDE, 1)).astype(np.float32)
  labels = jnp.asarray([2, 0, 4], jnp.int32)
  return jnp.asarray(xs), jnp.asarray(scores), labels


def _keys():
  return jax.random.split(jax.random.key(0), _NUM)


def _built(name, given=None, method=saliency_jax.gradient, apply=_apply, **kw):
  settings = metrics.settings_of(
    name, _SETTINGS.get(name, {}) if given is None else given
  )
  return metrics.build(
    name, settings, apply, method=functools.partial(method), **kw
  )


class MetricsTest(parameterized.TestCase):
  @parameterized.parameters(*metrics.METRICS)
  def test_entry_measures_what_it_names(self, name):
    xs, scores, labels = _batch()
    entry = metrics.METRICS[name]
    if entry.reads is not metrics.importances:
      scores = jnp.broadcast_to(scores, xs.shape)
    run = _built(name)
    out = run(_params(), xs, scores, labels, _keys())
    self.assertEqual(set(out.values), set(entry.better))
    for values in out.values.values():
      self.assertEqual(values.shape, (_NUM,))
      if name not in _MAY_BE_NAN:
        self.assertTrue(np.isfinite(values).all())
    for curve in out.curves.values():
      self.assertEqual(curve.values.shape, curve.fractions.shape)
      self.assertEqual(curve.values.shape[0], _NUM)
    mesh = jax.make_mesh(
      (2,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
    )
    other = _built(name, mesh=mesh)(_params(), xs, scores, labels, _keys())
    jax.tree.map(
      functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
      out,
      other,
    )

  @parameterized.parameters(
    ('igos_protocol', library.igos_protocol, {'resolution': 4}),
    ('rise_protocol', library.rise_protocol, {'num_steps': 5}),
  )
  def test_protocols_are_the_librarys(self, name, protocol, settings):
    xs, scores, labels = _batch()
    keys = _keys()
    found = _built(name, settings)(
      _params(), xs, scores, labels, jax.random.clone(keys)
    )
    judge = functools.partial(
      library.deletion_insertion,
      score_functions.prob(_apply, _params(), 4),
      protocol=functools.partial(protocol, **settings),
    )
    want = jax.jit(lambda x, scores, key: judge(x, scores, key=key))(
      xs[2], scores[2], keys[2]
    )
    for value in ('deletion', 'insertion'):
      np.testing.assert_allclose(
        found.values[value][2], getattr(want, value), rtol=1e-5
      )
      np.testing.assert_allclose(
        found.curves[value].values[2],
        getattr(want, f'{value}_curve'),
        rtol=1e-5,
      )

  @parameterized.parameters(
    ('rise', {'rescale': False}, 'rise have a scale of their own'),
    ('leg', {'rescale': False}, 'leg have a scale of their own'),
    ('rise', {'perturbation': 'gaussian'}, "rise have no units.*'gaussian'"),
    ('leg', {'perturbation': 'gaussian'}, None),
    ('gradient', {'rescale': False, 'perturbation': 'gaussian'}, None),
  )
  def test_infidelity_asks_for_units(self, name, given, message):
    spec = model_types.Spec('toy', (_SIDE, _SIDE, 3))
    (found,) = contenders.choose({'a': common.use(name)}, spec).values()
    xs, scores, _ = _batch()
    settings = metrics.settings_of('infidelity', given)
    read = functools.partial(metrics.slopes, found, scores, xs, settings)
    if message is None:
      self.assertEqual(read().shape, xs.shape)
    else:
      with self.assertRaisesRegex(ValueError, message):
        read()

  @parameterized.parameters('igos_protocol', 'rise_protocol')
  def test_constant_classifier(self, name):
    xs, scores, labels = _batch()
    run = _built(name, apply=lambda params, x: jnp.array([1.0, 0, 2, 0, 0]))
    out = run(_params(), xs, scores, labels, _keys()).values
    want = jax.nn.softmax(jnp.array([1.0, 0, 2, 0, 0]))[labels]
    np.testing.assert_allclose(out['deletion'], want, rtol=1e-5)
    np.testing.assert_allclose(out['insertion'], want, rtol=1e-5)

  def test_decision_that_nothing_changes(self):
    xs, scores, labels = _batch()
    apply = lambda params, x: jnp.array([0.0, 0, 9, 0, 0]) + 0 * jnp.sum(x)
    run = _built('sensitivity', apply=apply)
    out = run(_params(), xs, scores, labels, _keys()).values
    np.testing.assert_array_equal(out['key_size'], [1, 1, 1])
    flips = _built('flipping', apply=apply)
    out = flips(_params(), xs, scores, labels, _keys()).values
    np.testing.assert_array_equal(out['flipped'], [0, 0, 0])

  def test_sensitivity_on_a_grid_of_cells(self):
    """A cell is black as a whole, by the mean size of its scores."""
    xs, scores, labels = _batch()
    cells, scores = 4, np.abs(scores)
    size = _SIDE // cells
    mean = scores.reshape(_NUM, cells, size, cells, size).mean((2, 4))
    mean = np.repeat(np.repeat(mean, size, 1), size, 2)[..., None]
    got, want = (
      _built('sensitivity', {'num_points': 5, 'resolution': cells})(
        _params(), xs, shown, labels, _keys()
      )
      for shown in (scores, mean.astype(np.float32))
    )
    jax.tree.map(np.testing.assert_array_equal, got, want)
    # 0 to .4 of 16 cells.
    np.testing.assert_allclose(
      got.curves['prob'].fractions[0], np.array([0, 2, 3, 5, 6]) / 16
    )

  def test_own_resolution_is_the_methods(self):
    xs, scores, labels = _batch()
    own, fixed = (
      metrics.build(
        name,
        metrics.settings_of(name, settings),
        _apply,
        method=functools.partial(saliency_jax.igos, resolution=4),
      )(_params(), xs, scores, labels, _keys())
      for name, settings in (
        ('igos_protocol_own', {}),
        ('igos_protocol', {'resolution': 4}),
      )
    )
    jax.tree.map(np.testing.assert_array_equal, own, fixed)
    whole = _built('igos_protocol_own')
    out = whole(_params(), xs, scores, labels, _keys())
    # As many points as the 64 pixels of the image, and none.
    self.assertEqual(out.curves['deletion'].values.shape, (_NUM, 65))

  def test_objective_of_a_known_mask(self):
    xs, _, labels = _batch()
    mask = jnp.asarray(np.random.default_rng(2).uniform(size=(4, 4)), 'float32')
    up = maskers.grid(xs[0], cells=4, stretch=stretching.aligned).spread(mask)
    scores = jnp.broadcast_to(1 - up, (_NUM, _SIDE, _SIDE, 1))
    out = _built('mask_objective')(_params(), xs, scores, labels, _keys())
    baseline = settings.BASELINES['blur'](xs[0])
    prob = score_functions.prob(_apply, _params(), 2)(
      xs[0] * up + baseline * (1 - up)
    )
    want = (
      prob + 0.5 * np.mean(1 - mask) + 2 * float(masks.total_variation(mask))
    )
    np.testing.assert_allclose(out.values['prob'][0], prob, rtol=1e-5)
    np.testing.assert_allclose(out.values['objective'][0], want, rtol=1e-5)

  def test_normalized_areas_are_of_the_probability(self):
    xs, scores, labels = _batch()
    plain, scaled = (
      _built('rise_protocol', {'num_steps': 5, 'normalize': n})(
        _params(), xs, scores, labels, _keys()
      )
      for n in (False, True)
    )
    prob = plain.curves['deletion'].values[:, 0]
    for value in ('deletion', 'insertion'):
      np.testing.assert_allclose(
        scaled.values[value], plain.values[value] / prob, rtol=1e-5
      )

  @parameterized.parameters(
    # A slope is taken times the way to grey; all else as it is.
    ('gradient', lambda x, s: s * (x - 0.5)),
    ('integrated_gradients', lambda x, s: s),
    ('rise', lambda x, s: s),
  )
  def test_differences_of_units(self, name, want):
    spec = model_types.Spec('toy', (_SIDE, _SIDE, 3))
    (found,) = contenders.choose({'a': common.use(name)}, spec).values()
    xs, scores, _ = _batch()
    settings = metrics.settings_of('mu_fidelity', {'baseline': 'grey'})
    got = metrics.differences(found, scores, xs, settings)
    values = np.broadcast_to(want(np.asarray(xs), np.asarray(scores)), xs.shape)
    np.testing.assert_allclose(got, values.sum(-1, keepdims=True), atol=1e-5)

  def test_blind_network(self):
    """A gradient is inside of the square; a map of the image is not."""
    xs, scores, labels = _batch()
    run = functools.partial(_built, 'blind', {'num_samples': 3})
    inside = run(by_size=True)(_params(), xs, scores, labels, _keys())
    for value in inside.values.values():
      np.testing.assert_allclose(value, 1, rtol=1e-6)
    image = run(lambda fn, x, *, key: types.Attribution(x))
    out = image(_params(), xs, scores, labels, _keys())
    self.assertLess(np.max(out.values['mass']), 0.5)

  def test_sensitivity_of_a_method_that_draws_has_no_noise_of_its_own(self):
    xs, _, labels = _batch()
    keys = _keys()

    def drawn(fn, x, *, key):
      del fn
      return saliency_jax.gradient(
        lambda y: jnp.sum(y * jax.random.normal(key, x.shape)), x
      )

    of_map = lambda key: sampling.key_for(key, sampling.METHOD)
    map_keys = jax.vmap(of_map)(keys)
    scores = jax.vmap(lambda k: jax.random.normal(k, xs.shape[1:]))(map_keys)
    out = _built('max_sensitivity', method=drawn)(
      _params(), xs, scores, labels, keys
    )
    np.testing.assert_allclose(out.values['max_sensitivity'], 0, atol=1e-6)

  @parameterized.parameters(
    ('magic', {}, "metric is 'magic', expected one of igos_protocol"),
    (
      'rise_protocol',
      {'steps': 3},
      "no such setting as 'steps', rise_protocol has num_steps",
    ),
    ('mask_objective', {'l1': 1.0}, "'mask_objective' has no tv, expected one"),
    ('flipping', {'key': 1}, "no such setting as 'key'"),
  )
  def test_bad_settings(self, name, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      metrics.settings_of(name, settings)

  def test_bad_function(self):
    with self.assertRaisesRegex(ValueError, "start is 'pink', expected .*blur"):
      metrics.settings_of('rise_protocol', {'start': 'pink'})

  def test_readme_has_every_value(self):
    root = pathlib.Path(metrics.__file__).parents[1]
    text = (root / 'README.md').read_text()
    for name, entry in metrics.METRICS.items():
      for part in (f'`{name}`', *entry.better):
        self.assertIn(part, text)

  def test_columns(self):
    chosen = {'a': {'name': 'igos_protocol'}, 'b': {'name': 'flipping_top'}}
    self.assertEqual(
      metrics.columns(chosen),
      {
        'a.deletion': 'lower',
        'a.insertion': 'higher',
        'b.flipped': 'higher',
      },
    )


if __name__ == '__main__':
  absltest.main()
