"""Performance information curves: how much of an image a decision takes.

The image starts out blurred: a few of its pixels, at random, and what can be
filled in between them. Its best-scored pixels come back, and at each point the
score and the information of the image are taken, both scaled to 0 for the
blurred and 1 for the whole image. The curve of the score by the information is
SIC for the probability of the class (softmax) and AIC for the decision
(accuracy), each with the area under it; a good map reaches the score with
little information.

Two parts differ from the authors' code, so that all of it runs in a program:
- Information there is the size of the image as a lossless WebP file. Here it is
  `residual_entropy`, an estimate of such a size; `webp`, on the host, is the
  authors' own.
- Pixels there are filled in by linear interpolation over triangles, here by the
  mean of their neighbours (`solvers/infilling.py`). Any function can be given.

References:
  Kapishnikov, Bolukbasi, Viegas and Terry, XRAI: better attributions through
  regions, ICCV 2019. https://arxiv.org/abs/1906.02825
  Weinberger, Seroussi and Sapiro, The LOCO-I lossless image compression
  algorithm, 2000. https://doi.org/10.1109/83.855427
"""

from collections.abc import Callable, Sequence
import functools
import io
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
import numpy as np

from saliency_jax import scores as score_functions
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import host
from saliency_jax.core import sampling
from saliency_jax.core import selection
from saliency_jax.core import types
from saliency_jax.metrics import deletion
from saliency_jax.metrics import maps
from saliency_jax.metrics import ranking
from saliency_jax.solvers import infilling

# The thresholds of the paper.
_SHARES = (
  0.005,
  0.01,
  0.02,
  0.03,
  0.04,
  0.05,
  0.07,
  0.1,
  0.13,
  0.21,
  0.34,
  0.5,
  0.75,
)
_LEVELS = 256

# An image to its information, in any unit.
Entropy = Callable[[Float[Array, 'H W C']], Float[Array, '']]


class InformationCurves(NamedTuple):
  """The score by the information of the image, and the areas.

  A curve and its area are NaN where the blurred image has as much information
  as the whole one, or as high a score: then there is nothing to scale by.
  """

  information: Float[Array, 'p']  # From 0, blurred, to 1, whole.
  softmax_curve: Float[Array, 'p']
  accuracy_curve: Float[Array, 'p']
  sic: Float[Array, '']  # Area under the curve of the probability.
  aic: Float[Array, '']  # Area under the curve of the decision.
  entropies: Float[Array, 'm+2']  # Blurred, at each share, whole; unscaled.
  probs: Float[Array, 'm+2']


def mean_of_neighbours(
  x: Float[Array, 'H W C'], known: Float[Array, 'H W']
) -> Float[Array, 'H W C']:
  """Fills in the pixels that are not known, each the mean of its neighbours."""
  return infilling.infill(x, known).value


def residual_entropy(image: Float[Array, 'H W C']) -> Float[Array, '']:
  """Estimates the bits of an image in [0, 1] that a lossless coder needs.

  Each value of eight bits is guessed by its neighbours (LOCO-I's median), and
  the entropy of the errors, at each channel's own distribution, is what is left
  to code; of three channels, green is taken off the others, as WebP does.
  """
  levels = (_LEVELS - 1) * jnp.clip(image, 0, 1)
  values = jnp.round(levels).astype(jnp.int32)
  if image.shape[-1] == 3:
    green = values[..., 1:2]
    values = values - jnp.concatenate([green, 0 * green, green], -1)
  padded = jnp.pad(values, ((1, 0), (1, 0), (0, 0)))
  above, left = padded[:-1, 1:], padded[1:, :-1]
  corner = padded[:-1, :-1]
  low, high = jnp.minimum(above, left), jnp.maximum(above, left)
  guess = jnp.clip(above + left - corner, low, high)
  errors = jnp.mod(values - guess, _LEVELS)
  num = image.shape[0] * image.shape[1]
  count = lambda channel: jnp.bincount(channel.ravel(), length=_LEVELS)
  counts = jax.vmap(count, -1)(errors).astype(examples.accumulator(image.dtype))
  share = jnp.where(counts > 0, counts / num, 1)
  return -jnp.sum(counts * jnp.log2(share))


def webp(image: Float[Array, 'H W C']) -> Float[Array, '']:
  """Returns the bytes of an image in [0, 1] as a lossless WebP file.

  It is made on the host by Pillow, of the extra `viz`.
  """
  return _webp(image)


