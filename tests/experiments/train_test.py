"""Tests for `experiments/train.py` and what it is made of, at toy size."""

import functools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments import train
from experiments.configs import common
from experiments.configs import training_baselines
from experiments.configs import training_common
from experiments.core import records
from experiments.training import checkpoints
from experiments.training import curves
from experiments.training import feeding
from experiments.training import judging
from experiments.training import recipes
from experiments.training import sharding
from saliency_jax import data
from saliency_jax import models
from saliency_jax import training
from saliency_jax.models import types
from tests.experiments import launch
from tests.experiments import tiny_training

_RUN = 'seed=0'
# Prints the losses of steps on all devices of all processes.
_LOSSES = """
from experiments.core import app
from tests.experiments import train_test
def main(setup):
  print(train_test.losses(setup.mesh, split=True))
app.run(main)
"""


def _mesh(size):
  return jax.make_mesh(
    (size,),
    ('data',),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=jax.devices()[:size],
  )


def _model():
  """A small smooth network, some arrays of which 8 devices can split."""
  keys = jax.random.split(jax.random.key(2), 2)
  params = {
    'w': jax.random.normal(keys[0], (64, 16)),
    'v': jax.random.normal(keys[1], (16, 10)),
  }

  def apply(params, x):
    return jax.nn.softplus(x.ravel() @ params['w']) @ params['v']

  return types.Model(apply, params, types.Spec('toy', (8, 8, 1)))


def _toy_examples(n=21):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (n, 8, 8, 1), np.uint8)
  return feeding.Examples(images, rng.integers(0, 10, n).astype(np.int32), ())


