"""Several smoothed maps of the same draws: one pass of gradients for all.

    h^k_i(x) = E[v^k_i(x + z)]

over noise `z`, Gaussian or another of `noises`. At each neighbour the base map
is made once, and each kind of `draws` makes its values of it. Every map is the
one that its own method makes of the same key.

In half precision only the network sees rounded neighbours: noise is drawn, and
values are ranked and averaged, in float32. The rounding is then a part of the
function that is smoothed, and its certificates hold as any others do. Means
stay in float32, since a rounded mean is not certified.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
"""

from collections.abc import Callable, Mapping
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key
import numpy as np

from saliency_jax import transforms
from saliency_jax.certificates import draws
from saliency_jax.certificates import noises
from saliency_jax.certificates import terms
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import selection
from saliency_jax.core import stopping
from saliency_jax.core import types
from saliency_jax.gradients import gradient

# The paper's base map: each entry of the example is certified on its own. Its
# sum over the channels has fewer entries, and tighter bounds.
magnitude = transforms.absolute(gradient.gradient)
channel_magnitude = transforms.sum_channels(magnitude)


def several(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  kinds: Mapping[str, draws.Kind],
  key: Key[Array, ''] | None = None,
  base: types.Method = magnitude,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  first: types.Scalar = 0,
  batch_size: int | None = 8,
  start: Mapping[str, types.Attribution] | None = None,
  noise: noises.Noise = noises.GAUSSIAN,
) -> dict[str, types.Attribution]:
  """Returns smoothed maps by name, made of the same base maps.

  Args:
    fn: score of one example, in the paper the largest logit.
    x: the example.
    kinds: what is averaged, by name: of `draws`, such as
      `{'top': draws.sparsified(tau=0.1), 'sizes': draws.scaled()}`.
    key: consumed; required.
    base: makes the map whose values are averaged; its scores' absolute values
      count.
    sigma: standard deviation of the noise, in units of `x`.
    num_samples: draws of the noise; certificates want thousands.
    first: number of the first draw: those before are of an earlier call with
      the same key, see `merged`.
    batch_size: draws held in memory at once; `None` holds them all.
    start: earlier maps by name, with the same key and settings, whose draws are
      the first of these. See `smoothed_maps` for what their certificates hold
      of.
    noise: one of `noises`.

  Raises:
    ValueError: without a key or a kind, for `sigma <= 0` or no draw.
  """
  checks.count('the number of kinds', len(kinds))
  fn, wide = examples.widened(fn, examples.floats(x))
  at = values_at(fn, base, kinds, wide.dtype)

  shape = jax.eval_shape(lambda: base(fn, wide, key=None).scores).shape

  def average(at, num, *, batch_size):
    if start is not None:
      earlier = _restored(start, kinds, sigma, noise, shape)
      return stopping.moments(at, num, batch_size=batch_size, start=earlier)
    rows = jnp.asarray(first, jnp.int32) + jnp.arange(num, dtype=jnp.int32)
    moments = sampling.batched_moments(at, rows, batch_size=batch_size)
    return stopping.Moments(*moments, stopping.drawn(num))

  (means, also, told), (variances, _, _), drawn = sampling.over_neighbours(
    lambda neighbour, _: at(neighbour),
    wide,
    key=key,
    sigma=sigma,
    num_samples=num_samples,
    batch_size=batch_size,
    average=average,
    noise=noise.draw,
  )
  found = {}
  for name, kind in kinds.items():
    info = terms.SmoothedInfo(
      variance=variances[name],
      stderr=stopping.standard_error(variances[name], drawn),
      base_zeros=told['zeros'],
      sigma=jnp.asarray(sigma, wide.dtype),
      num_samples=drawn.num,
      mass=jnp.asarray(
        selection.count(kind.share, means[name].size), jnp.int32
      ),
      binary=jnp.asarray(kind.binary),
      num_nonfinite=_whole(told['bad'], drawn.num),
      noise=jnp.asarray(noises.ALL.index(noise), jnp.int32),
    )
    found[name] = kind.finish(means[name], info, also[name], shape)
  return found


def _whole(share, num):
  """Returns a share of a number of draws as a whole number."""
  return jnp.round(share * num.astype(share.dtype)).astype(jnp.int32)


