"""Tests for `taps.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import models
from saliency_jax import scores
from saliency_jax import taps
from saliency_jax.models import vit

_X = jnp.array([0.5, -1.0, 2.0])


def _plain(x):
  h = checkpoint_name(jnp.sin(x), 'h')
  return jnp.sum(h * x)  # The head reads `x` as well.


def _jitted(x):
  return jax.jit(jax.jit(_plain))(2.0 * x) + x[0]


def _rematerialised(x):
  return jax.checkpoint(_plain)(x)


def _vmapped(x):
  return jnp.sum(jax.vmap(lambda a: checkpoint_name(a**2, 'h'))(x))


def _linear(x):
  weight = jnp.ones((3, 2))
  model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
  h = checkpoint_name(model(x), 'h')
  return jnp.sum(jax.nn.relu(h) @ weight.T)


def _looped(x):
  return jax.lax.fori_loop(0, 3, lambda i, c: c + _plain(x), 0.0)


def _branched(x):
  return jax.lax.cond(x[0] > 0, _plain, jnp.sum, x)


def _repeated(x):
  return jax.lax.while_loop(lambda c: c < 9, lambda c: c + _plain(x), 0.0)


@jax.custom_jvp
def _customised(x):
  return _plain(x)


_customised.defjvp(lambda primals, tangents: jax.jvp(_plain, primals, tangents))


class TapsTest(parameterized.TestCase):
  @parameterized.parameters(_plain, _jitted, _rematerialised, _vmapped, _linear)
  def test_head_of_trunk_is_the_function(self, fn):
    split = taps.split(fn, _X, 'h')
    value, rest = split.trunk(_X)
    np.testing.assert_allclose(split.head(value, rest), fn(_X), rtol=1e-6)
    # And at another point than that of the cut.
    y = _X - 0.3
    np.testing.assert_allclose(split.head(*split.trunk(y)), fn(y), rtol=1e-6)

  def test_gradient_at_the_tap(self):
    split = taps.split(_plain, _X, 'h')
    value, rest = split.trunk(_X)
    np.testing.assert_allclose(value, jnp.sin(_X), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(split.head)(value, rest), _X)

  def test_inside_jit_and_vmap_with_traced_weights(self):
    def at_tap(weights, x):
      def fn(x):
        return jnp.sum(checkpoint_name(weights @ x, 'h') ** 2)

      split = taps.split(fn, x, 'h')
      return jax.grad(split.head)(*split.trunk(x))

    weights = jnp.arange(6.0).reshape(2, 3)
    xs = jnp.stack([_X, 2 * _X])
    got = jax.jit(jax.vmap(at_tap, in_axes=(None, 0)))(weights, xs)
    np.testing.assert_allclose(got, 2 * xs @ weights.T, rtol=1e-6)

  def test_keeps_the_structure_of_inputs_and_outputs(self):
    def fn(x):
      return {'out': checkpoint_name(x['a'] * x['b'], 'h') + 1.0}

    x = {'a': _X, 'b': _X}
    split = taps.split(fn, x, 'h')
    np.testing.assert_allclose(split.head(*split.trunk(x))['out'], _X**2 + 1)

  def test_names(self):
    def fn(x):
      return jnp.sum(checkpoint_name(checkpoint_name(x, 'a') + 1.0, 'b'))

    self.assertEqual(taps.names(fn, _X), ['a', 'b'])

  def test_blocks_of_a_transformer(self):
    """A block's tokens, read as a grid, are what the network names itself."""
    module = vit.Vit(
      width=8, num_blocks=2, num_heads=2, activation=nnx.relu, rngs=nnx.Rngs(0)
    )
    x = jnp.sin(jnp.arange(28.0**2)).reshape(28, 28, 1)
    spec = models.Spec('mine', x.shape)
    model = models.from_nnx(taps.of(module, 'blocks/0'), spec)

    @jax.jit
    def maps(params, x):
      fn = scores.logit(model.apply, params, 3)
      layout = functools.partial(taps.grid, shape=(4, 4))
      return (
        saliency_jax.grad_cam(fn, x, name='blocks/0', layout=layout).scores,
        saliency_jax.grad_cam(fn, x, name='block0').scores,
      )

    got, want = maps(model.params, x)
    self.assertGreater(np.max(want), 0)
    np.testing.assert_array_equal(got, want)

  def test_rejects_what_is_not_there(self):
    with self.assertRaisesRegex(ValueError, r"'g', found 0; .* names \['h'\]"):
      taps.split(_plain, _X, 'g')

  def test_rejects_several(self):
    def fn(x):
      return _plain(x) + _plain(x)

    with self.assertRaisesRegex(ValueError, "'h', found 2"):
      taps.split(fn, _X, 'h')

  @parameterized.parameters(
    (_looped, 'scan'),
    (_branched, 'cond'),
    (_repeated, 'while'),
    (_customised, 'custom_jvp_call'),
  )
  def test_rejects_control_flow(self, fn, where):
    with self.assertRaisesRegex(ValueError, f"'h' is inside {where}"):
      taps.split(fn, _X, 'h')


if __name__ == '__main__':
  absltest.main()
