"""Each rule of intervals against brute force, on a small box."""

import itertools

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax import lax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import interval_rules
from saliency_jax.core import intervals
from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import units
from saliency_jax.models import convolutions

_X = jnp.array([0.25, -0.25, 0.75])
_WIDTHS = jnp.array([0.25, 0.5, 0.125])
_KERNEL = jax.random.normal(jax.random.key(0), (2, 2, 1, 2))
_WINDOW = _KERNEL[:, :, :, 0]
_SIGNED = jnp.array([1.0, -2.0, 3.0])


def _image(x):
  return jnp.concatenate([x, -x, x[::-1]]).reshape(1, 3, 3, 1)


def _window(f, start):
  return lambda x: lax.reduce_window(x, start, f, (2,), (1,), 'VALID')


def _primitive(name, *constants):
  """Returns a primitive of `convolutions` on an image and constants."""
  family, _, part = name.rpartition('_')
  maps = getattr(convolutions, '_' + family.removesuffix('_conv'))
  bind = getattr(maps, part).bind
  geometry = dict(
    strides=(1, 1), padding=((0, 0), (0, 0)), size=(3, 3), window=(2, 2)
  )
  if part == 'transpose':
    geometry['size'] = (4, 4)
  return lambda x: bind(_image(x), *constants, **geometry)


# What calls each primitive that bounds are claimed for.
CASES = {
  'abs': jnp.abs,
  'add': lambda x: x + _SIGNED * x[::-1],
  'add_any': jax.grad(lambda x: jnp.sum(x * _SIGNED) * x[0] + jnp.sum(x**2)),
  'broadcast_in_dim': lambda x: jnp.broadcast_to(x, (2, 3)) - x[0],
  'cbrt': jnp.cbrt,
  'clamp': lambda x: lax.clamp(-0.1, x, jnp.abs(x[0])),
  'concatenate': lambda x: jnp.concatenate([x, 2 * x]),
  'conv_general_dilated': lambda x: convolutions.conv(
    _image(x), _KERNEL, padding='VALID', fast=False
  ),
  'convert_element_type': lambda x: x.astype(jnp.bfloat16).astype(jnp.float32),
  'copy': lambda x: lax.optimization_barrier(jnp.array(x, copy=True)) - x[0],
  'cummax': lax.cummax,
  'cummin': lax.cummin,
  'cumsum': lambda x: lax.cumsum(jnp.abs(x)),
  'dense_conv_conv': _primitive('dense_conv_conv', _KERNEL),
  'dense_conv_transpose': _primitive('dense_conv_transpose', _KERNEL[..., :1]),
  'dense_conv_kernel': _primitive('dense_conv_kernel', _KERNEL[None, ..., 0]),
  'depthwise_conv_conv': _primitive('depthwise_conv_conv', _WINDOW),
  'depthwise_conv_transpose': _primitive('depthwise_conv_transpose', _WINDOW),
  'depthwise_conv_kernel': _primitive(
    'depthwise_conv_kernel', _KERNEL[None, ..., 0]
  ),
  'device_put': lambda x: jax.device_put(x) * 2,
  'div': lambda x: jnp.stack([x / _SIGNED, 1 / (x + 2), x / (x - 2)]),
  'dot_general': lambda x: jnp.stack([x, jnp.abs(x)]) @ _SIGNED,
  'dynamic_slice': lambda x: lax.dynamic_slice(x, (1,), (2,)) - x[0],
  'dynamic_update_slice': lambda x: lax.dynamic_update_slice(x, -x[:1], (2,)),
  'erf': lax.erf,
  'erfc': lax.erfc,
  'exp': jnp.exp,
  'exp2': jnp.exp2,
  'expm1': jnp.expm1,
  'gather': lambda x: x[jnp.array([2, 0])] - x[:2],
  'ge': lambda x: jnp.where(x >= 0.1, 1 + x, x),
  'gt': lambda x: jnp.where(x > 0.1, 1 + x, x),
  'integer_pow': lambda x: jnp.stack([x**2, x**3, x**4]),
  'le': lambda x: jnp.where(x <= 0.1, 1 + x, x),
  'log': lambda x: jnp.log(x + 1),
  'log1p': jnp.log1p,
  'logistic': jax.nn.sigmoid,
  'lt': lambda x: jnp.where(x < 0.1, 1 + x, x),
  'max': lambda x: jnp.maximum(x, x[::-1]),
  'min': lambda x: jnp.minimum(x, x[::-1]),
  'mul': lambda x: jnp.stack([x * x[::-1], x * _SIGNED]),
  'name': lambda x: checkpoint_name(x, 'x'),
  'ne': lambda x: jnp.where(x != 0.25, 1 + x, x),
  'neg': lambda x: -x,
  'optimization_barrier': lambda x: lax.optimization_barrier((x, -x))[1],
  'pad': lambda x: lax.pad(x, x[0], [(1, 1, 0)]),
  'pow': lambda x: jnp.stack([(x + 1) ** 2.5, (x + 1) ** -1.5, (x + 1) ** x]),
  'reduce_max': lambda x: jnp.max(x),
  'reduce_min': lambda x: jnp.min(x),
  'reduce_sum': lambda x: jnp.sum(jnp.abs(x) * _SIGNED),
  'reduce_window_max': _window(lax.max, -jnp.inf),
  'reduce_window_min': _window(lax.min, jnp.inf),
  'reduce_window_sum': _window(lax.add, 0.0),
  'reshape': lambda x: x.reshape(3, 1),
  'rev': lambda x: lax.rev(x, (0,)) - x,
  'rsqrt': lambda x: lax.rsqrt(x + 1),
  'select_n': lambda x: jnp.stack(
    [
      jnp.where(x > 0.1, x, 1 - x),
      jnp.where(_SIGNED > 0, x, 1 - x),
      lax.select_n(jnp.array([2, 0, 1]), x, -x, 2 * x),
    ]
  ),
  'slice': lambda x: x[1:] - x[:2],
  'split': lambda x: jnp.split(x, [1])[1],
  'sqrt': lambda x: jnp.sqrt(x + 1),
  'square': jnp.square,
  'squeeze': lambda x: jnp.squeeze(x[:1], 0),
  'stack': lambda x: jnp.stack([x, -x]),
  'stop_gradient': lambda x: lax.stop_gradient(x),
  'sub': lambda x: x - x[::-1],
  'tanh': jnp.tanh,
  'transpose': lambda x: jnp.stack([x, -x]).T,
  'unstack': lambda x: jnp.unstack(x)[1],
}


