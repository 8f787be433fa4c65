"""Tests for `adversarial.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import attacks
from saliency_jax import training
from saliency_jax.gradients import gradient
from saliency_jax.gradients import integrated
from tests.training import problems


def _fixed_attack(shift, feasible=True):
  """Returns an attack that always finds `x + shift`."""

  def attack(logits_fn, x, *, rho, key, method):
    zero = jnp.zeros((), x.dtype)
    point = x + jnp.asarray(shift, x.dtype)
    return attacks.Adversary(
      point, zero, zero, zero[None], jnp.asarray(feasible), zero
    )

  return attack


def _numpy_gradient(params, x, c):
  w, v = (np.asarray(params[name], np.float64) for name in 'wv')
  return w @ (v[:, c] / (1 + np.exp(-np.asarray(x, np.float64) @ w)))


class InterpretationTest(parameterized.TestCase):
  def test_closed_form(self):
    # The gradient of v' softplus(W' x) is W (v * sigmoid(W' x)).
    params, x, shift = (
      problems.params(),
      problems.example(),
      np.linspace(-0.3, 0.2, problems.SIZE),
    )
    terms = training.interpretation(
      problems.apply,
      params,
      x,
      jnp.array(2),
      jax.random.key(0),
      lam=50.0,
      rho=1.0,
      attack=_fixed_attack(shift),
    )
    logits = np.asarray(problems.apply(params, x), np.float64)
    top = logits.argmax()
    u, moved = (
      np.abs(g) / np.linalg.norm(g)
      for g in (
        _numpy_gradient(params, x, top),
        _numpy_gradient(params, np.asarray(x) + shift, top),
      )
    )
    want = np.mean((u - moved) ** 2)
    self.assertGreater(want, 1e-3)
    np.testing.assert_allclose(terms.penalty, want, rtol=1e-5)
    entropy = np.log(np.exp(logits).sum()) - logits[2]
    np.testing.assert_allclose(terms.cross_entropy, entropy, rtol=1e-5)
    np.testing.assert_allclose(terms.loss, entropy + 50 * want, rtol=1e-5)
    self.assertEqual(terms.correct, float(top == 2))
    self.assertEqual(terms.feasible, 1)

  def test_reference_loop(self):
    # The attack's own neighbour, and the batch's mean, as the paper has them.
    params = problems.params()
    xs = jax.random.uniform(jax.random.key(5), (4, problems.SIZE))
    labels, key = jnp.array([0, 1, 2, 0]), jax.random.key(8)
    batch = training.Batch(xs, labels, jnp.arange(4), jnp.ones(4))
    sums = jax.jit(training.total(problems.interpretation, problems.apply))(
      params, batch, key
    )
    attack = jax.jit(
      lambda x, key: problems.ATTACK(
        functools.partial(problems.apply, params), x, rho=0.5, key=key
      )
    )
    # With the neighbours that were found held still: they are, in the gradient.
    held = jax.jit(
      jax.grad(
        lambda params, x, label, shift: (
          training.interpretation(
            problems.apply,
            params,
            x,
            label,
            key,
            lam=50.0,
            rho=0.5,
            attack=_fixed_attack(shift),
          ).loss
        )
      )
    )
    want, grads = [], []
    for i in range(4):
      adversary = attack(xs[i], jax.random.fold_in(key, i))
      logits = problems.apply(params, xs[i])
      g, h = (
        _numpy_gradient(params, x, logits.argmax())
        for x in (xs[i], adversary.x)
      )
      u, v = (np.abs(a) / np.linalg.norm(a) for a in (g, h))
      penalty = float(adversary.feasible) * np.mean((u - v) ** 2)
      cross_entropy = -float(jax.nn.log_softmax(logits)[labels[i]])
      want.append(cross_entropy + 50 * penalty)
      grads.append(held(params, xs[i], labels[i], adversary.x - xs[i]))
    np.testing.assert_allclose(sums.terms.loss, sum(want), rtol=2e-4)
    jax.tree.map(
      lambda a, *b: np.testing.assert_allclose(a, sum(b), rtol=1e-3, atol=1e-4),
      sums.grads,
      *grads,
    )

  def test_both_maps_are_differentiated(self):
    with jax.enable_x64(True):
      params, x = problems.params(jnp.float64), problems.example(jnp.float64)
      shift = np.linspace(-0.3, 0.2, problems.SIZE)

      @jax.jit
      def loss(params):
        terms = training.interpretation(
          problems.apply,
          params,
          x,
          jnp.array(0),
          jax.random.key(0),
          lam=50.0,
          rho=1.0,
          attack=_fixed_attack(shift),
        )
        return terms.loss

      problems.check_gradient(loss, params)

  def test_failed_attack_is_masked(self):
    # On the boundary of its class: every start of this length leaves it.
    def apply(params, x):
      return jnp.stack([1 - params * jnp.sum((x - 0.5) ** 2), jnp.zeros(())])

    def terms(params, label):
      return training.interpretation(
        apply,
        params,
        jnp.full(3, 0.501),
        label,
        jax.random.key(0),
        lam=1000.0,
        rho=0.9,
        attack=problems.ATTACK,
      )

    got = jax.jit(terms)(jnp.array(1e3), jnp.array(0))
    self.assertEqual((got.feasible, got.penalty), (0, 0))
    self.assertEqual(got.loss, got.cross_entropy)
    slope = jax.jit(jax.grad(lambda p: terms(p, jnp.array(0)).loss))
    grad = slope(jnp.array(1e3))
    self.assertTrue(np.isfinite(grad))
    # What an attack that failed says counts for nothing, whatever it says.
    nan = training.interpretation(
      problems.apply,
      problems.params(),
      problems.example(),
      jnp.array(0),
      jax.random.key(0),
      lam=1000.0,
      rho=0.5,
      attack=_fixed_attack(0.3, feasible=False),
    )
    self.assertEqual(nan.loss, nan.cross_entropy)

  def test_map_of_zeros_gives_no_nan(self):
    def apply(params, x):
      return jnp.stack([params * jnp.sum(x**2), params - 1e6])

    def loss(params):
      terms = training.interpretation(
        apply,
        params,
        jnp.zeros(3),
        jnp.array(1),
        jax.random.key(0),
        lam=10.0,
        rho=0.1,
        attack=_fixed_attack(0.0),
      )
      return terms.loss

    value, grad = jax.value_and_grad(loss)(jnp.array(1.0))
    self.assertTrue(np.isfinite(value) and np.isfinite(grad))

  def test_small_gradients_keep_their_direction(self):
    params = problems.params()
    tiny = {**params, 'v': params['v'] * 1e-25}
    loss = functools.partial(
      training.interpretation,
      problems.apply,
      x=problems.example(),
      label=jnp.array(0),
      key=jax.random.key(0),
      lam=1.0,
      rho=1.0,
      attack=_fixed_attack(0.3),
    )
    np.testing.assert_allclose(
      loss(tiny).penalty, loss(params).penalty, rtol=1e-4
    )

  def test_any_differentiable_map(self):
    method = functools.partial(integrated.integrated_gradients, num_steps=4)
    run = functools.partial(
      training.interpretation,
      problems.apply,
      problems.params(),
      problems.example(),
      jnp.array(0),
      jax.random.key(0),
      lam=1.0,
      rho=0.5,
      attack=problems.ATTACK,
    )
    got, other = (
      jax.jit(functools.partial(run, method=m))()
      for m in (method, gradient.gradient)
    )
    self.assertGreater(got.penalty, 0)
    self.assertNotAlmostEqual(float(got.penalty), float(other.penalty))

  @parameterized.parameters(
    (
      problems.interpretation,
      dict(lam=-1.0),
      r'lam must be in \[0, inf\), got -1',
    ),
    (problems.interpretation, dict(rho=0), r'rho must be in \(0, inf\), got 0'),
  )
  def test_bad_arguments(self, loss, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      loss(
        problems.apply,
        problems.params(),
        problems.example(),
        jnp.array(0),
        jax.random.key(0),
        **settings,
      )


class ClassificationTest(parameterized.TestCase):
  def test_classification_is_the_loss_at_the_neighbour(self):
    params, x, key = problems.params(), problems.example(), jax.random.key(4)
    loss = lambda x: -jax.nn.log_softmax(problems.apply(params, x))[1]
    run = functools.partial(
      training.classification, problems.apply, params, x, jnp.array(1), key
    )
    got = run(rho=0.3, num_steps=4)
    found = attacks.pgd(loss, x, rho=0.3, key=key, num_steps=4)
    np.testing.assert_allclose(got.loss, loss(found.x), rtol=1e-5)
    np.testing.assert_allclose(got.cross_entropy, loss(x), rtol=1e-5)
    self.assertGreater(got.penalty, 0)

  def test_bad_argument(self):
    with self.assertRaisesRegex(
      ValueError, r'num_steps must be a whole number of at least 1'
    ):
      training.classification(
        problems.apply,
        problems.params(),
        problems.example(),
        jnp.array(0),
        jax.random.key(0),
        rho=0.3,
        num_steps=0,
      )


if __name__ == '__main__':
  absltest.main()
