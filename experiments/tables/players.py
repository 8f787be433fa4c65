"""Methods of players as methods of images: players are cells or superpixels.

What a flag or a config can spell is the number of cells a side, or of
superpixels, and what a hidden one shows; a masker is neither.
"""

from collections.abc import Callable, Mapping
import functools
import inspect
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np

from experiments.core import superpixels
from saliency_jax import maskers
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import graphs
from saliency_jax.core import types

# How many superpixels, or which one each pixel of one image is in.
Segments = int | Int[np.ndarray, 'H W']


def of_image(
  method: Callable[..., types.Attribution],
) -> Callable[..., types.Attribution]:
  """Returns the method with settings of an image in the place of `masker`.

  These are `cells`, a number or two; `segments`, superpixels in the place of
  the cells: how many, which SLIC then looks for on the host, or the superpixel
  of each pixel; and `baseline`. Who asks for neighbours (`l_shapley` and its
  like) needs them pixel by pixel, before the program runs: see `by_image`.
  """
  known = inspect.signature(method).parameters

  def explain(
    fn: types.ScoreFn,
    x: Float[Array, 'H W C'],
    *,
    key: Key[Array, ''] | None = None,
    cells: int | tuple[int, int] = 14,
    segments: Segments | None = None,
    baseline: baselines.Baseline = baselines.black,
    **settings: Any,
  ) -> types.Attribution:
    masker = functools.partial(maskers.grid, cells=cells)
    if isinstance(segments, np.ndarray):
      masker = functools.partial(maskers.segments, labels=segments)
      if 'edges' in known:
        settings['edges'] = graphs.of_segments(segments)
    elif segments is not None:
      if 'edges' in known:
        raise ValueError(
          f'segments={segments}: which superpixels touch is known only when '
          'the program runs: expected cells'
        )
      masker = functools.partial(
        maskers.segments, labels=_found(x, segments), num=segments
      )
    masker = functools.partial(masker, baseline=baseline)
    return method(fn, x, key=key, masker=masker, **settings)

  own = [
    p
    for p in inspect.signature(explain).parameters.values()
    if p.kind is not inspect.Parameter.VAR_KEYWORD
  ]
  others = [
    p
    for name, p in known.items()
    # What a flag cannot spell.
    if name not in ('fn', 'x', 'key', 'masker', 'edges')
  ]
  explain = functools.wraps(method)(explain)
  explain.__signature__ = inspect.Signature([*own, *others])
  return explain


def labels(
  image: Float[np.ndarray, 'H W C'],
  settings: Mapping[str, Mapping[str, Any]],
  num: int | None,
  given: Mapping[str, Mapping[str, Any]],
) -> dict[str, Int[np.ndarray, 'H W']]:
  """Returns the superpixels of one image, by method that has them for players.

  Args:
    image: in [0, 1].
    settings: of methods, by name, all of them.
    num: superpixels of methods for which nothing else is given.
    given: what a user asks for, of `settings`.
  """
  wanted = {}
  for name, every in settings.items():
    if every.get('segments') is not None:
      wanted[name] = every['segments']
    elif num is not None and 'segments' in every and 'cells' not in given[name]:
      wanted[name] = num
  most = image.shape[0] * image.shape[1]
  for name, count in wanted.items():
    checks.count(f'{name}.segments', count, 2, most)
  found = {n: superpixels.find(image, n) for n in set(wanted.values())}
  return {name: found[count] for name, count in wanted.items()}


def takes_segments(method: Callable[..., Any]) -> bool:
  """Returns whether a method can have superpixels for players."""
  return 'segments' in inspect.signature(method).parameters


def by_image(
  method: Callable[..., Any], settings: Mapping[str, Any]
) -> int | None:
  """Returns how many superpixels a method wants of each image before it runs.

  It is `None` where one program does for all images: without superpixels, and
  where nobody asks which of them touch.

  Args:
    method: of `of_image`, or any other.
    settings: all of them.
  """
  segments = settings.get('segments')
  known = inspect.signature(inspect.unwrap(method)).parameters
  return segments if isinstance(segments, int) and 'edges' in known else None


def _found(x, num):
  """Returns the superpixel of each pixel of an image of a running program."""
  checks.count('segments', num, 2, x.shape[0] * x.shape[1])
  find = lambda images: np.stack([superpixels.find(i, num) for i in images])
  labels = scores.from_host(find, x.shape[:2])(x.astype(jnp.float32))
  return labels.astype(jnp.int32)
