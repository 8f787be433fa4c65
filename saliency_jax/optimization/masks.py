"""Masks on examples: what they cost, and what they are to change.

A mask `M` in [0, 1] on the players of a masker, by default the nodes of a grid
of `s x s`, keeps what it is 1 on and gives to a baseline what it is 0 on:
`Phi(M) = x * up(M) + b * (1 - up(M))`. Its price is `l1 mean|1 - M| + l2 TV(M)`
and its purpose is an `Objective`.

References:
  Fong and Vedaldi, Interpretable explanations of black boxes by meaningful
  perturbation, 2017. https://arxiv.org/abs/1704.03296
  Khorram, Lawson and Li, iGOS++: integrated gradient optimized saliency by
  bilateral perturbations, 2020. https://arxiv.org/abs/2012.15783
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from typing_extensions import TypeAliasType

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import stretching
from saliency_jax.core import types
from saliency_jax.solvers import grid

# `Phi`: how much is kept of each entry, shaped as `Masker.spread` shapes it, to
# an example.
Blend = TypeAliasType('Blend', Callable[[types.Example], types.Example])

# What a mask is to make small, apart from its price: the score to explain, a
# `Blend`, and how much is kept of each entry, to one number.
Objective = TypeAliasType(
  'Objective', Callable[[types.ScoreFn, Blend, types.Example], Float[Array, '']]
)


def players(
  method: Callable[..., Any],
  x: types.Example,
  key: Key[Array, ''] | None,
  *,
  resolution: int,
  baseline: baselines.Baseline,
  masker: maskers.Constructor | None = None,
) -> maskers.Masker:
  """Returns what a mask is put on: the nodes of a grid over an image.

  Args:
    method: whose arguments the others are.
    x: the image; any example of floats with a masker.
    key: for a baseline that draws.
    resolution: nodes of the grid a side.
    baseline: what is put in the place of what is removed.
    masker: its players take the place of the nodes.

  Raises:
    ValueError: for a grid finer than its image, for `x` that is none, and for
      settings of the grid beside a masker.
  """
  if masker is not None:
    checks.no_masker(method, resolution=resolution, baseline=baseline)
    return checks.constructor(masker)(x, key=key)
  checks.image(x)
  checks.count('resolution', resolution, 1, min(x.shape[:2]))
  return maskers.grid(
    x,
    key=key,
    cells=resolution,
    stretch=stretching.aligned,
    baseline=baseline,
  )


def first(masker: maskers.Masker, x: types.Example) -> Float[Array, '*players']:
  """Returns the mask that keeps all of `x`, where every search starts."""
  dtype = examples.accumulator(examples.result_dtype(x))
  return jnp.ones(masker.shape, dtype)


def variation_weight(
  players: maskers.Masker, tv: types.Scalar | None, preset: float
) -> types.Scalar:
  """Returns `tv`; for `None` the preset, and 0 of players without order."""
  if tv is not None:
    return tv
  return preset if players.ordered else 0.0


def check(l1: types.Scalar, tv: types.Scalar) -> None:
  """Raises `ValueError` for a bad price."""
  checks.within('l1', l1, '[0, inf)')
  checks.within('tv', tv, '[0, inf)')


def deletion(
  fn: types.ScoreFn, blend: Blend, kept: types.Example
) -> Float[Array, '']:
  """Returns the score of what the mask keeps: small without the evidence."""
  return fn(blend(kept))


def insertion(
  fn: types.ScoreFn, blend: Blend, kept: types.Example
) -> Float[Array, '']:
  """Returns minus the score of what the mask removes, on the baseline.

  It is small where the removed part is evidence enough. Beyond I-GOS's paper;
  the second half of I-GOS++.
  """
  return -fn(blend(jax.tree.map(lambda m: 1 - m, kept)))


def sparsity(mask: Float[Array, '*players']) -> Float[Array, '']:
  """Returns `mean|1 - M|`: the part of the example that the mask removes.

  Its slope is that inside the box, at `M = 1` too: what `abs` has at zero is a
  convention (none in torch, and so in the authors' code; one in JAX).
  """
  return jnp.mean(1 - mask)


def total_variation(mask: Float[Array, '*players']) -> Float[Array, '']:
  """Returns the mean squared difference of neighbours, all directions added.

  The powers of two of I-GOS's code; the text of both papers leaves the norm
  open.
  """
  return sum(_mean(d**2) for d in grid.difference(mask))


def bilateral_total_variation(
  mask: Float[Array, 's t'],
  kept: Float[Array, 'H W 1'],
  x: Float[Array, 'H W C'],
  variance: types.Scalar = 5e-4,
) -> Float[Array, '']:
  """Returns I-GOS++'s variation, cheap where the image itself has an edge.

  `(TV(M) + mean(exp(-dx^2 / variance) dup(M)^2)) / 2`, `dx` a difference of
  neighbouring pixels averaged over channels. The paper writes only the second
  term; its authors' code takes the mean of both, the first at the resolution
  of the mask, and averages `dx` over channels before squaring in one direction
  and after it in the other: here it is before, in both.

  Args:
    mask: the mask.
    kept: `up(M)`, of the size of the image.
    x: the image.
    variance: squared difference, in the units of `x`, that counts as an edge.
      The authors' .01 is in units of a deviation of about .22 of [0, 1].
  """
  edges = grid.difference(jnp.mean(x, -1))
  slopes = grid.difference(kept[..., 0])
  bilateral = sum(
    _mean(jnp.exp(-(e**2) / variance) * d**2)
    for e, d in zip(edges, slopes, strict=True)
  )
  return (total_variation(mask) + bilateral) / 2


def _mean(a):
  """Averages; nothing averages to zero (a mask of one cell)."""
  return jnp.mean(a) if a.size else jnp.zeros((), a.dtype)
