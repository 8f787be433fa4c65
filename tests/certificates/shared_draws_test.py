"""Tests for `shared_draws.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import certificates
from saliency_jax import scores
from saliency_jax.certificates import draws
from tests import equivalence

_KINDS = {
  'scaled': draws.scaled(),
  'quadratic': draws.quadratic(),
  'sparsified': draws.sparsified(0.3),
  'relaxed': draws.relaxed(0.3, 0.1),
  'sparser': draws.sparsified(0.1),
  'ranked': draws.ranked(8),
}
_ALONE = {
  'scaled': certificates.scaled_map,
  'quadratic': certificates.quadratic_map,
  'sparsified': functools.partial(certificates.sparsified_map, tau=0.3),
  'relaxed': functools.partial(certificates.relaxed_map, tau=0.3, gamma=0.1),
  'sparser': functools.partial(certificates.sparsified_map, tau=0.1),
  'ranked': functools.partial(certificates.median_rank, num_bins=8),
}
_SETTINGS = {'key': jax.random.key(3), 'sigma': 0.4, 'batch_size': 4}


def _gradients(run, *args):
  """Counts the convolutions of a program, one each way for a gradient."""
  return str(jax.make_jaxpr(run)(*args)).count('conv_general_dilated[')


class SeveralTest(parameterized.TestCase):
  def test_each_is_the_map_of_its_own_method(self):
    fn, x = equivalence.score_fn(), equivalence.examples(1)[0]
    got = jax.jit(
      lambda x: certificates.several(
        fn, x, kinds=_KINDS, num_samples=10, **_SETTINGS
      )
    )(x)
    self.assertCountEqual(got, _KINDS)
    for name, method in _ALONE.items():
      want = jax.jit(
        lambda x, method=method: method(fn, x, num_samples=10, **_SETTINGS)
      )(x)
      self.assertIs(type(got[name].info), type(want.info))
      equivalence.assert_close(got[name], want, name)

  def test_gradients_are_made_once(self):
    fn, x = equivalence.score_fn(), equivalence.examples(1)[0]
    count = lambda names: _gradients(
      lambda x: certificates.several(
        fn,
        x,
        kinds={n: _KINDS[n] for n in names},
        num_samples=10,
        **_SETTINGS,
      ),
      x,
    )
    self.assertGreater(count(['scaled']), 0)
    self.assertEqual(count(list(_KINDS)), count(['scaled']))

  def test_one_look_up_serves_all_kinds(self):
    m = jnp.arange(10.0)
    largest = draws.of_sizes(m)
    several = lambda m: [
      draws.sparsified(0.3).values(m, largest),
      draws.relaxed(0.3, 0.3).values(m, largest),
    ]
    # Of the rank behind the top for both, and of the last of gamma's.
    self.assertEqual(
      str(jax.make_jaxpr(several)(m)).count('custom_jvp_call['), 2
    )

  def test_merged_draws_are_those_of_one_call(self):
    fn, x = equivalence.score_fn(), equivalence.examples(1)[0]
    kinds = {n: _KINDS[n] for n in ('scaled', 'sparsified')}
    run = jax.jit(
      lambda first, num: certificates.several(
        fn, x, kinds=kinds, first=first, num_samples=num, **_SETTINGS
      ),
      static_argnums=1,
    )
    whole, parts = run(0, 12), [run(0, 5), run(5, 5), run(10, 2)]
    for name in kinds:
      got = functools.reduce(certificates.merged, [p[name] for p in parts])
      self.assertEqual(got.info.num_samples, 12)
      for field in ('variance', 'stderr', 'base_zeros'):
        np.testing.assert_allclose(
          getattr(got.info, field),
          getattr(whole[name].info, field),
          atol=1e-6,
        )
      np.testing.assert_allclose(got.scores, whole[name].scores, atol=1e-6)
      # It is a map like any other.
      certificates.top_k_overlap(got, 20, rho=0.01)
    with self.assertRaisesRegex(ValueError, 'two maps of draws of the same'):
      certificates.merged(parts[0]['scaled'], parts[1]['sparsified'])

  @parameterized.parameters(jnp.float32, jnp.bfloat16)
  def test_all_kinds_go_on(self, dtype):
    (x,) = equivalence.examples(1, dtype)
    tails = certificates.with_tails(draws.relaxed(0.3, 0.1), (0.2, 0.5, 1.0))
    of = functools.partial(
      certificates.several,
      equivalence.score_fn(dtype),
      x,
      kinds={**_KINDS, 'tails': tails},
      **_SETTINGS,
    )
    whole, resumed = jax.jit(
      lambda: (of(num_samples=11), of(num_samples=11, start=of(num_samples=5)))
    )()
    equivalence.assert_close(resumed, whole)
    for out in jax.tree.leaves([out.scores for out in resumed.values()]):
      self.assertEqual(out.dtype, jnp.float32)
    other = certificates.with_tails(draws.relaxed(0.3, 0.1), (0.5, 1.0))
    with self.assertRaisesRegex(ValueError, 'a map of the same edges'):
      of(num_samples=20, kinds={'tails': other}, start=resumed)

  def test_half_precision_is_of_the_network_alone(self):
    x = equivalence.examples(1, jnp.bfloat16)[0]
    apply, params = equivalence.network()
    seen = []

    def half(params, x):
      seen.append(x.dtype)
      return apply(params, x.astype(jnp.float32))

    fn = scores.logit(half, params, 1)
    got = certificates.several(fn, x, kinds=_KINDS, num_samples=40, **_SETTINGS)
    self.assertEqual(set(seen), {jnp.dtype(jnp.bfloat16)})
    wide = certificates.several(
      scores.logit(apply, params, 1),
      x.astype(jnp.float32),
      kinds=_KINDS,
      num_samples=40,
      **_SETTINGS,
    )
    for name in ('scaled', 'sparsified'):
      self.assertEqual(got[name].scores.dtype, jnp.float32)
      self.assertEqual(got[name].info.variance.dtype, jnp.float32)
      # Means of 40 draws of values rounded at 1 / 256.
      np.testing.assert_allclose(got[name].scores, wide[name].scores, atol=0.15)
      certificates.top_k_overlap(got[name], 20, rho=0.01)

  def test_refuses(self):
    fn, x = equivalence.score_fn(), equivalence.examples(1)[0]
    with self.assertRaisesRegex(ValueError, 'number of kinds must be'):
      certificates.several(fn, x, kinds={}, **_SETTINGS)
    with self.assertRaisesRegex(ValueError, 'pass key='):
      certificates.several(fn, x, kinds=_KINDS)


if __name__ == '__main__':
  absltest.main()
