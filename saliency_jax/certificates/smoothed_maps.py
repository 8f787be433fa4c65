"""Smoothed maps with entries in [0, 1], whose change can be bounded.

    h_i(x) = E[v_i(x + z)],  v(x) in [0, 1]^n

The noise `z` is Gaussian, `N(0, sigma^2 I)`, or another of `noises`. The map
`v` is made from a base map `m`, by default `|grad f|`, in one of the ways of
`draws`. Each smoothed map carries what its certificate needs, in
`terms.SmoothedInfo`.

A map goes on from an earlier one by `start`: with the same key and settings it
is the map of `num_samples` draws. Its certificates hold for a number of draws
that was settled before any certificate was looked at; they do not for one to
which draws were added until the certificate pleased: `rounds` is for that. For
the same reason there is no `tolerance`: a number of draws that depends on what
they show has another confidence than the bounds state.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
"""

from jaxtyping import Array, Key

from saliency_jax.certificates import draws
from saliency_jax.certificates import noises
from saliency_jax.certificates import shared_draws
from saliency_jax.core import types

magnitude = shared_draws.magnitude
channel_magnitude = shared_draws.channel_magnitude


def scaled_map(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  base: types.Method = magnitude,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  batch_size: int | None = 8,
  start: types.Attribution | None = None,
  noise: noises.Noise = noises.GAUSSIAN,
) -> types.Attribution:
  """Averages base maps divided by their maximum.

  Args:
    fn: score of one example, in the paper the largest logit.
    x: the example.
    key: consumed; required.
    base: makes the map that is smoothed; its scores' absolute values count.
    sigma: standard deviation of the noise, in units of `x`.
    num_samples: draws `q` of the noise; certificates want thousands.
    batch_size: draws held in memory at once; `None` holds them all.
    start: an earlier map with the same key and settings, whose draws are the
      first of these: see the top of this file.
    noise: one of `noises`, for balls of L2 or of L1.

  Raises:
    ValueError: without a key, for `sigma <= 0` or fewer than one draw.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from saliency_jax import certificates
    >>> fn = lambda x: x @ jnp.arange(5.0)
    >>> found = certificates.scaled_map(
    ...   fn, jnp.ones(5), key=jax.random.key(0), num_samples=16
    ... )
    >>> print(np.asarray(found.scores).round(2))
    [0.   0.25 0.5  0.75 1.  ]
  """
  settings = (key, sigma, num_samples, batch_size, start, noise)
  return _smoothed(draws.scaled(), fn, x, base, settings)


def quadratic_map(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  base: types.Method = magnitude,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  batch_size: int | None = 8,
  start: types.Attribution | None = None,
  noise: noises.Noise = noises.GAUSSIAN,
) -> types.Attribution:
  """Averages the squares of what `scaled_map` averages; its arguments.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from saliency_jax import certificates
    >>> fn = lambda x: x @ jnp.arange(5.0)
    >>> found = certificates.quadratic_map(
    ...   fn, jnp.ones(5), key=jax.random.key(0), num_samples=16
    ... )
    >>> print(np.asarray(found.scores).round(2))
    [0.   0.06 0.25 0.56 1.  ]
  """
  settings = (key, sigma, num_samples, batch_size, start, noise)
  return _smoothed(draws.quadratic(), fn, x, base, settings)


def sparsified_map(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  base: types.Method = magnitude,
  tau: float | int = 0.2,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  batch_size: int | None = 8,
  start: types.Attribution | None = None,
  noise: noises.Noise = noises.GAUSSIAN,
) -> types.Attribution:
  """Counts how often each entry is among the `tau n` largest of a base map.

  Scores are exact multiples of `1 / num_samples`. Entries that tie for the last
  of the places do not count, nor do zeros: never more than `ceil(tau n)` do.

  Args:
    fn: score of one example, in the paper the largest logit.
    x: the example.
    key: consumed; required.
    base: makes the map that is smoothed; its scores' absolute values count.
    tau: share of the entries that count, in (0, 1].
    sigma: standard deviation of the noise, in units of `x`.
    num_samples: draws `q` of the noise; certificates want thousands.
    batch_size: draws held in memory at once; `None` holds them all.
    start: an earlier map with the same key and settings, whose draws are the
      first of these: see the top of this file.
    noise: one of `noises`, for balls of L2 or of L1.

  Raises:
    ValueError: without a key, for a bad share, `sigma <= 0` or no draw.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from saliency_jax import certificates
    >>> fn = lambda x: x @ jnp.arange(5.0)
    >>> found = certificates.sparsified_map(
    ...   fn, jnp.ones(5), key=jax.random.key(0), num_samples=16
    ... )
    >>> print(np.asarray(found.scores).round(2))
    [0. 0. 0. 0. 1.]
  """
  settings = (key, sigma, num_samples, batch_size, start, noise)
  return _smoothed(draws.sparsified(tau), fn, x, base, settings)


