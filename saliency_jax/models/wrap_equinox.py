"""A user's own network in Equinox as a `Model`."""

from typing import Any

import jax

from saliency_jax.models import types
from saliency_jax.models import wrap


def from_equinox(
  module: Any,
  spec: types.Spec,
  *,
  state: Any = None,
  batch_axis: bool = False,
  **kwargs: Any,
) -> types.Model:
  """Makes a model of an Equinox module, in inference mode.

  The module is parted into its arrays of floats, the parameters, and the rest.
  The module itself is not changed.

  Args:
    module: maps one example to logits.
    spec: its name and input shape, and what else is known. Equinox takes images
      `[C, H, W]`: examples `[H, W, C]` need `channels_first=True`.
    state: the `equinox.nn.State` of a stateful module, which takes it after the
      inputs and returns it after the logits. It follows the parameters' dtype.
    batch_axis: whether the module expects a leading batch axis.
    **kwargs: given to the module at each call: `key=None`, if it asks for one.

  Returns:
    The model. Its `apply` raises a `ValueError` where a call changes the state,
    or needs a key: the module is still in training mode then.

  Raises:
    ValueError: if the module cannot be called with `x`, `state` and `kwargs`.
  """
  import equinox

  hint = (
    'give from_equinox the keywords of its call, such as key=None, and state= '
    'if the module is stateful'
  )
  states = () if state is None else (state,)
  wrap.check_call(module.__call__, spec, kwargs, hint, *states)
  module = equinox.nn.inference_mode(module)
  params, static = equinox.partition(module, equinox.is_inexact_array)
  # As leaves: a `State` cannot be read again once a call has set a part of it.
  leaves, treedef = jax.tree.flatten(states)

  def apply(params, x):
    inputs = wrap.arguments(spec, params, x, batch_axis)
    network = equinox.combine(params, static)

    def step(leaves):
      outputs = network(*inputs, *treedef.unflatten(leaves), **kwargs)
      outputs, after = outputs if states else (outputs, ())
      return outputs, _by_place(leaves), _by_place(jax.tree.leaves(after))

    remedy = (
      'turn off its own flag, one that is not called inference, before '
      'from_equinox'
    )
    try:
      outputs = wrap.frozen(
        spec, step, wrap.cast(leaves, wrap.dtype(params)), remedy
      )
    except RuntimeError as e:
      if 'requires a key' not in str(e):
        raise
      raise ValueError(f'{spec.name} is in training mode: {e}; {remedy}') from e
    return wrap.logits(spec, outputs, batch_axis)

  return types.Model(apply, params, spec)


def _by_place(leaves):
  return {f'leaf {i} of the state': leaf for i, leaf in enumerate(leaves)}
