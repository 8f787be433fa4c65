"""What holds of every metric: jit and vmap change nothing, types are kept."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp

from saliency_jax import metrics
from saliency_jax import scores
from saliency_jax.gradients import gradient
from saliency_jax.metrics import fidelity
from tests import equivalence

_SHAPE = (8, 8, 3)


def _logits(metric):
  """Adapts a metric of logits to a classifier."""

  def measure(apply, params, x, m, key, **settings):
    return metric(functools.partial(apply, params), x, m, key=key, **settings)

  return measure


def _score(metric):
  """Adapts a metric of a score to a classifier."""

  def measure(apply, params, x, m, key, **settings):
    return metric(scores.prob(apply, params, 1), x, m, key=key, **settings)

  return measure


def _cascade(apply, params, x, m, key, batch_size):
  del m
  return metrics.cascading_randomization(
    gradient.gradient, apply, params, x, key=key, batch_size=batch_size
  )


def _random_logit(apply, params, x, m, key, batch_size):
  del m
  return metrics.random_logit(
    gradient.gradient, apply, params, x, key=key, batch_size=batch_size
  )


def _relative_stability(apply, params, x, m, key, **settings):
  return metrics.relative_stability(
    scores.prob(apply, params, 1),
    x,
    m,
    logits_fn=functools.partial(apply, params),
    method=gradient.gradient,
    key=key,
    layer_fn=jnp.square,
    num_samples=5,
    **settings,
  )


_METRICS = {
  'igos': _score(
    functools.partial(
      metrics.deletion_insertion,
      protocol=functools.partial(metrics.igos_protocol, resolution=4),
    )
  ),
  'rise': _score(
    functools.partial(
      metrics.deletion_insertion, protocol=metrics.rise_protocol
    )
  ),
  'flips': _logits(metrics.decision_flips),
  'log_odds': _logits(metrics.log_odds_curves),
  'infidelity': _score(fidelity.infidelity),
  'max_sensitivity': _score(
    functools.partial(metrics.max_sensitivity, method=gradient.gradient)
  ),
  'cascade': _cascade,
  'random_logit': _random_logit,
  'relative_stability': _relative_stability,
  'faithfulness_correlation': _score(metrics.faithfulness_correlation),
  'sensitivity_n': _score(
    functools.partial(metrics.sensitivity_n, sizes=(2, 9), num_samples=7)
  ),
  'mu_fidelity': _score(functools.partial(metrics.mu_fidelity, cells=4)),
  'road': _logits(functools.partial(metrics.road, num_steps=30)),
  'information_curves': _logits(metrics.information_curves),
}


def _key(i):
  return jax.random.fold_in(jax.random.key(4), i)


class EquivalenceTest(parameterized.TestCase):
  @parameterized.parameters(*_METRICS)
  def test_jit_and_vmap(self, name):
    with jax.enable_x64():
      apply, params = equivalence.network(jnp.float64, _SHAPE)
      xs = equivalence.examples(2, jnp.float64, _SHAPE)
      maps = jax.random.normal(jax.random.key(3), xs.shape, jnp.float64)
      measure = functools.partial(_METRICS[name], apply)
      loop = [
        measure(params, xs[i], maps[i], _key(i), batch_size=4) for i in range(2)
      ]
      loop = jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop)
      batch = jax.jit(
        jax.vmap(
          functools.partial(measure, batch_size=3), in_axes=(None, 0, 0, 0)
        )
      )
      got = batch(params, xs, maps, jax.vmap(_key)(jnp.arange(2)))
      equivalence.assert_close(got, loop)

  @parameterized.product(name=list(_METRICS), dtype=[jnp.float32, jnp.float64])
  def test_dtype_follows_the_example(self, name, dtype):
    # With 64 bits at hand, so that a promotion shows.
    with jax.enable_x64():
      apply, params = equivalence.network(dtype, _SHAPE)
      (x,) = equivalence.examples(1, dtype, _SHAPE)
      measure = functools.partial(_METRICS[name], apply, batch_size=4)
      shapes = jax.eval_shape(measure, params, x, x, _key(0))
      for leaf in jax.tree.leaves(shapes):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
          self.assertEqual(leaf.dtype, dtype)


if __name__ == '__main__':
  absltest.main()
