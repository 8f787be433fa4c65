"""Depthwise convolutions as sums of shifted slices, and their gradients.

XLA fuses the slices into one loop on CPUs. `conv`, `transpose` and `kernel` are
the three maps of `convolutions`, for one window a channel.
"""

import jax
import jax.numpy as jnp


def output_size(size, window, strides, padding):
  """Returns how many windows fit, down and across."""
  return tuple(
    (n + sum(p) - k) // s + 1
    for n, k, s, p in zip(size, window, strides, padding, strict=True)
  )


def shifted(x, window, strides, size):
  """Yields the part of `x` that each weight of a window meets."""
  for a in range(window[0]):
    for b in range(window[1]):
      stop = [
        start + (m - 1) * s + 1
        for start, m, s in zip((a, b), size, strides, strict=True)
      ]
      yield (
        (a, b),
        jax.lax.slice(
          x,
          (0, a, b, 0),
          (x.shape[0], *stop, x.shape[3]),
          (1, *strides, 1),
        ),
      )


def pad(x, padding):
  """Pads the two middle axes with zeros."""
  config = ((0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0))
  return jax.lax.pad(x, jnp.zeros((), x.dtype), config)


def conv(x, k, *, strides, padding, size, window):
  """Maps images `[n, h, w, c]` and windows `[a, b, c]` to `[n, i, j, c]`."""
  size = output_size(size, window, strides, padding)
  x, k = pad(x, padding), k[:, :, None, None, None]
  return sum(
    x_ab * k[a, b] for (a, b), x_ab in shifted(x, window, strides, size)
  )


def transpose(y, k, *, strides, padding, size, window):
  """Maps outputs `[n, i, j, c]` and windows back to images."""
  # Row u of the padded image, u = s q + r, meets the weights a = s t + r and
  # the outputs q - t: each remainder r is a convolution of its own.
  s_h, s_w = strides
  rows, cols = (
    -(-(n + sum(p)) // s)
    for n, p, s in zip(size, padding, strides, strict=True)
  )
  taps = tuple(-(-n // s) for n, s in zip(window, strides, strict=True))
  y = pad(
    y,
    (
      (taps[0] - 1, rows - y.shape[1]),
      (taps[1] - 1, cols - y.shape[2]),
    ),
  )
  k = jnp.pad(
    k,
    (
      (0, taps[0] * s_h - window[0]),
      (0, taps[1] * s_w - window[1]),
      (0, 0),
    ),
  )[::-1, ::-1, None, None, None]

  def phase(r_h, r_w):
    return sum(
      y_ab * k[s_h - 1 - r_h + s_h * a, s_w - 1 - r_w + s_w * b]
      for (a, b), y_ab in shifted(y, taps, (1, 1), (rows, cols))
      if window[0] > s_h * (taps[0] - 1 - a) + r_h
      and window[1] > s_w * (taps[1] - 1 - b) + r_w
    )

  phases = [[phase(r_h, r_w) for r_w in range(s_w)] for r_h in range(s_h)]
  if strides == (1, 1):
    x = phases[0][0]
  else:
    x = jnp.stack([jnp.stack(row, axis=3) for row in phases], axis=2)
    x = x.reshape(y.shape[0], rows * s_h, cols * s_w, y.shape[3])
  (top, _), (left, _) = padding
  return x[:, top : top + size[0], left : left + size[1]]


def kernel(x, y, *, strides, padding, size, window):
  """Maps images and outputs to windows."""
  del size
  x = pad(x, padding)
  sums = [
    jnp.sum(x_ab * y, axis=(0, 1, 2))
    for _, x_ab in shifted(x, window, strides, y.shape[1:3])
  ]
  return jnp.stack(sums).reshape(*window, y.shape[3])