def information_curves(
  logits_fn: types.LogitsFn,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  label: score_functions.Label | None = None,
  shares: Sequence[float | int] = _SHARES,
  start: float | int = 0.01,
  fill: Callable[..., Float[Array, 'H W C']] = mean_of_neighbours,
  entropy: Entropy = residual_entropy,
  by_size: bool = False,
  monotone: bool = True,
  num_points: int = 101,
  batch_size: int | None = None,
) -> InformationCurves:
  """Brings the best pixels back into a blurred image.

  The paper takes images of a probability of at least .8, and the median of the
  curves over images; both are the caller's.

  Args:
    logits_fn: logits of one example.
    x: one image in [0, 1].
    scores: of its pixels, broadcastable against `x`; summed over channels.
    key: consumed, by ties (draw 0) and by the pixels of the start (draw 1).
    label: class; `None` is the decision on `x`.
    shares: of the pixels that come back, each rounded up, ascending.
    start: share of the pixels, at random, that is never blurred, rounded down;
      the corners are not either.
    fill: `(x, known)` to the image of which only the pixels with `known` 1 are
      left: what is blurred.
    entropy: of an image, in any unit: `residual_entropy` or `webp`.
    by_size: whether `|scores|` rank, as for a gradient: see `maps.py`.
    monotone: whether a score that was reached counts from there on.
    num_points: of the curves, evenly from 0 to 1.
    batch_size: calls of `logits_fn` held in memory at once; `None` holds all.
  """
  checks.count('num_points', num_points, 2)
  checks.within('start', start, '[0, 1]')
  for share in shares:
    checks.within('shares', share, '(0, 1]')
  x = examples.arrays(x)
  dtype = examples.accumulator(examples.result_dtype(x))
  values = maps.per_pixel(scores, x, by_size=by_size)
  ranks = ranking.ranks(values, key=key)
  pixels = jnp.arange(values.size, dtype=jnp.int32)
  order = jax.random.permutation(sampling.draw_key(key, 1), pixels)
  kept = (order < int(start * values.size)).reshape(values.shape)
  kept = kept.at[jnp.array([0, 0, -1, -1]), jnp.array([0, -1, 0, -1])].set(True)
  counts = [0, *(selection.count(s, values.size) for s in shares)]
  if label is None:
    label = jnp.argmax(logits_fn(x))
  prob_fn = score_functions.prob(lambda _, z: z, (), label)

  def measured(count):
    known = kept | (ranks < count)
    # The whole image is what comes last, and is not filled.
    filled = fill(x, known.astype(x.dtype))
    image = jnp.where(count < 0, x, jnp.where(known[..., None], x, filled))
    logits = logits_fn(image)
    decided = (jnp.argmax(logits) == label).astype(dtype)
    return (
      entropy(image).astype(dtype),
      prob_fn(logits).astype(dtype),
      jnp.where(jnp.any(jnp.isnan(logits)), jnp.nan, decided),
    )

  entropies, probs, right = sampling.batched_map(
    measured,
    jnp.asarray([*counts, -1], jnp.int32),
    batch_size=batch_size,
  )
  at = jnp.linspace(0, 1, num_points, dtype=dtype)
  curve = functools.partial(_curve, at, entropies, monotone=monotone)
  softmax, accuracy = curve(probs), curve(right)
  out = InformationCurves(
    information=at,
    softmax_curve=softmax,
    accuracy_curve=accuracy,
    sic=deletion.trapezoids(at, softmax),
    aic=deletion.trapezoids(at, accuracy),
    entropies=entropies,
    probs=probs,
  )
  return maps.if_finite(out, scores)._replace(information=at)


def _curve(at, entropies, values, *, monotone):
  """Returns the scaled values by the scaled entropies, at the points."""
  scaled = [
    jnp.clip((a[1:-1] - a[0]) / (a[-1] - a[0]), 0, 1)
    for a in (entropies, values)
  ]
  if monotone:
    scaled[1] = jax.lax.cummax(scaled[1])
  # The ends close the curve, behind what is at the same information.
  ends = jnp.array([0, 1], at.dtype)
  information, score = (jnp.concatenate([a, ends]) for a in scaled)
  order = jnp.argsort(information, stable=True)
  curve = jnp.interp(at, information[order], score[order])
  rises = (entropies[-1] > entropies[0]) & (values[-1] > values[0])
  return jnp.where(rises, curve.at[-1].set(1), jnp.nan)


def _webp_sizes(batch: np.ndarray) -> np.ndarray:
  """Returns the bytes of each image of a batch."""
  try:
    from PIL import Image
  except ImportError as e:
    raise ImportError('metrics.webp asks for Pillow: pip install pillow') from e

  def size(image):
    pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    with io.BytesIO() as f:
      Image.fromarray(pixels).save(f, format='webp', lossless=True, quality=100)
      return f.tell()

  return np.array([size(image) for image in batch], np.float64)


_webp = host.from_host(_webp_sizes)