def _restored(start, kinds, sigma, noise, shape):
  """Returns the moments of earlier maps, or raises if they are of others."""
  means, also, variances = {}, {}, {}
  of_all = noises.ALL.index(noise)
  for name, kind in kinds.items():
    begun = kind.begun(start.get(name))
    mass = selection.count(kind.share, math.prod(shape))
    settings = {'mass': mass, 'binary': kind.binary, 'noise': of_all}
    check_same(begun.info, sigma=sigma, **settings)
    means[name], also[name] = begun.values, begun.also
    variances[name] = begun.info.variance
  # The base maps, and what they tell, are the same for all.
  info = begun.info
  num = jnp.asarray(info.num_samples, jnp.int32)
  bad = jnp.asarray(info.num_nonfinite).astype(info.base_zeros.dtype)
  told = {'zeros': info.base_zeros, 'bad': bad / num.astype(bad.dtype)}
  unknown = jax.tree.map(jnp.zeros_like, (also, told))
  return stopping.Moments(
    (means, also, told),
    (variances, *unknown),
    stopping.Draws(num, jnp.asarray(False)),
  )


def check_same(info: Any, **settings: Any) -> None:
  """Raises unless an earlier map has the settings of the one that goes on.

  What is traced is not known, and passes.

  Args:
    info: of the earlier map, with fields of the names of the settings.
    **settings: of the map that goes on.

  Raises:
    ValueError: for other settings.
  """
  for field, value in settings.items():
    known = getattr(info, field)
    if any(isinstance(v, jax.core.Tracer) for v in (known, value)):
      continue
    known = np.asarray(known)
    if np.any(known != np.asarray(value, known.dtype)):
      raise ValueError(
        f'start must be a map of the same settings, got one with {field} = '
        f'{known}, expected {value}'
      )


def values_at(
  fn: types.ScoreFn,
  base: types.Method,
  kinds: Mapping[str, draws.Kind],
  dtype: Any,
) -> Callable[[types.Example], Any]:
  """Returns what is averaged at a neighbour, for all kinds at once.

  It maps a neighbour to the values by kind, what is averaged beside them by
  kind, and of the base map: the share of its zeros, and whether it is not
  finite. Values are NaN there.
  """

  def at(neighbour):
    m = jnp.abs(base(fn, neighbour, key=None).scores)
    # NaN compares as false: it would pass for the smallest, or spoil the count.
    fine = jnp.all(jnp.isfinite(m))
    sizes = jnp.where(fine, m, 0)
    largest = draws.of_sizes(sizes)
    values = {name: kind.values(sizes, largest) for name, kind in kinds.items()}
    also = {name: kind.also(values[name]) for name, kind in kinds.items()}
    values, also = jax.tree.map(
      lambda v: jnp.where(fine, v, jnp.nan), (values, also)
    )
    zeros = jnp.mean((m == 0).astype(dtype))
    return values, also, {'zeros': zeros, 'bad': (~fine).astype(dtype)}

  return at


def merged(
  first: types.Attribution, second: types.Attribution
) -> types.Attribution:
  """Returns the smoothed map of the draws of two, on the host.

  Args:
    first: a map of `several`.
    second: a map of the same kind and settings, whose draws are others: by
      `first=`, or of another key.

  Raises:
    ValueError: for maps of other terms, or of no draws.
  """
  a, b = terms.read(first), terms.read(second)
  same = (a.mean.shape, a.sigma, a.mass, a.binary, a.noise) == (
    b.mean.shape,
    b.sigma,
    b.mass,
    b.binary,
    b.noise,
  )
  if not same or not a.num_samples or not b.num_samples:
    raise ValueError(
      'expected two maps of draws of the same kind, noise, sigma and shape, '
      f'got {a.mean.shape}, sigma {a.sigma:g}, {a.num_samples} draws and '
      f'{b.mean.shape}, sigma {b.sigma:g}, {b.num_samples} draws'
    )
  num = a.num_samples + b.num_samples
  part = b.num_samples / num
  mean = a.mean + part * (b.mean - a.mean)
  # The squares about the common mean, as `sampling.merged` has them.
  variance = (1 - part) * a.variance + part * b.variance
  variance = variance + part * (1 - part) * (b.mean - a.mean) ** 2
  if a.binary:
    mean = np.rint(num * mean) / num
  zeros = first.info.base_zeros, second.info.base_zeros
  info = first.info._replace(
    variance=variance,
    stderr=np.sqrt(variance / max(num - 1, 1)),
    base_zeros=(1 - part) * np.asarray(zeros[0]) + part * np.asarray(zeros[1]),
    num_samples=np.asarray(num, np.int32),
  )
  return types.Attribution(mean, info)
