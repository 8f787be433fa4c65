"""A module of torch as a classifier, whose intermediates can be tapped.

A tap cuts the module in two calls of the host, `h = a(x)` and `y = b(x, h)`:
`a` leaves the module at the tap, and `b` puts `h` in its place, so that both
have derivatives of their own, and JAX sees `h` between them.
"""

from collections.abc import Callable, Sequence
import contextlib
import difflib
import functools
from typing import Any

import jax
from jax import ad_checkpoint
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.core import callbacks
from saliency_jax.core import examples
from saliency_jax.core import host
from saliency_jax.core import torch_calls


def from_torch(
  module: Any,
  *,
  output: Callable[[Any], Any] | None = None,
  taps: str | Sequence[str] = (),
  channels_last: bool = False,
  device: Any = None,
  dtype: Any = None,
) -> Callable[..., Float[Array, '...']]:
  """Returns a `torch.nn.Module` as a classifier that methods can explain.

  It maps one example to its outputs, and like a classifier's `apply` it takes
  parameters as well, of which it has none: `scores.prob(fn, None, label)`,
  `explainer.build(method, fn)(None, xs)`. Gradients and second derivatives are
  torch's. Only methods that look into a network's operations do not take it
  (LRP, DeepLIFT, guided backpropagation, certified boxes).

  The module is called with batches, in evaluation mode, and is left as it was:
  its mode, its statistics, its parameters and their gradients. The shape of its
  outputs is found by calling it with zeros. Outputs and their gradient are two
  calls: where both are needed, as by `scores.prob`, it runs forward twice.

  Args:
    module: maps a batch `[n, *x]` to outputs `[n, ...]`; examples that are
      tuples or dicts become its arguments, or its keywords.
    output: maps what the module returns to one tensor `[n, ...]`, such as
      `lambda out: out.logits`.
    taps: names of submodules, as in `module.named_modules()`, whose outputs get
      that name as a `checkpoint_name`: for `grad_cam` and `transforms.at_tap`.
      For each the module runs once more, so name only what is used.
    channels_last: whether examples are `[H, W, C]`, as methods for images take
      them, and the module takes `[n, C, H, W]`. Taps stay as torch has them.
    device: where batches are put; `None` is where the parameters are.
    dtype: of torch, to which floats are cast; `None` is the parameters'.

  Raises:
    ValueError: for no module of torch, a tap that it does not have, or a module
      that mixes the examples of a batch; when called, for outputs that are not
      one tensor `[n, ...]`, or that do not depend on the example.
  """
  import torch

  if not isinstance(module, torch.nn.Module):
    raise ValueError(f'expected a torch.nn.Module, got {module!r:.80}')
  for name, layer in module.named_modules():
    norm = isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)
    if norm and layer.running_mean is None:
      raise ValueError(
        f'{name!r} normalises by the statistics of the batch, which mixes its '
        'examples: give it running statistics, track_running_stats=True'
      )
  names = (taps,) if isinstance(taps, str) else tuple(dict.fromkeys(taps))
  for name in names:
    _check_submodule(module, name)
  network = torch_calls.Network(module, output, channels_last, device, dtype)
  look = functools.cache(functools.partial(_look, network, names))
  functions = functools.cache(functools.partial(torch_calls.functions, network))

  def fn(x):
    x = examples.arrays(x)
    leaves, tree = jax.tree.flatten(x)
    shapes = look(tree, tuple((a.shape, a.dtype) for a in leaves))
    *order, last = shapes
    given = (x,)
    for i, name in enumerate(order):
      before = functions(tuple(order[:i]), name)
      h = callbacks.call(before, shapes[name], given)
      given = (*given, ad_checkpoint.checkpoint_name(h, name))
    return callbacks.call(functions(tuple(order), last), shapes[last], given)

  return host.of_one_example(fn)


def _look(network, names, tree, leaves):
  """Returns the shapes of taps, in the order of their calls, and of outputs.

  The outputs come last, and have the name `None`.
  """
  zeros = [np.zeros((1, *shape), dtype) for shape, dtype in leaves]
  calls = []

  def hook(name):
    return lambda module, args, h: calls.append((name, h))

  with torch_calls.evaluating(network.module), contextlib.ExitStack() as stack:
    for name in names:
      stack.enter_context(torch_calls.hooked(network, name, hook(name)))
    try:
      calls.append((None, torch_calls.run(network, tree.unflatten(zeros))))
    except Exception as e:
      shapes = tree.unflatten([a.shape for a in zeros])
      hint = '; images [H, W, C] need channels_last=True'
      image = any(a.ndim == 4 for a in zeros) and not network.channels_last
      raise ValueError(
        f'the module does not take a batch {shapes}: {e}{hint * image}'
      ) from e
  for name in names:
    times = sum(name == called for called, _ in calls)
    if times != 1:
      raise ValueError(
        f'the module calls {name!r} {times} times, and a tap is one value: '
        'name a submodule that is called once'
      )
  return {name: _shape(name, value) for name, value in calls}


def _shape(name, value):
  """Returns the shape for one example of what a module returned for one."""
  import torch

  who = 'the module' if name is None else repr(name)
  if not isinstance(value, torch.Tensor) or value.is_complex():
    kind = getattr(value, 'dtype', type(value).__name__)
    remedy = (
      'take one out, such as by output=lambda out: out.logits'
      if name is None
      else 'name a submodule that returns one'
    )
    raise ValueError(
      f'{who} returned {kind}, expected a tensor of real numbers: {remedy}'
    )
  if value.ndim == 0 or value.shape[0] != 1:
    raise ValueError(
      f'{who} returned {tuple(value.shape)} for a batch of one, expected '
      '(1, ...): the axis of the batch comes first'
    )
  return tuple(value.shape[1:])


def _check_submodule(module, name):
  known = dict(module.named_modules(remove_duplicate=False))
  known.pop('', None)
  if name not in known:
    near = difflib.get_close_matches(str(name), known, 5, 0)
    raise ValueError(
      f'the module has no submodule {name!r}: it has {", ".join(near)}'
    )
