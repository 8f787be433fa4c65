"""Tests for `terms.py`."""

import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import certificates
from saliency_jax import transforms
from saliency_jax.certificates import noises
from saliency_jax.certificates import terms
from saliency_jax.core import types
from tests import equivalence


def _explain(method=certificates.sparsified_map, fn=None, x=None, **settings):
  return method(
    equivalence.score_fn() if fn is None else fn,
    equivalence.examples(1)[0] if x is None else x,
    key=jax.random.key(0),
    num_samples=20,
    **settings,
  )


def _overlap(smoothed):
  return certificates.top_k_overlap(smoothed, 1, rho=0.1)


class TermsTest(parameterized.TestCase):
  def test_map_carries_them(self):
    out = _explain(sigma=0.3, tau=0.21)
    found = terms.read(out)
    np.testing.assert_array_equal(found.mean, out.scores)
    self.assertEqual(found.sigma, np.float32(0.3))
    # 30.24 of 144 entries.
    self.assertEqual(found[3:], (20, 31, True, noises.GAUSSIAN))
    certificate = _overlap(out)
    self.assertEqual(certificate.sigma, np.float32(0.3))
    self.assertEqual(certificate.num_samples, 20)

  def test_stated_map(self):
    out = certificates.stated_map([0.25, 1], sigma=2, num_samples=8, mass=3)
    self.assertEqual(terms.read(out)[2:], (2, 8, 3, False, noises.GAUSSIAN))
    self.assertTrue(np.isnan(out.info.variance).all())
    out = certificates.stated_map(
      [0.25, 1], sigma=2, binary=True, noise=noises.LAPLACE
    )
    self.assertEqual(terms.read(out)[2:], (2, 0, 2, True, noises.LAPLACE))
    np.testing.assert_allclose(out.info.variance, [0.1875, 0])

  @parameterized.parameters(
    (dict(sigma=0.0), 'sigma'),
    (dict(sigma=1, num_samples=-1), 'num_samples'),
    (dict(sigma=1, mass=0), 'mass'),
    (dict(sigma=1, mean=[]), 'mass'),
  )
  def test_stated_map_checks(self, settings, message):
    with self.assertRaisesRegex(ValueError, f'^{message}.*got'):
      certificates.stated_map(**{'mean': [0.5], **settings})

  def test_draws_that_are_not_finite_are_counted_and_refused(self):
    # The slope is infinite at or below zero: half of the draws.
    fn = lambda x: jnp.sum(jnp.sqrt(jnp.maximum(x[:1], 0))) + jnp.sum(x)
    x = jnp.zeros(6)
    for method in (certificates.sparsified_map, certificates.scaled_map):
      out = _explain(method, fn, x)
      self.assertBetween(out.info.num_nonfinite, 4, 16)
      self.assertTrue(np.isnan(out.scores).all())
      message = f'{out.info.num_nonfinite} of 20 draws of the map are not fin'
      with self.assertRaisesRegex(ValueError, message):
        _overlap(out)
      with self.assertRaisesRegex(ValueError, message):
        certificates.certified_rank(out, rho=0.1)

  def test_ranks_of_draws_that_are_not_finite(self):
    fn = lambda x: jnp.sum(jnp.sqrt(jnp.maximum(x[:1], 0))) + jnp.sum(x)
    out = _explain(certificates.median_rank, fn, jnp.zeros(6), num_bins=3)
    self.assertGreater(out.info.num_nonfinite, 0)
    self.assertTrue(np.isnan(out.scores).all())

  @parameterized.parameters(
    (lambda out: jax.tree.map(lambda a: jnp.stack([a, a]), out), r'got \(2,\)'),
    (lambda out: out._replace(scores=out.scores * 0.5), 'changed since'),
    (lambda out: out._replace(scores=out.scores[..., :1]), 'changed since'),
    (lambda out: out._replace(scores=out.scores + 1), r'entries in \[0, 1\]'),
    (
      lambda out: out._replace(scores=out.scores.astype(jnp.bfloat16)),
      'explain the example as float32',
    ),
  )
  def test_refuses(self, change, message):
    with self.assertRaisesRegex(ValueError, message):
      _overlap(change(_explain()))

  def test_refuses_what_has_no_terms(self):
    with self.assertRaisesRegex(ValueError, r'array shaped \(2,\): .*stated_m'):
      terms.read(jnp.ones(2))
    with self.assertRaisesRegex(ValueError, 'got an attribution with tuple'):
      _overlap(types.Attribution(jnp.ones(2)))

  def test_refuses_ranks_and_maps_changed_by_a_transform(self):
    with self.assertRaisesRegex(ValueError, 'attribution with MedianRankInfo'):
      _overlap(_explain(certificates.median_rank))
    summed = transforms.sum_channels(certificates.sparsified_map)
    with self.assertRaisesRegex(ValueError, 'changed since'):
      _overlap(_explain(summed, tau=0.1))

  def test_refuses_a_traced_map(self):
    out = certificates.stated_map([0.25, 1], sigma=1)
    with self.assertRaisesRegex(ValueError, 'outside of jit'):
      jax.jit(lambda s: _overlap(types.Attribution(s, out.info)).overlap)(
        jnp.array([0.25, 1.0])
      )

  @parameterized.parameters([[1.5]], [[math.nan]])
  def test_refuses_means_that_are_none(self, mean):
    with self.assertRaisesRegex(ValueError, r'entries in \[0, 1\], without'):
      _overlap(certificates.stated_map(mean, sigma=1))


if __name__ == '__main__':
  absltest.main()
