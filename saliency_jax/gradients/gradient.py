"""The plain input gradient.

The scores are `grad f(x)`: how fast the score grows with each feature.

References:
  Simonyan, Vedaldi, Zisserman, Deep inside convolutional networks: visualising
  image classification models and saliency maps, 2013.
  https://arxiv.org/abs/1312.6034
"""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Key

from saliency_jax.core import examples
from saliency_jax.core import types


class GradientInfo(NamedTuple):
  """What the gradient was taken of.

  The gradient is exact: there is no error to report.

  Attributes:
    score: `f(x)`.
  """

  score: Float[Array, '']


def gradient(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
) -> types.Attribution:
  """Returns `grad fn(x)`.

  Gradient x input is `transforms.times_input(gradient)`.

  Args:
    fn: score of one example.
    x: the example.
    key: not used.

  Examples:
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> fn = lambda x: (x**2).sum()
    >>> maps, info = saliency_jax.gradient(fn, jnp.arange(3.0))
    >>> print(maps, info.score)
    [0. 2. 4.] 5.0
  """
  del key  # Nothing is drawn.
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  score, scores = jax.value_and_grad(fn)(wide)
  return examples.attribution(x, scores, GradientInfo(score))
