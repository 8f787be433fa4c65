"""Tests for `experiments/reproduce.py` and the tables of the READMEs."""

import json
import pathlib
import sys
import tempfile
from unittest import mock

from absl.testing import absltest

from experiments import configs
from experiments import reproduce
from experiments.core import claims
from experiments.reproduction import runs
from experiments.reproduction import stored
from experiments.reproduction import table
from tests.experiments import launch

# A launcher at which the run is killed at first; then it fails, then it ends.
_LAUNCHER = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
times = folder / 'times'
with times.open('a') as f:
  f.write('.')
if times.read_text() == '.':
  os.kill(os.getppid(), signal.SIGTERM)
  time.sleep(60)
  print('outlived the run')
if times.read_text() == '..':
  sys.exit('stopped')
print('went on')
summary = {'verdicts': json.loads(sys.argv[2]), 'machine': 'a machine'}
(folder / 'summary.json').write_text(json.dumps(summary))
"""


def _verdict(claim, words):
  """Returns a verdict as a run has it."""
  comparisons = [
    {
      **dict(zip(('metric', 'a', 'b', 'direction'), decides, strict=True)),
      'verdict': word,
      'p': None if word == 'interval only' else 0.01 * (i + 1),
      'mean': claims.DIRECTIONS[decides[3]] * (-1 if word == 'refuted' else 1),
      'low': -2.0,
      'high': 2.123456789,
      'clusters': 30 + i,
      'num': 60,
    }
    for i, (decides, word) in enumerate(
      zip(claim['decides'], words, strict=True)
    )
  ]
  kept = {k: v for k, v in claim.items() if k != 'decides'}
  return {**kept, 'verdict': words[-1], 'comparisons': comparisons}


def _results(name, *verdicts):
  return {name: {'name': name, 'minutes': 3.2, 'verdicts': list(verdicts)}}


class ReproduceTest(absltest.TestCase):
  def test_goes_on_and_keeps_the_result(self):
    out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    name = 'igos_toy'
    (claim,) = runs.config_of(name)['claims']
    text = json.dumps([_verdict(claim, ['refuted'])])

    def command(name, folder, flags):
      self.assertEqual((name, flags), ('igos_toy', []))
      return [sys.executable, '-c', _LAUNCHER, str(folder), text]

    def run():
      with mock.patch.object(runs, 'command', command):
        return launch.run(reproduce.main, out=str(out), configs=[name])

    killed = run()
    self.assertEqual((killed.code, killed.stderr), (130, 'interrupted\n'))
    stopped = run()
    self.assertEqual(stopped.code, 1)
    self.assertIn('igos_toy failed: see output.txt', stopped.stderr)
    self.assertFalse((out / name / stored.RESULT).exists())
    done = run()
    self.assertEqual((done.code, done.stderr), (0, ''))
    for part in ('1 of 1: igos_toy, about 0.2 min', 'refuted', 'p, corrected'):
      self.assertIn(part, done.stdout)
    output = (out / name / 'output.txt').read_text()
    self.assertEqual(output, 'stopped\nwent on\n')
    result = json.loads((out / name / stored.RESULT).read_text())
    self.assertEqual(result['machine'], 'a machine')
    self.assertIn('--config=experiments/configs/igos_toy.py', result['command'])
    self.assertRegex(result['commit'], r'^([0-9a-f]{10}\+?|\+?)$')
    attempts = (out / name / stored.ATTEMPTS).read_text().splitlines()
    codes = [json.loads(line)['code'] for line in attempts]
    self.assertEqual(codes, [None, 1, 0])
    # Numbers are kept at four digits.
    (kept,) = result['verdicts']
    self.assertEqual(kept['comparisons'][0]['high'], 2.123)
    self.assertIn('igos_toy: is done', run().stdout)
    with mock.patch.object(stored, 'FOLDER', out):
      self.assertEqual(stored.keep(out), [name])
      self.assertEqual(stored.read()[name], result)

  def test_refuses_what_is_no_run(self):
    done = launch.run(reproduce.main, configs=['igos_joke'])
    self.assertEqual(done.code, 1)
    self.assertIn("--configs is 'igos_joke', expected one of", done.stderr)


class RunsTest(absltest.TestCase):
  def test_every_config_is_a_run(self):
    folder = pathlib.Path(configs.__file__).parent
    names = {
      p.stem
      for p in folder.glob('*.py')
      if p.stem != '__init__' and not p.stem.endswith('common')
    }
    self.assertEqual({r.name.partition(':')[0] for r in runs.ALL}, names)
    folders = [runs.folder_of(r.name) for r in runs.ALL]
    self.assertLen(set(folders), len(runs.ALL))

  def test_command(self):
    path = pathlib.Path('out')
    found = runs.command('attacks:photos', path, ['--data_dir=x'])
    want = ['-m', 'experiments.attack']
    want += ['--config=experiments/configs/attacks.py:photos', '--workdir=out']
    self.assertEqual(found[1:], [*want, '--data_dir=x'])


class TableTest(absltest.TestCase):
  def test_readmes_are_as_generated(self):
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (root / 'experiments').mkdir()
    for name in ('README.md', 'experiments/README.md'):
      (root / name).write_text((runs.ROOT / name).read_text())
    table.write(root)
    for name in ('README.md', 'experiments/README.md'):
      self.assertEqual(
        (root / name).read_text(),
        (runs.ROOT / name).read_text(),
        f'{name}: python -m experiments.reproduce --store writes it',
      )

  def test_stored_results_are_of_the_claims_that_are_there(self):
    known = {run.name for run in runs.ALL}
    for name, result in stored.read().items():
      self.assertIn(name, known)
      told = [c['claim'] for c in runs.config_of(name)['claims']]
      self.assertEqual([v['claim'] for v in result['verdicts']], told, name)

  def test_rows(self):
    found = list(table.rows({}))
    self.assertGreater(len(found), 100)
    self.assertEqual({row.word for row in found}, {'not run'})
    papers = {row.claim['paper'] for row in found}
    self.assertEqual(papers, set(claims.PAPERS))

  def test_verdicts_and_effects(self):
    name = 'igos_table_5:squeezenet'
    told = runs.config_of(name)['claims']
    words = ['reproduced', 'reproduced', 'refuted']
    results = _results(name, _verdict(told[0], words))
    found = [r for r in table.rows(results) if r.run.name == name]
    self.assertEqual([r.word for r in found], ['refuted', 'not run', 'not run'])
    (line,) = [l for l in table.claims(found).splitlines() if 'smaller' in l]
    for part in (
      '| refuted: 2 reproduced, 1 refuted |',
      # That which speaks against the claim.
      'objective_high.objective, `igos_high` less `mask_high`: 1 (-2 to 2.12)',
      'n = 32 |',
      '| `igos_table_5:squeezenet`, 3 min |',
      'Table 5; photos',
    ):
      self.assertIn(part, line)
    counts = table.papers(found)
    self.assertIn('| I-GOS (Qi et al. 2020) | 0 | 1 | 0 | 0 | 0 | 2 |', counts)

  def test_result_of_other_comparisons_is_none(self):
    name = 'igos_toy'
    (claim,) = runs.config_of(name)['claims']
    verdict = _verdict(claim, ['refuted'])
    results = _results(name, verdict)
    one = lambda: next(r for r in table.rows(results) if r.run.name == name)
    self.assertEqual(one().word, 'refuted')
    verdict['comparisons'][0]['direction'] = 'above'
    self.assertEqual(one().word, 'not run')

  def test_file_without_markers(self):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    path = pathlib.Path(folder) / 'README.md'
    path.write_text('text')
    with self.assertRaisesRegex(ValueError, 'has no lines'):
      table.put(path, 'more')


if __name__ == '__main__':
  absltest.main()
