"""What holds of every method that draws until it is good, and goes on."""

from collections.abc import Callable
from typing import Any

from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import types
from tests import equivalence


def check(
  test: parameterized.TestCase,
  explain: Callable[..., types.Attribution],
  fn: types.ScoreFn,
  *,
  few: int,
  many: int,
  most: int,
  tolerance: float,
  error: Callable[[Any], Any] = lambda info: info.stderr,
) -> types.Attribution:
  """Checks `tolerance` and `start`, and returns the map that met the tolerance.

  Args:
    test: the test case.
    explain: `(fn, num, *, tolerance, start)` to a map of `num` draws at most.
    fn: a score, for which `most` draws meet the tolerance and `many` do not.
    few: draws to start from.
    many: draws of a whole map.
    most: draws with a tolerance.
    tolerance: of the largest `error`.
    error: of an info, the standard errors that count.
  """

  with jax.enable_x64():  # Whose whole numbers have other dtypes.
    jax.eval_shape(
      lambda: explain(fn, many, tolerance=tolerance, start=explain(fn, few))
    )

  @jax.jit
  def run(scales):
    whole = explain(fn, many)
    resumed = explain(fn, many, start=explain(fn, few))
    enough = explain(fn, few, start=whole)
    until = lambda s: explain(lambda x: s * fn(x), most, tolerance=tolerance)
    return whole, resumed, enough, jax.vmap(until)(scales)

  scales = jnp.array([1, jnp.nan], jnp.float32)
  whole, resumed, enough, both = jax.device_get(run(scales))
  # Few draws and more are all of them; and no draw is taken back.
  equivalence.assert_close(resumed, whole, 'resumed, ')
  np.testing.assert_allclose(enough.scores, whole.scores, rtol=1e-4, atol=1e-5)
  test.assertEqual(enough.info.draws, whole.info.draws)
  test.assertFalse(whole.info.draws.met)
  # A score that is no number meets no tolerance, and ends; the other one does
  # not feel it.
  good, nothing = (jax.tree.map(lambda a, i=i: a[i], both) for i in (0, 1))
  test.assertTrue(np.all(np.isnan(nothing.info.stderr)))
  test.assertEqual(nothing.info.draws, (most, False))
  test.assertTrue(good.info.draws.met)
  test.assertBetween(good.info.draws.num, 16, most - 1)
  test.assertBetween(np.max(error(good.info)), 0.6 * tolerance, tolerance)
  return good
