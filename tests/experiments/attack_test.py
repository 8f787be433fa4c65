"""Tests for `experiments/attack.py`, on a few digits."""

import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments import attack
from experiments.configs import common
from experiments.core import examples
from experiments.core import records
from saliency_jax import models
from tests.experiments import launch

_ALGORITHM = {'num_restarts': 1, 'num_steps': 5, 'num_halvings': 2}


def _claims(rival):
  compared = ('overlap at 2', 'descent', rival, 'below')
  words = 'descent moves the map further'
  return (common.claim(words, 'none', '', compared),)


def _config(**changes):
  smooth = {'sigma': 0.2, 'num_samples': 2}
  return common.attack(
    **{
      'about': 'Tiny.',
      'model': 'softplus_net',
      'data': 'digits',
      'fit': {'split': 'train[:640]', 'epochs': 1},
      'num_examples': 3,
      'batch_size': 2,
      'rho': (2.0,),
      'methods': {
        'descent': {
          **common.use('gradient'),
          'attack': common.use('top_k', **_ALGORITHM),
        },
        'chance': {
          **common.use('gradient'),
          'attack': common.use('random', num_draws=2),
        },
        'smooth': {
          **common.use('smooth_grad', **smooth),
          'attack': common.use('top_k', **_ALGORITHM),
        },
      },
      'claims': _claims('chance'),
      **changes,
    }
  )


# The contenders of a comparison, without the third, whose map is of draws.
_TWO = {k: v for k, v in _config().methods.items() if k != 'smooth'}


class AttackTest(parameterized.TestCase):
  def _run(self, folder, **changes):
    return launch.run(
      attack.main, config=_config(**changes), workdir=str(folder)
    )

  def test_attacks_and_goes_on(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = self._run(folder, num_examples=2)
    self.assertEqual((done.code, done.stderr), (0, ''))
    first = records.read(folder)
    done = self._run(folder)
    self.assertEqual((done.code, done.stderr), (0, ''))
    found = records.read(folder)
    self.assertEqual(list(found), [0, 1, 2])
    self.assertEqual(found[0], first[0])
    for record in found.values():
      for row in record['maps'].values():
        one = row['2']
        self.assertTrue(one['feasible'])
        self.assertBetween(one['norm'], 0.01, 2.0001)
        self.assertBetween(one['overlap'], 0, 1)
        self.assertLess(one['objective'], one['clean_objective'])
    summary = json.loads((folder / 'summary.json').read_text())
    means = {
      name: np.mean([r['maps'][name]['2']['overlap'] for r in found.values()])
      for name in ('descent', 'chance', 'smooth')
    }
    for name, mean in means.items():
      self.assertAlmostEqual(summary['overlaps'][name]['2']['mean'], mean)
    (verdict,) = summary['verdicts']
    (comparison,) = verdict['comparisons']
    self.assertAlmostEqual(
      comparison['mean'], means['descent'] - means['chance']
    )
    self.assertEqual(comparison['num'], 3)
    self.assertEqual(verdict['verdict'], 'interval only')
    self.assertIn('descent moves the map further', done.stdout)

  def test_surrogate_is_what_is_differentiated(self):
    model, found = examples.load_model(_config()), []
    for surrogate in (None, lambda params, x: 0 * model.apply(params, x)):
      folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
      with mock.patch.object(attack, '_surrogate', lambda _, s=surrogate: s):
        done = self._run(folder, num_examples=1, methods=_TWO)
      self.assertEqual((done.code, done.stderr), (0, ''))
      found.append(records.read(folder)[0]['maps'])
    own, flat = found
    # Without a slope no step is taken: the best start is what is left.
    self.assertGreater(
      flat['descent']['2']['objective'], own['descent']['2']['objective']
    )
    self.assertEqual(flat['chance'], own['chance'])

  def test_map_of_steps_is_attacked_along_its_relaxed_map(self):
    settings = {'sigma': 0.2, 'tau': 0.2, 'num_samples': 4}
    steps = {
      **common.use('sparsified_map', **settings),
      'attack': common.use('top_k', **_ALGORITHM),
    }
    relaxed = {'relaxed': common.use('relaxed_map', **settings)}
    methods = {'alone': steps, 'relaxed': steps | relaxed}
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = self._run(folder, methods=methods, claims=())
    self.assertEqual((done.code, done.stderr), (0, ''))
    alone, relaxed = (
      np.array(
        [r['maps'][m]['2']['objective'] for r in records.read(folder).values()]
      )
      for m in methods
    )
    self.assertTrue(np.all(relaxed <= alone))
    self.assertLess(relaxed.mean(), alone.mean())
    steps['relaxed'] = common.use('relaxd_map')
    done = self._run(folder, methods={'steps': steps}, claims=())
    self.assertIn("relaxed.name is 'relaxd_map'", done.stderr)

  def test_surrogate_of_published_weights_is_near_the_network(self):
    model = models.load('squeezenet')
    soft = attack._surrogate({'model': 'squeezenet', 'sharpness': 3.0})
    x = jax.random.uniform(jax.random.key(0), model.spec.input_shape)
    want, got = (jax.jit(f)(model.params, x) for f in (model.apply, soft))
    error = float(jnp.max(jnp.abs(got - want)) / jnp.max(jnp.abs(want)))
    self.assertBetween(error, 1e-6, 0.05)
    self.assertIsNone(attack._surrogate({'sharpness': None}))

  def test_what_fails_for_one_is_left_out_for_all(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = self._run(folder, num_examples=2, methods=_TWO)
    self.assertEqual(done.code, 0)
    path = folder / 'records-0.jsonl'
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]['maps']['chance']['2']['feasible'] = False
    path.write_text(''.join(f'{json.dumps(line)}\n' for line in lines))
    done = self._run(folder, num_examples=2, methods=_TWO)
    self.assertEqual(done.code, 0)
    summary = json.loads((folder / 'summary.json').read_text())
    self.assertEqual(summary['left_out'], {'2': 1})
    self.assertEqual(summary['overlaps']['descent']['2']['num'], 1)

  def test_one_contender_of_a_config(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch.run(
      attack.main,
      config=_config(num_examples=1),
      workdir=str(folder),
      methods=['chance'],
    )
    self.assertEqual((done.code, done.stderr), (0, ''))
    self.assertIn('without descent, smooth: 1 of 1 comparisons', done.stdout)
    self.assertEqual(list(records.read(folder)[0]['maps']), ['chance'])

  @parameterized.parameters(
    (
      {'sharpness': 3.0},
      "config.model, for a sharpness, is 'softplus_net', expected one of dei",
    ),
    ({'ball': 'l1'}, "config.ball is 'l1', expected one of l2, linf"),
    (
      {'objective': 'x'},
      "config.objective is 'x', expected one of top_k_share",
    ),
    (
      {'claims': _claims('luck')},
      "config.claims: method is 'luck', expected one of descent",
    ),
  )
  def test_refuses(self, changes, message):
    done = self._run('unused', **changes)
    self.assertEqual(done.code, 1)
    self.assertIn(message, done.stderr)


if __name__ == '__main__':
  absltest.main()
