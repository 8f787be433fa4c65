"""Tests for `experiments/app.py`."""

import contextlib
import io
import pathlib
import socket
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments import app
from saliency_jax import scores
from tests.experiments import launch

# Prints what one of several processes sees.
_PROCESS = """
from experiments import app
from experiments import files
def main(setup):
  import jax
  print(jax.process_index(), jax.device_count(), setup.mesh.size,
        app.is_first())
app.run(main)
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
      cwd=pathlib.Path(__file__).parents[2],
    )
    self.assertEqual(run.returncode, 1)
    self.assertEqual(
      run.stderr,
      'error: --config=...:plots: expected one of digits, budget, photos, '
      'cifar10\n',
    )

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

  def test_programs_are_cached(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def main(setup):
      jax.jit(lambda x: x * 3.25)(jnp.ones(3)).block_until_ready()

    self.assertEqual(
      launch.run(main, compilation_cache_dir=str(folder)).code, 0
    )
    self.assertNotEmpty(list(folder.glob('*lambda*')))

  def test_some_of_the_flags_of_several_processes(self):
    done = launch.run(lambda setup: None, num_processes=2)
    self.assertEqual(done.code, 1)
    self.assertIn('expected all or none of', done.stderr)
    self.assertIn('got --num_processes', done.stderr)

  def test_two_processes(self):
    with socket.socket() as s:
      s.bind(('127.0.0.1', 0))
      address = f'127.0.0.1:{s.getsockname()[1]}'
    processes = [
      subprocess.Popen(
        [
          sys.executable,
          '-c',
          _PROCESS,
          f'--coordinator_address={address}',
          '--num_processes=2',
          f'--process_id={i}',
          '--compilation_cache_dir=',
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=None,
      )
      for i in range(2)
    ]
    for i, process in enumerate(processes):
      with process:
        stdout, stderr = process.communicate(timeout=60)
      self.assertEqual(process.returncode, 0, stderr)
      self.assertEqual(stdout.split(), [str(i), '2', '2', str(i == 0)])


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


class TextTest(parameterized.TestCase):
  def test_table(self):
    text = app.table(
      ('name', 'n', 'why'), [('a', '10', 'x'), ('bbbbb', '1', '')]
    )
    self.assertEqual(
      text.splitlines(),
      ['name    n  why', '-----  --  ---', 'a      10  x', 'bbbbb   1'],
    )

  def test_progress_is_silent_without_a_terminal(self):
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
      self.assertEqual(list(app.progress(range(3), what='x')), [0, 1, 2])
    self.assertEqual(stderr.getvalue(), '')


if __name__ == '__main__':
  absltest.main()
