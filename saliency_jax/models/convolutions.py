"""Convolutions and pools that are fast on CPUs too, differentiable throughout.

A convolution is one trilinear form in an image `x`, a kernel `k` and an output
`y`; of stride `s` and padding `p`, and of each channel `c` apart (depthwise),

  T(x, k, y) = sum_{n,i,j,a,b,c} x[n, s i + a - p, s j + b - p, c]
                                 k[a, b, c] y[n, i, j, c]

Its three partial gradients are the bilinear maps `y = conv(x, k)`,
`x = transpose(y, k)` and `k = kernel(x, y)`. Each is a primitive here, and the
derivatives of any of them are the other two, so they are closed under jvp, vjp
and vmap in any order. They are primitives because XLA's own forms are slow on
CPUs: a grouped convolution is many times slower than a sum of shifted slices,
which is the depthwise maps' CPU lowering, and in the body of a loop the
gradient of a dense one misses the fast kernels unless it is spelled as a
convolution. On other platforms the depthwise maps are XLA's.

References:
  Howard et al., MobileNets: efficient convolutional neural networks for mobile
  vision applications, 2017. https://arxiv.org/abs/1704.04861
"""

from collections.abc import Sequence
import functools
import math
from typing import Any, NamedTuple

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad
from jax.interpreters import batching
from jax.interpreters import mlir
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.core import primitives
from saliency_jax.models import slices

_DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')


def conv(
  x: Float[Array, 'n h w c'],
  kernel: Float[Array, 'a b c d'],
  *,
  strides: Sequence[int] = (1, 1),
  padding: str | Sequence[tuple[int, int]] = 'SAME',
  fast: bool = True,
) -> Float[Array, 'n i j d']:
  """Convolves every input channel into every output channel.

  Args:
    x: images.
    kernel: weights of the window, input channel, output channel.
    strides: of the window, down and across.
    padding: 'SAME' (TensorFlow's: more at the end than the start) or 'VALID',
      or how many zeros are put before and after the rows, and the columns.
    fast: whether to use the primitives of this module, and a product of
      matrices for windows that neither overlap nor leave the image; otherwise
      it is XLA's convolution.

  Returns:
    The images of the output channels.
  """
  geometry = _geometry(x, kernel, strides, padding)
  if fast and geometry['padding'] == ((0, 0), (0, 0)):
    window, strides = kernel.shape[:2], geometry['strides']
    if window == (1, 1):
      if strides != (1, 1):
        x = x[:, :: strides[0], :: strides[1]]
      return jnp.einsum('nhwc,cd->nhwd', x, kernel[0, 0])
    if window in (strides, x.shape[1:3]):
      return _patches_conv(x, kernel)
  bind = _dense.conv.bind if fast else _dense_conv
  return bind(x, kernel, **geometry)


def depthwise_conv(
  x: Float[Array, 'n h w c'],
  kernel: Float[Array, 'a b c'],
  *,
  strides: Sequence[int] = (1, 1),
  padding: str | Sequence[tuple[int, int]] = 'SAME',
  fast: bool = True,
) -> Float[Array, 'n i j c']:
  """Convolves each channel with its own window.

  Args:
    x: images.
    kernel: weights of the window of each channel.
    strides: of the window, down and across.
    padding: see `conv`.
    fast: whether to use the primitives of this module, which lower to shifted
      slices on CPUs; otherwise it is XLA's grouped convolution everywhere.

  Returns:
    The images of the channels.
  """
  bind = _depthwise.conv.bind if fast else _plain_conv
  return bind(x, kernel, **_geometry(x, kernel, strides, padding))


