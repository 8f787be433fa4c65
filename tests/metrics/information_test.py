"""Tests for `information.py`."""

import functools
import io

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from saliency_jax import metrics
from saliency_jax.core import sampling
from saliency_jax.metrics import information
from tests import equivalence

_SHARES = (0.1, 0.25, 0.5, 0.75)


def _numpy_entropy(image):
  """Codes an image value by value, as the docstring says."""
  values = np.rint(255 * np.asarray(image, np.float64)).astype(int)
  if values.shape[-1] == 3:
    values[..., [0, 2]] -= values[..., 1:2]
  bits = 0.0
  for channel in np.moveaxis(values, -1, 0):
    h, w = channel.shape
    errors = np.zeros(256)
    for i in range(h):
      for j in range(w):
        above = channel[i - 1, j] if i else 0
        left = channel[i, j - 1] if j else 0
        corner = channel[i - 1, j - 1] if i and j else 0
        guess = sorted([above, left, above + left - corner])[1]
        errors[(channel[i, j] - guess) % 256] += 1
    counts = errors[errors > 0]
    bits -= np.sum(counts * np.log2(counts / (h * w)))
  return bits


class EntropyTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 3)
  def test_matches_loop(self, channels):
    rng = np.random.default_rng(channels)
    steps = 0.02 * rng.normal(size=(9, 7, channels))
    image = np.clip(0.5 + np.cumsum(np.cumsum(steps, 0), 1), 0, 1)
    image = image.astype(np.float32)
    got = metrics.residual_entropy(jnp.asarray(image))
    np.testing.assert_allclose(got, _numpy_entropy(image), rtol=1e-5)

  def test_flat_and_random(self):
    # Of a flat image the first value alone is not known.
    flat = metrics.residual_entropy(jnp.full((16, 16, 3), 0.25))
    self.assertLess(flat, 30)
    noise = np.random.default_rng(0).uniform(size=(64, 64, 1))
    bits = metrics.residual_entropy(jnp.asarray(noise, jnp.float32))
    self.assertBetween(bits / noise.size, 7, 8)

  @parameterized.parameters(1, 3)
  def test_webp_is_pillows(self, channels):
    image = np.random.default_rng(0).uniform(size=(8, 9, channels))
    pixels = np.rint(255 * image).astype(np.uint8)
    with io.BytesIO() as f:
      whole = pixels[..., 0] if channels == 1 else pixels
      Image.fromarray(whole).save(f, format='webp', lossless=True, quality=100)
      want = f.tell()
    image = jnp.asarray(image, jnp.float32)
    self.assertEqual(metrics.webp(image), want)
    batch = jax.jit(jax.vmap(metrics.webp))(image[None])
    np.testing.assert_array_equal(batch, [want])


