"""The nnx layers and activations that the networks here are built from."""

from collections.abc import Callable, Mapping, Sequence
import functools
import math
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
import numpy as np

from saliency_jax.models import convolutions

Activation = Callable[[Float[Array, '...']], Float[Array, '...']]


def relu6(x: Float[Array, '...']) -> Float[Array, '...']:
  """Clips to [0, 6], with derivative 1 strictly inside and 0 elsewhere.

  `jax.nn.relu6` has derivative 1/2 at the two kinks, and two equations.
  """
  return jax.lax.clamp(jnp.zeros((), x.dtype), x, jnp.full((), 6, x.dtype))


def softplus(sharpness: float | int) -> Activation:
  """Returns a ReLU rounded within about `1 / sharpness` of its kink.

  A network that has it in the place of its ReLUs has second derivatives, and
  can be attacked in their place: see `attacks.top_k_attack`'s `surrogate`.
  """
  if not sharpness > 0:
    raise ValueError(f'sharpness must be positive, got {sharpness}')
  return lambda x: jax.nn.softplus(sharpness * x) / sharpness


class Conv(nnx.Module):
  """A convolution, of each channel apart if `depthwise`."""

  def __init__(
    self,
    in_features: int,
    out_features: int,
    window: Sequence[int],
    *,
    strides: Sequence[int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = 'SAME',
    depthwise: bool = False,
    use_bias: bool = False,
    fast: bool = True,
    rngs: nnx.Rngs,
  ):
    shape = (*window, in_features, out_features)
    if depthwise:
      if in_features != out_features:
        raise ValueError(
          f'a depthwise convolution keeps its {in_features} channels, got '
          f'{out_features} to put out'
        )
      shape = (*window, in_features)
    fan_in = math.prod(window) * (1 if depthwise else in_features)
    init = nnx.initializers.normal(math.sqrt(2 / fan_in))
    self.kernel = nnx.Param(init(rngs.params(), shape))
    self.bias = nnx.data(None)
    if use_bias:
      self.bias = nnx.Param(jnp.zeros(out_features))
    self.strides = tuple(strides)
    self.padding = padding
    self.depthwise = depthwise
    self.fast = fast

  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n i j d']:
    """Convolves a batch of images."""
    convolve = (
      convolutions.depthwise_conv if self.depthwise else convolutions.conv
    )
    x = convolve(
      x,
      self.kernel[...],
      strides=self.strides,
      padding=self.padding,
      fast=self.fast,
    )
    return x if self.bias is None else x + self.bias[None, None, None]


class ConvNorm(nnx.Module):
  """A convolution and the batch normalisation of its output."""

  def __init__(
    self,
    in_features: int,
    out_features: int,
    window: int,
    *,
    epsilon: float,
    rngs: nnx.Rngs,
    **conv: Any,
  ):
    self.conv = Conv(
      in_features, out_features, (window, window), rngs=rngs, **conv
    )
    self.norm = nnx.BatchNorm(
      out_features, momentum=0.99, epsilon=epsilon, rngs=rngs
    )

  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n i j d']:
    """Maps a batch of feature maps."""
    return self.norm(self.conv(x))


class LayerNorm(nnx.Module):
  """Standardises each token, then scales and shifts it.

  In the dtype that it is given, as flax's own is not under strict promotion.
  """

  def __init__(self, width: int, *, epsilon: float):
    self.scale = nnx.Param(jnp.ones(width))
    self.bias = nnx.Param(jnp.zeros(width))
    self.epsilon = epsilon

  def __call__(self, h: Float[Array, '*n d']) -> Float[Array, '*n d']:
    """Maps tokens."""
    h = h - jnp.mean(h, -1, keepdims=True)
    variance = jnp.mean(jnp.square(h), -1, keepdims=True)
    own = (1,) * (h.ndim - 1) + (-1,)
    scale, bias = (a[...].reshape(own) for a in (self.scale, self.bias))
    return h * jax.lax.rsqrt(variance + self.epsilon) * scale + bias


class Attention(nnx.Module):
  """Self-attention of several heads."""

  def __init__(self, width: int, num_heads: int, *, rngs: nnx.Rngs):
    if width % num_heads:
      raise ValueError(f'{num_heads} heads do not divide a width of {width}')
    linear = functools.partial(nnx.Linear, width, width, rngs=rngs)
    self.query, self.key = linear(), linear()
    self.value, self.out = linear(), linear()
    self.num_heads = num_heads

  def __call__(
    self,
    h: Float[Array, '*n t d'],
    read: Bool[Array, '*n t'] | None = None,
  ) -> Float[Array, '*n t d']:
    """Mixes the tokens of each example, with `read` those that it names."""
    apart = lambda a: a.reshape(*a.shape[:-1], self.num_heads, -1)
    q, k, v = (apart(f(h)) for f in (self.query, self.key, self.value))
    logits = jnp.einsum('...ihd,...jhd->...hij', q, k) / math.sqrt(q.shape[-1])
    if read is not None:
      logits = jnp.where(read[..., None, None, :], logits, -jnp.inf)
    mixed = jnp.einsum('...hij,...jhd->...ihd', jax.nn.softmax(logits), v)
    return self.out(mixed.reshape(h.shape))


def fill(
  variable: nnx.Variable,
  arrays: Mapping[str, np.ndarray],
  name: str,
  axes: Sequence[int] | None = None,
) -> None:
  """Puts a named array into a variable of a module, in place.

  Args:
    variable: holds an array or, of a module not yet filled in, its shape.
    arrays: by name.
    name: which of them.
    axes: permutation of the array's axes that brings it into the variable's
      order; the axis of a depthwise kernel's single input is dropped.

  Raises:
    ValueError: if there is no such array, or it has another size.
  """
  if name not in arrays:
    raise ValueError(f'the weights lack {name!r}')
  array = arrays[name]
  if axes is not None:
    if array.ndim != len(axes):
      raise ValueError(
        f'expected {len(axes)} axes of {name!r}, got {array.shape}'
      )
    array = array.transpose(axes)
  shape = variable.get_value().shape
  if array.ndim == 4 and len(shape) == 3:
    array = array.squeeze(2)
  if array.shape != shape:
    raise ValueError(f'expected shape {shape} of {name!r}, got {array.shape}')
  variable.set_value(jnp.asarray(array, jnp.float32))
