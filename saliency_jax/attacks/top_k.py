"""The attack on a map: a neighbour of the same class, with another top K.

    argmin_{|x' - x| <= rho, class kept} sum_{i in top K of m(x)} m_i(x')
                                         / sum_i m_i(x')

by projected descent from random starts of the same class, with steps that fall
as `1 / i` and are halved where the class would change (Algorithm 1 of Levine
et al.). Other objectives and the steps by signs come from Ghorbani et al.

Networks of ReLUs have no second derivatives to descend along: `surrogate` is
the same network with smooth activations, or another one. Likewise a map that is
piecewise constant, as the sparsified one, is descended along another map,
`relaxed`. What counts is judged by the network and the map themselves.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
  Ghorbani, Abid and Zou, Interpretation of neural networks is fragile, AAAI
  2019. https://arxiv.org/abs/1710.10547
"""

from collections.abc import Callable, Sequence
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from saliency_jax import transforms
from saliency_jax.attacks import adversaries
from saliency_jax.attacks import balls
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import host
from saliency_jax.core import sampling
from saliency_jax.core import selection
from saliency_jax.core import types
from saliency_jax.gradients import gradient

magnitude = transforms.absolute(gradient.gradient)

# `(map at x', map at x) -> number to make small`.
Objective = Callable[[Float[Array, '...'], Float[Array, '...']], Array]
# `(gradient, i, rho, norm of the first gradient) -> step to take away`.
Step = Callable[..., Float[Array, '...']]


def top_k_share(
  attacked: Float[Array, '...'],
  clean: Float[Array, '...'],
  *,
  k: int | None = None,
) -> Float[Array, '']:
  """Returns the share of the mass of a map on the top `k` of the clean one.

  Args:
    attacked: the map of the neighbour, at least zero.
    clean: the map of the example.
    k: number of entries; `None` takes a quarter, as the paper does.

  Examples:
    >>> import jax.numpy as jnp
    >>> from saliency_jax import attacks
    >>> clean, attacked = jnp.array([4.0, 1.0, 0.0, 0.0]), jnp.ones(4)
    >>> f'{attacks.top_k_share(attacked, clean, k=2):.2f}'
    '0.50'
  """
  k = selection.count(0.25, clean.size) if k is None else k
  checks.count('k', k, 1, clean.size)
  _, top = jax.lax.top_k(clean.ravel(), k)
  total = jnp.sum(attacked)
  return jnp.sum(attacked.ravel()[top]) / jnp.where(total > 0, total, 1)


def mass_centre(
  attacked: Float[Array, 'H W C'], clean: Float[Array, 'H W C']
) -> Float[Array, '']:
  """Returns minus the distance, in pixels, between the centres of the maps."""

  def centre(m):
    mass = jnp.sum(m, -1)
    total = jnp.sum(mass)
    rows = jnp.arange(mass.shape[0], dtype=m.dtype)
    columns = jnp.arange(mass.shape[1], dtype=m.dtype)
    sums = jnp.stack(
      [
        jnp.sum(rows * jnp.sum(mass, 1)),
        jnp.sum(columns * jnp.sum(mass, 0)),
      ]
    )
    return sums / jnp.where(total > 0, total, 1)

  squared = jnp.sum((centre(attacked) - centre(clean)) ** 2)
  # The root has no derivative at zero, where the attack starts.
  return -jnp.sqrt(squared + jnp.finfo(squared.dtype).eps)


def target_share(
  attacked: Float[Array, '...'],
  clean: Float[Array, '...'],
  *,
  target: Bool[Array, '...'],
) -> Float[Array, '']:
  """Returns minus the share of the mass of a map on a target's entries."""
  del clean
  total = jnp.sum(attacked)
  inside = jnp.sum(jnp.where(target, attacked, 0))
  return -inside / jnp.where(total > 0, total, 1)


def decaying_step(
  grad: Float[Array, '...'],
  i: Array,
  rho: types.Scalar,
  first: Float[Array, ''],
) -> Float[Array, '...']:
  """Returns `rho / |first gradient| * gradient / i`: Algorithm 1's step."""
  size = jnp.asarray(rho, grad.dtype) / jnp.where(first > 0, first, 1)
  return size / (i + 1).astype(grad.dtype) * grad


