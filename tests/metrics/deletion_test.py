"""Tests for `deletion.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage
from scipy import signal

from saliency_jax import maskers
from saliency_jax import metrics
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.core import stretching
from saliency_jax.metrics import deletion
from tests import equivalence

_SIZE = 16


def _blur(x, kernel_size, sigma):
  """OpenCV's blur: a cut Gaussian, the border mirrored about its pixels."""
  at = np.arange(kernel_size) - kernel_size // 2
  weights = np.exp(-0.5 * (at / sigma) ** 2)
  weights /= weights.sum()
  for axis in (0, 1):
    x = ndimage.correlate1d(x, weights, axis=axis, mode='mirror')
  return x


def _upsample(mask, size):
  """Bilinear interpolation between aligned corners, a pixel at a time."""
  s = len(mask)
  out = np.empty((size, size))
  for i in range(size):
    for j in range(size):
      u, v = i * (s - 1) / (size - 1), j * (s - 1) / (size - 1)
      a, b = min(int(u), s - 2), min(int(v), s - 2)
      du, dv = u - a, v - b
      out[i, j] = (
        mask[a, b] * (1 - du) * (1 - dv)
        + mask[a + 1, b] * du * (1 - dv)
        + mask[a, b + 1] * (1 - du) * dv
        + mask[a + 1, b + 1] * du * dv
      )
  return out[..., None]