def losses(mesh, *, split=False, num_parts=1, num_steps=20):
  """Returns the losses of the first steps, uneven batches among them."""
  config = {
    'dtype': 'float32',
    'first_epochs': 0,
    'augment': False,
    'optimizer': common.use('sgd', learning_rate=1e-3, momentum=0.9),
    'loss': common.use(
      'interpretation',
      lam=100.0,
      rho=0.5,
      attack={'num_restarts': 1, 'num_steps': 1, 'num_halvings': 1},
    ),
  }
  model, examples = _model(), _toy_examples()
  trainer = recipes.trainer(
    config,
    model,
    mesh,
    num_steps=num_steps,
    num_parts=num_parts,
    split=split,
  )
  state, found = trainer.init(model.params), []
  for step in range(num_steps):
    chosen = feeding.rows(21, 8, seed=3, step=step)
    batch = feeding.batch(
      examples, chosen, 8 * num_parts, sharding.of_batch(mesh)
    )
    state, metrics = trainer.step(state, batch, np.int32(5))
    found.append(float(metrics.loss))
  if split:
    (w,) = {s.data.shape for s in state.params['w'].addressable_shards}
    assert w == (64 // mesh.size, 16), w
  return found


class FeedingTest(parameterized.TestCase):
  def test_every_epoch_is_a_new_order_of_all(self):
    steps = [feeding.rows(21, 8, seed=0, step=i) for i in range(6)]
    self.assertEqual([len(s) for s in steps], [8, 8, 5] * 2)
    first, second = np.concatenate(steps[:3]), np.concatenate(steps[3:])
    np.testing.assert_array_equal(np.sort(first), np.arange(21))
    np.testing.assert_array_equal(np.sort(second), np.arange(21))
    self.assertFalse(np.array_equal(first, second))
    other = feeding.rows(21, 8, seed=1, step=0)
    self.assertFalse(np.array_equal(steps[0], other))

  def test_batch_is_filled_up_without_weight(self):
    examples = _toy_examples()
    place = sharding.of_batch(_mesh(8))
    got = feeding.batch(examples, np.array([3, 1, 2]), 8, place)
    self.assertEqual(got.x.sharding, place)
    np.testing.assert_array_equal(got.weight, [1, 1, 1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(got.index, np.arange(8))
    np.testing.assert_array_equal(got.label[:3], examples.labels[[3, 1, 2]])
    np.testing.assert_allclose(got.x[1], examples.images[1] / 255, rtol=1e-6)


class DevicesTest(parameterized.TestCase):
  def test_losses_do_not_depend_on_devices(self):
    want = losses(_mesh(1))
    self.assertLen(set(want), 20)
    np.testing.assert_allclose(losses(_mesh(8), num_parts=2), want, rtol=1e-5)
    with socket.socket() as s:
      s.bind(('127.0.0.1', 0))
      address = f'127.0.0.1:{s.getsockname()[1]}'
    processes = [
      subprocess.Popen(
        [
          sys.executable,
          '-c',
          _LOSSES,
          f'--coordinator_address={address}',
          '--num_processes=2',
          f'--process_id={i}',
          f'--compilation_cache_dir={launch.CACHE}',
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'JAX_NUM_CPU_DEVICES': '4'},
      )
      for i in range(2)
    ]
    printed = []
    for process in processes:
      with process:
        stdout, stderr = process.communicate(timeout=200)
      self.assertEqual(process.returncode, 0, stderr)
      printed.append(stdout.splitlines()[-1])  # Gloo prints, too.
    for line in printed:
      np.testing.assert_allclose(json.loads(line), want, rtol=1e-5)


class RampsTest(parameterized.TestCase):
  def test_settings_change_over_the_training(self):
    config = common.use('interval_bounds', eps=0.2, kappa=0.5)
    config['ramps'] = {'eps': (0.0, 0.25, 0.75), 'kappa': (1.0, 0.0, 0.1)}
    at = recipes.ramped(config, 100)
    found = jax.vmap(lambda step: jnp.stack([*at(step).keywords.values()]))(
      jnp.array([0, 5, 25, 50, 75, 99])
    )
    want = [[0, 1], [0, 0.75], [0, 0.5], [0.1, 0.5], [0.2, 0.5], [0.2, 0.5]]
    np.testing.assert_allclose(found, want, atol=1e-6)

  def test_steps_of_two_devices_take_the_loss_of_their_step(self):
    settings = {'eps': 0.2, 'kappa': 0.5}
    config = {
      'dtype': 'float32',
      'first_epochs': 0,
      'augment': False,
      'optimizer': common.use('sgd', learning_rate=0.0),
      'loss': {
        **common.use('interval_bounds', **settings),
        'ramps': {'eps': (0.0, 0.0, 1.0)},
      },
    }
    model, mesh = _model(), _mesh(2)
    trainer = recipes.trainer(config, model, mesh, num_steps=2)
    batch = feeding.batch(
      _toy_examples(4), np.arange(4), 4, sharding.of_batch(mesh)
    )
    state, found = trainer.init(model.params), []
    for _ in range(3):
      state, metrics = trainer.step(state, batch, np.int32(0))
      found.append(metrics.penalty)
    for eps, got in zip((0.0, 0.1, 0.2), found, strict=True):
      loss = functools.partial(training.interval_bounds, eps=eps)
      sums = training.measure(loss, model.apply)(
        model.params, jax.device_get(batch), jax.random.key(0)
      )
      np.testing.assert_allclose(got, sums.terms.penalty / 4, rtol=1e-5)

  @parameterized.parameters(
    ({'rho': (0.0, 0.1, 0.5)}, "loss.ramps is 'rho', expected one of eps"),
    ({'eps': (0.0, 0.5, 0.5)}, 'loss.ramps.eps goes from 0.5 to 0.5'),
    ({'eps': (0.0, 0.5, 1.5)}, 'expected 0 <= start < stop <= 1'),
  )
  def test_refuses(self, ramps, message):
    config = {**common.use('interval_bounds', eps=0.2), 'ramps': ramps}
    with self.assertRaisesRegex(ValueError, message):
      recipes.ramped(config, 10)


class JudgingTest(absltest.TestCase):
  def test_certified_boxes_of_a_linear_network(self):
    # The largest cube has the width margin / |w|_1.
    w = jax.random.normal(jax.random.key(0), (64, 2)) / 8
    model = types.Model(
      lambda params, x: (x.ravel() - 0.5) @ params,
      w,
      types.Spec('linear', (8, 8, 1)),
    )
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    settings = training_common.judge(
      num_examples=3,
      num_maps=0,
      batch_size=1,
      resolution=4,
      attack={'rho': 0.1, 'num_restarts': 1, 'num_steps': 1},
      box={'bound': 'interval', 'num_rounds': 1},
    )
    examples = _toy_examples(3)
    judging.judge({'judge': settings}, folder, model, examples)
    found = records.read(folder / judging.FOLDER)
    difference = np.asarray(w[:, 0] - w[:, 1], np.float64)
    for image, record in zip(examples.images, found.values(), strict=True):
      margin = abs((image.ravel() / 255 - 0.5) @ difference)
      cube = margin / np.abs(difference).sum()
      np.testing.assert_allclose(record['cube_width'], cube, rtol=1e-4)
      self.assertGreater(record['box_width'], record['cube_width'])
      self.assertIsNone(record['certified'])


class TrainTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _run(self, folder, config=None, **values):
    config = tiny_training.get_config() if config is None else config
    values = {'config': config, 'workdir': str(folder), **values}
    return launch.run(train.main, **values)

  def test_killed_run_ends_as_one_that_was_not(self):
    whole, killed = self.folder / 'whole', self.folder / 'killed'
    done = self._run(whole)
    self.assertEqual((done.code, done.stderr), (0, ''))
    self.assertIn('accuracy', done.stdout)
    self.assertCountEqual(
      [p.name for p in whole.iterdir()],
      [_RUN, 'summary.json', 'trade.png', 'maps.png'],
    )
    run = whole / _RUN
    model = models.load(run)
    self.assertEqual(model.spec.name, 'softplus_net')
    self.assertLen(model.spec.class_names, 10)
    lines = curves.read(run)
    trained = [line for line in lines if line['kind'] == 'train']
    self.assertEqual([line['step'] for line in trained], [*range(1, 101)])
    self.assertGreater(trained[0]['loss'], 2 * trained[-1]['loss'])
    self.assertLen(lines, 120)
    events = list((run / 'events').iterdir())
    self.assertLen(events, 1)
    self.assertIn(b'train/loss', events[0].read_bytes())
    judged = records.read(run / judging.FOLDER)
    self.assertEqual(list(judged), [0, 1, 2])
    summary = json.loads((whole / 'summary.json').read_text())
    means = summary['rows']['run']['means']
    self.assertAlmostEqual(
      means['sparsity']['mean'],
      np.mean([r['sparsity'] for r in judged.values()]),
    )
    self.assertBetween(means['accuracy']['mean'], 0, 1)

    # The same, killed at some instant after its first checkpoint.
    process = subprocess.Popen(
      [
        sys.executable,
        '-m',
        'experiments.train',
        '--config=tests/experiments/tiny_training.py',
        f'--workdir={killed}',
        f'--compilation_cache_dir={launch.CACHE}',
      ],
      env={**os.environ, 'JAX_NUM_CPU_DEVICES': str(jax.device_count())},
    )
    with process:
      deadline = time.monotonic() + 200
      while not checkpoints.steps(killed / _RUN / 'checkpoints'):
        self.assertIsNone(process.poll())
        self.assertLess(time.monotonic(), deadline)
        time.sleep(0.01)
      process.kill()
    self.assertFalse((killed / _RUN / 'trained').exists())
    self.assertEqual(self._run(killed).code, 0)
    found, want = (
      jax.tree.leaves(models.load(f / _RUN).params) for f in (killed, whole)
    )
    for a, b in zip(found, want, strict=True):
      np.testing.assert_array_equal(a, b)
    for a, b in zip(curves.read(killed / _RUN), lines, strict=True):
      self.assertEqual(a | {'seconds': 0}, b | {'seconds': 0})

    # A cut checkpoint is put aside, and the one before it is used.
    for name in ('trained', 'model.npz'):
      (killed / _RUN / name).unlink()
    shutil.rmtree(killed / _RUN / judging.FOLDER)
    folder = killed / _RUN / 'checkpoints'
    self.assertEqual(checkpoints.steps(folder), [95, 100])
    for path in (folder / '100').rglob('*'):
      if path.is_file() and path.stat().st_size > 2000:
        path.write_bytes(path.read_bytes()[:1000])
    done = self._run(killed)
    self.assertEqual(done.code, 0)
    self.assertRegex(done.stderr, "100' is damaged: .*using the one before it")
    for a, b in zip(
      jax.tree.leaves(models.load(killed / _RUN).params), want, strict=True
    ):
      np.testing.assert_array_equal(a, b)

  def test_early_stopping_keeps_the_best(self):
    config = tiny_training.get_config()
    config.patience = 1
    config.optimizer = common.use('sgd', learning_rate=1.5)
    with mock.patch.object(judging, 'judge'):
      done = launch.run(
        lambda setup: train._run(config.to_dict(), self.folder, setup.mesh)
      )
    self.assertEqual((done.code, done.stderr), (0, ''))
    lines = curves.read(self.folder)
    found = [r['loss'] for r in lines if r['kind'] == 'validation']
    self.assertLess(len(found), 20)
    self.assertGreater(found[-1], min(found))
    model = models.load(self.folder)
    held = feeding.stack(data.load('digits', 'train[52:70]'))
    xs = held.images.astype(np.float32) / np.float32(255)
    logits = jax.jit(jax.vmap(model.apply, (None, 0)))(model.params, xs)
    losses = -jax.nn.log_softmax(logits)[jnp.arange(18), held.labels]
    np.testing.assert_allclose(jnp.mean(losses), min(found), rtol=1e-5)

  @parameterized.parameters(
    ({'epochs': 0}, 'config.epochs is 0, expected at least 1'),
    ({'loss.name': 'magic'}, "loss is 'magic', expected one of plain"),
    ({'loss.settings': {'lam': 1}}, "loss has no setting 'lam'"),
    ({'optimizer.name': 'magic'}, "optimizer is 'magic', expected one of adam"),
    ({'sweep': (('no.such', (1,)),)}, "no setting 'no.such'"),
  )
  def test_refuses(self, values, message):
    config = tiny_training.get_config()
    for path, value in values.items():
      *parents, last = path.split('.')
      setattr(functools.reduce(getattr, parents, config), last, value)
    done = self._run(self.folder, config)
    self.assertEqual(done.code, 1)
    self.assertRegex(done.stderr, f'^error: [^\n]*{message}')

  def test_refuses_images_of_another_shape(self):
    with mock.patch.object(models, 'create', lambda name, **kwargs: _model()):
      done = self._run(self.folder)
    self.assertRegex(done.stderr, r'\(28, 28, 1\), softplus_net takes \(8')

  def test_starts_from_a_trained_network(self):
    start, found = self.folder / 'first.npz', []

    def prepare(setup):
      config = train._recorded(tiny_training.get_config().to_dict())
      run = train._prepare(config, self.folder, setup.mesh)
      found.append((run.model, config['init_from']))

    for i in range(2):
      model = models.create('softplus_net', key=jax.random.key(i + 9))
      models.save(start, model)
      done = launch.run(prepare, init_from=str(start))
      self.assertEqual((done.code, done.stderr), (0, ''))
      jax.tree.map(
        np.testing.assert_array_equal, found[i][0].params, model.params
      )
    # A run goes on from where it began, or not at all: its config knows.
    self.assertNotEqual(found[0][1], found[1][1])
    models.save(start, models.create('lenet', key=jax.random.key(0)))
    done = launch.run(prepare, init_from=str(start))
    self.assertRegex(done.stderr, 'first.npz does not fit softplus_net')
    done = launch.run(prepare, init_from='no/such.npz')
    self.assertRegex(done.stderr, "--init_from 'no/such.npz': No such file")

  def test_loss_that_is_not_finite_ends_the_run(self):
    config = tiny_training.get_config()
    config.optimizer = common.use('sgd', learning_rate=1e30)
    done = self._run(self.folder, config)
    self.assertEqual(done.code, 1)
    self.assertIn('lower the learning rate', done.stderr)


class CheckpointsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _save(self, *steps):
    keeper = checkpoints.keeper(self.folder)
    for step in steps:
      keeper.save(step, {'a': jnp.full(3, float(step))})
    keeper.close()

  def test_newest_is_read_back(self):
    like = {'a': jnp.zeros(3)}
    self.assertIsNone(checkpoints.restore(self.folder / 'none', like))
    self._save(1, 2, 3)
    self.assertEqual(checkpoints.steps(self.folder), [2, 3])
    got = checkpoints.restore(self.folder, like)
    np.testing.assert_array_equal(got['a'], 3.0)

  def test_foreign_or_wholly_damaged_is_an_error(self):
    self._save(1)
    with self.assertRaisesRegex(ValueError, 'of another network .* --workdir'):
      checkpoints.restore(self.folder, {'b': jnp.zeros(3)})
    for path in (self.folder / '1').rglob('*'):
      if path.is_file():
        path.write_bytes(b'{')
    with self.assertRaisesRegex(ValueError, "/1' is damaged: .*no earlier one"):
      checkpoints.restore(self.folder, {'a': jnp.zeros(3)})


class MeasuresTest(parameterized.TestCase):
  def test_points_of_a_sweep(self):
    config = tiny_training.get_config().to_dict()
    config['sweep'] = (('seed', (0, 1)), ('optimizer.name', ('sgd', 'adam')))
    found = train.points(config)
    self.assertEqual(
      list(found),
      [f'seed={i},name={n}' for i in (0, 1) for n in ('sgd', 'adam')],
    )
    self.assertEqual(found['seed=1,name=sgd']['optimizer']['name'], 'sgd')
    self.assertEqual(found['seed=1,name=sgd']['seed'], 1)
    self.assertEqual(config['seed'], 0)

  def test_losses_of_a_sweep(self):
    config = training_baselines.get_config().to_dict()
    found = train.points(config)
    self.assertLen(found, 15)
    point = found['loss=input_gradient,seed=2']
    self.assertEqual(point['loss']['settings'], {'lam': 0.1})


if __name__ == '__main__':
  absltest.main()
