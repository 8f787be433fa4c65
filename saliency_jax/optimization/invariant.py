"""Maximally invariant perturbation: the largest box that keeps a decision.

    argmax_{0 <= w <= C} sum_i w_i
        - lam E_t sum_j max(0, -g_j(x + t * w)),   t ~ U[-1, 1]^d        (3.3)

with `g_j = f_c - f_j` the margins of the decision `c`, of probabilities in the
authors' code: `scores.prob_margins`. Any optax transformation, widths clipped
to the box after each step. The scores are `-w`: what may move little matters.

At the paper's `lam = d / 10` many widths are `C`, and tie. On probabilities the
penalty is then at most `d / 10` a class, mostly far less, and the box `w = C`
often the better one whatever the network: maps are transients of the optimizer,
to be judged at several `num_steps`. The penalty sees uniform draws, which in
high dimension stay away from the corners: the box is statistical and never
adversarial. `info` says it all: the share that is `C`, the objective at the box
and at `w = C`, the violation on fresh draws, and the margins at a corner and
after an ascent. All widths `C` and no attack found says that `fn` is no
decision, or `C` too small.

References:
  Ikeno and Hara, Maximizing invariant data perturbation with stochastic
  optimization, 2018. https://arxiv.org/abs/1807.05077
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
import optax

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import host
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.optimization import boxes

# Of the optimizer, where none is given.
LEARNING_RATE = 0.01


class InvariantInfo(NamedTuple):
  """The box, how it was found, and how far it can be trusted.

  Attributes:
    box: widths, shared by entries as asked; both ends alike unless asymmetric.
    saturated: share of the widths that are `max_width`, and so tie.
    inspection: of the box found, on draws of its own.
    objective: (3.3) at each step, before it, on the draws of the step.
    final_objective: (3.3) at the box, on the inspection's draws and with the
      last weight.
    max_width_objective: likewise at `w = C`. No less: the box is a transient.
    violation: share of those on which the decision did not hold.
    lam: weight of the penalty at each step.
  """

  box: boxes.Box
  saturated: Float[Array, '']
  inspection: boxes.Inspection
  objective: Float[Array, 'n']
  final_objective: Float[Array, '']
  max_width_objective: Float[Array, '']
  violation: Float[Array, 'n']
  lam: Float[Array, 'n']


def invariant_perturbation(
  fn: types.MarginsFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  lam: types.Scalar | None = None,
  target: types.Scalar | None = None,
  max_width: types.Scalar = 1.0,
  num_steps: int = 500,
  num_samples: int = 32,
  optimizer: optax.GradientTransformation | None = None,
  dual_rate: types.Scalar = 0.05,
  patch: int = 1,
  per_channel: bool = True,
  asymmetric: bool = False,
  num_checks: int = 256,
  num_ascent: int = 20,
  batch_size: int | None = None,
) -> types.Attribution:
  """Finds the largest box about `x` on which a decision mostly holds.

  Args:
    fn: margins of the decision, `scores.prob_margins` in the paper.
    x: the example; points of the box are not clipped.
    key: consumed; required.
    lam: weight of the penalty; `None` is `d / 10`. With a target, the first.
    target: violation rate to reach, in (0, 1), by dual ascent on `log lam`;
      `None` keeps `lam`.
    max_width: largest width `C`.
    num_steps: updates.
    num_samples: draws `M` of each.
    optimizer: makes updates of gradients; `None` is Adam at `LEARNING_RATE`.
    dual_rate: largest change of `log lam` a step.
    patch: side of the squares that share a width.
    per_channel: whether each channel has its own; not, for one a pixel.
    asymmetric: whether the box may reach further up than down.
    num_checks: fresh draws that the box found is judged by.
    num_ascent: steps of the ascent that it is judged by.
    batch_size: model calls held in memory at once; `None` holds all.

  Returns:
    Scores, minus the mean of both widths, and `InvariantInfo`.

  Raises:
    ValueError: for a score of one number, which may be no margin, and for
      settings out of range.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> margins = lambda x: jnp.array([x[0], 1 + x[0] + x[1]])  # Of two others.
    >>> maps, info = saliency_jax.invariant_perturbation(
    ...   margins, jnp.ones(3), key=jax.random.key(0), num_steps=20
    ... )
    >>> maps.shape, bool((maps <= 0).all())
    ((3,), True)
  """
  x = examples.floats(x)
  for name, count in (('num_steps', num_steps), ('num_samples', num_samples)):
    checks.count(name, count)
  checks.within('max_width', max_width, '(0, inf)')
  lam = x.size / 10 if lam is None else lam
  checks.within('lam', lam, '(0, inf)')
  if target is not None:
    checks.within('target', target, '(0, 1]')
  # Half precision would lose the steps; only the points are of its type.
  kind = examples.accumulator(x.dtype)
  fn = boxes.margins_of(fn)
  problem = _Problem(fn, x, key, patch, num_samples, batch_size)
  search = _Search(
    optax.adam(LEARNING_RATE) if optimizer is None else optimizer,
    jnp.asarray(max_width, kind),
    None if target is None else jnp.asarray(target, kind),
    jnp.asarray(dual_rate, kind),
  )
  shape = boxes.grid_shape(x, patch, per_channel)
  widths = jnp.zeros((2 if asymmetric else 1, *shape), kind)
  widths, trace = _ascend(problem, search, widths, lam, num_steps)
  box, whole = (
    _box(problem, w) for w in (widths, jnp.full_like(widths, search.max_width))
  )
  inspection = boxes.inspect(
    fn,
    x,
    box,
    rivals=(whole,),
    key=key,
    num_draws=num_steps * num_samples,
    num_checks=num_checks,
    num_ascent=num_ascent,
    batch_size=batch_size,
  )
  sizes = jnp.stack([_size(problem, widths), x.size * search.max_width])
  final, largest = sizes - trace.lam[-1] * inspection.shortfall
  info = InvariantInfo(
    box=boxes.Box(widths[0], widths[-1]),
    saturated=jnp.mean((widths >= search.max_width).astype(kind)),
    inspection=inspection,
    objective=trace.objective,
    final_objective=final,
    max_width_objective=largest,
    violation=trace.violation,
    lam=trace.lam,
  )
  scores = -((box.down + box.up) / 2).astype(x.dtype)
  return types.Attribution(scores, info)


class _Problem(NamedTuple):
  """(3.3) at one example: see `invariant_perturbation`."""

  fn: types.MarginsFn
  x: types.Example
  key: Key[Array, '']
  patch: int
  num_samples: int
  batch_size: int | None


class _Search(NamedTuple):
  """How the widths are moved, and the weight of the penalty with them."""

  optimizer: optax.GradientTransformation
  max_width: Float[Array, '']
  target: Float[Array, ''] | None
  dual_rate: Float[Array, '']


class _Trace(NamedTuple):
  """What `InvariantInfo` tells of each step."""

  objective: Float[Array, 'n']
  violation: Float[Array, 'n']
  lam: Float[Array, 'n']


def _box(problem, widths):
  """Returns the box of widths `[1 or 2, ...]`: both ways, or down and up."""
  shape = problem.x.shape
  return boxes.Box(
    *(boxes.spread(widths[i], shape, problem.patch) for i in (0, -1))
  )


def _size(problem, widths):
  """Returns the sum of the widths, each the mean of both ways."""
  box = _box(problem, widths)
  return jnp.sum((box.down + box.up) / 2)


def _hinge(problem, widths, i):
  """Returns the penalty of draw `i`, and whether the decision fell."""
  x = problem.x
  t = sampling.uniform(sampling.draw_key(problem.key, i), x, low=-1)
  box = jax.tree.map(lambda a: a.astype(x.dtype), _box(problem, widths))
  margins = problem.fn(boxes.place(x, box, t))
  penalty = jnp.sum(jax.nn.relu(-margins)).astype(widths.dtype)
  return penalty, (~boxes.holds(margins)).astype(widths.dtype)


def _penalty(problem, widths, step):
  """Returns the mean penalty on a step's draws, the violation, the gradient."""
  at = jax.value_and_grad(_hinge, argnums=1, has_aux=True)
  (penalty, violation), slope = sampling.batched_mean(
    lambda i: at(problem, widths, step * problem.num_samples + i),
    jnp.arange(problem.num_samples),
    batch_size=problem.batch_size,
  )
  return penalty, violation, slope


