"""Excitation backpropagation: how probably each unit wins on the way back.

A path starts at the score. From a unit `z` of a layer `z = W a + b` it goes to
one of the layer's inputs `a`, with probability in proportion to `a w+`, what
`a` excites `z` by. The marginal winning probability of an input is then

    P_a = a sum_z w+_za P_z / sum_a' w+_za' a',

with biases left out. In a product of two values that both depend on the input,
such as a gate's, each is the other's weight: a path goes to either with half of
the probability, and in a sum of such products by their positive ones. The paper
has no such layers; its formula, with `dz/da` for `w`, says so.

Inputs are not negative behind a ReLU; where they are, as
behind a linear layer, they do not win. Activations hand on what they get, and
pools give it to the winner. `P` sums to 1 in each layer, but for the paths that
end at a unit that nothing excites: one that has only its bias, say.

The contrastive map is `P` less the `P` of the network with its last layer
negated, and so of what speaks against the class.

References:
  Zhang et al., Top-down neural attention by excitation backprop, 2016.
  https://arxiv.org/abs/1608.00507
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.core import types
from saliency_jax.core import units
from saliency_jax.propagation import activations
from saliency_jax.propagation import composites
from saliency_jax.propagation import pools

CLASS_MAP, ACTIVATIONS = 'class_map', 'activations'
_SCALINGS = ('add', 'convert_element_type', 'div', 'mul', 'neg', 'sub')
_PASSED = (units.ACTIVATION, 'logistic', 'tanh')
_NO_NORMS = 'norms of one example are not supported'
_REMEDIES = {
  **dict.fromkeys(
    (units.SOFTMAX, 'exp', 'log', 'log1p'),
    'explain a logit where it makes probabilities of logits',
  ),
  **dict.fromkeys((primitives.QUOTIENTS, 'rsqrt', 'sqrt'), _NO_NORMS),
}


class ExcitationInfo(NamedTuple):
  """Where the paths ended.

  Attributes:
    score: `f(x)`.
    kept: probability of a path to come to the layer, the sum of `P`.
    around: probability of a path around the tap, to the input.
    lost: probability that a path ends at a unit that nothing excites.
    negated: what the map has less for the contrast, in sum.
  """

  score: Float[Array, '']
  kept: Float[Array, '']
  around: Float[Array, '']
  lost: Float[Array, '']
  negated: Float[Array, '']


def excitation_backprop(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  at: str | None = None,
  contrastive: bool = False,
  prior: str = CLASS_MAP,
) -> types.Attribution:
  """Returns the marginal winning probability of each input, or unit of a tap.

  Args:
    fn: score of one example, a logit.
    x: the example. What is negative in it does not win.
    key: not used.
    at: the tap, a `checkpoint_name`, whose units are scored; `None` is the
      input. The paper shows sums over the channels of a layer in the middle.
    contrastive: whether to take off the map of the negated last layer.
    prior: what a path goes by where the outputs of a layer are summed without
      an activation, as a class map is by an average pool: the positive part of
      each output ('class_map'), or what excites it, as if the two layers were
      one ('activations').

  Returns:
    Scores like `x`, or like the tap: probabilities, or differences of two.

  Raises:
    ValueError: for another `prior`, a name that is not there, or an equation
      without a rule: a softmax, a norm of one example, a loop.

  Examples:
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> fn = lambda x: x @ jnp.array([3.0, -1.0, 1.0])
    >>> maps, info = saliency_jax.excitation_backprop(fn, jnp.ones(3))
    >>> print(np.asarray(maps).round(3))
    [0.75 0.   0.25]
  """
  del key  # Nothing is drawn.
  if prior not in (CLASS_MAP, ACTIVATIONS):
    raise ValueError(
      f'prior must be {CLASS_MAP!r} or {ACTIVATIONS!r}, got {prior!r}'
    )
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  plain = tapes.record(fn, wide)
  tape = units.affine(units.activations(units.softmaxes(plain)))
  (out,), invars = tape.closed.jaxpr.outvars, tape.closed.jaxpr.invars
  (score,) = tapes.read(tape, [out])
  checks.one_number(score)
  tap = None if at is None else tapes.named(tape, at)

  def paths(tape, negated=None):
    """Returns `P` of the layer, and what of it came to the input."""
    probabilities = tapes.walk(
      tape, [(out, jnp.ones_like(score))], _rule(tape, tap, prior, negated)
    )
    given = [tapes.at(probabilities, v) for v in invars]
    if tap is None:
      return tape.in_tree.unflatten(given)[0], jnp.zeros_like(score)
    return tapes.at(probabilities, tap), _total(given)

  scores, around = paths(tape)
  kept, negated = _total(scores), jnp.zeros_like(score)
  if contrastive:
    last = _last_layer(tape)
    against, _ = paths(_negated(plain, tape, last), last)
    negated = _total(against)
    scores = jax.tree.map(jnp.subtract, scores, against)
  info = ExcitationInfo(score, kept, around, 1 - kept - around, negated)
  return examples.attribution(x, scores, info)


def _rule(tape, tap, prior, negated):
  """Returns the rule of a walk, for weights of the other sign in `negated`."""
  priors = _priors(tape, prior, negated)

  def wins(equation, inputs, outputs, probability):
    if _is_scaling(equation):
      return _routed(equation, inputs, outputs, probability)
    a = [priors[v] for v in _moved(equation, equation.eqn.invars)]
    z, pullback = jax.vjp(_excite(equation, inputs, negated), *a)
    share = jnp.where(z > 0, probability[0] / jnp.where(z > 0, z, 1), 0)
    # Rounding may leave a little less than nothing.
    given = iter(
      [p * jnp.maximum(g, 0) for p, g in zip(a, pullback(share), strict=True)]
    )
    return [next(given) if moves else None for moves in equation.moving]

  def shared(equation, inputs, outputs, probability):
    del inputs, outputs
    factors = [priors[v] for v in equation.eqn.invars]
    z, pullback = jax.vjp(
      lambda *factors: jaxprs.bind(equation.eqn, *factors)[0], *factors
    )
    share = jnp.where(z > 0, probability[0] / jnp.where(z > 0, 2 * z, 1), 0)
    return [a * g for a, g in zip(factors, pullback(share), strict=True)]

  def picked(equation, *rest):
    bound = activations.is_bound(equation)
    return (activations.passed if bound else pools.first)(equation, *rest)

  by_table = tapes.by_table(
    {
      primitives.MOVES: tapes.vjp,
      primitives.SUMS: wins,
      primitives.PRODUCTS: shared,
      primitives.INCREASING: picked,
      **dict.fromkeys(_PASSED, activations.passed),
    },
    'winning probabilities',
    _REMEDIES,
  )

  def rule(equation, inputs, *rest):
    if tap in equation.eqn.outvars:
      return [None] * len(inputs)
    return by_table(equation, inputs, *rest)

  return rule


def _is_scaling(equation):
  """Returns whether each output is one input, scaled and shifted."""
  eqn, moving = units.main(equation)
  return sum(moving) == 1 and eqn.primitive.name in _SCALINGS


def _routed(equation, inputs, outputs, probability):
  """Hands on what arrives, where the factor is positive."""
  del outputs
  positive = _excite(equation, inputs, modify=jnp.sign)
  _, pullback = jax.vjp(positive, *map(jnp.ones_like, _moved(equation, inputs)))
  (given,) = pullback(probability[0])
  return [given if moves else None for moves in equation.moving]


def _priors(tape, prior, negated):
  """Returns, of each variable, what paths go by: not negative."""
  priors = {}
  for v, value in tape.values.items():
    if v in tape.moving:
      priors[v] = jnp.maximum(value, 0)
  if prior == CLASS_MAP:
    return priors
  for eqn in tape.closed.jaxpr.eqns:
    equation = tapes.equation(tape, eqn)
    if not primitives.is_affine(equation):
      continue
    given = tapes.read(tape, eqn.invars)
    moved = [priors[v] for v in _moved(equation, eqn.invars)]
    if primitives.role(equation) == primitives.SUMS:
      made = [_excite(equation, given, negated)(*moved)]
    else:
      moved = iter(moved)
      made = jaxprs.bind(
        eqn,
        *(
          next(moved) if moves else a
          for a, moves in zip(given, equation.moving, strict=True)
        ),
      )
    priors.update(zip(eqn.outvars, made, strict=True))
  return priors


def _excite(equation, inputs, negated=None, modify=lambda c: c):
  """Returns `a -> W+ a`, of modified weights or of those of `negated`."""
  signed = units.linear(equation, inputs, modify)
  size = units.linear(equation, inputs, lambda c: jnp.abs(modify(c)))
  sign = -1 if equation.eqn is negated else 1

  def excite(*a):
    whole, most = signed(*a), size(*a)
    positive = (sign * whole + most) / 2
    # What is left where no weight is positive is rounding.
    least = 8 * float(jnp.finfo(most.dtype).eps) * most
    return jnp.where(positive > least, positive, 0)

  return excite


def _last_layer(tape):
  """Returns the last sum of products with weights."""
  for eqn in reversed(tape.closed.jaxpr.eqns):
    place = composites.Place(tapes.equation(tape, eqn), 0, None)
    if composites.is_layer(place):
      return eqn
  raise ValueError(
    'contrastive=True negates the last layer, and found no sum of products '
    'with weights'
  )


def _negated(plain, tape, last):
  """Returns the tape with the values of the network, its last layer negated."""
  values = dict(tape.values)
  (z,) = last.outvars
  values[z] = -values[z]
  changed = {z}
  for eqn in plain.closed.jaxpr.eqns:
    if z not in eqn.outvars and not changed.isdisjoint(
      jaxprs.variables(eqn.invars)
    ):
      inputs = [jaxprs.read(values, v) for v in eqn.invars]
      values.update(zip(eqn.outvars, jaxprs.bind(eqn, *inputs), strict=True))
      changed.update(eqn.outvars)
  return tape._replace(values=values)


def _moved(equation, values):
  return [a for a, m in zip(values, equation.moving, strict=True) if m]


def _total(tree):
  return sum(map(jnp.sum, jax.tree.leaves(tree)))
