"""Tests for `experiments/benchmark.py`, on a small SqueezeNet, few draws."""

import gzip
import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp

from experiments import benchmark
from experiments.benchmarking import programs
from experiments.tables import costs
from saliency_jax import scores
from tests import networks
from tests.experiments import launch

_FEW = ('rise.num_masks=8', 'rise.batch_size=4')


class BenchmarkTest(parameterized.TestCase):
  def _run(self, **values):
    self.out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    values = {
      'model': 'squeezenet',
      'out': str(self.out),
      'repeats': 2,
      'batches': ['1', '2'],
      'peers': False,
      'metrics': [],
      **values,
    }
    with mock.patch.object(launch, 'load', networks.shrunk):
      return launch.run(benchmark.main, **values)

  def test_profile_is_a_trace_of_each_method(self):
    done = self._run(methods=['gradient'], profile=True, repeats=1)
    self.assertEqual((done.code, done.stderr), (0, ''))
    (trace,) = (self.out / 'profile' / 'gradient').rglob('perfetto_trace*')
    with gzip.open(trace) as f:
      events = json.load(f)['traceEvents']
    self.assertTrue(any('jit_' in e.get('name', '') for e in events))

  def test_writes_times_and_memory(self):
    done = self._run(
      methods=['gradient', 'rise'],
      set=list(_FEW),
      metrics=['igos_protocol'],
      repeats=1,
    )
    self.assertEqual((done.code, done.stderr), (0, ''))
    report = json.loads((self.out / 'squeezenet.json').read_text())
    self.assertEqual(list(report['methods']), ['gradient', 'rise'])
    found = report['methods']['rise']
    self.assertEqual(
      found['calls'], {'gradients': 0, 'forwards': 8, 'products': 0}
    )
    self.assertEqual(found['settings']['num_masks'], 8)
    self.assertGreater(found['first_call_seconds'], found['seconds'])
    self.assertGreater(found['ratio'], 0)
    clocked = found['processor_seconds']
    self.assertEqual(list(clocked), ['ours', 'bare', 'loop'])
    self.assertAlmostEqual(
      found['processor_ratio'], clocked['ours'] / clocked['bare']
    )
    memory = found['temporary_bytes']
    self.assertLess(4 * memory['4'], memory['32'])
    self.assertEqual(report['methods']['gradient']['temporary_bytes'], {})
    # Both curves, from none of 784 cells to all in steps of 15.
    metric = report['metrics']['igos_protocol']
    self.assertEqual(metric['calls']['forwards'], 2 * 54)
    self.assertGreater(metric['ratio'], 0)
    for kind in ('forward', 'gradient'):
      sizes = [e['batch_size'] for e in report['model_calls'][kind]]
      self.assertEqual(sizes, [1, 2])
    for text in ('rise', 'gradient', 'best', 'MiB', 'squeezenet.json'):
      self.assertIn(text, done.stdout)

  @parameterized.product(
    score=(scores.logit, scores.prob_margins), looped=(False, True)
  )
  def test_bare_calls_are_as_many_as_told(self, score, looped):
    sizes = []

    def apply(params, x):
      jax.debug.callback(lambda _: sizes.append(1), x[0, 0, 0])
      return jnp.sum(x) * params

    model = mock.Mock(apply=apply, params=jnp.arange(3.0))
    calls = costs.Calls(gradients=7, forwards=2)
    subject = programs.Subject(
      model, jnp.ones((2, 2, 1)), 1, jax.random.key(0), 1
    )
    programs.bare(subject, score, 4, looped=looped)(calls)()
    jax.effects_barrier()
    # Seven gradients are two batches of four, two forwards one of two.
    self.assertLen(sizes, 2 * 4 + 2)

  @parameterized.parameters(
    ({'methods': ['magic']}, 'magic'),
    ({'set': ['rise.num_masks=0']}, 'rise: .*got 0'),
    ({'set': ['rise.batch_size=0']}, 'rise: .*got 0'),
    ({'metrics': ['magic']}, "--metrics is 'magic', expected one of"),
    ({'batches': ['two']}, "--batches 'two': expected whole numbers"),
    ({'batches': ['0']}, "--batches '0': expected whole numbers"),
    ({'out': __file__}, 'cannot write to --out'),
  )
  def test_bad_flag(self, values, message):
    done = self._run(**{'methods': ['rise'], **values})
    self.assertEqual(done.code, 1)
    self.assertRegex(done.stderr, f'^error: .*{message}')
    self.assertEqual(done.stderr.count('\n'), 1)

  def test_peers_that_are_not_installed(self):
    with mock.patch.object(benchmark, '_PEER_PACKAGES', ('no_such_package',)):
      done = self._run(methods=['rise'], peers=True)
    self.assertEqual(done.code, 1)
    self.assertIn('--peers needs no_such_package', done.stderr)
    self.assertIn("pip install 'saliency-jax[peers]'", done.stderr)


if __name__ == '__main__':
  absltest.main()
