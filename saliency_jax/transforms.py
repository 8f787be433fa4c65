"""Methods made of methods: `transform(method, **settings) -> method`.

`times_input(gradient)` is gradient x input; `absolute(smooth(gradient))` is the
map that is most often drawn of SmoothGrad. Each keeps the signature of its
method, settings and all, so they nest, and hands on the `info` of that one.
"""

from collections.abc import Callable
import functools
import inspect
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array

from saliency_jax import taps
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import selection
from saliency_jax.core import stopping
from saliency_jax.core import types


def map_scores(
  method: types.Method, f: Callable[[types.Example, types.Example], Any]
) -> types.Method:
  """Returns the method whose scores are `f(scores, x)` of another's."""

  @functools.wraps(method)
  def mapped(fn, x, *, key=None, **settings):
    scores, info = method(fn, x, key=key, **settings)
    return types.Attribution(f(scores, x), info)

  return mapped


def times_input(
  method: types.Method, *, baseline: baselines.Baseline = 0
) -> types.Method:
  """Multiplies the scores with the input's way from a baseline.

  Args:
    method: the method whose scores are multiplied.
    baseline: a number, an array, or a function that draws nothing.

  Examples:
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> from saliency_jax import transforms
    >>> method = transforms.times_input(saliency_jax.gradient)
    >>> print(method(lambda x: (x**2).sum(), jnp.arange(3.0)).scores)
    [0. 2. 8.]
  """

  def multiply(scores, x):
    x = examples.floats(x)
    start = baselines.evaluate(baseline, x, None)
    return jax.tree.map(lambda s, a, b: s * (a - b), scores, x, start)

  return map_scores(method, multiply)


def at_tap(method: types.Method, name: str) -> types.Method:
  """Explains at a named intermediate: layer attribution by any method.

  `fn` is cut in two at the name (see `taps.split`), and the method explains the
  second part at the value that the first makes of `x`. The scores are like that
  value. What else the second part reads, by ways around the cut, stays as it is
  at `x`: without such ways the scores of a complete method are complete.

  The method's `baseline` is one of `x`, and the first part makes of it the
  baseline of the intermediate: black stands for what the network makes of a
  black image, not for zeros. All other settings (noise levels, maskers,
  references) are of the intermediate.

  Args:
    method: any method; its baseline, too, may be bound or given later.
    name: of the intermediate, by `jax.ad_checkpoint.checkpoint_name`.

  Raises:
    ValueError: when called, for a name that cannot be cut at.
  """
  settings_of = inspect.signature(method).parameters

  @functools.wraps(method)
  def tapped(fn, x, *, key=None, **settings):
    x = examples.arrays(x)
    trunk, head = taps.split(fn, x, name)
    value, rest = trunk(x)
    if 'baseline' in settings_of:
      given = settings.get('baseline', settings_of['baseline'].default)

      def baseline(value, *, key=None):
        del value
        start = given(x, key=key) if callable(given) else given
        return trunk(baselines.evaluate(start, x, None))[0]

      settings = {**settings, 'baseline': baseline}
    return method(lambda value: head(value, rest), value, key=key, **settings)

  return tapped


def absolute(method: types.Method) -> types.Method:
  """Takes the absolute value of each score."""
  return map_scores(method, lambda scores, x: jax.tree.map(jnp.abs, scores))


def squared(method: types.Method) -> types.Method:
  """Takes the square of each score."""
  return map_scores(method, lambda scores, x: jax.tree.map(jnp.square, scores))


def sparsify(
  method: types.Method, *, sparsity: types.Scalar = 0.75
) -> types.Method:
  """Sets the smallest scores of an example, by size, to zero.

  Args:
    method: the method to thin out.
    sparsity: share of the scores that become zero at least, in [0, 1]: rounded
      up to a whole number, and more where scores tie.
  """
  checks.within('sparsity', sparsity, '[0, 1]')

  def cut(scores, x):
    del x
    sizes = jnp.abs(jax.flatten_util.ravel_pytree(scores)[0])
    count = selection.count(sparsity, sizes.size)
    # The count-th smallest goes, and all that is no larger; none for zero.
    limit = selection.kth_smallest(sizes, count)
    limit = jnp.where(jnp.asarray(count) > 0, limit, -1)
    return jax.tree.map(lambda a: jnp.where(jnp.abs(a) > limit, a, 0), scores)

  return map_scores(method, cut)