@host.own_errors()
def _ascend(problem, search, widths, lam, num_steps):
  """Returns the widths after `num_steps` updates, and their `_Trace`."""
  kind = widths.dtype

  def step(carry, i):
    widths, state, log_lam, rate = carry
    lam = jnp.exp(log_lam)
    penalty, violation, slope = _penalty(problem, widths, i)
    size, gain = jax.value_and_grad(_size, argnums=1)(problem, widths)
    # optax mixes integers, float32 and the widths' type in its counters.
    with jax.numpy_dtype_promotion('standard'):
      updates, state = search.optimizer.update(
        lam * slope - gain, state, widths
      )
      moved = optax.apply_updates(widths, updates)
    if search.target is not None:
      # Bounded, so that it does not run away while the widths are on their way;
      # of a running mean, whose bounds are seldom met.
      rate = 0.9 * rate + 0.1 * violation
      excess = jnp.clip(rate / search.target - 1, -1, 1)
      log_lam = log_lam + search.dual_rate * excess
    trace = _Trace(size - lam * penalty, violation, lam)
    moved = jnp.clip(moved, 0, search.max_width)
    return (moved, state, log_lam, rate), trace

  rate = jnp.ones((), kind) if search.target is None else search.target
  log_lam = jnp.log(jnp.asarray(lam, kind))
  start = (widths, search.optimizer.init(widths), log_lam, rate)
  (widths, *_), trace = jax.lax.scan(step, start, jnp.arange(num_steps))
  return widths, trace
