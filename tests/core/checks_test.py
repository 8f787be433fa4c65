"""Tests for `checks.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import metrics
from saliency_jax import transforms
from saliency_jax import viz
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.metrics import deletion
from saliency_jax.metrics import fidelity

# What asks for an image, by what it is called with.
_METHODS = (
  saliency_jax.grad_cam,
  saliency_jax.grad_cam_pp,
  saliency_jax.igos,
  saliency_jax.igos_pp,
  saliency_jax.leg,
  saliency_jax.leg_tv,
  saliency_jax.linear_invariant,
  saliency_jax.mask,
  saliency_jax.occlusion,
  saliency_jax.rise,
  transforms.sum_channels(saliency_jax.gradient),
)
_OF_AN_IMAGE = (
  baselines.gaussian_blur,
  baselines.mean,
  deletion.rise_blur,
  viz.diverging,
  viz.grayscale,
  viz.unit,
  lambda x: viz.overlay(x, np.zeros((16, 16))),
  lambda x: fidelity.square(jax.random.key(0), x),
  lambda x: metrics.igos_protocol(x, x, None),
  lambda x: metrics.rise_protocol(x, x, None),
)


class ChecksTest(parameterized.TestCase):
  @parameterized.parameters(
    ('[0, 1)', 0, 1),
    ('(0, 1]', 1, 0),
    ('(0, inf)', 0.1, float('inf')),
    ('[0, 1]', 0.5, float('nan')),
    ('(-1, 2)', np.float32(1.5), -1),
    ('[0, 1]', 0.5, 'half'),
    ('[0, 1]', 0.5, np.ones(2)),
  )
  def test_within(self, interval, good, bad):
    checks.within('n', good, interval)
    checks.within('n', jnp.asarray(good), interval)
    with self.assertRaises(ValueError) as caught:
      checks.within('n', bad, interval)
    shown = repr(bad) if isinstance(bad, str) else bad
    self.assertEqual(
      str(caught.exception), f'n must be in {interval}, got {shown}'
    )

  @parameterized.parameters(0, 2.5, 2**40, float('nan'), True, '3', None)
  def test_count_refuses(self, bad):
    with self.assertRaisesRegex(ValueError, 'n must be a whole number'):
      checks.count('n', bad)

  @parameterized.parameters(1, np.int64(7), np.int32(3), 2**31 - 1)
  def test_count_takes(self, good):
    checks.count('n', good)

  @parameterized.parameters(64.0, np.float32(64))
  def test_count_tells_a_float_from_an_integer(self, value):
    with self.assertRaisesRegex(ValueError, 'n must be an integer.*: pass 64'):
      checks.count('n', value)

  def test_count_names_the_range(self):
    with self.assertRaisesRegex(ValueError, r'in \[2, 5\], got 6'):
      checks.count('n', 6, 2, 5)
    with self.assertRaisesRegex(ValueError, r'in \[1, 2147483647\], got 1099'):
      checks.count('n', 2**40)

  def test_passes_what_is_traced(self):
    jax.jit(lambda v: checks.within('n', v, '(0, inf)'))(-1.0)
    jax.jit(lambda v: checks.count('n', v))(-1)

  @parameterized.parameters(
    *_OF_AN_IMAGE,
    *(
      functools.partial(method, jnp.sum, key=jax.random.key(0))
      for method in _METHODS
    ),
  )
  def test_channels_first_is_told_wherever_an_image_is_asked_for(self, call):
    with self.assertRaisesRegex(ValueError, r'pass jnp.moveaxis\(x, 0, -1\)'):
      call(jnp.ones((3, 16, 16)))

  def test_image(self):
    for fine in ((2, 3, 1), (3, 3, 3), (1, 5, 1), (3, 5, 1), (4, 4, 7)):
      checks.image(jnp.ones(fine))
    for first in ((3, 224, 224), (1, 28, 28), (3, 8, 2)):
      with self.assertRaisesRegex(ValueError, r'pass jnp.moveaxis\(x, 0, -1\)'):
        checks.image(np.ones(first))
    with self.assertRaisesRegex(ValueError, r'\(2, 3\)'):
      checks.image(jnp.ones((2, 3)))
    with self.assertRaisesRegex(ValueError, 'None'):
      checks.image({'a': jnp.ones(2)})

  @parameterized.parameters('entries', None, 7)
  def test_constructor_refuses(self, masker):
    with self.assertRaisesRegex(
      ValueError, f'masker must be a function .* got {masker!r}: pass masker='
    ):
      checks.constructor(masker)
    self.assertIs(checks.constructor(jnp.sum), jnp.sum)

  def test_same_shape(self):
    x = {'a': jnp.ones(2)}
    checks.same_shape('baseline', {'a': jnp.zeros(2)}, x)
    for bad in ({'a': jnp.ones(3)}, {'a': jnp.ones(2, jnp.float16)}, x['a']):
      with self.assertRaisesRegex(ValueError, 'baseline must be like'):
        checks.same_shape('baseline', bad, x)


if __name__ == '__main__':
  absltest.main()
