"""What a classifier is here: a function, its parameters and its facts."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float, Num

from saliency_jax.core import types

# Parameters and one example in, the logits of its classes out.
ApplyFn = Callable[[Any, Num[Array, '*x']], Float[Array, ' k']]


class Spec(NamedTuple):
  """The facts about a network that callers need and its weights do not tell.

  Attributes:
    name: how the network is called in tables and error messages.
    input_shape: of one example, `(H, W, C)` for images; `None` for an axis of
      any length, such as the axis of a sentence's tokens. Of several inputs a
      pytree of shapes: a tuple of them where the network takes as many
      arguments.
    crop: side of the central square that becomes the input, as a fraction of
      the photo's shorter side; the square is resized to `(H, W)`.
    class_names: one name a class, or empty where they are not known.
    taps: names that `jax.ad_checkpoint.checkpoint_name` gives intermediates,
      from the one nearest the output to the one nearest the input.
    layers: paths into `params`, keys joined by '/', each the subtree of one
      layer, in the order in which an example passes through them.
    input_dtype: of one example where it is not the parameters', such as 'int32'
      for token ids; maps of these are made by forward calls only. Of several
      inputs one for all, or a pytree as `input_shape`.
    resample: the filter that resizes the photo's square, 'bicubic' or
      'bilinear'.
    channels_first: whether a user's own network takes images `[C, H, W]`, where
      examples are `[H, W, C]` all the same: each input of three axes is turned.
      Examples that are `[C, H, W]` themselves need no turning.
  """

  name: str
  input_shape: Any
  crop: float = 1.0
  class_names: tuple[str, ...] = ()
  taps: tuple[str, ...] = ()
  layers: tuple[str, ...] = ()
  input_dtype: Any = None
  resample: str = 'bicubic'
  channels_first: bool = False


class Model(NamedTuple):
  """A classifier: logits are `apply(params, x)`.

  Attributes:
    apply: maps the parameters and one example in [0, 1], without a batch axis,
      to its logits; the network's own normalisation is inside. Batches are
      `jax.vmap(apply, (None, 0))`.
    params: pytree of the differentiable parameters.
    spec: what else is known about the network.
    statistics: of a network with batch normalisation, for its training.
  """

  apply: ApplyFn
  params: Any
  spec: Spec
  statistics: types.Statistics | None = None
