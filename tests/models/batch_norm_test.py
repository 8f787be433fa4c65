"""Tests for `batch_norm.py`, and of the steps of networks that have it."""

import functools
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from saliency_jax import models
from saliency_jax import training
from saliency_jax.models import batch_norm
from saliency_jax.models import layers
from tests import equivalence

_SHAPE = (4, 3, 2)


class _Net(nnx.Module):
  """Two normalised 1 x 1 convolutions, a mean over places, a dense layer."""

  def __init__(self, rngs):
    conv = functools.partial(layers.Conv, window=(1, 1), rngs=rngs)
    self.convs = nnx.List([conv(2, 5), conv(5, 3)])
    self.norms = nnx.List([batch_norm.BatchNorm(n) for n in (5, 3)])
    self.dense = nnx.Linear(3, 4, rngs=rngs)

  def __call__(self, x):
    for conv, norm in zip(self.convs, self.norms, strict=True):
      x = jax.nn.softplus(norm(conv(x)))
    return self.dense(jnp.mean(x, (1, 2)))


def _model():
  module = _Net(nnx.Rngs(0))
  model = models.from_nnx(module, models.Spec('toy', _SHAPE))
  return model._replace(statistics=batch_norm.statistics(module))


def _batch(step, weights=(1.0, 1, 1, 1, 1, 1)):
  xs = jax.random.normal(jax.random.key(step), (6, *_SHAPE)) + 0.5
  weight = jnp.array(weights)
  return training.Batch(xs, jnp.arange(6) % 4, jnp.arange(6), weight)


def _by_hand(params, batch, num):
  """The forward pass of a batch as it is written in the paper."""
  x, found = batch.x[:num], []
  for conv, norm in zip(
    params['convs'].values(), params['norms'].values(), strict=True
  ):
    x = jnp.einsum('nhwc,cd->nhwd', x, conv['kernel'][0, 0])
    mean = x.mean((0, 1, 2))
    variance = ((x - mean[None, None, None]) ** 2).mean((0, 1, 2))
    found += [mean, variance]
    x = (x - mean[None, None, None]) / jnp.sqrt(variance + 1e-5)[
      None, None, None
    ]
    x = x * norm['scale'][None, None, None] + norm['bias'][None, None, None]
    x = jax.nn.softplus(x)
  dense = params['dense']
  logits = x.mean((1, 2)) @ dense['kernel'] + dense['bias'][None]
  losses = optax.softmax_cross_entropy_with_integer_labels(
    logits, batch.label[:num]
  )
  return losses.mean(), found


def _read(params):
  norms = params['norms'].values()
  return [norm[name] for norm in norms for name in ('mean', 'variance')]


def _step(model, optimizer, loss=training.plain):
  total = training.total(loss, model.apply, statistics=model.statistics)
  step = functools.partial(
    training.step, total, optimizer, statistics=model.statistics
  )
  return jax.jit(step)