def sum_channels(method: types.Method) -> types.Method:
  """Sums the scores of an image `[H, W, C]` over its channels: `[H, W, 1]`."""
  return map_scores(method, lambda scores, x: _over_channels(jnp.sum, scores))


def max_channels(method: types.Method) -> types.Method:
  """Takes the largest score over an image's channels: `[H, W, 1]`."""
  return map_scores(method, lambda scores, x: _over_channels(jnp.max, scores))


def to_image(
  method: types.Method,
  *,
  layout: Callable[[Array], Array] = taps.channels_last,
) -> types.Method:
  """Makes scores of a layer a map of the image `[H, W, 1]`.

  They are summed over the channels, and stretched as `grad_cam` stretches its
  map. Any method that scores a tap is drawn so:
  `to_image(functools.partial(lrp, at='features'))`, `to_image(at_tap(...))`.

  Args:
    method: its scores are those of a layer.
    layout: maps the layer to `[h, w, K]`: see `taps`.
  """

  def stretched(scores, x):
    checks.image(x)
    scores = jnp.sum(layout(scores), axis=-1)
    return jax.image.resize(scores, x.shape[:2], 'bilinear')[..., None]

  return map_scores(method, stretched)


class SmoothInfo(NamedTuple):
  """How far the Monte Carlo mean may be from the expectation.

  Attributes:
    stderr: standard error of each score.
    inner: mean over the draws of the wrapped method's own `info`.
    draws: how many they are, and whether a tolerance is met.
  """

  stderr: types.Example
  inner: Any
  draws: stopping.Draws


def smooth(
  method: types.Method,
  *,
  sigma: types.Sigma = 0.15,
  num_samples: int = 64,
  batch_size: int | None = 8,
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> types.Method:
  """Averages a method over Gaussian neighbours of the example.

  The scores are `E_z[method(fn, x + z)]` with `z ~ N(0, sigma^2 I)`;
  `smooth(gradient)` is SmoothGrad (Smilkov et al., 2017,
  https://arxiv.org/abs/1706.03825), with the draws of `smooth_grad`.

  Args:
    method: the method to average; it gets a key of its own for each draw.
    sigma: standard deviation of the noise in units of `x`, or a function of
      `x` that returns it (`smoothgrad.of_range`).
    num_samples: draws of the noise; the most of them with a tolerance.
    batch_size: draws held in memory at once; `None` holds them all.
    tolerance: draws until the largest standard error is no more: see
      `core/stopping.py`.
    start: an earlier smoothed map with the same key and settings, whose draws
      are the first of these.
  """
  watched = lambda mean, variance: variance[0]
  average = functools.partial(
    stopping.moments, tolerance=tolerance, watched=watched
  )

  @functools.wraps(method)
  def smoothed(fn, x, *, key=None, **settings):
    x = examples.floats(x)

    def at(neighbour, own_key):
      return method(fn, examples.like(neighbour, x), key=own_key, **settings)

    (scores, inner), (variance, _), draws = sampling.over_neighbours(
      at,
      examples.wide(x),
      key=key,
      sigma=sigma,
      num_samples=num_samples,
      batch_size=batch_size,
      average=functools.partial(average, start=_restored(start)),
    )
    stderr = stopping.standard_error(variance, draws)
    return examples.attribution(x, scores, SmoothInfo(stderr, inner, draws))

  return smoothed


def _restored(start):
  """Returns the moments of an earlier smoothed map, if there is one."""
  if start is None:
    return None
  info = stopping.info_of(start, SmoothInfo)
  found = stopping.restored(
    examples.wide(start.scores), info.stderr, info.draws
  )
  # The spread of what the method says is not looked at.
  nothing = jax.tree.map(jnp.zeros_like, info.inner)
  return stopping.Moments(
    types.Attribution(found.mean, info.inner),
    types.Attribution(found.variance, nothing),
    info.draws,
  )


def _over_channels(reduce: Callable[..., Array], scores: Array) -> Array:
  checks.image(scores)
  return reduce(scores, axis=-1, keepdims=True)
