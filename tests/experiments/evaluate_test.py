"""Tests for `experiments/evaluate.py`, on a tiny network and a few digits."""

import copy
import json
import pathlib
import random
import socket
import tempfile
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from experiments import evaluate
from experiments.configs import common
from experiments.core import records
from experiments.evaluation import tuning
from experiments.tables import methods
from saliency_jax.core import types
from tests.experiments import launch
from tests.experiments import tiny_config

_FILE = 'tests/experiments/tiny_config.py:few'


def _flags(workdir, *flags):
  return [
    f'--config={_FILE}',
    f'--workdir={workdir}',
    f'--compilation_cache_dir={launch.CACHE}',
    *flags,
  ]


def _without_times(found):
  """Returns records, or a summary, without what differs from run to run."""
  found = copy.deepcopy(found)
  if 'seconds' in found:
    del found['seconds'], found['machine']
    return found
  for record in found.values():
    for row in record['maps'].values():
      del row['seconds']
  return found


def _claims(*comparisons, paper='none', rule=common.FIXED):
  claim = common.claim('a claim', paper, '', *comparisons, rule=rule)
  return {'claims': (claim,)}


def _tuning(grids=None, num=1, by=('flipping.flipped',)):
  return {'tune': num, 'tuning': common.tuning(by, grids or {})}


