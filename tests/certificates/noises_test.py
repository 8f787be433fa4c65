"""Tests for `noises.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from saliency_jax import certificates
from saliency_jax.certificates import noises
from saliency_jax.core import types
from tests import equivalence

_KNOWN = {
  'GAUSSIAN': stats.norm(),
  'LAPLACE': stats.laplace(scale=0.5**0.5),
}
_CHANCES = np.linspace(0, 1, 41)


def _half_spaces(fn, x, *, key=None):
  """Two of one coordinate, of which the first is larger until it moves."""
  del fn, key
  return types.Attribution(
    jnp.stack([x[0] > -0.4, x[0] < -0.1]).astype(x.dtype), ()
  )


class NoisesTest(parameterized.TestCase):
  @parameterized.parameters(*_KNOWN)
  def test_draws_are_of_the_distribution(self, name):
    noise, known = getattr(noises, name), _KNOWN[name]
    z = noise.draw(jax.random.key(0), jnp.zeros(20_000))
    self.assertGreater(stats.kstest(np.asarray(z), known.cdf).pvalue, 1e-4)
    self.assertAlmostEqual(known.std(), 1)
    points = np.linspace(-3, 3, 61)
    np.testing.assert_allclose(noise.cdf(points), known.cdf(points), atol=1e-15)
    np.testing.assert_allclose(
      noise.quantile(_CHANCES), known.ppf(_CHANCES), rtol=1e-12, atol=1e-12
    )

  @parameterized.product(name=tuple(_KNOWN), ratio=(0.1, 0.5, 2.0))
  def test_no_set_of_one_coordinate_does_worse(self, name, ratio):
    # Neyman and Pearson: cells of a grid, those first whose ratio of the
    # densities is least; the chances of the worst set at every number of them.
    edges = np.linspace(-7, 7, 28_001)
    before = np.diff(_KNOWN[name].cdf(edges))
    after = np.diff(_KNOWN[name].cdf(edges - ratio))
    order = np.argsort(after / before)
    h, worst = np.cumsum(before[order]), np.cumsum(after[order])
    seen = (h > 1e-3) & (h < 1 - 1e-3)
    low, high = getattr(noises, name).shift(h[seen], 1 - h[seen], ratio)
    np.testing.assert_allclose(low, worst[seen], atol=2e-3)
    np.testing.assert_allclose(high, 1 - worst[seen], atol=2e-3)

  def test_a_move_along_two_coordinates_is_no_worse(self):
    edges, ratio = np.linspace(-8, 8, 641), 0.8
    cells = lambda d: np.diff(_KNOWN['LAPLACE'].cdf(edges - d))
    before = np.outer(cells(0), cells(0)).ravel()
    after = np.outer(cells(0.6 * ratio), cells(0.4 * ratio)).ravel()
    order = np.argsort(after / before)
    h, worst = np.cumsum(before[order]), np.cumsum(after[order])
    low, _ = noises.LAPLACE.shift(np.clip(h, 0, 1), h, ratio)
    self.assertTrue(np.all(worst >= low - 1e-9))
    self.assertGreater(np.max(worst - low), 0.01)

  @parameterized.parameters(*_KNOWN)
  def test_half_spaces_attain_the_radius(self, name):
    noise, sigma = getattr(noises, name), 0.5
    chances = _KNOWN[name].cdf(np.array([0.4, -0.1]) / sigma)
    stated = certificates.stated_map(chances, sigma=sigma, noise=noise)
    exact = {'bound': certificates.population}
    (radius,) = certificates.overlap_radius(stated, 1, share=1.0, **exact)
    self.assertAlmostEqual(radius, 0.25)  # Where each holds as often.
    for rho, overlap in ((0.2499, 1), (0.2501, 0)):
      got = certificates.top_k_overlap(stated, 1, rho=rho, **exact)
      self.assertEqual(got.overlap, overlap)
      self.assertEqual(got.norm, noise.norm)
    # Draws of it come to the chances, and their map to the radius.
    drawn = certificates.scaled_map(
      jnp.sum,
      jnp.zeros(3),
      key=jax.random.key(1),
      base=_half_spaces,
      sigma=sigma,
      num_samples=10_000,
      batch_size=None,
      noise=noise,
    )
    z = (np.asarray(drawn.scores) - chances) / np.asarray(drawn.info.stderr)
    self.assertLess(np.max(np.abs(z)), 4)
    (below,) = certificates.overlap_radius(drawn, 1, share=1.0)
    self.assertBetween(below, 0.2, 0.25)

  def test_maps_carry_their_noise(self):
    x = equivalence.examples(1)[0]
    of = functools.partial(
      certificates.sparsified_map,
      equivalence.score_fn(),
      x,
      key=jax.random.key(0),
      num_samples=4,
    )
    laplace = of(noise=noises.LAPLACE)
    self.assertIs(noises.ALL[int(laplace.info.noise)], noises.LAPLACE)
    with self.assertRaisesRegex(ValueError, 'noise = 1, expected 0'):
      of(num_samples=8, start=laplace)
    with self.assertRaisesRegex(ValueError, 'of the same kind, noise, sigma'):
      certificates.merged(laplace, of())
    with self.assertRaisesRegex(ValueError, 'privacy_shift is for Gaussian'):
      certificates.top_k_overlap(
        laplace, 3, rho=0.1, shift=certificates.privacy_shift
      )


if __name__ == '__main__':
  absltest.main()
