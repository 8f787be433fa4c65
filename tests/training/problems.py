"""A small smooth network and a small attack, for the tests of training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import attacks
from saliency_jax import training

SIZE, NUM_CLASSES = 6, 3
ATTACK = functools.partial(
  attacks.top_k_attack, num_restarts=1, num_steps=3, num_halvings=2
)
interpretation = functools.partial(
  training.interpretation, lam=50.0, rho=0.5, attack=ATTACK
)


def apply(params, x):
  return jax.nn.softplus(x @ params['w']) @ params['v']


def params(dtype=jnp.float32):
  keys = jax.random.split(jax.random.key(3), 2)
  return {
    'w': 2 * jax.random.normal(keys[0], (SIZE, 5), dtype),
    'v': jax.random.normal(keys[1], (5, NUM_CLASSES), dtype),
  }


def example(dtype=jnp.float32):
  return jax.random.uniform(jax.random.key(1), (SIZE,), dtype)


def check_gradient(loss, params):
  """Compares a gradient with finite differences, entry by entry."""
  grads, step = jax.grad(loss)(params), 1e-5
  for name, leaf in params.items():
    for i in np.ndindex(leaf.shape):
      ends = [loss({**params, name: leaf.at[i].add(s * step)}) for s in (1, -1)]
      slope = (ends[0] - ends[1]) / (2 * step)
      np.testing.assert_allclose(grads[name][i], slope, rtol=1e-5, atol=1e-6)