def sign_step(
  grad: Float[Array, '...'],
  i: Array,
  rho: types.Scalar,
  first: Float[Array, ''],
) -> Float[Array, '...']:
  """Returns `rho / 500` times the signs: Ghorbani et al.'s, of 100 steps."""
  del i, first
  return jnp.asarray(rho, grad.dtype) / 500 * jnp.sign(grad)


@host.own_errors()
def top_k_attack(
  logits_fn: types.LogitsFn,
  x: types.Example,
  *,
  rho: types.Scalar,
  key: Key[Array, ''] | None = None,
  method: types.Method = magnitude,
  objective: Objective = top_k_share,
  surrogate: types.LogitsFn | None = None,
  relaxed: types.Method | None = None,
  ball: balls.Ball = balls.l2,
  box: Sequence[float | int] | None = (0, 1),
  num_restarts: int = 5,
  num_tries: int = 20,
  num_steps: int = 20,
  num_halvings: int = 8,
  step: Step = decaying_step,
  batch_size: int | None = 1,
) -> adversaries.Adversary:
  """Looks for the neighbour whose map least resembles the map of `x`.

  Args:
    logits_fn: one example in, logits out.
    x: the example.
    rho: radius of the ball, in units of `x`.
    key: consumed; required.
    method: makes the map of the logit of the class of `x`, at least zero.
    objective: what is made small: `top_k_share`, `mass_centre`,
      `target_share`, their settings bound by `functools.partial`.
    surrogate: logits that are differentiated in the place of `logits_fn`.
    relaxed: a map that is differentiated in the place of `method`, such as
      `certificates.relaxed_map` in the place of `sparsified_map`.
    ball: `balls.l2` or `balls.linf`.
    box: least and largest value of an entry; `None` for no box.
    num_restarts: descents, of which the best counts.
    num_tries: random starts tried of each, for one that keeps the class.
    num_steps: of each descent.
    num_halvings: shorter steps tried where the class changes.
    step: `decaying_step` or `sign_step`.
    batch_size: restarts held in memory at once; `None` holds all.

  Raises:
    ValueError: without a key, for `rho <= 0` or counts below one.
  """
  x = examples.floats(x)
  for name, count in (
    ('num_restarts', num_restarts),
    ('num_tries', num_tries),
    ('num_steps', num_steps),
    ('num_halvings', num_halvings),
  ):
    checks.count(name, count)
  task = _task(logits_fn, x, rho, method, objective, ball, box)
  judge = _judge(task, logits_fn, surrogate, relaxed)

  def advance(first, carry, i):
    now, slope, best, least = carry
    move = step(slope, i, rho, first)

    def shorten(state):
      n, _, _ = state
      trial = task.confine(now - 0.5 ** n.astype(x.dtype) * move)
      return n + 1, trial, task.keeps(trial)

    # Most steps keep the class at once: the shorter ones are not looked at.
    _, trial, kept = jax.lax.while_loop(
      lambda state: (state[0] <= num_halvings) & ~state[2],
      shorten,
      (jnp.array(0, jnp.int32), now, jnp.array(False)),
    )
    now = jnp.where(kept, trial, now)
    value, slope = judge(now)
    better = value < least
    best, least = jnp.where(better, now, best), jnp.where(better, value, least)
    return (now, slope, best, least), least

  def restart(r):
    start, kept = task.start(key, r * num_tries, num_tries)
    least, slope = judge(start)
    first = jnp.linalg.norm(slope.ravel())
    (_, _, best, _), trace = jax.lax.scan(
      functools.partial(advance, first),
      (start, slope, start, least),
      jnp.arange(num_steps),
    )
    trace = jnp.append(least, trace)
    return best, jnp.where(kept, trace, jnp.inf), kept

  tried = sampling.batched_map(
    restart, jnp.arange(num_restarts), batch_size=batch_size
  )
  return _best(task, x, tried, ball)


