"""Calls of a torch module with batches, and their derivatives.

The derivatives are torch's own, by differentiating backwards: `J' u` once, the
product with a Hessian twice, and `J v` as the derivative in `u` of `v'(J' u)`.
Any module that can be differentiated twice has all three.
"""

from collections.abc import Callable, Iterator
import contextlib
import functools
import itertools
import threading
from typing import Any, NamedTuple

import jax
import numpy as np

from saliency_jax.core import host_functions

# Devices of a mesh call at the same time; a module's mode and hooks are shared.
_ONE_AT_A_TIME = threading.RLock()


class Network(NamedTuple):
  """A module, and how it is called: see `torch_modules.from_torch`."""

  module: Any
  output: Callable[[Any], Any] | None
  channels_last: bool
  device: Any
  dtype: Any


class _FoundError(Exception):
  """Leaves a module at a tap, with its value."""


def functions(
  network: Network, before: tuple[str, ...], name: str | None
) -> host_functions.Functions:
  """Returns what the host computes of batches `(x, *taps)`.

  Args:
    network: the module.
    before: names of the taps, which take the places of what is called there.
    name: the tap that is computed; `None` for the outputs of the module.
  """
  forward = functools.partial(_forward, network, before, name)
  return host_functions.Functions(
    *(
      functools.partial(function, network, forward)
      for function in (_predict, _gradient, _hvp, _jvp)
    )
  )


def run(network: Network, x: Any) -> Any:
  """Returns what a module makes of a batch of arrays."""
  import torch

  leaves, tree = jax.tree.flatten(x)
  with torch.no_grad():
    return _call(network, tree.unflatten(_tensors(network, leaves)))


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
  """Puts a module into evaluation mode, and back into the mode that it had."""
  with _ONE_AT_A_TIME:
    modes = [(layer, layer.training) for layer in module.modules()]
    training = any(mode for _, mode in modes)
    if training:
      module.eval()
    try:
      yield
    finally:
      if training:
        # Its own `train` may do more than set the modes.
        module.train(modes[0][1])
        for layer, mode in modes:
          layer.training = mode


@contextlib.contextmanager
def hooked(
  network: Network, name: str, hook: Callable[..., Any]
) -> Iterator[None]:
  """Has a submodule call `hook(module, args, result)` behind itself."""
  layer = network.module.get_submodule(name)
  handle = layer.register_forward_hook(hook)
  try:
    yield
  finally:
    handle.remove()


def _forward(network, before, name, batch):
  """Returns a tap or the outputs, of tensors."""
  x, *taps = batch

  def replace(value):
    return lambda module, args, h: value.to(h)

  def leave(module, args, h):
    raise _FoundError(h)

  with contextlib.ExitStack() as stack:
    for other, value in zip(before, taps, strict=True):
      stack.enter_context(hooked(network, other, replace(value)))
    if name is None:
      return _call(network, x)
    stack.enter_context(hooked(network, name, leave))
    try:
      _call(network, x)
    except _FoundError as found:
      return found.args[0]
  raise ValueError(f'the module did not call {name!r} this time')


def _call(network, x):
  if network.channels_last:
    x = jax.tree.map(_channels_first, x)
  if isinstance(x, dict):
    out = network.module(**x)
  else:
    out = network.module(*(x if isinstance(x, tuple | list) else (x,)))
  return out if network.output is None else network.output(out)


def _channels_first(t):
  return t.movedim(-1, 1).contiguous() if t.ndim > 2 else t


# Functions of the host.


def _predict(network, forward, batch):
  import torch

  leaves, tree = jax.tree.flatten(batch)
  with evaluating(network.module), torch.no_grad():
    return _array(forward(tree.unflatten(_tensors(network, leaves))))


def _gradient(network, forward, batch, *u):
  with evaluating(network.module), _differentiating():
    inputs, _, grads = _pullback(network, forward, batch, *u)
    return _like(batch, inputs, grads)