def _numpy_igos(fn, x, cells):
  """I-GOS's evaluation, as its paper describes it."""
  n = cells.size
  step = max(1, n // 50)
  blurred = _blur(x, 51, 50.0)
  order = np.argsort(-cells.ravel())
  kept = np.ones(n)
  curves = [[fn(x)], [fn(blurred)]]
  areas = [0.0, 0.0]
  for start in range(0, n, step):
    chosen = order[start : start + step]
    kept[chosen] = 0
    up = _upsample(kept.reshape(cells.shape), len(x))
    for which, image in enumerate(
      (x * up + blurred * (1 - up), blurred * up + x * (1 - up))
    ):
      curves[which].append(fn(image))
      areas[which] += curves[which][-1] * len(chosen) / n
  return curves, areas


def _rise_blur(x, outside=0.5):
  """The convolution of RISE's code, padded as its zeros are in [0, 1]."""
  point = np.zeros((11, 11))
  point[5, 5] = 1
  kernel = ndimage.gaussian_filter(point, 5)
  return np.stack(
    [
      signal.convolve2d(x[..., c], kernel, 'same', fillvalue=outside)
      for c in range(x.shape[-1])
    ],
    -1,
  )


def _numpy_rise(fn, x, pixels):
  """RISE's causal metric, as its paper describes it, in 28 steps."""
  n = pixels.size
  order = np.argsort(-pixels.ravel())
  flat = x.reshape(n, -1)
  deleted, inserted = flat.copy(), _rise_blur(x).reshape(n, -1)
  curves = [[fn(x)], [fn(inserted.reshape(x.shape))]]
  for i in range(28):
    chosen = order[round(i * n / 28) : round((i + 1) * n / 28)]
    deleted[chosen] = 0.5
    inserted[chosen] = flat[chosen]
    curves[0].append(fn(deleted.reshape(x.shape)))
    curves[1].append(fn(inserted.reshape(x.shape)))
  areas = [np.trapezoid(c, dx=1 / 28) for c in curves]
  return curves, areas


def _problem():
  """Returns a score, the same in numpy, an image, and a map by pixel."""
  apply, params = equivalence.network(shape=(_SIZE, _SIZE, 3))
  fn = jax.jit(scores.prob(apply, params, 2))
  numpy_fn = lambda image: float(fn(jnp.asarray(image, jnp.float32)))
  (x,) = equivalence.examples(1, shape=(_SIZE, _SIZE, 3))
  pixels = jax.random.normal(jax.random.key(8), (_SIZE, _SIZE, 1))
  return fn, numpy_fn, x, pixels


class DeletionTest(parameterized.TestCase):
  @parameterized.parameters(5, 8, 12, _SIZE)
  def test_igos_protocol_matches_numpy(self, resolution):
    fn, numpy_fn, x, _ = _problem()
    cells = jax.random.normal(jax.random.key(1), (resolution, resolution))
    curves, areas = _numpy_igos(
      numpy_fn, np.asarray(x, np.float64), np.asarray(cells)
    )
    protocol = functools.partial(metrics.igos_protocol, resolution=resolution)
    # At the mask's resolution, and upsampled to the image's.
    aligned = stretching.aligned
    up = maskers.grid(x, cells=resolution, stretch=aligned).spread(cells)
    for given in (cells[..., None], up):
      got = metrics.deletion_insertion(fn, x, given, protocol=protocol)
      np.testing.assert_allclose(got.deletion_curve, curves[0], atol=1e-4)
      np.testing.assert_allclose(got.insertion_curve, curves[1], atol=1e-4)
      np.testing.assert_allclose(got.deletion, areas[0], atol=1e-4)
      np.testing.assert_allclose(got.insertion, areas[1], atol=1e-4)

  def test_rise_protocol_matches_numpy(self):
    fn, numpy_fn, x, pixels = _problem()
    curves, areas = _numpy_rise(
      numpy_fn, np.asarray(x, np.float64), np.asarray(pixels)
    )
    got = metrics.deletion_insertion(
      fn, x, pixels, protocol=metrics.rise_protocol
    )
    np.testing.assert_allclose(got.deletion_curve, curves[0], atol=1e-4)
    np.testing.assert_allclose(got.insertion_curve, curves[1], atol=1e-4)
    np.testing.assert_allclose(got.deletion, areas[0], atol=1e-4)
    np.testing.assert_allclose(got.insertion, areas[1], atol=1e-4)

  @parameterized.parameters(0.0, 0.5)
  def test_rise_blur_is_the_convolution_of_its_code(self, outside):
    x = np.random.default_rng(0).uniform(size=(24, 17, 3)).astype(np.float32)
    got = deletion.rise_blur(jnp.asarray(x), outside=outside)
    np.testing.assert_allclose(got, _rise_blur(x, outside), atol=1e-6)
    # Flat inside, as no blur of OpenCV's with these numbers is.
    point = jnp.zeros((21, 21, 1)).at[10, 10].set(1.0)
    spread = deletion.rise_blur(point, outside=0.0)
    ratio = spread[10, 10, 0] / spread[5, 5, 0]
    np.testing.assert_allclose(ratio, 1.1417, rtol=1e-4)

  def test_by_size(self):
    fn, _, x, pixels = _problem()
    for protocol in (metrics.igos_protocol, metrics.rise_protocol):
      settings = {'resolution': 8} if protocol is metrics.igos_protocol else {}
      read = functools.partial(protocol, by_size=True, **settings)
      plain = functools.partial(protocol, **settings)
      np.testing.assert_array_equal(
        read(x, pixels, None).ranks, plain(x, jnp.abs(pixels), None).ranks
      )

  def test_steps_of_the_papers(self):
    x = jnp.zeros((224, 224, 3))
    igos = metrics.igos_protocol(x, jnp.zeros((28, 28, 1)), None)
    np.testing.assert_array_equal(np.diff(igos.counts)[:-1], 784 // 50)
    self.assertEqual(igos.counts[-1], 784)
    rise = metrics.rise_protocol(x, jnp.zeros((224, 224, 1)), None)
    np.testing.assert_array_equal(np.diff(rise.counts), 1792)
    self.assertLen(rise.counts, 29)

  @parameterized.parameters(
    functools.partial(metrics.igos_protocol, resolution=6),
    functools.partial(metrics.rise_protocol, num_steps=7),
  )
  def test_constant_classifier(self, protocol):
    (x,) = equivalence.examples(1)
    got = metrics.deletion_insertion(
      lambda x: 0.3 + 0 * jnp.sum(x), x, x, protocol=protocol
    )
    np.testing.assert_allclose(got.deletion, 0.3, rtol=1e-6)
    np.testing.assert_allclose(got.insertion, 0.3, rtol=1e-6)

  @parameterized.parameters('igos', 'rise')
  def test_perfect_ranking_of_an_additive_model_is_extreme(self, name):
    # f = sum of a_i x_i on a white image, deleted to and inserted from black.
    a = jax.random.uniform(jax.random.key(0), (4, 4, 1))
    fn = lambda x: jnp.sum(a * x) / jnp.sum(a)
    protocol = {
      'igos': functools.partial(
        metrics.igos_protocol, resolution=4, baseline=baselines.black
      ),
      'rise': functools.partial(
        metrics.rise_protocol,
        num_steps=16,
        deleted=baselines.black,
        start=baselines.black,
      ),
    }[name]
    x = jnp.ones((4, 4, 1))
    measure = jax.jit(
      lambda m: metrics.deletion_insertion(fn, x, m, protocol=protocol)
    )
    perfect, worst = measure(a), measure(-a)
    share = np.cumsum(np.sort(np.ravel(a))[::-1]) / np.sum(a)
    share = np.append(0, share)
    rule = {
      'igos': lambda c: np.mean(c[1:]),
      'rise': lambda c: np.trapezoid(c, dx=1 / 16),
    }[name]
    np.testing.assert_allclose(perfect.insertion, rule(share), rtol=1e-5)
    np.testing.assert_allclose(perfect.deletion, rule(1 - share), rtol=1e-5)
    np.testing.assert_allclose(
      worst.insertion, rule(1 - share[::-1]), rtol=1e-5
    )
    for i in range(1, 6):
      other = measure(jax.random.normal(jax.random.key(i), (4, 4, 1)))
      self.assertLess(perfect.deletion, other.deletion)
      self.assertGreater(perfect.insertion, other.insertion)

  def test_ends_of_the_curves(self):
    fn, _, x, pixels = _problem()
    got = metrics.deletion_insertion(
      fn, x, pixels, protocol=metrics.rise_protocol
    )
    np.testing.assert_allclose(got.deletion_curve[0], fn(x), rtol=1e-5)
    np.testing.assert_allclose(got.insertion_curve[-1], fn(x), rtol=1e-5)
    grey, blur = baselines.constant(x), deletion.rise_blur(x)
    np.testing.assert_allclose(got.deletion_curve[-1], fn(grey), rtol=1e-5)
    np.testing.assert_allclose(got.insertion_curve[0], fn(blur), rtol=1e-5)

  @parameterized.parameters(
    functools.partial(metrics.igos_protocol, resolution=6),
    metrics.rise_protocol,
  )
  def test_normalized_by_the_score(self, protocol):
    fn, _, x, pixels = _problem()
    measure = functools.partial(
      metrics.deletion_insertion, fn, x, pixels, protocol=protocol
    )
    plain, scaled = (
      jax.jit(functools.partial(measure, normalize=n))() for n in (False, True)
    )
    for field in plain._fields[1:]:
      np.testing.assert_allclose(
        getattr(scaled, field), getattr(plain, field) / fn(x), rtol=1e-5
      )
    self.assertEqual(scaled.deletion_curve[0], 1)

  @parameterized.parameters(1, 7, None)
  def test_batch_size_and_vmap(self, batch_size):
    apply, params = equivalence.network()
    xs = equivalence.examples(3)
    maps = jax.random.normal(jax.random.key(0), (3, 8, 6, 1))
    keys = jax.random.split(jax.random.key(1), 3)

    def measure(x, m, key, batch_size=None):
      return metrics.deletion_insertion(
        scores.prob(apply, params, 0),
        x,
        m,
        key=key,
        protocol=metrics.rise_protocol,
        batch_size=batch_size,
      )

    loop = [measure(xs[i], maps[i], keys[i]) for i in range(3)]
    loop = jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop)
    batch = jax.jit(jax.vmap(functools.partial(measure, batch_size=batch_size)))
    got = batch(xs, maps, jax.random.clone(keys))
    equivalence.assert_close(got, loop)
    self.assertEqual(got.deletion.dtype, jnp.float32)

  def test_batch_size_bounds_memory(self):
    fn, _, x, pixels = _problem()

    def size(batch_size):
      return equivalence.temp_bytes(
        lambda x, m: metrics.deletion_insertion(
          fn, x, m, protocol=metrics.rise_protocol, batch_size=batch_size
        ),
        x,
        pixels,
      )

    self.assertLess(size(2), size(None) / 4)

  @parameterized.parameters(
    ({'resolution': 17}, r'must be a whole number in \[1, 16\], got 17'),
    (
      {'resolution': 4, 'baseline': lambda x, key: x[:2]},
      'baseline has shape',
    ),
  )
  def test_bad_igos_protocol(self, settings, message):
    fn, _, x, pixels = _problem()
    protocol = functools.partial(metrics.igos_protocol, **settings)
    with self.assertRaisesRegex(ValueError, message):
      metrics.deletion_insertion(fn, x, pixels, protocol=protocol)

  @parameterized.parameters(0, 257)
  def test_bad_rise_protocol(self, num_steps):
    fn, _, x, pixels = _problem()
    protocol = functools.partial(metrics.rise_protocol, num_steps=num_steps)
    message = (
      rf'num_steps must be a whole number in \[1, 256\], got {num_steps}'
    )
    with self.assertRaisesRegex(ValueError, message):
      metrics.deletion_insertion(fn, x, pixels, protocol=protocol)

  def test_bad_scores(self):
    fn, _, x, pixels = _problem()
    with self.assertRaisesRegex(ValueError, 'do not broadcast'):
      metrics.deletion_insertion(
        fn, x, pixels[:3], protocol=metrics.rise_protocol
      )
    with self.assertRaisesRegex(
      ValueError, r'batch_size must be a whole number of at least 1'
    ):
      metrics.deletion_insertion(
        fn, x, pixels, protocol=metrics.rise_protocol, batch_size=0
      )


if __name__ == '__main__':
  absltest.main()
