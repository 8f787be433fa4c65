"""Tests for `guarantees.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import attacks
from saliency_jax import models
from saliency_jax import scores
from saliency_jax import training
from saliency_jax.attacks import balls
from saliency_jax.core import sampling
from tests.training import problems

_LABEL, _KEY = jnp.array(2), jax.random.key(0)


def _linear(params, x):
  return x @ params['w'][:, : problems.NUM_CLASSES]


def _relu(params, x):
  return jax.nn.relu(x @ params['w']) @ params['v']


def _cross_entropy(logits, label):
  return np.log(np.exp(logits).sum()) - logits[label]


class IntervalBoundsTest(parameterized.TestCase):
  def test_worst_logits_of_a_linear_network(self):
    # Each margin is least at a corner of its own: m - eps |w_c - w_j|_1.
    with jax.enable_x64(True):
      params, x = problems.params(jnp.float64), problems.example(jnp.float64)
      run = functools.partial(
        training.interval_bounds, _linear, eps=0.1, kappa=0.25, box=None
      )
      terms = jax.jit(run)(params, x, _LABEL, _KEY)
    w = np.asarray(params['w'])[:, : problems.NUM_CLASSES]
    logits = np.asarray(x) @ w
    worst = logits + 0.1 * np.abs(w - w[:, [2]]).sum(0)
    entropy, bound = (_cross_entropy(a, 2) for a in (logits, worst))
    self.assertGreater(bound, 2 * entropy)
    np.testing.assert_allclose(terms.cross_entropy, entropy, rtol=1e-12)
    np.testing.assert_allclose(terms.penalty, bound, rtol=1e-12)
    mixed = 0.25 * entropy + 0.75 * bound
    np.testing.assert_allclose(terms.loss, mixed, rtol=1e-12)

  def test_reference_loop(self):
    # Middles and radii through the hidden layer, margins through the last one.
    with jax.enable_x64(True):
      params, x = problems.params(jnp.float64), problems.example(jnp.float64)
      terms = training.interval_bounds(_relu, params, x, _LABEL, _KEY, eps=0.2)
      # No attack gets there.
      loss = lambda x: training.plain(_relu, params, x, _LABEL, _KEY).loss
      found = attacks.pgd(loss, x, rho=0.2, key=_KEY, ball=balls.linf)
    w, v = (np.asarray(params[name]) for name in 'wv')
    low, high = (np.clip(np.asarray(x) + s * 0.2, 0, 1) for s in (-1, 1))
    middle, radius = (low + high) / 2 @ w, (high - low) / 2 @ np.abs(w)
    low, high = (np.maximum(a, 0) for a in (middle - radius, middle + radius))
    margins = v[:, [2]] - v
    least = (low + high) / 2 @ margins - (high - low) / 2 @ np.abs(margins)
    bound = _cross_entropy(-least, 2)
    np.testing.assert_allclose(terms.penalty, bound, rtol=1e-12)
    self.assertBetween(
      float(found.objective), float(found.clean_objective) + 0.01, bound
    )

  def test_box_of_no_size_and_no_weight(self):
    run = functools.partial(
      training.interval_bounds,
      problems.apply,
      problems.params(),
      problems.example(),
      _LABEL,
      _KEY,
    )
    point = run(eps=0.0)
    np.testing.assert_allclose(point.penalty, point.cross_entropy, rtol=1e-4)
    plain = run(eps=0.3, kappa=1)
    self.assertEqual(plain.loss, plain.cross_entropy)
    self.assertEqual(run(eps=0.3, kappa=0).loss, plain.penalty)

  def test_gradient(self):
    with jax.enable_x64(True):
      x = problems.example(jnp.float64)

      @jax.jit
      def loss(params):
        return training.interval_bounds(
          problems.apply, params, x, _LABEL, _KEY, eps=0.1
        ).loss

      problems.check_gradient(loss, problems.params(jnp.float64))

  def test_a_network_of_convolutions_learns_its_bound(self):
    model = models.create('lenet', key=jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), model.spec.input_shape)

    @jax.jit
    def run(params):
      def loss(params):
        terms = training.interval_bounds(
          model.apply, params, x, _LABEL, _KEY, eps=0.01, kappa=0.0
        )
        return terms.loss

      return jax.value_and_grad(loss)(params)

    before, grads = run(model.params)
    squares = sum(jnp.sum(g**2) for g in jax.tree.leaves(grads))
    step = 0.1 * before / squares
    params = jax.tree.map(lambda p, g: p - step * g, model.params, grads)
    after, _ = run(params)
    self.assertLess(after, before)
    loss = scores.loss(model.apply, params, _LABEL)
    self.assertLess(loss(x + 0.01), after)

  @parameterized.parameters(
    (dict(eps=-0.1), r'eps must be in \[0, inf\), got -0.1'),
    (dict(eps=0.1, kappa=2), r'kappa must be in \[0, 1\], got 2'),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      training.interval_bounds(
        problems.apply,
        problems.params(),
        problems.example(),
        _LABEL,
        _KEY,
        **settings,
      )


class SmoothedTest(parameterized.TestCase):
  @parameterized.parameters(None, 0.4)
  def test_linear_network_of_two_classes(self, rho):
    # The worst neighbour is the same under any noise.
    params, x = problems.params(), problems.example()
    apply = lambda params, x: x @ params['w'][:, :2] / 8
    terms = jax.jit(
      functools.partial(
        training.smoothed, apply, sigma=0.5, rho=rho, num_samples=3
      )
    )(params, x, jnp.array(1), _KEY)
    w = np.asarray(params['w'], np.float64)[:, :2] / 8
    w = w[:, 1] - w[:, 0]
    z = [sampling.normal(sampling.draw_key(_KEY, i), x) for i in range(3)]
    margin = np.asarray(x, np.float64) @ w
    noisy = margin + 0.5 * np.asarray(z, np.float64) @ w
    if rho is not None:
      noisy -= rho * np.linalg.norm(w)
    want = np.mean(np.log1p(np.exp(-noisy)))
    np.testing.assert_allclose(terms.loss, want, rtol=1e-4)
    clean = np.log1p(np.exp(-margin))
    np.testing.assert_allclose(terms.cross_entropy, clean, rtol=1e-4)
    np.testing.assert_allclose(terms.penalty, want - clean, rtol=1e-3)

  def test_gradient(self):
    # Without the attack, which is not differentiated.
    with jax.enable_x64(True):
      x = problems.example(jnp.float64)

      @jax.jit
      def loss(params):
        return training.smoothed(
          problems.apply, params, x, _LABEL, _KEY, sigma=0.3
        ).loss

      problems.check_gradient(loss, problems.params(jnp.float64))

  @parameterized.parameters(
    (dict(sigma=0), r'sigma must be in \(0, inf\), got 0'),
    (dict(sigma=1, rho=0), r'rho must be in \(0, inf\), got 0'),
    (dict(sigma=1, num_samples=0), 'num_samples must be a whole number'),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      training.smoothed(
        problems.apply,
        problems.params(),
        problems.example(),
        _LABEL,
        _KEY,
        **settings,
      )


if __name__ == '__main__':
  absltest.main()
