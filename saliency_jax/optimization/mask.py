"""Meaningful perturbation: the mask that deletes the evidence, by gradients.

    argmin_{M in [0,1]^(s x s)} f(Phi(M)) + l1 mean|1 - M| + l2 TV(M)

by any optax transformation, projected onto [0, 1] after each update. The scores
are `1 - M`. This is the form in which I-GOS's paper compares with it: of the
original's, the jitter of the image and the third power in TV are left out.

References:
  Fong and Vedaldi, Interpretable explanations of black boxes by meaningful
  perturbation, 2017. https://arxiv.org/abs/1704.03296
  Qi, Khorram and Li, Visualizing deep networks by optimizing with integrated
  gradients, AAAI 2020. https://arxiv.org/abs/1905.00954
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
import optax

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import host
from saliency_jax.core import types
from saliency_jax.optimization import masks

# Of the optimizer, where none is given.
LEARNING_RATE = 0.1


class MaskInfo(NamedTuple):
  """The mask and how it was found."""

  mask: Float[Array, '*players']
  removed: Float[Array, '']  # Mean of 1 - M; near zero, there is no map.
  score: Float[Array, '']  # The objective without the price of the mask.
  objective: Float[Array, 'n+1']  # Before the first step and after each.


@host.own_errors()
def mask(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  resolution: int = 28,
  l1: types.Scalar = 0.01,
  tv: types.Scalar | None = None,
  baseline: baselines.Baseline = baselines.gaussian_blur,
  objective: masks.Objective = masks.deletion,
  masker: maskers.Constructor | None = None,
  num_steps: int = 500,
  optimizer: optax.GradientTransformation | None = None,
) -> types.Attribution:
  """Finds the least mask without which the score of `x` falls.

  Args:
    fn: score of one example, a probability in the paper.
    x: one image; any example of floats with a masker.
    key: consumed by a baseline that draws.
    resolution: side `s` of the mask, in cells.
    l1: weight of the part removed.
    tv: weight of the mask's variation; `None` is .2.
    baseline: image put in the place of what is removed.
    objective: `masks.deletion` or `masks.insertion`.
    masker: the mask is on its players, in the place of cells. For players
      without order, such as columns, `tv` is 0 unless it is given.
    num_steps: updates.
    optimizer: makes updates of gradients; `None` is Adam at `LEARNING_RATE`.

  Returns:
    Scores `up(1 - M)`, `[H, W, 1]` or as the masker spreads them, and
    `MaskInfo`. Nothing makes F fall at each step: see `info.objective`.

  Examples:
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> fn = lambda x: x[:4].mean()
    >>> maps, info = saliency_jax.mask(
    ...   fn, jnp.ones((8, 8, 1)), resolution=2, baseline=0.0, num_steps=2
    ... )
    >>> maps.shape
    (8, 8, 1)
  """
  x = examples.floats(x)
  checks.count('num_steps', num_steps)
  if optimizer is None:
    optimizer = optax.adam(LEARNING_RATE)
  players = masks.players(
    mask, x, key, resolution=resolution, baseline=baseline, masker=masker
  )
  tv = masks.variation_weight(players, tv, 0.2)
  masks.check(l1, tv)
  fn, _ = examples.widened(fn, x)

  def score(m):
    return objective(fn, players.blend, players.spread(m))

  def price(m):
    return l1 * masks.sparsity(m) + tv * masks.total_variation(m)

  def advance(carry, _):
    m, state = carry
    value, grad = jax.value_and_grad(lambda m: score(m) + price(m))(m)
    # optax mixes integers, float32 and the mask's type in its counters.
    with jax.numpy_dtype_promotion('standard'):
      updates, state = optimizer.update(grad, state, m)
      moved = optax.apply_updates(m, updates)
    return (jnp.clip(moved, 0, 1), state), value

  first = masks.first(players, x)
  (last, _), values = jax.lax.scan(
    advance, (first, optimizer.init(first)), None, length=num_steps
  )
  value = score(last)
  info = MaskInfo(
    mask=last,
    removed=masks.sparsity(last),
    score=value,
    objective=jnp.append(values, value + price(last)),
  )
  return examples.attribution(x, players.spread(1 - last), info)