class EvaluateTest(parameterized.TestCase):
  def _folder(self):
    return pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _run(self, folder, config=None, **values):
    config = tiny_config.get_config() if config is None else config
    values = {'config': config, 'workdir': str(folder), **values}
    return launch.run(evaluate.main, **values)

  def test_some_methods_of_a_config(self):
    folder, config = self._folder(), tiny_config.get_config('few')
    config.num_examples = 1
    done = self._run(folder, config, methods=['random'])
    self.assertEqual((done.code, done.stderr), (0, ''))
    self.assertIn('without smooth: 2 of 2 comparisons are drop', done.stdout)
    self.assertEqual(list(records.read(folder)[0]['maps']), ['random'])
    self.assertIn('Not run: smooth.', (folder / 'report.html').read_text())
    # Neither is the part taken for the whole, nor the whole for the part.
    self.assert_one_line(
      self._run(folder, config), 'of another config, .*methods.smooth: '
    )
    self.assert_one_line(
      self._run(folder, config, methods=['rise']), "--methods is 'rise', exp"
    )

  def test_what_chose_settings_judges_nothing(self):
    folder, config = self._folder(), tiny_config.get_config('few')
    config.num_examples, by = 3, ('igos_protocol.deletion',)
    grid = ({'num_samples': 1}, {'num_samples': 3, 'sigma': 0.3})
    config.methods.odds = common.use('gradient', explains='log_odds')
    config.update(_tuning({'smooth': grid}, by=by))
    done = self._run(folder, config)
    self.assertEqual((done.code, done.stderr), (0, ''))
    self.assertEqual(list(records.read(folder)), [1, 2])
    self.assertEqual(list(records.read(folder / tuning.FOLDER)), [0])
    summary = json.loads((folder / 'summary.json').read_text())
    (choice,) = summary['tuned'].values()
    self.assertEqual(choice['settings'], grid[np.argmax(choice['worth'])])
    self.assertEqual(summary['num_examples'], 2)
    # The row of the settings that were taken is marked.
    report = (folder / 'report.html').read_text()
    words = ', '.join(f'{k} = {v}' for k, v in choice['settings'].items())
    self.assertRegex(report, f'text best"[^>]*>{words}<')
    self.assert_one_line(
      self._run(folder, tiny_config.get_config('few')), 'tune: 1 became 0'
    )

  def test_superpixels_are_players(self):
    folder, config = self._folder(), tiny_config.get_config('few')
    config.num_examples = 3
    config.batch_size = 2
    config.claims = ()
    config.methods = {
      'hidden': common.use('ablation', cells=2),
      # Whose every image has a graph, and a program, of its own.
      'near': common.use('c_shapley', cells=2),
    }
    config.metrics = {'sensitivity': common.use('sensitivity', num_points=3)}
    done = self._run(folder, config, segments=6)
    self.assertEqual((done.code, done.stderr), (0, ''))
    for i, record in records.read(folder).items():
      with np.load(folder / 'maps' / f'{i:05d}.npz') as maps:
        for label in config.methods:
          self.assertIn('values sum to', record['maps'][label]['quality'])
          self.assertBetween(len(np.unique(maps[label])), 4, 6)
    config.methods = {'random': common.use('random')}
    self.assert_one_line(
      self._run(self._folder(), config, segments=6), '--segments=6: expected a'
    )

  def assert_one_line(self, outcome, message):
    self.assertEqual(outcome.code, 1)
    self.assertRegex(outcome.stderr, f'^error: .*{message}')
    self.assertEqual(outcome.stderr.count('\n'), 1)

  def test_writes_records_summary_maps_and_report(self):
    folder = self._folder() / 'new' / 'folder'
    done = self._run(folder)
    self.assertEqual((done.code, done.stderr), (0, ''))
    self.assertCountEqual(
      [p.name for p in folder.iterdir()],
      [
        'config.json',
        'curves_flipping.png',
        'curves_igos_protocol.png',
        'maps',
        'records-0.jsonl',
        'report.html',
        'summary.json',
      ],
    )
    config = tiny_config.get_config()
    found = records.read(folder)
    self.assertEqual(list(found), [0, 1, 2])
    for record in found.values():
      self.assertEqual(record['right'], record['label'] == record['explained'])
      self.assertBetween(record['prob'], 0.1, 1)
      self.assertEqual(list(record['maps']), list(config.methods))
      for row in record['maps'].values():
        self.assertEqual(
          list(row['values']),
          [
            'igos_protocol.deletion',
            'igos_protocol.insertion',
            'flipping.flipped',
          ],
        )
        # Both curves end where the other starts: at the blur, at the image.
        deletion, insertion = (
          row['curves'][f'igos_protocol.{c}']['y']
          for c in ('deletion', 'insertion')
        )
        np.testing.assert_allclose(deletion[0], record['prob'], rtol=1e-4)
        np.testing.assert_allclose(insertion[-1], record['prob'], rtol=1e-4)
        np.testing.assert_allclose(deletion[-1], insertion[0], rtol=1e-4)
    with np.load(folder / 'maps' / '00001.npz', allow_pickle=False) as maps:
      self.assertCountEqual(maps, ['image', *config.methods])
      self.assertEqual(maps['image'].dtype, np.uint8)
      self.assertEqual(maps['smooth'].shape, (28, 28, 1))
      self.assertEqual(maps['smooth'].dtype, np.float16)
    summary = json.loads((folder / 'summary.json').read_text())
    column = [
      r['maps']['smooth']['values']['igos_protocol.deletion']
      for r in found.values()
    ]
    mean = summary['means']['igos_protocol.deletion']['smooth']
    self.assertAlmostEqual(mean['mean'], np.mean(column))
    self.assertLess(mean['low'], mean['mean'])
    self.assertLen(summary['verdicts'][0]['comparisons'], 2)
    for text in (
      'smooth below random',
      'interval only',
      'flipping.flipped',
      'rise',
    ):
      self.assertIn(text, done.stdout)

    # A second run has nothing to do, and says the same.
    before = (folder / 'records-0.jsonl').read_bytes()
    self.assertEqual(self._run(folder).stdout, done.stdout)
    self.assertEqual((folder / 'records-0.jsonl').read_bytes(), before)

    # More examples are added to those that are there.
    config.num_examples = 5
    config.num_maps = 4
    self.assertEqual(self._run(folder, config).code, 0)
    after = (folder / 'records-0.jsonl').read_bytes()
    self.assertStartsWith(after, before)
    self.assertLen(records.read(folder), 5)
    self.assertLen(list((folder / 'maps').iterdir()), 4)

    # Fewer examples are the first ones.
    config.num_examples = 3
    self.assertEqual(self._run(folder, config).code, 0)
    again = json.loads((folder / 'summary.json').read_text())
    self.assertEqual(_without_times(again), _without_times(summary))

    # Another config is another folder's.
    config.methods.smooth.settings.num_samples = 3
    done = self._run(folder, config)
    self.assert_one_line(done, 'smooth.settings.num_samples: 2 became 3')
    self.assertEqual((folder / 'records-0.jsonl').read_bytes(), after)

  def test_draws_depend_on_seed_and_example_alone(self):
    def values(change):
      folder, config = self._folder(), tiny_config.get_config()
      # A metric may be called as a method is.
      config.metrics = {'random': config.metrics.flipping}
      config.claims = ()
      change(config)
      self.assertEqual(self._run(folder, config).code, 0)
      with np.load(folder / 'maps' / '00001.npz') as maps:
        return maps['random']

    def alone(config):
      config.methods = {'random': common.use('random')}
      config.num_examples = 2

    def other_seed(config):
      alone(config)
      config.seed = 1

    def twice(config):
      config.methods = {
        'random': common.use('random'),
        'again': common.use('random'),
      }

    first = values(twice)
    np.testing.assert_array_equal(first, values(alone))
    self.assertGreater(np.max(np.abs(first - values(other_seed))), 0.5)

  def test_map_of_nan_is_left_out_and_told(self):
    folder, config = self._folder(), tiny_config.get_config()
    config.methods = {n: common.use(n) for n in ('gradient', 'random')}
    config.claims = ()
    gradient = methods.METHODS['gradient']

    def broken(fn, x, *, key=None):
      out = gradient.method(fn, x, key=key)
      # Of the first digit only, a zero: its middle is dark.
      scores = jnp.where(x[14, 14, 0] == 0, jnp.nan, out.scores)
      return types.Attribution(scores, out.info)

    entry = gradient._replace(method=broken)
    with mock.patch.dict(methods.METHODS, {'gradient': entry}):
      done = self._run(folder, config)
    self.assert_one_line(
      done, r'left out of the means: digit_\d+: gradient: 784 of 784 .* NaN'
    )
    found = records.read(folder)
    self.assertEqual(found[0]['maps']['gradient']['values'], {})
    self.assertLen(found[0]['maps']['random']['values'], 3)
    summary = json.loads((folder / 'summary.json').read_text())
    nums = {
      m: e['num'] for m, e in summary['means']['flipping.flipped'].items()
    }
    self.assertLess(nums['gradient'], 3)
    self.assertEqual(nums['random'], 3)
    self.assertIn('784 of 784', (folder / 'report.html').read_text())

  @parameterized.parameters(
    ({'num_examples': 0}, 'config.num_examples is 0, expected at least 1'),
    ({'num_examples': 1001}, 'is 1001, expected 1 to the 1000'),
    ({'batch_size': 0}, 'config.batch_size is 0, expected at least 1'),
    ({'model': 'vgg'}, "config.model is 'vgg'"),
    ({'data': 'nowhere'}, "'nowhere', expected one of photos"),
    ({'methods.magic': common.use('magic')}, "methods.magic: name is 'magic'"),
    (
      {'methods.smooth.settings.num_samples': 0},
      'config.methods.smooth: num_samples must be a whole number of at least 1',
    ),
    ({'metrics.flipping.name': 'magic'}, "metric is 'magic', expected one of"),
    (
      {'metrics.flipping.settings.baseline': 'pink'},
      "config.metrics.flipping: baseline is 'pink'",
    ),
    (
      _claims(('a.deletion', 'rise', 'random', 'below')),
      "metric is 'a.deletion', expected one of igos_protocol.deletion",
    ),
    (
      _claims(('flipping.flipped', 'rise', 'mask', 'below')),
      "method is 'mask', expected one of gradient",
    ),
    (
      _claims(('flipping.flipped', 'smooth', 'rise', 'best')),
      "direction is 'best', expected one of below, above",
    ),
    (_claims('a'), 'expected .metric, a, b, direction., and .*, got'),
    (
      _claims(('flipping.flipped', 'smooth', 'rise', 'below', 0.1)),
      'has the margin 0.1, expected one above 0, and a direction of not_below',
    ),
    (_claims(paper='Bible'), "paper is 'Bible', expected one of LEG, CASO"),
    (_claims(rule='guessed'), "rule is 'guessed', expected one of fixed"),
    (_tuning(num=0), 'config.tune is 0, expected 1 to 2'),
    (_tuning(num=3), 'what chose a setting does not judge it'),
    (_tuning(by=()), 'config.tuning.by is empty'),
    (_tuning(by=('flipping.sign',)), "tuning.by is 'flipping.sign', expected"),
    (
      _tuning({'mask': ({},)}),
      "config.tuning.grids is 'mask', expected one of",
    ),
    (_tuning({'rise': ()}), 'config.tuning.grids.rise has no settings'),
    (_tuning({'rise': ({'masks': 1},)}), 'methods.rise: no such setting as'),
    (
      {'methods.rise.explains': 'fame'},
      "config.methods.rise: explains is 'fame', expected one of log_odds",
    ),
  )
  def test_bad_config(self, changes, message):
    folder, config = self._folder(), tiny_config.get_config()
    for path, value in changes.items():
      *parents, last = path.split('.')
      place = config
      for name in parents:
        place = place[name]
      place.update({last: value})
    self.assert_one_line(self._run(folder, config), message)
    self.assertEmpty(records.read(folder))

  @parameterized.parameters(
    ({'config': None}, 'expected --config and --workdir'),
    ({'workdir': None}, 'expected --config and --workdir'),
    (
      {'workdir': __file__},
      'evaluate_test.py.*: (file exists|not a directory)',
    ),
  )
  def test_bad_flag(self, values, message):
    values = {'config': tiny_config.get_config(), 'workdir': 'x', **values}
    self.assert_one_line(launch.run(evaluate.main, **values), message)

  def test_killed_and_resumed_is_as_if_never_killed(self):
    whole, killed = self._folder(), self._folder()
    config = tiny_config.get_config('few')
    config.num_examples = 6
    self.assertEqual(self._run(whole, config).code, 0)
    path, rng = killed / 'records-0.jsonl', random.Random(0)
    for lines in (1, 3):
      process = launch.start(
        'evaluate',
        _flags(killed, '--config.num_examples=6'),
        self._folder(),
        # As many as `launch.run` has, so that rounding is the same.
        num_devices=2,
      )
      deadline = time.monotonic() + 300
      while not process.ended() and time.monotonic() < deadline:
        if path.exists() and path.read_bytes().count(b'\n') >= lines:
          break
        time.sleep(0.001)
      time.sleep(rng.uniform(0, 0.02))
      process.kill()
    # As a line looks that was being written.
    with path.open('ab') as f:
      f.write(b'{"index": 5, "name": "dig')
    before = records.read(killed)
    self.assertGreaterEqual(len(before), 3)
    self.assertEqual(self._run(killed, config)[::2], (0, ''))
    after = records.read(killed)
    self.assertEqual({i: after[i] for i in before}, before)
    self.assertEqual(_without_times(after), _without_times(records.read(whole)))
    one, other = (
      _without_times(json.loads((f / 'summary.json').read_text()))
      for f in (whole, killed)
    )
    self.assertEqual(one, other)

  def test_two_processes_are_as_one(self):
    folder, alone = self._folder(), self._folder()
    flags = ('--config.num_examples=5',)
    with socket.socket() as s:
      s.bind(('127.0.0.1', 0))
      address = f'127.0.0.1:{s.getsockname()[1]}'
    processes = [
      launch.start(
        'evaluate',
        _flags(
          folder,
          *flags,
          f'--coordinator_address={address}',
          '--num_processes=2',
          f'--process_id={i}',
        ),
        self._folder(),
        num_devices=2,
      )
      for i in range(2)
    ]
    for i, process in enumerate(processes):
      done = process.wait()
      self.assertEqual(done.code, 0, done.stderr)
      self.assertEqual('report.html' in done.stdout, i == 0)
    counts = [
      (folder / f'records-{i}.jsonl').read_text().count('\n') for i in range(2)
    ]
    self.assertEqual(counts, [3, 2])
    config = tiny_config.get_config('few')
    config.num_examples = 5
    self.assertEqual(self._run(alone, config).code, 0)
    found, want = records.read(folder), records.read(alone)
    self.assertEqual(list(found), list(want))
    for i, record in want.items():
      self.assertEqual(found[i]['explained'], record['explained'])
      for label, row in record['maps'].items():
        for name, value in row['values'].items():
          np.testing.assert_allclose(
            found[i]['maps'][label]['values'][name], value, rtol=1e-4
          )

  def test_command_line(self):
    folder = self._folder()
    flags = _flags(folder)
    commands = {
      'nowhere.py': ['--config=nowhere.py', f'--workdir={folder}'],
      '--seed is not used here': [*flags, '--seed=1'],
      "no such field: .*'magic'": [*flags, '--config.magic=1'],
    }
    found = launch.commands('evaluate', *commands.values())
    for message, done in zip(commands, found, strict=True):
      self.assertEqual(done.code, 1)
      self.assertRegex(done.stderr.strip(), f'^error: [^\n]*{message}[^\n]*$')


if __name__ == '__main__':
  absltest.main()
