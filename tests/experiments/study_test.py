"""Tests for `experiments/study.py` and its studies, at their smallest."""

import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments import study
from experiments.configs import caso_collages
from experiments.configs import caso_confidence
from experiments.configs import caso_relaxation
from experiments.configs import caso_sparsity
from experiments.configs import caso_spectrum
from experiments.configs import certificate_cost
from experiments.configs import certificate_evidence
from experiments.configs import certificate_rounds
from experiments.configs import common
from experiments.configs import igos_pictures
from experiments.configs import igos_toy
from experiments.configs import invariant_bounds
from experiments.configs import invariant_certified
from experiments.configs import invariant_pictures
from experiments.configs import leg_facts
from experiments.configs import leg_known
from experiments.configs import leg_photos
from experiments.configs import leg_solver
from experiments.configs import sanity_cascade
from experiments.configs import shapley_budgets
from experiments.configs import training_cost
from experiments.core import records
from experiments.studies import caso_spectrum as caso_spectra
from experiments.studies import certified_boxes
from experiments.studies import invariant_pictures as invariant_picture
from experiments.studies import training_cost as training_costs
from saliency_jax.optimization import boxes
from tests.experiments import launch

_FIT = {'split': 'train[:640]', 'epochs': 1}


class StudyTest(parameterized.TestCase):
  def _run(self, config, *compared):
    """Runs a study, and judges what a small one still measures."""
    if compared:
      config.claims = (common.claim('a claim', 'none', '', *compared),)
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch.run(study.main, config=config, workdir=str(folder))
    self.assertEqual((done.code, done.stderr), (0, ''))
    found = json.loads((folder / 'study.json').read_text())
    self.assertEqual(found['about'], config.about)
    for path in folder.glob('*.png'):
      self.assertIn(b'PNG', path.read_bytes()[:8])
    self.assertEqual(
      json.loads((folder / 'config.json').read_text())['study'], config.study
    )
    self.assertEmpty(records.read(folder))
    judged = json.loads((folder / 'summary.json').read_text())['verdicts']
    self.assertLen(judged, len(config.claims))
    for verdict in judged:
      # A few examples decide nothing.
      self.assertEqual(verdict['verdict'], 'interval only')
      for one in verdict['comparisons']:
        self.assertGreater(one['num'], 0)
    return found['numbers'], done.stdout

  def test_leg_known(self):
    config = leg_known.get_config()
    config.update(
      side=6,
      num_samples=(100, 1600),
      replicates=3,
      num_steps=50,
      path=(0.1, 0.3),
      coverage_samples=(100,),
      coverage_replicates=2,
      interval_replicates=4,
    )
    numbers, table = self._run(
      config,
      ('error of 1600 draws, leg_tv, best L', 'paper', 'white', 'below'),
      ('coverage of 100 draws', 'mcdiarmid', 0.95, 'not_below'),
    )
    for name in ('paper', 'white'):
      few, many = (
        numbers['errors'][f'leg, {name}, {n}']['mean'] for n in (100, 1600)
      )
      # The root of 16.
      self.assertBetween(few / many, 2, 8)
    self.assertEqual(numbers['coverage']['100']['mcdiarmid']['constant'], 1)
    self.assertBetween(numbers['intervals']['mean'], 0.8, 1)
    self.assertIn('leg_tv, best L, paper - white', table)

  def test_shapley_budgets(self):
    config = shapley_budgets.get_config()
    games = {
      'tokens': {'kind': 'tokens', 'num_players': 4},
      'random': {'kind': 'random', 'num_players': 4},
    }
    config = common.study(
      'shapley_budgets', about=config.about, seeds=3, peers=False, games=games
    )
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch.run(study.main, config=config, workdir=str(folder))
    self.assertEqual((done.code, done.stderr), (0, ''))
    numbers = json.loads((folder / 'study.json').read_text())['numbers']
    for game in games:
      found = numbers['errors'][f'{game}, 12']['gaussian_process']
      self.assertGreater(found['mse'], 0)
      self.assertBetween(found['covers'], 0, 1)
      self.assertEqual(list(numbers['errors'][f'{game}, 6']), ['ablation'])
      whole = numbers['errors'][f'{game}, 16']['kernel_shap']
      self.assertLess(whole['mse'], 1e-10)
    self.assertIn('exact', done.stdout)

  def test_leg_photos_goes_on(self):
    config = leg_photos.get_config()
    few = {'cells': 4, 'num_samples': 64, 'sigma': 0.1}
    config = common.study(
      'leg_photos',
      about=config.about,
      model='lenet',
      data='digits',
      fit=_FIT,
      num_examples=2,
      num_fresh=20,
      variants={'few': few, 'margin': {**few, 'score': 'margin'}},
      drawn=('few',),
    )
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    run = lambda: launch.run(study.main, config=config, workdir=str(folder))
    done = run()
    self.assertEqual((done.code, done.stderr), (0, ''))
    rows = records.read(folder)
    self.assertLen(rows, 4)
    for row in rows.values():
      self.assertBetween(row['split_half'], -1, 1)
      # Estimated, from few fresh draws.
      self.assertLess(row['explained_leg'], 1.2)
      self.assertEqual(row['num_calls'], 65)
    # Killed after the third: the fourth is measured again, and is the same.
    path = folder / 'records-0.jsonl'
    path.write_text(''.join(path.read_text().splitlines(True)[:3]))
    again = run()
    self.assertEqual(
      again.stdout.split('wrote')[0], done.stdout.split('wrote')[0]
    )
    self.assertEqual(records.read(folder), rows)
    self.assertIn(b'PNG', (folder / 'few.png').read_bytes()[:8])

  def test_leg_solver(self):
    config = leg_solver.get_config()
    cases = ({'cells': 6, 'num_photos': 2, 'num_noise': 1, 'highs': True},)
    config.update(
      model='lenet',
      data='digits',
      fit=_FIT,
      num_examples=2,
      num_calls=20,
      repeats=1,
      cases=cases,
    )
    numbers, table = self._run(config)
    found = numbers['6 x 6']
    self.assertLess(max(found['gaps']), 1e-3)
    # What the gap allows, and what HiGHS leaves.
    for above, gap in zip(found['above'], found['gaps'], strict=True):
      self.assertBetween(above, -1e-5, gap + 1e-5)
    self.assertLess(max(found['violations']), 1e-5)
    self.assertIn('a map by independent noise', table)

  def test_caso_confidence(self):
    config = caso_confidence.get_config('digits')
    config.update(num_examples=6, batch_size=6)
    config.fit.update(split='train[:640]', epochs=1)
    numbers, _ = self._run(config)
    self.assertEqual(len(numbers['examples']) + numbers['left_out'], 6 * 5)
    self.assertLess(numbers['left_out'], 10)
    for row in numbers['examples']:
      self.assertBetween(row['prob'], 0.1, 1)
      self.assertBetween(row['cosine, kappa 10.0'], 0, 1 + 1e-5)
      # More of kappa leaves less of the curvature.
      self.assertGreaterEqual(
        row['cosine, kappa 100.0'], row['cosine, kappa 1.0'] - 1e-5
      )
      self.assertLess(row['residual'], 1e-3)
    self.assertBetween(
      numbers['rank_correlations']['cosine, kappa 10.0'], -1, 1
    )
    self.assertFalse(np.isnan(numbers['interval']).any())

  def test_igos_toy(self):
    config = igos_toy.get_config()
    config.num_functions = 20
    numbers, table = self._run(config)
    for gap in numbers['gaps'].values():
      # The grid may miss the least value by a little, the descent too.
      self.assertGreater(min(gap), -1e-2)
      self.assertLess(min(gap), 0.05)
    plain, along = (
      np.mean(numbers['gaps'][k]) for k in ('gradient', 'integrated gradient')
    )
    self.assertAlmostEqual(
      numbers['difference']['mean'], along - plain, places=5
    )
    self.assertIn('integrated - plain', table)

  def test_igos_pictures(self):
    config = igos_pictures.get_config('lenet')
    config.update(data='digits', num_examples=3, num_figures=2, share=0.25)
    config.fit = _FIT
    config.methods = {name: common.use(name) for name in ('gradient', 'random')}
    numbers, table = self._run(
      config,
      ('p without the best cells', 'gradient', 'random', 'below'),
      ('p of the best cells alone', 'gradient', 'the whole image', 'below'),
      ('p of a baseline', 'blur', 0.01, 'below'),
    )
    self.assertLen(numbers['examples'], 3)
    for row in numbers['examples']:
      self.assertSetEqual(set(row['deleted']), {'gradient', 'random'})
      for prob in (*row['revealed'].values(), *row['baselines'].values()):
        self.assertBetween(prob, 0, 1)
    self.assertIn('baseline blur', table)
    # All the cells gone are the baseline, all of them revealed the image.
    config.share = 1.0
    numbers, _ = self._run(config)
    for row in numbers['examples']:
      self.assertAlmostEqual(
        row['deleted']['gradient'], row['baselines']['blur'], places=5
      )
      self.assertAlmostEqual(row['revealed']['gradient'], row['prob'], places=5)

  def test_collages(self):
    config = caso_collages.get_config('lenet')
    config.update(data='digits', num_examples=3, num_shown=1)
    config.fit = _FIT
    config.methods = {n: common.use(n) for n in ('gradient', 'random')}
    compared = ('share in the explained half', 'gradient', 0.5, 'above')
    numbers, table = self._run(config, compared)
    self.assertLen(numbers['explanations'], 6)
    self.assertBetween(numbers['means']['random']['mean'], 0.2, 0.8)
    self.assertIn('gradient', table)

  def test_caso_sparsity(self):
    config = caso_sparsity.get_config('lenet')
    config.update(
      data='digits', num_examples=2, num_figures=1, sparsities=(0.5, 0.97)
    )
    config.fit = _FIT
    compared = ('rise at .97 zeros', 'caso', 'cut gradient', 'above')
    numbers, _ = self._run(config, compared)
    self.assertLen(numbers['maps'], 8)
    for row in numbers['maps']:
      for zeros in row['zeros'].values():
        self.assertAlmostEqual(zeros, row['sparsity'], delta=0.01)
      # The cut gradient's support is CAFO's.
      self.assertAlmostEqual(row['support']['cafo'], 1, delta=0.02)
      # The best of its sparsity, by the model of the second order.
      self.assertGreaterEqual(
        row['model_gain']['caso'], row['model_gain']['cafo'] - 1e-3
      )

  def test_caso_relaxation(self):
    config = caso_relaxation.get_config()
    config.update(
      num_examples=4,
      grid=(2, 2),
      counts=(2,),
      kappas=(10.0,),
      checkpoints=(4, 32),
      reference_steps=200,
    )
    config.fit = _FIT
    numbers, _ = self._run(
      config,
      ('gain', '2 of 4 entries, kappa 10.0', 0.5, 'above'),
      ('gap after 32 products', 'FISTA', 'subgradient', 'below'),
    )
    for found in numbers['relaxation'].values():
      # No support is better than the best, and none is worth nothing.
      self.assertBetween(min(found['share']), 0.5, 1 + 1e-5)
      self.assertLessEqual(max(found['share']), 1 + 1e-5)
      self.assertGreaterEqual(min(found['restricted']), 1 - 1e-5)
    last = {k: np.median(v, 0)[-1] for k, v in numbers['gaps'].items()}
    self.assertLess(last['FISTA'], 1e-4)
    self.assertLess(last['proximal gradient'], last['subgradient'])

  def test_caso_spectrum(self):
    config = caso_spectrum.get_config()
    config.update(
      classes=(3, 10),
      size=50,
      probs=(0.5, 0.999),
      num_examples=3,
      model='lenet',
      data='digits',
      activations=('relu', 'softplus'),
    )
    config.fit = _FIT
    config.small.update(num_examples=3, fit=_FIT)
    numbers, _ = self._run(
      config,
      ('rank one, 10 classes', 'error', 'p', 'falls_with'),
      ('error of rank one', '10 classes', '3 classes', 'below'),
    )
    self.assertLen(numbers['random'], 4)
    self.assertLen(numbers['network'], 2 * 3)
    self.assertLess(max(numbers['activations']['relu']['departure']), 1e-4)
    self.assertGreater(min(numbers['activations']['softplus']['departure']), 0)

  def test_certified_boxes(self):
    config = invariant_certified.get_config()
    config.update(
      networks=(0,), num_examples=2, batch_size=2, scales=(1.0, 1024.0)
    )
    config.fit = _FIT
    config.attack.update(num_starts=1, num_steps=5)
    for settings in config.boxes.values():
      settings.num_steps = 3
    numbers, _ = self._run(config)
    self.assertEqual(numbers['certified']['broken'], 0)
    self.assertEqual(numbers['certified']['empty'], 0)
    self.assertEqual(numbers['broken_at_scale'], [0, 1])
    sizes = numbers['certified']['size']['mean'], numbers['cube']['mean']
    self.assertGreater(*sizes)
    for name in config.boxes:
      verified = numbers[name]['verified']['mean']
      self.assertLessEqual(verified, numbers[name]['size']['mean'])

  def test_bound_widths(self):
    config = invariant_bounds.get_config()
    config.update(num_examples=2, batch_size=2)
    config.attack.update(num_starts=1, num_steps=5)
    network = config.networks['one hidden layer']
    network.update(fit=_FIT, bounds=('intervals', 'CROWN'))
    config.networks = {'net': network}
    compared = ('width over the first, net', 'CROWN', 1.0, 'above')
    numbers, _ = self._run(config, compared)
    for found in numbers['net'].values():
      self.assertEqual((found['empty'], found['broken']), (0, 0))
    self.assertGreater(numbers['net']['CROWN']['least_cube_ratio'], 1)

  def test_least_margin_of_a_linear_decision(self):
    w = jnp.array([1.0, -2.0, 0.5])
    box = boxes.Box(jnp.array([0.1, 0.2, 0.3]), jnp.array([0.4, 0.5, 0.0]))
    got = certified_boxes.least_margin(
      lambda x: 1 + w @ x,
      jnp.zeros(3),
      box,
      key=jax.random.key(0),
      num_starts=2,
      num_steps=10,
    )
    self.assertAlmostEqual(float(got), 1 - 0.1 - 1.0 - 0.15, places=5)

  def test_training_cost(self):
    config = training_cost.get_config('4')
    config.losses = {k: config.losses[k] for k in ('plain', 'input_gradient')}
    config.update(repeats=1, split='train[:8]')
    numbers, _ = self._run(config)
    plain, other = numbers['plain'], numbers['input_gradient']
    self.assertEqual((plain['ratio'], plain['passes']), (1, 3))
    # A forward pass, a backward one to the input, and twice those back again.
    self.assertBetween(other['passes'], 4, 6)
    self.assertGreater(other['first_seconds'], other['seconds'])

  def test_multiplications(self):
    def program(w, x):
      step = lambda c, _: (jnp.tanh(w @ c), None)
      return jax.lax.scan(step, x, None, length=5)[0] @ w

    count = training_costs.multiplications(
      jax.vmap(program, (None, 0)), jnp.ones((3, 3)), jnp.ones((2, 3))
    )
    self.assertEqual(count, 2 * (5 + 1) * 9)

  def test_rank_one_error(self):
    self.assertEqual(caso_spectra.rank_one_error(np.array([0, 0, 3.0])), 0)
    found = caso_spectra.rank_one_error(np.array([3.0, 4.0]))
    self.assertAlmostEqual(found, 3 / 5)

  def test_leg_facts(self):
    config = leg_facts.get_config()
    config.update(
      sigmas=(0.003, 0.2),
      num_samples=2000,
      side=4,
      num_known=200,
      replicates=2,
    )
    numbers, _ = self._run(config)
    for name in ('smooth', 'wavy'):
      toy = numbers['toys'][name]
      near, far = (found['leg'] for found in toy['legs'])
      self.assertAlmostEqual(near / toy['gradient'], 1, delta=0.1)
      self.assertGreater(abs(far / toy['gradient'] - 1), 0.1)
    for found in numbers['known'].values():
      self.assertLess(found['lemma'], 1e-3)

  def test_certificate_evidence(self):
    config = certificate_evidence.get_config()
    config.update(
      networks=(0,),
      num_examples=2,
      batch_size=2,
      rho=(0.03,),
      num_samples=256,
      num_new_samples=256,
      attack_samples=2,
      attack={'num_restarts': 1, 'num_steps': 2, 'batch_size': None},
    )
    config.fit = _FIT
    compared = ('certificate is broken', 'rho 0.03', 0.05, 'below')
    numbers, table = self._run(config, compared)
    self.assertEqual(numbers['by_rho']['0.03']['violations'], 0)
    for row in numbers['trials']:
      self.assertBetween(row['certified'], 0, row['overlap'])
      self.assertLessEqual(row['overlap'], row['at_most'])
      self.assertLessEqual(row['norm'], 0.03 + 1e-6)
    self.assertIn('0 (0 for certain)', table)

  def test_certificate_cost(self):
    config = certificate_cost.get_config()
    config.update(common.LENET, fit=_FIT, num_samples=8, repeats=2)
    numbers, _ = self._run(
      config, ('processor seconds', 'every K, exact', 1, 'below')
    )
    self.assertEqual((numbers['entries'], numbers['radii']), (784, 20))
    for name in ('every K, exact', 'radius of every K', 'certify_map'):
      self.assertGreater(numbers[name]['first'], 0)
      self.assertBetween(numbers[name]['processor'], 0, 1)

  def test_certificate_rounds(self):
    config = certificate_rounds.get_config()
    config.num_runs = 20
    numbers, table = self._run(
      config, ('failure of certificates', 'shared level', 0.5, 'below')
    )
    self.assertEqual(numbers['num_runs'], 20)
    for by_level in numbers['failed'].values():
      shared, whole = by_level.values()
      self.assertLess(shared, whole)
    self.assertIn('certificates  level of one round', table)

  def test_invariant_pictures(self):
    config = invariant_pictures.get_config()
    config.update(model='lenet', data='digits', num_examples=2, num_figures=1)
    config.fit = _FIT
    config.methods = {n: common.use(n) for n in ('gradient', 'random')}
    compared = ('signal over noise', 'gradient', 'random', 'above')
    numbers, _ = self._run(config, compared)
    self.assertLen(numbers['signal_to_noise']['random'], 2)

  def test_signal_to_noise(self):
    ramp = np.add.outer(np.arange(64.0), np.arange(64.0))
    noise = (
      np.random.default_rng(0).permutation(np.arange(64.0**2)).reshape(64, 64)
    )
    high, low = (
      invariant_picture.signal_to_noise(a, 4.0) for a in (ramp, noise)
    )
    self.assertGreater(high, 50)
    # A Gaussian of variance s^2 keeps 1 / (4 pi s^2) of white noise.
    self.assertAlmostEqual(low, 1 / (4 * np.pi * 16), delta=0.004)

  def test_sanity_cascade(self):
    config = sanity_cascade.get_config()
    config.update(num_examples=3, batch_size=2)
    config.fit.update(split='train[:640]', epochs=1)
    constant = 'leg_tv, absolute L'
    for name in list(config.methods):
      if name not in ('gradient', 'gradient_x_input', constant):
        del config.methods[name]
    config.methods[constant].settings.level = 1e6
    numbers, table = self._run(
      config,
      ('rank correlation, top layer', 'gradient', 0.5, 'below'),
      ('constant, all layers', 'gradient', 0.5, 'below'),
    )
    flat = numbers['cascades'].pop(constant)
    ranks = np.array(flat['rank_correlation_abs'], float)
    self.assertTrue(np.isnan(ranks).all())
    self.assertIn('0 of 3', table)
    depths = len(numbers['layers']) + 1
    # What knows nothing of a network agrees by its image alone.
    signed, sizes = (
      np.array(numbers['cascades'][f'control: noise{image}'][name])[:, 1:]
      for image, name in (
        ('', 'rank_correlation'),
        (' x image', 'rank_correlation_abs'),
      )
    )
    # Of at least 60 pixels each.
    self.assertLess(np.max(np.abs(signed)), 4.5 / 60**0.5)
    self.assertGreater(np.min(sizes), 0.1)
    for found in numbers['cascades'].values():
      self.assertEqual(np.shape(found['ssim']), (3, depths))
      # No layer is random at first; all of them are at last.
      np.testing.assert_allclose(np.array(found['norm'])[:, 0], 1, rtol=1e-5)
      self.assertLess(np.mean(found['ssim'], 0)[-1], 0.9)
    self.assertIn('gradient_x_input', table)


if __name__ == '__main__':
  absltest.main()