def random_search(
  logits_fn: types.LogitsFn,
  x: types.Example,
  *,
  rho: types.Scalar,
  key: Key[Array, ''] | None = None,
  method: types.Method = magnitude,
  objective: Objective = top_k_share,
  ball: balls.Ball = balls.l2,
  box: Sequence[float | int] | None = (0, 1),
  num_draws: int = 100,
  batch_size: int | None = 8,
) -> adversaries.Adversary:
  """Takes the best of random points of the ball's surface: the baseline.

  Args:
    logits_fn: one example in, logits out.
    x: the example.
    rho: radius of the ball, in units of `x`.
    key: consumed; required.
    method: see `top_k_attack`.
    objective: see `top_k_attack`.
    ball: see `top_k_attack`.
    box: see `top_k_attack`.
    num_draws: points tried.
    batch_size: points held in memory at once; `None` holds all.

  Raises:
    ValueError: without a key, for `rho <= 0` or no draw.
  """
  x = examples.floats(x)
  checks.count('num_draws', num_draws)
  task = _task(logits_fn, x, rho, method, objective, ball, box)

  def point(i):
    return task.point(sampling.draw_key(key, i))

  def judge(i):
    now = point(i)
    value = task.measure(logits_fn, now)
    return jnp.where(task.keeps(now), value, jnp.inf)

  values = sampling.batched_map(
    judge, jnp.arange(num_draws), batch_size=batch_size
  )
  best = point(jnp.argmin(values))
  trace = jax.lax.cummin(values)
  tried = (best[None], trace[None], jnp.isfinite(trace[-1])[None])
  return _best(task, x, tried, ball)


class _Task(NamedTuple):
  """What an attack is about, as functions of a point."""

  clean: Float[Array, '']  # The objective at the example.
  measure: Callable[..., Float[Array, '']]
  keeps: Callable[[Array], Bool[Array, '']]
  confine: Callable[[Array], Array]
  point: Callable[[Array], Array]
  start: Callable[..., tuple[Array, Array]]


def _task(logits_fn, x, rho, method, objective, ball, box):
  checks.within('rho', rho, '(0, inf)')
  radius = jnp.asarray(rho, x.dtype)
  label = jnp.argmax(logits_fn(x))

  def map_of(logits_fn, x, method=method):
    return method(lambda x: logits_fn(x)[label], x, key=None).scores

  def confine(point):
    point = x + ball.project(point - x, radius)
    return point if box is None else jnp.clip(point, *box)

  def keeps(point):
    return jnp.argmax(logits_fn(point)) == label

  def draw(key):
    return confine(x + ball.draw(key, x, rho))

  def start(key, first, num):
    """Returns the first of some draws that keeps the class, and if any did."""

    def body(state):
      i, _, _ = state
      now = draw(sampling.draw_key(key, first + i))
      return i + 1, now, keeps(now)

    _, now, kept = jax.lax.while_loop(
      lambda state: (state[0] < num) & ~state[2],
      body,
      (jnp.array(0, jnp.int32), x, jnp.array(False)),
    )
    return jnp.where(kept, now, x), kept

  clean_map = map_of(logits_fn, x)
  return _Task(
    clean=objective(clean_map, clean_map),
    measure=lambda logits_fn, point, **other: objective(
      map_of(logits_fn, point, **other), clean_map
    ),
    keeps=keeps,
    confine=confine,
    point=draw,
    start=start,
  )


def _judge(task, logits_fn, surrogate, relaxed):
  """Returns `point -> (objective, slope)`; one network gives both at once."""
  measure = functools.partial(task.measure, logits_fn)
  if surrogate is None and relaxed is None:
    return jax.value_and_grad(measure)
  other = {} if relaxed is None else {'method': relaxed}
  network = logits_fn if surrogate is None else surrogate
  slope = jax.grad(functools.partial(task.measure, network, **other))
  return lambda point: (measure(point), slope(point))


def _best(task, x, tried, ball):
  points, traces, kept = tried
  best = points[jnp.argmin(traces[:, -1])]
  feasible = jnp.any(kept)
  best = jnp.where(feasible, best, x)
  trace = jnp.min(traces, 0)
  return adversaries.Adversary(
    x=best,
    objective=jnp.where(feasible, trace[-1], task.clean),
    clean_objective=task.clean,
    trace=jnp.where(jnp.isfinite(trace), trace, jnp.nan),
    feasible=feasible,
    norm=ball.norm(best - x),
  )