def max_pool(
  x: Float[Array, 'n h w c'],
  *,
  window: Sequence[int],
  strides: Sequence[int],
  padding: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
  fast: bool = True,
) -> Float[Array, 'n i j c']:
  """Takes the maximum of each channel over windows.

  Args:
    x: images.
    window: height and width.
    strides: of the window, down and across.
    padding: how far windows reach over the first and last row, and the first
      and last column; they see nothing there.
    fast: whether to take it across, then down, over shifted slices: on CPUs the
      gradient of XLA's windowed reduction is several times slower.

  Returns:
    The maxima. Of entries that tie the first, in the order of rows, has all of
    the gradient, as in torch.
  """
  window, strides = tuple(window), tuple(strides)
  if not fast:
    pads = ((0, 0), *padding, (0, 0))
    return jax.lax.reduce_window(
      x, -jnp.inf, jax.lax.max, (1, *window, 1), (1, *strides, 1), pads
    )
  # A window that reaches over an edge has the edge in it: once more, its
  # entries change no maximum, and no infinity meets another.
  x = _repeat_edges(x, padding)
  for line, step in (
    ((1, window[1]), (1, strides[1])),
    ((window[0], 1), (strides[0], 1)),
  ):
    size = slices.output_size(x.shape[1:3], line, step, ((0, 0), (0, 0)))
    parts = [x_ab for _, x_ab in slices.shifted(x, line, step, size)]
    x = functools.reduce(_larger, parts)
  return x


@jax.custom_jvp
def _larger(a, b):
  return jnp.maximum(a, b)


@_larger.defjvp
def _larger_jvp(primals, tangents):
  # JAX's own shares the tangent of entries that tie.
  return _larger(*primals), jnp.where(primals[0] >= primals[1], *tangents)


def _repeat_edges(x, padding):
  for axis, (low, high) in enumerate(padding, 1):
    first = jax.lax.slice_in_dim(x, 0, 1, axis=axis)
    last = jax.lax.slice_in_dim(x, -1, None, axis=axis)
    parts = [*[first] * low, x, *[last] * high]
    x = jnp.concatenate(parts, axis) if low or high else x
  return x


def _geometry(x, kernel, strides, padding):
  """Returns what is static of a convolution."""
  size, window, strides = x.shape[1:3], kernel.shape[:2], tuple(strides)
  if isinstance(padding, str):
    padding = jax.lax.padtype_to_pads(size, window, strides, padding)
  pads = tuple(map(tuple, padding))
  return dict(strides=strides, padding=pads, size=size, window=window)


def _patches_conv(x, kernel):
  """Convolves windows that lie side by side: a product of matrices."""
  a, b, _, features = kernel.shape
  n, i, j = x.shape[0], x.shape[1] // a, x.shape[2] // b
  x = x[:, : i * a, : j * b].reshape(n, i, a, j, b, x.shape[3])
  windows = x.swapaxes(2, 3).reshape(n, i, j, -1)
  # Of a kernel of four axes the gradient would turn a copy around each time:
  # VGG's dense layer, 400 MB, took seven times as long.
  return windows @ kernel.reshape(-1, features)


# Dense convolutions, the same on all platforms.


def _dense_conv(x, k, *, strides, padding, size, window):
  del size, window
  return jax.lax.conv_general_dilated(
    x, k, strides, padding, dimension_numbers=_DIMENSIONS
  )


def _dense_transpose(y, k, *, strides, padding, size, window):
  # The kernel is turned around in so many words: XLA's own transpose leaves
  # that to its layout, and then the CPU's fast kernels are passed over.
  pads = tuple(
    (w - 1 - low, n - (m - 1) * s - 1 + low)
    for w, (low, _), n, m, s in zip(
      window, padding, size, y.shape[1:3], strides, strict=True
    )
  )
  return jax.lax.conv_general_dilated(
    y,
    jnp.flip(k, (0, 1)).swapaxes(2, 3),
    (1, 1),
    pads,
    lhs_dilation=strides,
    dimension_numbers=_DIMENSIONS,
  )


def _dense_kernel(x, y, **geometry):
  shape = (*geometry['window'], x.shape[3], y.shape[3])
  transpose = jax.linear_transpose(
    lambda k: _dense_conv(x, k, **geometry),
    jax.ShapeDtypeStruct(shape, x.dtype),
  )
  return transpose(y)[0]


# XLA's depthwise convolution and its gradients, for accelerators and for
# comparison.


def _plain_conv(x, k, *, strides, padding, size, window):
  del size, window
  return jax.lax.conv_general_dilated(
    x,
    k[:, :, None],
    strides,
    padding,
    dimension_numbers=_DIMENSIONS,
    feature_group_count=x.shape[3],
  )


def _plain_transpose(y, k, **geometry):
  image = jax.ShapeDtypeStruct(
    (y.shape[0], *geometry['size'], y.shape[3]), y.dtype
  )
  transpose = jax.linear_transpose(
    lambda x: _plain_conv(x, k, **geometry), image
  )
  return transpose(y)[0]


