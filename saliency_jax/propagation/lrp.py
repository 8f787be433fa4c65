"""Layer-wise relevance propagation (LRP), of any function.

The score is handed back from the output to the input, equation by equation. By
the default rule an affine layer `z = W a + b` gives

    R_i = a_i sum_j w_ij R_j / (z_j + e sign z_j),

an activation passes what it gets, and a pool gives it to the winner. Relevance
is kept, but for what biases, `e` and some rules absorb:

    f(x) = sum_i R_i + what was absorbed.

References:
  Bach et al., On pixel-wise explanations for non-linear classifier decisions by
  layer-wise relevance propagation, 2015.
  https://doi.org/10.1371/journal.pone.0130140
  Montavon et al., Layer-wise relevance propagation: an overview, 2019.
  https://doi.org/10.1007/978-3-030-28954-6_10
"""

from typing import NamedTuple

import jax
from jax.extend import core
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.core import types
from saliency_jax.core import units
from saliency_jax.propagation import composites
from saliency_jax.propagation import nonlinear


class Absorbed(NamedTuple):
  """What equations gave to none of their inputs, by what they are.

  Attributes:
    layers: sums of products with coefficients, and what is merged with them: to
      biases, to `e`, or by their rule.
    sums: other sums, scalings and shifts.
    products: products and quotients of what depends on the input, and softmax.
    others: activations, pools, and what moves entries.
  """

  layers: Float[Array, '']
  sums: Float[Array, '']
  products: Float[Array, '']
  others: Float[Array, '']


class LrpInfo(NamedTuple):
  """Where the score went.

  Attributes:
    score: `f(x)`.
    absorbed: what the equations on the way kept.
    around: what reached the input by ways around the tap.
    conservation_error: `|f(x) - scores - absorbed - around|`, all summed.
  """

  score: Float[Array, '']
  absorbed: Absorbed
  around: Float[Array, '']
  conservation_error: Float[Array, '']


def lrp(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  composite: composites.Composite = composites.epsilon,
  at: str | None = None,
  merge: bool = True,
  absorb_bias: bool = True,
  unroll: int = 32,
) -> types.Attribution:
  """Propagates the score back to the input, or to a tap.

  Through many steps (an LSTM), or quotients, relevance may grow far beyond the
  score: `absorbed` beside `score` in `info` tells, `conservation_error` does
  not.

  Args:
    fn: score of one example, a logit.
    x: the example.
    key: not used.
    composite: which rule where: one of `composites`, or one's own; of
      transformers, whose norms lose or blow up what the default hands back,
      one of `attention`.
    at: the tap, a `checkpoint_name`, whose relevance is wanted; `None` is the
      input.
    merge: whether a layer is one with the scalings, shifts and batch norm
      around it.
    absorb_bias: whether biases take their share; otherwise they are left out of
      denominators.
    unroll: loops by `scan` of at most so many steps are written out; longer
      ones, and other loops, are refused.

  Returns:
    Scores like `x`, or like the tap.

  Raises:
    ValueError: where no rule is known for an equation, for no such tap, or for
      a composite that is no function.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> fn = lambda x: jax.nn.relu(x @ jnp.array([3.0, -1.0, 1.0]) + 1)
    >>> maps, info = saliency_jax.lrp(fn, jnp.ones(3))
    >>> print(np.asarray(maps).round(3))  # Of 4, the bias keeps 1.
    [ 3. -1.  1.]
  """
  del key  # Nothing is drawn.
  checks.count('unroll', unroll, 0)
  if not callable(composite):
    raise ValueError(
      f'composite must be a function, such as composites.epsilon, got '
      f'{composite!r:.80}: bind its settings by functools.partial'
    )
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  tape = tapes.record(fn, wide, unroll=unroll)
  (out,) = tape.closed.jaxpr.outvars
  (score,) = tapes.read(tape, [out])
  checks.one_number(score)
  tape = _units(tape, composite, merge)
  places = _places(tape)
  tap = None if at is None else tapes.named(tape, at)
  absorbed = dict.fromkeys(Absorbed._fields, jnp.zeros_like(score))
  total = _totals(score)

  def rule(equation, inputs, outputs, relevance):
    if tap in equation.eqn.outvars:
      return [None] * len(inputs)
    if not absorb_bias and equation.eqn.primitive.name == units.AFFINE:
      outputs = [units.linear(equation, inputs)(*_moved(equation, inputs))]
    place = places[equation.eqn.outvars[0]]
    given = composite(place)(equation, inputs, outputs, relevance)
    moved = _moved(equation, given)
    if len(moved) > 1 or moved[0] is not relevance[0]:
      absorbed[_kind(place)] += total(relevance) - total(moved)
    return given

  relevances = tapes.walk(tape, [(out, jnp.asarray(score))], rule)
  invars = tape.closed.jaxpr.invars
  scores = jax.tree.unflatten(
    jax.tree.structure(wide),
    [tapes.at(relevances, v) for v in invars],
  )
  around = jnp.zeros_like(score)
  if tap is not None:
    around = total(jax.tree.leaves(scores))
    scores = tapes.at(relevances, tap)
  kept = total(jax.tree.leaves(scores)) + around
  absorbed = Absorbed(**absorbed)
  error = jnp.abs(score - kept - sum(absorbed))
  return examples.attribution(
    x, scores, LrpInfo(score, absorbed, around, error)
  )


def _kind(place):
  """Returns which field of `Absorbed` an equation belongs to."""
  if composites.is_layer(place):
    return 'layers'
  if place.equation.eqn.primitive.name == units.SOFTMAX:
    return 'products'
  kinds = {
    primitives.SUMS: 'sums',
    primitives.PRODUCTS: 'products',
    primitives.QUOTIENTS: 'products',
  }
  return kinds.get(primitives.role(place.equation), 'others')


def _units(tape, composite, merge):
  """Returns the tape as rules see it: of units, and with what moves in them."""
  tape = units.activations(units.softmaxes(tape))
  tape = tape._replace(moving=frozenset(_places(tape, composite)))
  return units.affine(tape, merge=merge)


def _places(tape, composite=None):
  """Returns, of each value that moves, the place of the equation it is from.

  Where the composite says so an equation's outputs do not move.
  """
  invars = tape.moving.intersection(tape.closed.jaxpr.invars)
  places = dict.fromkeys(invars, composites.Place(None, 0, None))
  for eqn in tape.closed.jaxpr.eqns:
    moving = tuple(isinstance(v, core.Var) and v in places for v in eqn.invars)
    made = tape.moving.intersection(eqn.outvars)
    if not any(moving) or not made:
      continue
    equation = primitives.Equation(eqn, moving)
    before = [places[v] for v, m in zip(eqn.invars, moving, strict=True) if m]
    last = max(before, key=composites.depth_after)
    place = composites.Place(
      equation,
      composites.depth_after(last),
      eqn.params['name'] if eqn.primitive.name == 'name' else last.tap,
    )
    if composite is None or composite(place) is not nonlinear.constant:
      places.update(dict.fromkeys(made, place))
  return places


def _moved(equation, values):
  return [a for a, m in zip(values, equation.moving, strict=True) if m]


def _totals(like):
  """Returns a function of arrays to the sum of all their entries.

  What one equation gives is what arrives at another: it is summed once.
  """
  known = {}  # By identity: an array that is kept is no other's.

  def total(values):
    values = [a for a in values if a is not None]
    for a in values:
      if id(a) not in known:
        known[id(a)] = (a, jnp.sum(a, dtype=like.dtype))
    return sum((known[id(a)][1] for a in values), jnp.zeros_like(like))

  return total
