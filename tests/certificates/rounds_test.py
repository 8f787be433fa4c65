"""Tests for `rounds.py`."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments.configs import certificate_rounds as simulations
from experiments.studies import certificate_rounds
from saliency_jax import certificates
from tests import equivalence


def _fn(x):
  return jnp.sum(jnp.linspace(0, 3, x.size).reshape(x.shape) * x**2)


_of = functools.partial(
  certificates.certify_until,
  _fn,
  key=jax.random.key(0),
  num_samples=800,
  num_rounds=4,
  k=20,
  rho=0.01,
  sigma=0.2,
  batch_size=100,
)


class CertifyUntilTest(parameterized.TestCase):
  def test_stops_at_the_first_round_that_is_good(self):
    x = equivalence.examples(1)[0]
    # What each round certifies, from maps that are made from the start.
    overlaps = []
    for num in (100, 200, 400, 800):
      smoothed = certificates.sparsified_map(
        _fn, x, key=jax.random.key(0), num_samples=num, sigma=0.2
      )
      one = certificates.certify_map(
        smoothed, k=20, rho=0.01, confidence=1 - 0.05 / 4
      )
      overlaps.append(one.overlap)
    self.assertLess(overlaps[1], overlaps[2])
    got = _of(x=x, target=float(overlaps[2][0]))
    self.assertTrue(got.met)
    np.testing.assert_array_equal(got.num_samples, (100, 200, 400))
    np.testing.assert_array_equal(got.overlap, overlaps[:3])
    certified = got.certified
    self.assertEqual(certified.smoothed.info.num_samples, 400)
    self.assertEqual(certified.certificate.num_samples, 400)
    # The confidence of all rounds, though each had a larger one.
    self.assertEqual(certified.certificate.confidence, 0.95)
    np.testing.assert_array_equal(certified.overlap, overlaps[2])

  def test_says_that_the_target_is_not_met(self):
    got = _of(x=equivalence.examples(1)[0], target=1, rho=(0.0, 0.01))
    self.assertFalse(got.met)
    np.testing.assert_array_equal(got.num_samples, (100, 200, 400, 800))
    self.assertEqual(got.overlap.shape, (4, 2))
    self.assertEqual(got.num_rounds, 4)

  def test_a_target_for_each_radius(self):
    x = equivalence.examples(1)[0]
    near, far = _of(x=x, target=1, rho=(0.0, 0.05)).overlap[-1]
    self.assertGreater(near, far)
    met = lambda *target: _of(x=x, target=target, rho=(0.0, 0.05)).met
    self.assertTrue(met(near, far))
    self.assertFalse(met(near, min(far + 0.05, 1)))

  def test_one_round_is_certify(self):
    x = equivalence.examples(1)[0]
    got = _of(x=x, target=1, num_rounds=1)
    want = certificates.certify(
      _fn,
      x,
      key=jax.random.key(0),
      k=20,
      rho=0.01,
      sigma=0.2,
      num_samples=800,
      batch_size=100,
    )
    np.testing.assert_array_equal(got.certified.inside, want.inside)
    np.testing.assert_array_equal(got.certified.overlap, want.overlap)

  @parameterized.parameters(
    (dict(target=0), r'target must be in \(0, 1\], got 0'),
    (dict(target=(0.5, 1.5)), r'target must be in \(0, 1\], got 1.5'),
    (dict(target=1, num_rounds=0), 'num_rounds must be a whole number'),
    (
      dict(target=1, num_samples=7),
      'num_samples must be a whole number of at least 8, got 7',
    ),
    (dict(target=1, confidence=1), r'confidence must be in \(0, 1\)'),
    (dict(target=1, key=None), 'pass key='),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      _of(x=equivalence.examples(1)[0], **settings)


class FailuresTest(parameterized.TestCase):
  @parameterized.parameters(
    ('bounds', certificate_rounds.bounds_fail),
    ('certificates', certificate_rounds.certificate_fails),
  )
  def test_as_rare_as_said(self, name, fails):
    settings, runs = simulations.get_config()[name], 300
    rate = lambda shared: np.mean(
      [fails(seed, shared=shared, **settings) for seed in range(runs)]
    )
    allowed = 1 - settings['confidence']
    error = math.sqrt(allowed * (1 - allowed) / runs)
    self.assertLess(rate(True), allowed + 3 * error)
    # It does find runs that fail; and looks without a share do more often.
    self.assertGreater(rate(True), 0.02)
    self.assertGreater(rate(False), rate(True) + 3 * error)


if __name__ == '__main__':
  absltest.main()