class StatisticsTest(parameterized.TestCase):
  def test_steps_as_a_loop_takes_them(self):
    # Batches of four and two that fill up; the decay of weights leaves the
    # running statistics alone.
    model = _model()
    optimizer = optax.chain(
      optax.add_decayed_weights(0.1), optax.sgd(0.5, momentum=0.9)
    )
    step, num = _step(model, optimizer), 4
    state, key = training.init(model.params, optimizer), jax.random.key(0)
    running = [np.asarray(a) for a in _read(model.params)]
    by_hand = jax.jit(
      jax.value_and_grad(functools.partial(_by_hand, num=num), has_aux=True)
    )
    for i in range(4):
      batch = _batch(i, [1.0] * num + [0.0] * 2)
      (loss, found), grads = by_hand(state.params, batch)
      running = [
        0.9 * a + 0.1 * np.asarray(b)
        for a, b in zip(running, found, strict=True)
      ]
      state, metrics = step(state, batch, key)
      np.testing.assert_allclose(metrics.loss, loss, rtol=1e-4)
      squares = sum(jnp.sum(g**2) for g in jax.tree.leaves(grads))
      np.testing.assert_allclose(metrics.grad_norm, squares**0.5, rtol=1e-3)
      for a, b in zip(_read(state.params), running, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    self.assertGreater(jnp.max(jnp.abs(running[1] - 1)), 0.1)

  def test_gradients_pass_through_the_statistics(self):
    model, batch = _model(), _batch(0)
    total = training.total(
      training.plain, model.apply, statistics=model.statistics
    )
    got = jax.jit(total)(model.params, batch, jax.random.key(0))
    want, _ = jax.grad(functools.partial(_by_hand, num=6), has_aux=True)(
      model.params, batch
    )
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a / 6, b, atol=2e-5),
      got.grads,
      want,
    )
    fixed = training.total(training.plain, model.apply)
    other = fixed(model.params, batch, jax.random.key(0)).grads
    kernel = lambda grads: grads['convs'][0]['kernel']
    self.assertGreater(jnp.max(jnp.abs(kernel(other) - kernel(got.grads))), 0.1)

  @parameterized.parameters(
    training.plain,
    functools.partial(training.classification, rho=0.3, num_steps=2, box=None),
    functools.partial(training.input_gradient, lam=0.1),
  )
  def test_two_devices_are_one(self, loss):
    model, mesh = _model(), equivalence.mesh()
    batch = _batch(0, [1.0, 1, 1, 1, 1, 0])
    key = jax.random.key(1)
    want = jax.jit(
      training.total(loss, model.apply, statistics=model.statistics)
    )(model.params, batch, key)
    shared = model.statistics._replace(
      of_batch=functools.partial(model.statistics.of_batch, axis_name='data')
    )
    total = training.total(loss, model.apply, statistics=shared)
    spread = jax.shard_map(
      lambda *args: jax.lax.psum(total(*args), 'data'),
      mesh=mesh,
      in_specs=(jax.P(), jax.P('data'), jax.P()),
      out_specs=jax.P(),
      check_vma=False,
    )
    got = jax.jit(spread)(model.params, batch, key)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
      got,
      want,
    )
    self.assertGreater(jnp.max(jnp.abs(want.statistics[0])), 0.1)

  def test_parts_of_a_batch_are_normalised_apart(self):
    model, batch = _model(), _batch(0, [1.0, 1, 1, 1, 0, 0])
    total = training.total(
      training.plain, model.apply, statistics=model.statistics
    )
    got = training.accumulate(total, 3)(model.params, batch, jax.random.key(0))
    parts = [
      model.statistics.of_batch(
        model.params, batch.x[i : i + 2], batch.weight[i : i + 2]
      )
      for i in (0, 2)
    ]
    for a, *b in zip(got.statistics, *parts, strict=True):
      np.testing.assert_allclose(a, 2 * sum(b), rtol=1e-4, atol=1e-5)
    for leaf in jax.tree.leaves(got):
      self.assertTrue(np.isfinite(leaf).all())

  def test_evaluation_is_of_one_example(self):
    # By what the parameters hold, whatever else is in the batch.
    model = _model()
    found = [jnp.full(n, v) for n in (5, 3) for v in (0.3, 2.0)]
    params = model.statistics.write(model.params, found)
    jax.tree.map(
      np.testing.assert_array_equal, model.statistics.read(params), found
    )
    x = _batch(0).x[0]
    y = np.asarray(x @ params['convs'][0]['kernel'][0, 0])
    y = np.log1p(np.exp((y - 0.3) / np.sqrt(2 + 1e-5)))
    y = y @ np.asarray(params['convs'][1]['kernel'][0, 0])
    y = np.log1p(np.exp((y - 0.3) / np.sqrt(2 + 1e-5)))
    logits = (
      y.mean((0, 1)) @ params['dense']['kernel'] + params['dense']['bias']
    )
    np.testing.assert_allclose(model.apply(params, x), logits, atol=1e-5)

  def test_a_module_without_it_has_none(self):
    self.assertIsNone(batch_norm.statistics(nnx.Linear(2, 3, rngs=nnx.Rngs(0))))
    model = models.create('lenet', key=jax.random.key(0))
    self.assertIsNone(model.statistics)

  def test_trained_network_is_the_same_when_read(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    settings = {'width': 2, 'batch_norm': True}
    model = models.create('resnet18', key=jax.random.key(0), **settings)
    xs = jax.random.uniform(jax.random.key(1), (3, 32, 32, 3))
    batch = training.Batch(xs, jnp.arange(3), jnp.arange(3), jnp.ones(3))
    optimizer = optax.sgd(0.1)
    state, _ = _step(model, optimizer)(
      training.init(model.params, optimizer), batch, jax.random.key(0)
    )
    moved = [
      jnp.max(jnp.abs(a - b))
      for a, b in zip(
        model.statistics.read(state.params),
        model.statistics.read(model.params),
        strict=True,
      )
    ]
    self.assertLen(moved, 40)  # Of twenty convolutions.
    self.assertGreater(min(moved), 0)
    model = model._replace(params=state.params)
    models.save(folder / models.FILE, model, settings)
    found = models.load(folder)
    jax.tree.map(np.testing.assert_array_equal, found.params, model.params)
    apply = jax.jit(found.apply)
    np.testing.assert_array_equal(
      apply(found.params, xs[0]), jax.jit(model.apply)(model.params, xs[0])
    )
    self.assertGreater(
      jnp.max(jnp.abs(apply(found.params, xs[0]) - apply(found.params, xs[1]))),
      0,
    )
    # What was read can be trained on.
    got = found.statistics.of_batch(found.params, xs, jnp.ones(3))
    self.assertLen(got, 40)


if __name__ == '__main__':
  absltest.main()