def _claimed():
  """Returns the primitives that `interval_rules` has a rule for."""
  roles = [
    primitives.MOVES,
    primitives.SUMS,
    primitives.PRODUCTS,
    primitives.INCREASING,
  ]
  rules = [name for name in interval_rules.RULES if name not in roles]
  # Units are made of equations that have their own cases.
  return {*rules, *primitives.of_kind(*roles)} - {units.AFFINE}


class IntervalRulesTest(parameterized.TestCase):
  def test_every_claim_has_a_case(self):
    self.assertEqual(_claimed(), set(CASES))

  @parameterized.named_parameters(*((n, n) for n in sorted(CASES)))
  def test_holds_every_value(self, name):
    fn = CASES[name]
    closed = jaxprs.inline(jax.make_jaxpr(fn)(_X))
    found = {eqn.primitive.name for eqn in jaxprs.equations(closed.jaxpr)}
    self.assertIn(name, found)
    steps = [np.linspace(-w, w, 9) for w in np.asarray(_WIDTHS)]
    offsets = np.array([*itertools.product(*steps)], np.float32)
    values = jax.jit(jax.vmap(fn))(_X[None] + offsets)
    for scale in (1.0, 0.0):
      box = intervals.bounds(fn, intervals.around(_X, scale * _WIDTHS))
      inside = values if scale else fn(_X)[None]
      self.assertTrue(np.all(box.low <= np.min(inside, 0)))
      self.assertTrue(np.all(box.high >= np.max(inside, 0)))
      self.assertTrue(np.all(np.isfinite(box.low) & np.isfinite(box.high)))


if __name__ == '__main__':
  absltest.main()
