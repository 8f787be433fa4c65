"""Tests for `adversarial.py`, `smoothness.py` and `losses.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from saliency_jax import attacks
from saliency_jax import training
from saliency_jax.gradients import gradient
from saliency_jax.gradients import integrated

_D, _K = 6, 3
_ATTACK = functools.partial(
  attacks.top_k_attack, num_restarts=1, num_steps=3, num_halvings=2
)
_interpretation = functools.partial(
  training.interpretation, lam=50.0, rho=0.5, attack=_ATTACK
)
_LOSSES = {
  'plain': training.plain,
  'interpretation': _interpretation,
  'classification': functools.partial(
    training.classification, rho=0.3, num_steps=4
  ),
  'input_gradient': functools.partial(training.input_gradient, lam=0.5),
  'curvature': training.curvature,
}


def _apply(params, x):
  return jax.nn.softplus(x @ params['w']) @ params['v']


def _params(dtype=jnp.float32):
  keys = jax.random.split(jax.random.key(3), 2)
  return {
    'w': 2 * jax.random.normal(keys[0], (_D, 5), dtype),
    'v': jax.random.normal(keys[1], (5, _K), dtype),
  }


def _example(dtype=jnp.float32):
  return jax.random.uniform(jax.random.key(1), (_D,), dtype)


def _fixed_attack(shift, found=True):
  """Returns an attack that always finds `x + shift`."""

  def attack(logits_fn, x, *, rho, key, method):
    zero = jnp.zeros((), x.dtype)
    point = x + jnp.asarray(shift, x.dtype)
    return attacks.Adversary(
      point, zero, zero, zero[None], jnp.asarray(found), zero
    )

  return attack


def _numpy_gradient(params, x, c):
  w, v = (np.asarray(params[name], np.float64) for name in 'wv')
  return w @ (v[:, c] / (1 + np.exp(-np.asarray(x, np.float64) @ w)))


class InterpretationTest(parameterized.TestCase):
  def test_closed_form(self):
    # The gradient of v' softplus(W' x) is W (v * sigmoid(W' x)).
    params, x, shift = _params(), _example(), np.linspace(-0.3, 0.2, _D)
    terms = training.interpretation(
      _apply,
      params,
      x,
      jnp.array(2),
      jax.random.key(0),
      lam=50.0,
      rho=1.0,
      attack=_fixed_attack(shift),
    )
    logits = np.asarray(_apply(params, x), np.float64)
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
    self.assertEqual(terms.found, 1)

  def test_reference_loop(self):
    # The attack's own neighbour, and the batch's mean, as the paper has them.
    params = _params()
    xs = jax.random.uniform(jax.random.key(5), (4, _D))
    labels, key = jnp.array([0, 1, 2, 0]), jax.random.key(8)
    batch = training.Batch(xs, labels, jnp.arange(4), jnp.ones(4))
    sums = jax.jit(training.total(_interpretation, _apply))(params, batch, key)
    attack = jax.jit(
      lambda x, key: _ATTACK(
        functools.partial(_apply, params), x, rho=0.5, key=key
      )
    )
    # With the neighbours that were found held still: they are, in the gradient.
    held = jax.jit(
      jax.grad(
        lambda params, x, label, shift: (
          training.interpretation(
            _apply,
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
      logits = _apply(params, xs[i])
      g, h = (
        _numpy_gradient(params, x, logits.argmax())
        for x in (xs[i], adversary.x)
      )
      u, v = (np.abs(a) / np.linalg.norm(a) for a in (g, h))
      penalty = float(adversary.found) * np.mean((u - v) ** 2)
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
      params, x = _params(jnp.float64), _example(jnp.float64)
      shift = np.linspace(-0.3, 0.2, _D)

      @jax.jit
      def loss(params):
        terms = training.interpretation(
          _apply,
          params,
          x,
          jnp.array(0),
          jax.random.key(0),
          lam=50.0,
          rho=1.0,
          attack=_fixed_attack(shift),
        )
        return terms.loss

      _check_gradient(loss, params)

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
        attack=_ATTACK,
      )

    got = jax.jit(terms)(jnp.array(1e3), jnp.array(0))
    self.assertEqual((got.found, got.penalty), (0, 0))
    self.assertEqual(got.loss, got.cross_entropy)
    slope = jax.jit(jax.grad(lambda p: terms(p, jnp.array(0)).loss))
    grad = slope(jnp.array(1e3))
    self.assertTrue(np.isfinite(grad))
    # What an attack that failed says counts for nothing, whatever it says.
    nan = training.interpretation(
      _apply,
      _params(),
      _example(),
      jnp.array(0),
      jax.random.key(0),
      lam=1000.0,
      rho=0.5,
      attack=_fixed_attack(0.3, found=False),
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
    params = _params()
    tiny = {**params, 'v': params['v'] * 1e-25}
    loss = functools.partial(
      training.interpretation,
      _apply,
      x=_example(),
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
      _apply,
      _params(),
      _example(),
      jnp.array(0),
      jax.random.key(0),
      lam=1.0,
      rho=0.5,
      attack=_ATTACK,
    )
    got, other = (
      jax.jit(functools.partial(run, method=m))()
      for m in (method, gradient.gradient)
    )
    self.assertGreater(got.penalty, 0)
    self.assertNotAlmostEqual(float(got.penalty), float(other.penalty))


class LossesTest(parameterized.TestCase):
  @parameterized.parameters('input_gradient', 'curvature')
  def test_gradient(self, name):
    with jax.enable_x64(True):
      x, label = _example(jnp.float64), jnp.array(1)
      loss = jax.jit(
        lambda params: (
          _LOSSES[name](_apply, params, x, label, jax.random.key(0)).loss
        )
      )
      _check_gradient(loss, _params(jnp.float64))

  def test_penalties_of_a_softmax(self):
    # Linear logits W' x: the gradient of the loss is W (p - e).
    w, x, label = _params()['w'][:, :_K], _example(), 1
    apply = lambda params, x: x @ params
    args = (apply, w, x, jnp.array(label), jax.random.key(0))
    grad = lambda x: w @ (jax.nn.softmax(x @ w) - jax.nn.one_hot(label, _K))
    got = training.input_gradient(*args, lam=2.0)
    np.testing.assert_allclose(got.penalty, jnp.sum(grad(x) ** 2), rtol=1e-5)
    np.testing.assert_allclose(
      got.loss, got.cross_entropy + 2 * got.penalty, rtol=1e-6
    )
    z = jnp.sign(grad(x)) / np.sqrt(_D)
    got = training.curvature(*args, h=0.7)
    np.testing.assert_allclose(
      got.penalty, jnp.sum((grad(x + 0.7 * z) - grad(x)) ** 2), rtol=1e-4
    )

  def test_pgd_finds_the_far_side(self):
    # A linear function is largest on the ball at x + rho w / |w|.
    w, x = jnp.arange(1.0, 5.0), jnp.full(4, 0.5)
    fn = lambda x: x @ w
    settings = {'rho': 0.2, 'key': jax.random.key(0)}
    got = training.l2_pgd(fn, x, step_size=0.1, **settings)
    want = x + 0.2 * w / jnp.linalg.norm(w)
    np.testing.assert_allclose(got, want, atol=1e-4)
    boxed = training.l2_pgd(fn, x, box=(0, 0.5625), **settings)
    self.assertLessEqual(float(jnp.max(boxed)), 0.5625)

  def test_classification_is_the_loss_at_the_neighbour(self):
    params, x, key = _params(), _example(), jax.random.key(4)
    loss = lambda x: -jax.nn.log_softmax(_apply(params, x))[1]
    run = functools.partial(
      training.classification, _apply, params, x, jnp.array(1), key
    )
    got = run(rho=0.3, num_steps=4)
    neighbour = training.l2_pgd(loss, x, rho=0.3, key=key, num_steps=4)
    np.testing.assert_allclose(got.loss, loss(neighbour), rtol=1e-5)
    np.testing.assert_allclose(got.cross_entropy, loss(x), rtol=1e-5)
    self.assertGreater(got.penalty, 0)

  def test_compute_in(self):
    params, x = _params(), _example()
    low = training.compute_in(_apply, jnp.bfloat16)
    got, want = low(params, x), _apply(params, x)
    self.assertEqual(got.dtype, jnp.float32)
    np.testing.assert_allclose(got, want, rtol=0.05, atol=0.05)
    self.assertGreater(jnp.max(jnp.abs(got - want)), 0)
    batch = training.Batch(
      x[None], jnp.zeros(1, jnp.int32), jnp.arange(1), jnp.ones(1)
    )
    sums = jax.jit(training.total(_interpretation, low))(
      params, batch, jax.random.key(0)
    )
    for leaf in jax.tree.leaves(sums):
      self.assertEqual(leaf.dtype, jnp.float32)
      self.assertTrue(np.isfinite(leaf).all())
    with self.assertRaisesRegex(ValueError, 'floating dtype, got int32'):
      training.compute_in(_apply, jnp.int32)

  @parameterized.parameters(
    ('interpretation', dict(lam=-1.0), 'lam must be at least 0, got -1'),
    ('interpretation', dict(rho=0), 'rho must be positive, got 0'),
    ('classification', dict(num_steps=0), 'num_steps must be at least 1'),
    ('curvature', dict(h=0), 'h must be positive, got 0'),
    ('input_gradient', dict(lam=-1), 'lam must be at least 0'),
  )
  def test_bad_arguments(self, name, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      _LOSSES[name](
        _apply,
        _params(),
        _example(),
        jnp.array(0),
        jax.random.key(0),
        **settings,
      )


class StepTest(parameterized.TestCase):
  @parameterized.parameters('plain', 'interpretation')
  def test_parts_add_up_to_the_batch(self, name):
    params, key = _params(), jax.random.key(8)
    xs = jax.random.uniform(jax.random.key(5), (6, _D))
    weight = jnp.array([1.0, 1, 1, 1, 1, 0])
    batch = training.Batch(
      xs, jnp.array([0, 1, 2, 0, 1, 2]), jnp.arange(6), weight
    )
    whole = training.total(_LOSSES[name], _apply)
    got = jax.jit(training.accumulate(whole, 3))(params, batch, key)
    run = jax.jit(whole)
    want = run(params, batch, key)
    self.assertEqual(want.weight, 5)
    # What fills up a batch changes nothing; nor does where an example stands.
    other = batch._replace(x=xs.at[5].set(0.5))
    turned = run(params, jax.tree.map(lambda a: a[::-1], other), key)
    for other in (got, turned):
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4),
        other,
        want,
      )
    with self.assertRaisesRegex(ValueError, 'multiple of 4 examples, got 6'):
      training.accumulate(whole, 4)(params, batch, key)

  def test_step_is_gradient_descent_on_the_mean(self):
    params, optimizer = _params(), optax.sgd(0.1)
    batch = training.Batch(
      jax.random.uniform(jax.random.key(5), (4, _D)),
      jnp.array([0, 1, 2, 0]),
      jnp.arange(4),
      jnp.array([1.0, 1, 1, 0]),
    )
    run = jax.jit(
      functools.partial(
        training.step, training.total(training.plain, _apply), optimizer
      )
    )
    state = training.init(params, optimizer)
    new, metrics = run(state, batch, jax.random.key(0))

    def mean(params):
      logits = jax.vmap(_apply, (None, 0))(params, batch.x[:3])
      return optax.softmax_cross_entropy_with_integer_labels(
        logits, batch.label[:3]
      ).mean()

    value, grads = jax.value_and_grad(mean)(params)
    np.testing.assert_allclose(metrics.loss, value, rtol=1e-5)
    squares = sum(jnp.sum(g**2) for g in jax.tree.leaves(grads))
    np.testing.assert_allclose(metrics.grad_norm, squares**0.5, rtol=1e-5)
    jax.tree.map(
      lambda a, p, g: np.testing.assert_allclose(a, p - 0.1 * g, atol=1e-6),
      new.params,
      params,
      grads,
    )
    self.assertEqual(new.step, 1)

  def test_each_step_draws_anew(self):
    optimizer = optax.sgd(0.0)
    run = jax.jit(
      functools.partial(
        training.step, training.total(_interpretation, _apply), optimizer
      )
    )
    batch = training.Batch(
      _example()[None], jnp.array([0]), jnp.arange(1), jnp.ones(1)
    )
    state, key = training.init(_params(), optimizer), jax.random.key(0)
    second, first = run(state, batch, key)
    _, again = run(state, batch, key)
    _, other = run(second, batch, key)
    self.assertEqual(first.penalty, again.penalty)
    self.assertNotEqual(first.penalty, other.penalty)


def _check_gradient(loss, params):
  """Compares a gradient with finite differences, entry by entry."""
  grads, step = jax.grad(loss)(params), 1e-5
  for name, leaf in params.items():
    for i in np.ndindex(leaf.shape):
      ends = [loss({**params, name: leaf.at[i].add(s * step)}) for s in (1, -1)]
      slope = (ends[0] - ends[1]) / (2 * step)
      np.testing.assert_allclose(grads[name][i], slope, rtol=1e-5, atol=1e-6)


if __name__ == '__main__':
  absltest.main()
