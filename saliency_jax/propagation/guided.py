"""Guided backpropagation and the deconvnet: gradients rectified on their way.

Both are the gradient but at rectifiers, ReLUs and their like. There the
gradient `R` of the output `a(z)` becomes

  the gradient       `1[z in its open range] R`,
  `guided_backprop`  `1[z in its open range] max(R, 0)`,
  `deconvnet`        `max(R, 0)`,

where a ReLU's open range is `z > 0`, and a ReLU6's `0 < z < 6`; the slopes of a
leaky ReLU are factors of the first two. What is left is what excites a unit
that excites the score. Such maps are sharp, and hardly depend on the score, nor
on the higher layers (Adebayo et al., Nie et al.): read them as what the network
can see at all.

References:
  Zeiler, Fergus, Visualizing and understanding convolutional networks, 2014.
  https://arxiv.org/abs/1311.2901
  Springenberg et al., Striving for simplicity: the all convolutional net, 2015.
  https://arxiv.org/abs/1412.6806
  Adebayo et al., Sanity checks for saliency maps, 2018.
  https://arxiv.org/abs/1810.03292
  Nie, Zhang, Patel, A theoretical explanation for perplexing behaviors of
  backpropagation-based visualizations, 2018. https://arxiv.org/abs/1805.07039
"""

from typing import NamedTuple

from jax.extend import source_info_util
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.core import types
from saliency_jax.propagation import activations
from saliency_jax.propagation import pools

_GRADIENT = {**tapes.GRADIENT, primitives.INCREASING: pools.first}


class GuidedInfo(NamedTuple):
  """What was rectified.

  Attributes:
    score: `f(x)`.
    num_rectifiers: equations that rectified the gradient: one a ReLU, two a
      clip by a maximum and a minimum. With none the map is the plain gradient.
    num_smooth: smooth activations that did so, by `smooth='derivative'`.
  """

  score: Float[Array, '']
  num_rectifiers: Int[Array, '']
  num_smooth: Int[Array, '']


def guided_backprop(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  at: str | None = None,
  smooth: str | None = None,
) -> types.Attribution:
  """Returns the gradient, its positive part taken at each rectifier.

  Args:
    fn: score of one example; a logit, as a softmax is a smooth activation.
    x: the example.
    key: not used.
    at: a `checkpoint_name`: scores the entries of that intermediate, and not
      those of `x`.
    smooth: 'derivative' takes the positive part at smooth activations too, and
      their derivative in the place of the open range; `None` refuses them.

  Raises:
    ValueError: for a smooth activation, an equation without a rule (a loop, a
      branch, an unknown primitive), or a name that is not there.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> fn = lambda x: jax.nn.relu(x) @ jnp.array([1.0, -1.0, 2.0])
    >>> x = jnp.array([1.0, 1.0, -1.0])
    >>> maps, info = saliency_jax.guided_backprop(fn, x)
    >>> print(maps)
    [1. 0. 0.]
  """
  del key  # Nothing is drawn.
  return _rectified(activations.vjp, 'guided maps', fn, x, at, smooth)


def deconvnet(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  at: str | None = None,
  smooth: str | None = None,
) -> types.Attribution:
  """Returns the positive part of the gradient, also where rectifiers are shut.

  The switches of max-pools are those of the example, the first of several that
  tie.

  Args:
    fn: score of one example; a logit, as a softmax is a smooth activation.
    x: the example.
    key: not used.
    at: a `checkpoint_name`: scores the entries of that intermediate, and not
      those of `x`.
    smooth: 'derivative' takes the positive part at smooth activations too, and
      there their derivative; `None` refuses them.

  Raises:
    ValueError: as `guided_backprop`.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> fn = lambda x: jax.nn.relu(x) @ jnp.array([1.0, -1.0, 2.0])
    >>> maps, info = saliency_jax.deconvnet(fn, jnp.array([1.0, 1.0, -1.0]))
    >>> print(maps)
    [1. 0. 2.]
  """
  del key  # Nothing is drawn.
  return _rectified(activations.passed, 'deconvnet maps', fn, x, at, smooth)


def _rectified(through, what, fn, x, at, smooth):
  """Goes back with the rule `through` for the positive part at a rectifier."""
  if smooth not in (None, 'derivative'):
    raise ValueError(f"smooth must be None or 'derivative', got {smooth!r}")
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  tape, kinds = activations.find(tapes.record(fn, wide))
  outvars, invars = tape.closed.jaxpr.outvars, tape.closed.jaxpr.invars
  (score,) = tapes.read(tape, outvars)
  checks.one_number(score)
  explained = invars if at is None else [tapes.named(tape, at)]
  gradient = tapes.by_table(_GRADIENT, what)
  count = {activations.RECTIFIER: 0, activations.SMOOTH: 0}

  def rule(equation, inputs, outputs, relevance):
    if at is not None and explained[0] in equation.eqn.outvars:
      return [None] * len(inputs)
    kind = kinds.get(equation.eqn.outvars[0])
    if kind is None:
      return gradient(equation, inputs, outputs, relevance)
    if kind == activations.SMOOTH and smooth is None:
      raise ValueError(_refusal(equation.eqn, what))
    count[kind] += 1
    own = through if kind == activations.RECTIFIER else activations.vjp
    positive = [jnp.maximum(r, 0) for r in relevance]
    return own(equation, inputs, outputs, positive)

  signals = tapes.walk(tape, [(outvars[0], jnp.ones_like(score))], rule)
  scores = [tapes.at(signals, v) for v in explained]
  scores = tape.in_tree.unflatten(scores)[0] if at is None else scores[0]
  info = GuidedInfo(score, *(jnp.asarray(n, jnp.int32) for n in count.values()))
  return examples.attribution(x, scores, info)


def _refusal(eqn, what):
  where = source_info_util.summarize(eqn.source_info) or 'no line'
  return (
    f'{what} are of rectifiers, and at {where} there is a smooth activation '
    f'({activations.names(eqn)}): pass smooth="derivative" for its '
    'derivative, and explain a logit where it makes probabilities of logits'
  )
