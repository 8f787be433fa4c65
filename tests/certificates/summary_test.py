"""Tests for `summary.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import certificates
from saliency_jax.core import types
from tests import equivalence


def _fn(x):
  return jnp.sum(jnp.linspace(0, 3, x.size).reshape(x.shape) * x**2)


_SETTINGS = {'sigma': 0.2, 'num_samples': 400, 'batch_size': 100}


class CertifyTest(parameterized.TestCase):
  def test_says_what_its_parts_say(self):
    x = equivalence.examples(1)[0]
    key = jax.random.key(0)
    rhos = (0.0, 0.01, 0.05)
    got = certificates.certify(_fn, x, key=key, k=20, rho=rhos, **_SETTINGS)
    smoothed = certificates.sparsified_map(_fn, x, key=key, **_SETTINGS)
    np.testing.assert_array_equal(got.smoothed.scores, smoothed.scores)
    bound = certificates.clopper_pearson
    of = functools.partial(certificates.top_k_overlap, smoothed, bound=bound)
    np.testing.assert_array_equal(got.overlap, of(20, rho=rhos).overlap[:, 0])
    self.assertEqual(got.certificate.bound, 'closest')
    self.assertEqual(got.top.sum(), 20)
    last = np.sort(np.ravel(smoothed.scores))[-20]
    self.assertTrue(np.all(np.asarray(smoothed.scores)[got.top] >= last))
    radii = certificates.entry_radii(smoothed, 20, bound=bound)
    np.testing.assert_array_equal(got.inside, radii.inside)
    for row, r in zip(got.stays, rhos, strict=True):
      np.testing.assert_array_equal(row, radii.inside > r)
      self.assertTrue(np.all(got.top[row]))
      self.assertFalse(np.any(row & (got.outside > r)))
    self.assertGreater(got.stays[0].sum(), 0)
    half = certificates.overlap_radius(smoothed, 20, bound=bound)
    self.assertEqual(got.radius, half[0])
    self.assertGreater(got.radius, 0)

  def test_default_top_and_other_maps(self):
    x = equivalence.examples(1)[0]
    got = certificates.certify(
      _fn,
      x,
      key=jax.random.key(0),
      method=certificates.relaxed_map,
      **_SETTINGS,
    )
    self.assertEqual(got.top.sum(), 29)  # A fifth of 144 entries.
    either = certificates.best_of(
      certificates.hoeffding, certificates.empirical_bernstein
    )
    want = certificates.top_k_overlap(got.smoothed, 29, rho=0.03, bound=either)
    np.testing.assert_array_equal(got.overlap, want.overlap[:, 0])

  def test_refuses_other_maps(self):
    with self.assertRaisesRegex(ValueError, 'attribution of a smoothed map'):
      certificates.certify_map(types.Attribution(np.ones(3)))


if __name__ == '__main__':
  absltest.main()
