"""Tests for `split_draws.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import certificates
from saliency_jax.certificates import draws
from saliency_jax.core import sampling
from tests import equivalence


class SplitMapTest(parameterized.TestCase):
  @parameterized.parameters('sparsified', 'scaled')
  def test_matches_loop(self, name):
    kind = getattr(draws, name)()
    fn, x = equivalence.score_fn(), equivalence.examples(1)[0]
    key = jax.random.key(3)
    settings = {'key': key, 'sigma': 0.4, 'num_samples': 13}
    out = certificates.split_map(
      fn, x, kind=kind, selecting=0.3, batch_size=3, **settings
    )
    values = []
    for i in range(13):
      noise = sampling.normal(jax.random.fold_in(key, i), x)
      m = jnp.abs(jax.grad(fn)(x + jnp.float32(0.4) * noise))
      values.append(np.ravel(kind.values(m, draws.of_sizes(m))))
    np.testing.assert_array_equal(out.info.counts, [4, 9])
    for i, part in enumerate((np.array(values[:4]), np.array(values[4:]))):
      np.testing.assert_allclose(
        np.ravel(out.info.means[i]), part.mean(0), atol=1e-6
      )
      np.testing.assert_allclose(
        out.info.products[i], part.T @ part / len(part), atol=1e-6
      )
    # The same of draws that are held.
    stated = certificates.stated_split(
      np.array(values), sigma=0.4, selecting=0.3
    )
    np.testing.assert_array_equal(stated.info.counts, [4, 9])
    np.testing.assert_allclose(
      stated.info.products, out.info.products, atol=1e-6
    )
    # Of all draws it is the map of its own method.
    method = getattr(certificates, f'{name}_map')
    want = method(fn, x, **settings)
    np.testing.assert_allclose(out.scores, want.scores, atol=1e-6)
    np.testing.assert_allclose(
      out.info.smoothed.variance, want.info.variance, atol=1e-6
    )
    np.testing.assert_array_equal(
      certificates.top_k_overlap(out, 20, rho=0.01).overlap,
      certificates.top_k_overlap(want, 20, rho=0.01).overlap,
    )

  def test_equivalence(self):
    method = functools.partial(certificates.split_map, num_samples=8)
    equivalence.check(self, method, draws=True)

  @parameterized.parameters(
    ({'selecting': 1.0}, r'selecting must be in \(0, 1\), got 1'),
    ({'num_samples': 1}, 'num_samples must be a whole number of at least 2'),
    ({'batch_size': 0}, 'batch_size must be a whole number of at least 1'),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      certificates.split_map(
        equivalence.score_fn(),
        equivalence.examples(1)[0],
        key=jax.random.key(0),
        **settings,
      )

  def test_too_many_entries(self):
    with self.assertRaisesRegex(ValueError, 'products of 7500 entries are too'):
      certificates.split_map(
        lambda x: jnp.sum(x**2), jnp.ones((50, 50, 3)), key=jax.random.key(0)
      )


if __name__ == '__main__':
  absltest.main()
