"""Tests for `stepping.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from saliency_jax import training
from tests.training import problems


class StepTest(parameterized.TestCase):
  @parameterized.parameters(training.plain, problems.interpretation)
  def test_parts_add_up_to_the_batch(self, loss):
    params, key = problems.params(), jax.random.key(8)
    xs = jax.random.uniform(jax.random.key(5), (6, problems.SIZE))
    weight = jnp.array([1.0, 1, 1, 1, 1, 0])
    batch = training.Batch(
      xs, jnp.array([0, 1, 2, 0, 1, 2]), jnp.arange(6), weight
    )
    whole = training.total(loss, problems.apply)
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
    params, optimizer = problems.params(), optax.sgd(0.1)
    batch = training.Batch(
      jax.random.uniform(jax.random.key(5), (4, problems.SIZE)),
      jnp.array([0, 1, 2, 0]),
      jnp.arange(4),
      jnp.array([1.0, 1, 1, 0]),
    )
    run = jax.jit(
      functools.partial(
        training.step, training.total(training.plain, problems.apply), optimizer
      )
    )
    state = training.init(params, optimizer)
    new, metrics = run(state, batch, jax.random.key(0))

    def mean(params):
      logits = jax.vmap(problems.apply, (None, 0))(params, batch.x[:3])
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
        training.step,
        training.total(problems.interpretation, problems.apply),
        optimizer,
      )
    )
    batch = training.Batch(
      problems.example()[None], jnp.array([0]), jnp.arange(1), jnp.ones(1)
    )
    state, key = training.init(problems.params(), optimizer), jax.random.key(0)
    second, first = run(state, batch, key)
    _, again = run(state, batch, key)
    _, other = run(second, batch, key)
    self.assertEqual(first.penalty, again.penalty)
    self.assertNotEqual(first.penalty, other.penalty)


if __name__ == '__main__':
  absltest.main()
