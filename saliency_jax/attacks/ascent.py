"""Projected gradient ascent: the point near an example where a loss is large.

    x_{i+1} = project(x_i + s_i steepest(grad fn(x_i)))

from random points of the ball's surface; `steepest` is the step of norm one
along which `fn` rises fastest: the unit gradient, or its signs. The best of all
points that were visited is returned, the example among them. `in_box` climbs in
a box about the example, each entry of which has a width of its own.

References:
  Madry et al., Towards deep learning models resistant to adversarial attacks,
  2018. https://arxiv.org/abs/1706.06083
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.attacks import adversaries
from saliency_jax.attacks import balls
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import host
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.optimization import boxes


@host.own_errors()
def pgd(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  rho: types.Scalar,
  key: Key[Array, ''] | None = None,
  ball: balls.Ball = balls.l2,
  box: Sequence[float | int] | None = (0, 1),
  num_restarts: int = 1,
  num_steps: int = 40,
  step_size: types.Scalar | Callable[[Array], types.Scalar] | None = None,
  from_example: bool = False,
  batch_size: int | None = 1,
) -> adversaries.Adversary:
  """Looks for the point of a ball about `x` where `fn` is largest.

  Args:
    fn: one example in, one number out: a loss, or minus a margin.
    x: the example, the centre of the ball.
    rho: radius of the ball, in units of `x`.
    key: of the starts; consumed, required.
    ball: `balls.l2` or `balls.linf`.
    box: least and largest value of an entry; `None` for no box.
    num_restarts: ascents, of which the best point counts.
    num_steps: of each ascent.
    step_size: length of a step in the norm of the ball, or a function of its
      number from 0 on, as optax's schedules; `None` takes
      `2.5 rho / num_steps`.
    from_example: whether the first ascent starts at the example; all others
      start at random points of the surface.
    batch_size: ascents held in memory at once; `None` holds all.

  Raises:
    ValueError: without a key, for `rho <= 0` or counts below one.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from saliency_jax import attacks
    >>> found = attacks.pgd(
    ...   jnp.sum, jnp.full(4, 0.5), rho=0.2, key=jax.random.key(0)
    ... )
    >>> f'{found.clean_objective:.2f}, {found.objective:.2f}'
    '2.00, 2.40'
  """
  checks.within('rho', rho, '(0, inf)')
  checks.count('num_restarts', num_restarts)
  checks.count('num_steps', num_steps)
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  rho = jnp.asarray(rho, wide.dtype)
  step_size = 2.5 * rho / num_steps if step_size is None else step_size
  if not callable(step_size):
    checks.within('step_size', step_size, '(0, inf)')
  clean = checks.one_number(fn(wide))

  def confine(point):
    point = wide + ball.project(point - wide, rho)
    return point if box is None else jnp.clip(point, *box)

  def better(point, value, best):
    wins = value > best[1]
    return jnp.where(wins, point, best[0]), jnp.where(wins, value, best[1])

  def climb(carry, i):
    point, *best = carry
    value, slope = jax.value_and_grad(fn)(point)
    best = better(point, value, best)
    size = step_size(i) if callable(step_size) else step_size
    move = jnp.asarray(size, wide.dtype) * ball.steepest(slope)
    return (confine(point + move), *best), best[1]

  def ascend(r):
    start = wide + ball.draw(sampling.draw_key(key, r), wide, rho)
    if from_example:
      start = jnp.where(r == 0, wide, start)
    (last, *best), trace = jax.lax.scan(
      climb, (confine(start), wide, clean), jnp.arange(num_steps)
    )
    point, value = better(last, fn(last), best)
    return point, jnp.append(trace, value)

  points, traces = sampling.batched_map(
    ascend, jnp.arange(num_restarts), batch_size=batch_size
  )
  best = points[jnp.argmax(traces[:, -1])]
  trace = jnp.max(traces, 0)
  return adversaries.Adversary(
    x=examples.like(best, x),
    objective=trace[-1],
    clean_objective=clean,
    trace=trace,
    feasible=jnp.array(True),
    norm=ball.norm(best - wide),
  )


def in_box(
  fn: types.ScoreFn,
  x: Float[Array, '...'],
  box: boxes.Box,
  *,
  key: Key[Array, ''] | None = None,
  num_restarts: int = 9,
  num_steps: int = 60,
  batch_size: int | None = 1,
) -> adversaries.Adversary:
  """Looks for the point of a box about `x` where `fn` is largest.

  Steps are of signs, from half of the box's half width on downward; the first
  ascent starts in the middle of the box, the others in random corners.

  Args:
    fn: one example in, one number out: minus the least margin of a decision
      shows where it changes.
    x: the example.
    box: how far each entry may move, of the shape of `x`.
    key: of the corners; consumed, required.
    num_restarts: see `pgd`.
    num_steps: see `pgd`.
    batch_size: see `pgd`.

  Returns:
    The point, as `pgd` does; its norm is the largest change of an entry.

  Raises:
    ValueError: as `pgd`.
  """
  place = lambda t: boxes.place(x, box, t)
  found = pgd(
    lambda t: fn(place(t)),
    jnp.zeros_like(x),
    rho=1,
    key=key,
    ball=balls.linf,
    box=None,
    num_restarts=num_restarts,
    num_steps=num_steps,
    step_size=lambda i: 0.5 * (1 - i / num_steps),
    from_example=True,
    batch_size=batch_size,
  )
  point = place(found.x)
  return found._replace(
    x=point, clean_objective=fn(x), norm=balls.linf.norm(point - x)
  )