def _hvp(network, forward, batch, *given):
  *u, vectors = given
  with evaluating(network.module), _differentiating(twice=True):
    inputs, _, grads = _pullback(network, forward, batch, *u, twice=True)
    products = _products(network, grads, inputs, _floats(batch, vectors))
    return _like(batch, inputs, products)


def _jvp(network, forward, batch, vectors):
  with evaluating(network.module), _differentiating(twice=True):
    _, u, grads = _pullback(network, forward, batch, twice=True)
    return _array(*_products(network, grads, [u], _floats(batch, vectors)))


def _pullback(network, forward, batch, u=None, *, twice=False):
  """Returns the floats of a batch, cotangents `u` and `J' u`, as tensors."""
  import torch

  leaves, tree = jax.tree.flatten(batch)
  tensors = _tensors(network, leaves)
  inputs = [t.requires_grad_() for t in tensors if t.is_floating_point()]
  # Copies, since a module may write into what it is given.
  y = forward(tree.unflatten([t.clone() for t in tensors]))
  u = torch.ones_like(y) if u is None else _tensors(network, [u])[0].to(y)
  u = u.detach().requires_grad_(twice)
  grads = [None]
  if y.requires_grad:
    grads = torch.autograd.grad(
      y, inputs, u, create_graph=twice, allow_unused=True
    )
  if all(g is None for g in grads):
    raise ValueError(
      'the outputs do not depend on the input by anything that torch '
      'differentiates: the module may call detach, numpy or no_grad'
    )
  return inputs, u, grads


def _products(network, grads, inputs, vectors):
  """Returns the gradient in some inputs of `sum_i grads_i' vectors_i`."""
  import torch

  moving = [
    (g, v)
    for g, v in zip(grads, _tensors(network, vectors), strict=True)
    if g is not None and g.requires_grad
  ]
  if not moving:  # What they are of is linear.
    return [None] * len(inputs)
  grads, vectors = zip(*moving, strict=True)
  return torch.autograd.grad(grads, inputs, vectors, allow_unused=True)


@contextlib.contextmanager
def _differentiating(twice=False):
  import torch

  with contextlib.ExitStack() as stack:
    stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.enable_grad())
    if twice:  # The faster forms of attention have first derivatives alone.
      from torch.nn import attention

      math = attention.SDPBackend.MATH
      stack.enter_context(attention.sdpa_kernel(math))
    yield


# Arrays and tensors.


def _tensors(network, arrays):
  """Returns arrays as tensors where the module is, floats in its dtype."""
  import torch

  module = network.module
  floats = (
    t
    for t in itertools.chain(module.parameters(), module.buffers())
    if t.is_floating_point()
  )
  own = next(floats, None)
  device, dtype = network.device, network.dtype
  if own is not None:
    device = own.device if device is None else device
    dtype = own.dtype if dtype is None else dtype

  def tensor(a):
    if host_functions.is_float(a) and a.dtype.kind != 'f':
      a = a.astype(np.float32)  # From bfloat16, which numpy lacks.
    t = torch.from_numpy(a).to(device)
    return t.to(dtype) if t.is_floating_point() else t

  return list(map(tensor, arrays))


def _array(t):
  import torch

  t = t.detach()
  return (t.float() if t.dtype == torch.bfloat16 else t).cpu().numpy()


def _floats(batch, vectors):
  """Returns the arrays of `vectors` where a batch holds floats."""
  pairs = zip(jax.tree.leaves(batch), jax.tree.leaves(vectors), strict=True)
  return [v for a, v in pairs if host_functions.is_float(a)]


def _like(batch, inputs, grads):
  """Returns a tree with `grads` where a batch holds floats."""
  leaves, tree = jax.tree.flatten(batch)
  arrays = (
    np.zeros(t.shape, np.float32) if g is None else _array(g)
    for t, g in zip(inputs, grads, strict=True)
  )
  return tree.unflatten(
    [next(arrays) if host_functions.is_float(a) else None for a in leaves]
  )
