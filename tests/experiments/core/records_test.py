"""Tests for `experiments/core/records.py`."""

import json
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax

from experiments.core import app
from experiments.core import records

# Forks writers that add the missing examples, kills each some time after its
# first line, and prints how many lines are whole, and whether one is torn.
_KILLER = """
import os, pathlib, random, signal, sys, time
from experiments.core import records
folder, num, kills = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:])
path, rng = folder / 'records-0.jsonl', random.Random(0)
path.touch()
def write():
  with records.appending(folder) as append:
    done = records.read(folder)
    for i in range(num):
      if i not in done:
        append({'index': i, 'filling': str(i) * 3000})
for kill in range(kills + 1):
  size, child = path.stat().st_size, os.fork()
  if not child:
    write()
    os._exit(0)
  if kill < kills:
    while path.stat().st_size <= size:
      time.sleep(.0002)
    time.sleep(rng.uniform(0, .01))
    os.kill(child, signal.SIGKILL)
  os.waitpid(child, 0)
  content = path.read_bytes()
  assert list(records.read(folder)) == list(range(content.count(b'\\n')))
  print(content.count(b'\\n'))
"""


class RecordsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / 'records-0.jsonl'

  def _append(self, *indices, process=0):
    with records.appending(self.folder, process) as append:
      for i in indices:
        append({'index': i, 'value': i / 4})

  def test_reads_what_was_appended_in_order_of_the_examples(self):
    self._append(0, 2)
    self._append(1, process=1)
    self._append(4)
    found = records.read(self.folder)
    self.assertEqual(list(found), [0, 1, 2, 4])
    self.assertEqual(found[2], {'index': 2, 'value': 0.5})
    self.assertLen(self.path.read_text().splitlines(), 3)

  def test_infinite_values_are_told_as_text(self):
    with records.appending(self.folder) as append:
      append({'index': 0, 'value': float('inf')})
    self.assertEqual(records.read(self.folder)[0]['value'], 'inf')

  def test_torn_line_is_dropped_wherever_it_was_torn(self):
    self._append(0, 1)
    whole = self.path.read_bytes()
    first = whole.index(b'\n') + 1
    for end in range(first, len(whole)):
      self.path.write_bytes(whole[:end])
      self.assertEqual(list(records.read(self.folder)), [0])
    self._append(1)
    self.assertEqual(self.path.read_bytes(), whole)

  @parameterized.parameters(b'{"index": 1', b'[1]', b'{"value": 1}', b'')
  def test_broken_line_in_the_middle(self, line):
    self._append(0, 1)
    first, last = self.path.read_bytes().splitlines(keepends=True)
    self.path.write_bytes(first + line + b'\n' + last)
    with self.assertRaisesRegex(ValueError, "-0.jsonl', line 2: no record"):
      records.read(self.folder)

  def test_second_line_of_an_example(self):
    self._append(0, 1)
    self._append(1, process=1)
    with self.assertRaisesRegex(
      ValueError, "-1.jsonl', line 1: a second record of example 1"
    ):
      records.read(self.folder)

  def test_two_runs_in_one_folder(self):
    with records.appending(self.folder):
      with self.assertRaisesRegex(ValueError, 'another run is writing'):
        self._append(0)
    self._append(0)

  def test_killed_at_any_instant(self):
    num, kills = 1000, 15
    done = subprocess.run(
      [sys.executable, '-c', _KILLER, str(self.folder), str(num), str(kills)],
      capture_output=True,
      text=True,
      check=False,
      timeout=120,
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    lines = [int(n) for n in done.stdout.split()]
    # Every run but the last was killed on its way.
    self.assertLen(lines, kills + 1)
    self.assertEqual(lines, sorted(lines))
    self.assertLess(lines[-2], num)
    found = records.read(self.folder)
    self.assertEqual(list(found), list(range(num)))
    for i, record in found.items():
      self.assertEqual(record['filling'], str(i) * 3000)


class CompleteTest(parameterized.TestCase):
  def test_processes_share_the_examples(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    asked = []

    def add(missing, append):
      asked.append(missing)
      for i in missing:
        append({'index': i})

    def complete(process):
      with (
        mock.patch.object(jax, 'process_index', lambda: process),
        mock.patch.object(jax, 'process_count', lambda: 2),
        mock.patch.object(app, 'wait_for_all'),
      ):
        return records.complete(folder, {'num_examples': 5}, add)

    # What the others write to another folder is missed.
    with self.assertRaisesRegex(ValueError, r'no records of examples \[1, 3\]'):
      complete(0)
    self.assertIsNone(complete(1))
    self.assertEqual(asked, [[0, 2, 4], [1, 3]])
    self.assertEqual(complete(0), [{'index': i} for i in range(5)])
    self.assertLen(asked, 2)


class ConfigTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.config = {
      'about': 'text',
      'num_examples': 3,
      'seed': 0,
      'methods': {'igos': {'name': 'igos', 'settings': {'tv': 1.0}}},
      'comparisons': (('a', 'b'),),
    }
    records.keep_config(self.folder, self.config)

  def test_same_config(self):
    records.keep_config(self.folder, self.config)

  def test_what_may_change(self):
    changed = {**self.config, 'num_examples': 5, 'about': 'other text'}
    records.keep_config(self.folder, changed)
    stored = json.loads((self.folder / 'config.json').read_text())
    self.assertEqual(stored['num_examples'], 5)

  @parameterized.parameters(
    ({'seed': 1}, 'seed: 0 became 1'),
    ({'methods': {}}, 'methods.igos: .* became "not set"'),
    (
      {'methods': {'igos': {'name': 'igos', 'settings': {'tv': 2.0}}}},
      'methods.igos.settings.tv: 1.0 became 2.0',
    ),
    ({'comparisons': (('a', 'c'),)}, 'comparisons: '),
    ({'fit': {'epochs': 1}}, 'fit: "not set" became'),
  )
  def test_changed_config(self, change, message):
    before = (self.folder / 'config.json').read_bytes()
    with self.assertRaisesRegex(ValueError, f'another config.*{message}'):
      records.keep_config(self.folder, {**self.config, **change})
    self.assertEqual((self.folder / 'config.json').read_bytes(), before)

  @parameterized.parameters(
    'records-3.jsonl', 'metrics.jsonl', 'model.npz', 'trained', 'checkpoints/1'
  )
  def test_results_without_their_config(self, name):
    (self.folder / 'config.json').unlink()
    (self.folder / name).parent.mkdir(exist_ok=True)
    (self.folder / name).write_text('' if name == 'trained' else 'x')
    with self.assertRaisesRegex(
      ValueError, f'holds {name.split("/")[0]} but not the config.json of the'
    ):
      records.keep_config(self.folder, self.config)
    self.assertFalse((self.folder / 'config.json').exists())

  def test_files_that_no_run_made(self):
    (self.folder / 'config.json').unlink()
    (self.folder / 'log.txt').write_text('x')
    (self.folder / 'records-0.jsonl').touch()  # As a run that made none.
    records.keep_config(self.folder, self.config)
    self.assertTrue((self.folder / 'config.json').is_file())

  def test_broken_config(self):
    (self.folder / 'config.json').write_text('{')
    with self.assertRaisesRegex(ValueError, 'is no config'):
      records.keep_config(self.folder, self.config)


if __name__ == '__main__':
  absltest.main()