def relaxed_map(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  base: types.Method = magnitude,
  tau: float | int = 0.2,
  gamma: float | int = 0.01,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  batch_size: int | None = 8,
  start: types.Attribution | None = None,
  noise: noises.Noise = noises.GAUSSIAN,
) -> types.Attribution:
  """Averages base maps that keep their sizes among the `tau n` largest.

  Args:
    fn: score of one example, in the paper the largest logit.
    x: the example.
    key: consumed; required.
    base: makes the map that is smoothed; its scores' absolute values count.
    tau: share of the entries that are not zero, in (0, 1].
    gamma: share of the entries that are one, in [0, tau]; at 0 it is the
      largest alone.
    sigma: standard deviation of the noise, in units of `x`.
    num_samples: draws `q` of the noise; certificates want thousands.
    batch_size: draws held in memory at once; `None` holds them all.
    start: an earlier map with the same key and settings, whose draws are the
      first of these: see the top of this file.
    noise: one of `noises`, for balls of L2 or of L1.

  Raises:
    ValueError: without a key, for bad shares, `sigma <= 0` or no draw.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from saliency_jax import certificates
    >>> fn = lambda x: x @ jnp.arange(5.0)
    >>> found = certificates.relaxed_map(
    ...   fn, jnp.ones(5), key=jax.random.key(0), num_samples=16
    ... )
    >>> print(np.asarray(found.scores).round(2))
    [0. 0. 0. 0. 1.]
  """
  settings = (key, sigma, num_samples, batch_size, start, noise)
  return _smoothed(draws.relaxed(tau, gamma), fn, x, base, settings)


def median_rank(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  base: types.Method = magnitude,
  num_bins: int = 64,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  batch_size: int | None = 1,
  start: types.Attribution | None = None,
  noise: noises.Noise = noises.GAUSSIAN,
) -> types.Attribution:
  """Bounds the median over noise of the rank of each entry, 1 for the largest.

  Ranks are counted in bins of equal width: memory is `batch_size num_bins` of
  the map's, whatever the number of draws. Each draw sorts the entries, which
  for large examples costs as much as their gradient; `sparsified_map` tells
  without a sort whether the median rank is at most `tau n`.

  Args:
    fn: score of one example.
    x: the example.
    key: consumed; required.
    base: makes the map whose entries are ranked, by absolute value.
    num_bins: bins of the histogram; the bound is at most `n / num_bins` high.
    sigma: standard deviation of the noise, in units of `x`.
    num_samples: draws of the noise.
    batch_size: draws held in memory at once; `None` holds them all.
    start: an earlier map with the same key and settings, whose draws are the
      first of these.
    noise: one of `noises`.

  Returns:
    Scores `-rank / n`, in [-1, 0), of the upper ends of the bins.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from saliency_jax import certificates
    >>> fn = lambda x: x @ jnp.arange(5.0)
    >>> found = certificates.median_rank(
    ...   fn, jnp.ones(5), key=jax.random.key(0), num_samples=16
    ... )
    >>> print(jnp.argsort(-found.scores)[0])
    4
  """
  settings = (key, sigma, num_samples, batch_size, start, noise)
  return _smoothed(draws.ranked(num_bins), fn, x, base, settings)


def _smoothed(kind, fn, x, base, settings):
  """Averages the values of a kind over Gaussian neighbours of `x`."""
  key, sigma, num_samples, batch_size, start, noise = settings
  found = shared_draws.several(
    fn,
    x,
    key=key,
    kinds={'map': kind},
    base=base,
    sigma=sigma,
    num_samples=num_samples,
    batch_size=batch_size,
    start=None if start is None else {'map': start},
    noise=noise,
  )
  return found['map']