def _plain_kernel(x, y, **geometry):
  kernel = jax.ShapeDtypeStruct((*geometry['window'], x.shape[3]), x.dtype)
  transpose = jax.linear_transpose(
    lambda k: _plain_conv(x, k, **geometry), kernel
  )
  return transpose(y)[0]


class _Maps(NamedTuple):
  """The partial gradients of one trilinear form, as functions or primitives."""

  conv: Any
  transpose: Any
  kernel: Any


def _primitives(name: str, maps: _Maps, on_cpu: _Maps | None = None) -> _Maps:
  """Returns three primitives, the derivatives of each other."""
  on_cpu = on_cpu or maps
  made = _Maps(
    *(
      _primitive(f'{name}_{part}', f, cpu)
      for part, f, cpu in zip(_Maps._fields, maps, on_cpu, strict=True)
    )
  )
  conv, transpose, kernel = made
  # Each rule maps the cotangent of the output and the other operand.
  ad.defbilinear(
    conv,
    lambda y, x, k, **g: transpose.bind(y, k, **g),
    lambda y, x, k, **g: kernel.bind(x, y, **g),
  )
  ad.defbilinear(
    transpose,
    lambda x, y, k, **g: conv.bind(x, k, **g),
    lambda x, y, k, **g: kernel.bind(x, y, **g),
  )
  ad.defbilinear(
    kernel,
    lambda k, x, y, **g: transpose.bind(y, k, **g),
    lambda k, x, y, **g: conv.bind(x, k, **g),
  )
  for primitive, plain, num_terms in zip(made, maps, _NUM_TERMS, strict=True):
    primitives.register(
      primitive.name, primitives.PRODUCTS, num_terms=num_terms, plain=plain
    )
  _batch_image(conv, maps.conv)
  _batch_image(transpose, maps.transpose)
  _batch_kernel(kernel, on_cpu.kernel)
  return made


# How many terms an output of each map sums, at most.
_NUM_TERMS = _Maps(
  conv=lambda eqn: math.prod(eqn.invars[1].aval.shape[:-1]),
  transpose=lambda eqn: math.prod(
    eqn.invars[1].aval.shape[:2] + eqn.invars[1].aval.shape[3:]
  ),
  kernel=lambda eqn: math.prod(eqn.invars[1].aval.shape[:3]),
)


def _primitive(name, f, on_cpu):
  """Returns a primitive, with one lowering for CPUs and one for the rest."""
  primitive = Primitive(name)
  statics = ('strides', 'padding', 'size', 'window')
  primitive.def_impl(jax.jit(primitive.bind, static_argnames=statics))

  def abstract(a, b, **geometry):
    out = jax.eval_shape(functools.partial(f, **geometry), a, b)
    return jax.core.ShapedArray(out.shape, out.dtype)

  primitive.def_abstract_eval(abstract)
  lower = functools.partial(mlir.lower_fun, multiple_results=False)
  mlir.register_lowering(primitive, lower(f))
  mlir.register_lowering(primitive, lower(on_cpu), platform='cpu')
  return primitive


def _batch_image(primitive, f):
  """Merges a batch of images into their own axis; kernels stay single."""

  def rule(args, dims, **geometry):
    (image, kernel), (dim, kernel_dim) = args, dims
    if kernel_dim is not None:
      return jax.vmap(functools.partial(f, **geometry), dims)(*args), 0
    image = jnp.moveaxis(image, dim, 0)
    out = primitive.bind(
      image.reshape(-1, *image.shape[2:]), kernel, **geometry
    )
    return out.reshape(*image.shape[:2], *out.shape[1:]), 0

  batching.primitive_batchers[primitive] = rule


def _batch_kernel(primitive, f):
  """Makes a kernel an example: there is no axis to merge into."""

  def rule(args, dims, **geometry):
    return jax.vmap(functools.partial(f, **geometry), dims)(*args), 0

  batching.primitive_batchers[primitive] = rule


_dense = _primitives(
  'dense_conv', _Maps(_dense_conv, _dense_transpose, _dense_kernel)
)
_depthwise = _primitives(
  'depthwise_conv',
  _Maps(_plain_conv, _plain_transpose, _plain_kernel),
  on_cpu=_Maps(slices.conv, slices.transpose, slices.kernel),
)
