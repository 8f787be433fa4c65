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
  """
  x = examples.floats(x)
  for name, count in (('num_steps', num_steps), ('num_samples', num_samples)):
    checks.count(name, count)
  checks.within('max_width', max_width, '(0, inf)')
  lam = x.size / 10 if lam is None else lam
  checks.within('lam', lam, '(0, inf)')
  if target is not None:
    checks.within('target', target, '(0, 1]')
  if optimizer is None:
    optimizer = optax.adam(LEARNING_RATE)
  # Half precision would lose the steps; only the points are of its type.
  kind = examples.accumulator(x.dtype)
  max_width = jnp.asarray(max_width, kind)
  goal = jnp.asarray(1 if target is None else target, kind)
  shape = boxes.grid_shape(x, patch, per_channel)
  fn = boxes.margins_of(fn)

  def box_of(widths):
    down, up = (boxes.spread(widths[i], x.shape, patch) for i in (0, -1))
    return boxes.Box(down, up)

  def size(widths):
    box = box_of(widths)
    return jnp.sum((box.down + box.up) / 2)

  def hinge(widths, draw):
    t = sampling.uniform(sampling.draw_key(key, draw), x, low=-1)
    box = jax.tree.map(lambda a: a.astype(x.dtype), box_of(widths))
    margins = fn(boxes.place(x, box, t))
    violated = (~boxes.holds(margins)).astype(kind)
    return jnp.sum(jax.nn.relu(-margins)).astype(kind), violated

  def advance(carry, step):
    widths, state, log_lam, rate = carry
    lam = jnp.exp(log_lam)
    (penalty, violation), slope = sampling.batched_mean(
      lambda i: jax.value_and_grad(hinge, has_aux=True)(
        widths, step * num_samples + i
      ),
      jnp.arange(num_samples),
      batch_size=batch_size,
    )
    value, gain = jax.value_and_grad(size)(widths)
    # optax mixes integers, float32 and the widths' type in its counters.
    with jax.numpy_dtype_promotion('standard'):
      updates, state = optimizer.update(lam * slope - gain, state, widths)
      moved = optax.apply_updates(widths, updates)
    if target is not None:
      # Bounded, so that it does not run away while the widths are on their way;
      # of a running mean, whose bounds are seldom met.
      rate = 0.9 * rate + 0.1 * violation
      excess = jnp.clip(rate / goal - 1, -1, 1)
      log_lam = log_lam + jnp.asarray(dual_rate, kind) * excess
    trace = (value - lam * penalty, violation, lam)
    return (jnp.clip(moved, 0, max_width), state, log_lam, rate), trace

  widths = jnp.zeros((2 if asymmetric else 1, *shape), kind)
  log_lam = jnp.log(jnp.asarray(lam, kind))
  (widths, *_), (objective, violation, lam) = jax.lax.scan(
    advance,
    (widths, optimizer.init(widths), log_lam, goal),
    jnp.arange(num_steps),
  )
  box, whole = box_of(widths), box_of(jnp.full_like(widths, max_width))
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
  sizes = jnp.stack([size(widths), x.size * max_width])
  final, largest = sizes - lam[-1] * inspection.shortfall
  info = InvariantInfo(
    box=boxes.Box(widths[0], widths[-1]),
    saturated=jnp.mean((widths >= max_width).astype(kind)),
    inspection=inspection,
    objective=objective,
    final_objective=final,
    max_width_objective=largest,
    violation=violation,
    lam=lam,
  )
  scores = -((box.down + box.up) / 2).astype(x.dtype)
  return types.Attribution(scores, info)
