"""Tests for `experiments/core/app.py`."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

from absl import flags
from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments.core import app
from saliency_jax import scores
from tests.experiments import launch

# Prints what one of several processes sees.
_PROCESS = """
from experiments.core import app
from experiments.core import files
def main(setup):
  import jax, time
  print(jax.process_index(), jax.device_count(), setup.mesh.size,
        app.is_first(), flush=True)
  try:
    app.alone('study')
  except ValueError as e:
    print(e, flush=True)
  time.sleep(100)
app.run(main)
"""
# Prints the launchers, each with what its --help lists, as a process of its own
# would that imports it alone; what defines no flags is imported once for all.
_FLAGS = """
import importlib, os, sys
from absl import flags
from experiments.core import app
import saliency_jax
from saliency_jax import data, models, viz
import scipy.stats
for name in ('explain', 'benchmark', 'evaluate', 'certify', 'attack', 'train',
             'study'):
  if not os.fork():
    importlib.import_module(f'experiments.{name}')
    app._list_flags(name)
    found = flags.FLAGS.get_key_flags_for_module(name)
    print(name, *(f.name for f in found), flush=True)
    os._exit(0)
  os.wait()
"""


class ErrorsTest(parameterized.TestCase):
  @parameterized.parameters(
    (ValueError('two\n  lines'), 'two lines'),
    (FileNotFoundError(2, 'No such file', 'a.png'), "'a.png': no such file"),
    (ImportError("pip install 'saliency-jax[experiments]'"), 'pip install'),
    (OSError('plain'), 'plain'),
    (ValueError(), 'ValueError'),
  )
  def test_expected_error_is_one_line(self, error, message):
    def main(setup):
      raise error

    done = launch.run(main)
    self.assertEqual(done.code, 1)
    self.assertStartsWith(done.stderr, 'error: ')
    self.assertIn(message, done.stderr)
    self.assertEqual(done.stderr.count('\n'), 1)

  def test_black_box_error_ends_with_its_own_words(self):
    def main(setup):
      fn = scores.from_host(lambda x: np.zeros((7, 3)))
      jax.block_until_ready(jax.jit(fn)(jnp.zeros(2)))

    done = launch.run(main)
    self.assertEqual(done.code, 1)
    self.assertRegex(
      done.stderr, r'^error: .*black box got a batch .*returned \(7, 3\)'
    )
    self.assertEqual(done.stderr.count('\n'), 1)

  @parameterized.parameters(1, 2)
  def test_interrupt_inside_a_black_box(self, num_devices):
    pressed = [True]

    def predict(batch):
      if pressed:
        raise KeyboardInterrupt
      return batch.sum(-1)

    def main(setup):
      mesh = jax.make_mesh((num_devices,), ('d',))
      program = jax.shard_map(
        jax.vmap(scores.from_host(predict)),
        mesh=mesh,
        in_specs=jax.P('d'),
        out_specs=jax.P('d'),
      )
      xs = jax.device_put(jnp.ones((2, 3)), jax.NamedSharding(mesh, jax.P('d')))
      jax.block_until_ready(jax.jit(program)(xs))

    done = launch.run(main)
    self.assertEqual((done.code, done.stderr), (130, 'interrupted\n'))
    # JAX keeps the last failure of a device, and tells it again at the exit.
    pressed.clear()
    self.assertEqual(launch.run(main).code, 0)

  def test_error_of_a_config_is_its_own_words(self):
    run = subprocess.run(
      [
        sys.executable,
        '-m',
        'experiments.certify',
        '--config=experiments/configs/certificates.py:plots',
      ],
      capture_output=True,
      text=True,
      cwd=pathlib.Path(__file__).parents[3],
    )
    self.assertEqual(run.returncode, 1)
    self.assertEqual(
      run.stderr,
      'error: flag --config=experiments/configs/certificates.py:plots: '
      "the word after the colon is 'plots', expected one of digits, budget, "
      'photos, resnet50, cifar10\n',
    )

  def test_signal_of_the_keyboard(self):
    # Ignored by what is started in the background, as by `nohup`.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    self.addCleanup(signal.signal, signal.SIGINT, before)

    def main(setup):
      os.kill(os.getpid(), signal.SIGINT)
      time.sleep(10)

    self.assertEqual(launch.run(main).code, 130)

  def test_bug_keeps_its_traceback(self):
    def main(setup):
      raise TypeError('a bug')

    with self.assertRaisesRegex(TypeError, 'a bug'):
      launch.run(main)

  def test_debug_keeps_the_traceback(self):
    def main(setup):
      raise ValueError('expected')

    with self.assertRaisesRegex(ValueError, 'expected'):
      launch.run(main, debug=True)

  def test_interrupt(self):
    def main(setup):
      raise KeyboardInterrupt

    done = launch.run(main)
    self.assertEqual((done.code, done.stderr), (130, 'interrupted\n'))


class SetUpTest(parameterized.TestCase):
  def test_key_and_mesh(self):
    seen = []
    self.assertEqual(launch.run(seen.append, seed=5).code, 0)
    (setup,) = seen
    self.assertEqual(setup.seed, 5)
    self.assertTrue(jnp.all(
      jax.random.key_data(setup.key) == jax.random.key_data(jax.random.key(5))
    ))  # fmt: skip
    self.assertEqual(setup.mesh.size, jax.device_count())
    self.assertEqual(setup.mesh.axis_names, ('data',))
    self.assertEqual(setup.mesh, app.local_mesh())

  def test_programs_are_cached(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def main(setup):
      jax.jit(lambda x: x * 3.25)(jnp.ones(3)).block_until_ready()

    self.assertEqual(
      launch.run(main, compilation_cache_dir=str(folder)).code, 0
    )
    self.assertNotEmpty(list(folder.glob('*lambda*')))

  @parameterized.parameters(-1, 2**32, 2**70)
  def test_seed_that_jax_would_cut(self, seed):
    with self.assertRaisesRegex(
      flags.IllegalFlagValueError, rf'--seed={seed}: .*\[0, 4294967295\]'
    ):
      flags.FLAGS['seed'].parse(str(seed))

  def test_flags_are_those_that_a_launcher_reads(self):
    done = subprocess.run(
      [sys.executable, '-c', _FLAGS], capture_output=True, text=True
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    configured = {'config', 'workdir', 'data_dir'}
    chosen = {'image', 'fit', 'model', 'methods', 'set'}
    for line in done.stdout.splitlines():
      launcher, *own = line.split()
      self.assertContainsSubset({'compilation_cache_dir', 'debug'}, own)
      if launcher in ('explain', 'benchmark'):
        self.assertContainsSubset(chosen, own)
        self.assertEmpty(configured & set(own), launcher)
      else:
        # A study opens its data when its config has been read.
        wanted = configured - ({'data_dir'} if launcher == 'study' else set())
        self.assertContainsSubset(wanted, own)
        by_label = launcher in ('evaluate', 'certify', 'attack')
        self.assertEqual('methods' in own, by_label)
        others = (chosen - {'methods'}) | {'label'}
        self.assertEmpty(others & set(own), launcher)
      self.assertEqual('label' in own, launcher == 'explain')

  def test_some_of_the_flags_of_several_processes(self):
    done = launch.run(lambda setup: None, num_processes=2)
    self.assertEqual(done.code, 1)
    self.assertIn('expected all or none of', done.stderr)
    self.assertIn('got --num_processes', done.stderr)

  def _start(self, address, process_id):
    process = subprocess.Popen(
      [
        sys.executable,
        '-c',
        _PROCESS,
        f'--coordinator_address={address}',
        '--num_processes=2',
        f'--process_id={process_id}',
        '--compilation_cache_dir=',
      ],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    self.addCleanup(process.kill)
    return process

  def test_two_processes_and_the_end_of_one(self):
    with socket.socket() as s:
      s.bind(('127.0.0.1', 0))
      address = f'127.0.0.1:{s.getsockname()[1]}'
    first, second = processes = [self._start(address, i) for i in range(2)]
    for i, process in enumerate(processes):
      self.assertEqual(
        process.stdout.readline().split(), [str(i), '2', '2', str(i == 0)]
      )
      # A launcher whose work is not shared says so.
      self.assertRegex(
        process.stdout.readline(), '^study runs in one process, got 2: '
      )
    first.kill()
    _, stderr = second.communicate(timeout=60)
    self.assertNotEqual(second.returncode, 0)
    self.assertRegex(stderr, r'^error: another process of this run .*\n$')
    first.communicate()

  def test_port_in_use(self):
    with socket.socket() as s:
      s.bind(('', 0))
      s.listen()
      address = f'127.0.0.1:{s.getsockname()[1]}'
      done = launch.run(
        lambda setup: None,
        coordinator_address=address,
        num_processes=2,
        process_id=0,
      )
    self.assertStartsWith(
      done.stderr,
      f'error: --coordinator_address={address}: cannot listen at this port: '
      'address already in use',
    )
    self.assertEqual(done.stderr.count('\n'), 1)

  def test_address_without_a_port(self):
    done = launch.run(
      lambda setup: None,
      coordinator_address='localhost',
      num_processes=2,
      process_id=0,
    )
    self.assertEqual(
      done.stderr,
      'error: --coordinator_address=localhost: expected host:port\n',
    )


class FilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def test_out_dir_is_the_launchers_name(self):
    with contextlib.chdir(self.folder):
      seen = []
      launch.run(lambda setup: seen.append(app.out_dir('mine')))
      self.assertEqual(seen, [pathlib.Path('out/mine')])
      self.assertTrue(seen[0].is_dir())

  @parameterized.parameters(
    ('', "--out='': expected a folder, it is empty"),
    (
      '~nouser/a',
      "--out='~nouser/a': expected a folder, there is no such user",
    ),
  )
  def test_out_dir_that_is_none(self, out, message):
    with contextlib.chdir(self.folder):
      done = launch.run(lambda setup: app.out_dir('mine'), out=out)
      self.assertEqual(done.stderr, f'error: {message}\n')
      self.assertEmpty(list(self.folder.iterdir()))


class TextTest(parameterized.TestCase):
  def test_table(self):
    text = app.table(
      ('name', 'n', 'why'), [('a', '10', 'x'), ('bbbbb', '1', '')]
    )
    self.assertEqual(
      text.splitlines(),
      ['name    n  why', '-----  --  ---', 'a      10  x', 'bbbbb   1'],
    )


if __name__ == '__main__':
  absltest.main()
