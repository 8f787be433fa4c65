"""Tests for `stopping.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import sampling
from saliency_jax.core import stopping
from saliency_jax.core import types

_KEY = jax.random.key(0)


def _draw(i, scale=1.0):
  noise = jax.random.normal(sampling.draw_key(_KEY, i), (3,))
  return {'map': scale * noise + 2, 'score': jnp.sum(noise)}


def _rows(num, scale=1.0):
  return jax.vmap(lambda i: _draw(i, scale)['map'])(jnp.arange(num))


_watched = lambda mean, variance: variance['map']


# A row is 2 plus its noise: a few units in the last place of such numbers.
_assert_rows = functools.partial(
  np.testing.assert_allclose, rtol=1e-6, atol=8 * np.finfo(np.float32).eps
)


def _stderr(values, num):
  seen = (jnp.arange(len(values['map'])) < num)[:, None]
  spread = jnp.var(values['map'], 0, where=seen)
  return stopping.standard_error(spread, stopping.drawn(num))


def _kept(num_samples, stderr=_stderr, **settings):
  f = lambda i: {'map': _draw(i)['map']}
  return stopping.rows(f, num_samples, stderr, **{'batch_size': 7} | settings)


def _moments(num_samples, scale=1.0, **settings):
  settings = {'batch_size': 7, 'watched': _watched} | settings
  f = lambda i: _draw(i, scale)
  return stopping.moments(f, num_samples, **settings)


class StoppingTest(parameterized.TestCase):
  @parameterized.parameters(None, 1, 7, 64)
  def test_without_a_tolerance_it_is_batched_moments(self, batch_size):
    run = lambda: _moments(20, batch_size=batch_size)
    got = jax.jit(run)()
    rows = np.asarray(_rows(20))
    np.testing.assert_allclose(got.mean['map'], rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(got.variance['map'], rows.var(0), rtol=1e-5)
    self.assertEqual(got.draws, (20, None))
    plain = lambda: sampling.batched_moments(
      _draw, jnp.arange(20), batch_size=batch_size
    )
    loops = [str(jax.make_jaxpr(f)()).count('scan[') for f in (run, plain)]
    self.assertEqual(*loops)
    self.assertNotIn('while[', str(jax.make_jaxpr(run)()))

  @parameterized.parameters(0.15, 0.1)
  def test_stops_at_the_first_batch_that_is_good(self, tolerance):
    got = jax.jit(lambda: _moments(400, tolerance=tolerance))()
    rows = np.asarray(_rows(400))
    # 58 batches of at most 7 draws: of 7.
    num = next(
      n
      for n in range(21, 400, 7)
      if max(rows[:n].std(0, ddof=1)) / np.sqrt(n) <= tolerance
    )
    self.assertEqual(got.draws, (num, True))
    np.testing.assert_allclose(got.mean['map'], rows[:num].mean(0), rtol=1e-5)

  def test_takes_the_most_where_it_is_not_met(self):
    got = jax.jit(lambda: _moments(33, tolerance=1e-3))()
    rows = np.asarray(_rows(33))
    self.assertEqual(got.draws, (33, False))
    np.testing.assert_allclose(got.mean['map'], rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(got.variance['map'], rows.var(0), rtol=1e-5)

  def test_numbers_that_are_none_meet_no_tolerance(self):
    f = lambda i: jnp.where(i == 3, jnp.nan, i.astype(jnp.float32))
    got = jax.jit(
      lambda: stopping.moments(f, 40, tolerance=1e3, batch_size=8)
    )()
    self.assertEqual(got.draws, (40, False))

  @parameterized.parameters((1, None), (7, 5), (20, 64))
  def test_goes_on(self, num, batch_size):
    @jax.jit
    def run():
      start = _moments(num)
      again = stopping.restored(
        start.mean,
        stopping.standard_error(start.variance, start.draws),
        start.draws,
      )
      return (
        _moments(40, batch_size=batch_size, start=start),
        _moments(40, batch_size=batch_size, start=again),
        _moments(40),
      )

    whole = run()
    for got in whole[:2]:
      self.assertEqual(got.draws.num, 40)
      for a, b in zip(got[:2], whole[2][:2], strict=True):
        np.testing.assert_allclose(a['map'], b['map'], rtol=1e-5)

  def test_goes_on_no_further_than_asked(self):
    start = _moments(20)
    enough = jax.jit(lambda s: _moments(20, start=s))(start)
    np.testing.assert_allclose(enough.mean['map'], start.mean['map'])
    self.assertEqual(enough.draws.num, 20)
    good = jax.jit(lambda s: _moments(900, start=s, tolerance=5.0))(start)
    self.assertEqual(good.draws, (20, True))

  def test_an_example_does_not_feel_its_neighbours(self):
    run = functools.partial(_moments, 300, tolerance=0.2)
    scales = jnp.array([0.5, 3.0, 1.0])
    got = jax.jit(jax.vmap(lambda s: run(scale=s)))(scales)
    self.assertLen(set(got.draws.num.tolist()), 3)
    alone = jax.jit(lambda s: run(scale=s))
    for i, scale in enumerate(scales):
      want = alone(scale)
      self.assertEqual(got.draws.num[i], want.draws.num)
      np.testing.assert_allclose(
        got.mean['map'][i], want.mean['map'], rtol=1e-5
      )

  def test_watches_means_too(self):
    # An error that grows with the mean, which is 2.
    watched = lambda mean, variance: mean['map'] ** 2 * variance['map']
    run = functools.partial(_moments, 900, watched=watched)
    got = jax.jit(lambda: run(tolerance=0.3))()
    rows = np.asarray(_rows(int(got.draws.num)))
    error = rows.std(0, ddof=1) / np.sqrt(len(rows)) * np.abs(rows.mean(0))
    self.assertBetween(max(error), 0.27, 0.3)

  @parameterized.parameters(None, 1, 7)
  def test_rows(self, batch_size):
    run = functools.partial(_kept, batch_size=batch_size)
    plain, half, whole, again = jax.jit(
      lambda: (
        run(40),
        run(15),
        run(40, start=run(15)),
        run(40, start=run(40, tolerance=0.5)),
      )
    )()
    rows = np.asarray(_rows(40))
    for got in (plain, whole, again):
      self.assertEqual(got.draws.num, 40)
      self.assertFalse(got.draws.met)
      _assert_rows(got.values['map'], rows)
    _assert_rows(half.values['map'], rows[:15])

  @parameterized.parameters(1, 6)
  def test_rows_until_they_are_good(self, unit):
    looks = []

    def stderr(values, num):
      jax.debug.callback(lambda n: looks.append(int(n)), num)
      return _stderr(values, num)

    run = lambda: _kept(
      300, stderr, tolerance=0.15, batch_size=4, least=10, unit=unit
    )
    got = jax.jit(run)()
    jax.effects_barrier()
    num = int(got.draws.num)
    rows = np.asarray(_rows(300))
    error = lambda n: max(rows[:n].std(0, ddof=1)) / np.sqrt(n)
    self.assertTrue(got.draws.met)
    self.assertLessEqual(error(num), 0.15)
    _assert_rows(got.values['map'][:num], rows[:num])
    np.testing.assert_array_equal(got.values['map'][num:], 0)
    # Whole units, a quarter more at a time, and at least ten.
    self.assertEqual(looks[-1], num)
    self.assertTrue(all(error(n) > 0.15 for n in looks[:-1]))
    self.assertTrue(all(n % unit == 0 and n >= 10 for n in looks))
    for a, b in zip(looks, looks[1:], strict=False):
      self.assertBetween(b, a + a // 4, a + a // 4 + 4 + unit)

  def test_rows_of_nothing_meet_no_tolerance(self):
    stderr = lambda values, num: jnp.where(num > 20, jnp.nan, jnp.inf)
    got = jax.jit(lambda: _kept(40, stderr, tolerance=1e3, batch_size=8))()
    self.assertEqual(got.draws, (40, False))

  def test_rows_of_other_settings(self):
    start = stopping.Rows({'map': jnp.ones((5, 2))}, stopping.drawn(5))
    with self.assertRaisesRegex(
      ValueError, r'start has draws .*\(2,\).*\(3,\)'
    ):
      _kept(40, start=start)
    mean = {'map': jnp.ones(2), 'score': jnp.ones(())}
    start = stopping.Moments(mean, mean, stopping.drawn(5))
    with self.assertRaisesRegex(
      ValueError, r'start has draws .*\(2,\).*\(3,\)'
    ):
      _moments(40, start=start)

  @parameterized.parameters(0.0, -1.0, float('nan'))
  def test_bad_tolerance(self, tolerance):
    with self.assertRaisesRegex(ValueError, r'tolerance must be in \(0, inf\)'):
      _moments(10, tolerance=tolerance)

  def test_start_is_of_the_same_method(self):
    draws = stopping.Draws(jnp.asarray(1), jnp.asarray(False))
    for start, got in (
      (types.Attribution(1.0, draws), 'Draws'),
      (1.0, 'float'),
    ):
      with self.assertRaisesRegex(ValueError, f'with Moments, .* got {got}'):
        stopping.info_of(start, stopping.Moments)
    with self.assertRaisesRegex(
      ValueError, 'start=found, not start=found.info'
    ):
      stopping.info_of(draws, stopping.Draws)


if __name__ == '__main__':
  absltest.main()