class InformationCurvesTest(parameterized.TestCase):
  def test_matches_loop(self):
    apply, params = equivalence.network()
    (x,) = equivalence.examples(1)
    scores = jax.random.normal(jax.random.key(2), x.shape)
    key = jax.random.key(3)
    num = x.shape[0] * x.shape[1]
    order = np.argsort(-np.sum(scores, -1).ravel())
    seeds = np.asarray(
      jax.random.permutation(
        sampling.draw_key(key, 1), jnp.arange(num, dtype=jnp.int32)
      )
    )
    kept = (seeds < int(0.1 * num)).reshape(x.shape[:2])
    kept[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    black = lambda x, known: jnp.where(known[..., None] > 0, x, 0)
    # The class that the whole image gains the most.
    label = int(jnp.argmax(apply(params, x) - apply(params, black(x, kept))))

    def measured(image):
      prob = jax.nn.softmax(apply(params, image))[label]
      return _numpy_entropy(image), float(prob)

    found = [measured(black(x, kept))]
    for share in _SHARES:
      known = np.zeros(num, bool)
      known[order[: int(np.ceil(share * num))]] = True
      known = known.reshape(kept.shape) | kept
      found.append(measured(black(x, known)))
    found.append(measured(x))
    entropies, probs = np.transpose(found)
    got = jax.jit(
      functools.partial(
        metrics.information_curves,
        functools.partial(apply, params),
        label=label,
        shares=_SHARES,
        start=0.1,
        fill=black,
        num_points=11,
        batch_size=4,
      )
    )(x, scores, key=key)
    np.testing.assert_allclose(got.entropies, entropies, rtol=1e-5)
    np.testing.assert_allclose(got.probs, probs, rtol=1e-5)
    at = np.clip((entropies - entropies[0]) / np.ptp(entropies[[0, -1]]), 0, 1)
    scaled = np.clip((probs - probs[0]) / (probs[-1] - probs[0]), 0, 1)
    scaled = np.maximum.accumulate(scaled)
    order = np.argsort(at, kind='stable')
    grid = np.linspace(0, 1, 11)
    curve = np.interp(grid, at[order], scaled[order])
    np.testing.assert_allclose(got.information, grid, atol=1e-6)
    np.testing.assert_allclose(got.softmax_curve, curve, atol=1e-4)
    np.testing.assert_allclose(got.sic, np.trapezoid(curve, grid), atol=1e-4)

  def test_a_map_of_what_counts_is_first(self):
    """Class 1 asks for the corner; the rest is information and nothing else."""
    x = jax.random.uniform(jax.random.key(0), (16, 16, 1)).at[:4, :4].set(1)
    apply = lambda x: jnp.stack([jnp.array(0.8), jnp.mean(x[1:4, 1:4])]) * 40
    corner = jnp.zeros_like(x).at[:4, :4].set(1)
    measure = jax.jit(
      lambda s: metrics.information_curves(
        apply,
        x,
        s + 0.01 * x,
        key=jax.random.key(1),
        start=0,
        fill=lambda x, known: 0 * x,
        shares=_SHARES,
      )
    )
    good, bad = measure(corner), measure(-corner)
    for area in ('sic', 'aic'):
      self.assertGreater(getattr(good, area), 0.9)
      self.assertLess(getattr(bad, area), 0.3)
    np.testing.assert_array_equal(
      good.accuracy_curve[jnp.array([0, -1])], [0, 1]
    )

  def test_no_curve(self):
    x = jax.random.uniform(jax.random.key(0), (8, 8, 1))
    measure = lambda apply, m: metrics.information_curves(
      apply, x, m, key=jax.random.key(1), shares=_SHARES, num_points=3
    )
    rising = lambda x: jnp.stack([jnp.array(0.5), jnp.std(x)])
    got = measure(rising, x.at[0, 0].set(jnp.nan))
    self.assertTrue(np.isnan(got.sic) and np.isnan(got.aic))
    # The blurred image has the higher score.
    got = jax.jit(functools.partial(measure, lambda x: -rising(x)))(x)
    self.assertTrue(np.isnan(got.aic))
    np.testing.assert_array_equal(got.information, [0, 0.5, 1])

  def test_bad_arguments(self):
    x, key = jnp.ones((4, 4, 1)), jax.random.key(0)
    measure = functools.partial(
      metrics.information_curves, lambda x: jnp.ones(2), x, key=key
    )
    with self.assertRaisesRegex(ValueError, r'shares must be in \(0, 1\]'):
      measure(x, shares=(0.5, 1.5))
    with self.assertRaisesRegex(ValueError, 'num_points must be'):
      measure(x, num_points=1)
    with self.assertRaisesRegex(ValueError, r'start must be in \[0, 1\]'):
      measure(x, start=2)

  def test_default_fill_keeps_what_is_known(self):
    x = jax.random.uniform(jax.random.key(0), (6, 6, 2))
    known = jnp.zeros((6, 6)).at[::2].set(1)
    filled = information.mean_of_neighbours(x, known)
    np.testing.assert_array_equal(filled[::2], x[::2])


if __name__ == '__main__':
  absltest.main()
