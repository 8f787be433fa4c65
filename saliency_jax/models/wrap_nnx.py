"""A user's own network in flax nnx as a `Model`."""

from typing import Any

from flax import nnx

from saliency_jax.models import types
from saliency_jax.models import wrap


def from_nnx(
  module: nnx.Module,
  spec: types.Spec,
  *,
  batch_axis: bool = True,
  **kwargs: Any,
) -> types.Model:
  """Makes a model of an nnx module, in evaluation mode.

  Only its `nnx.Param`s become parameters; running statistics and the rest are
  constants that follow the parameters' dtype. The module itself is not changed.

  Args:
    module: maps examples to logits.
    spec: its name and input shape, and what else is known.
    batch_axis: whether the module expects a leading batch axis.
    **kwargs: given to the module at each call, for one with a training flag of
      its own: `train=False`.

  Returns:
    The model. Its `apply` raises a `ValueError` where a call changes the
    module's variables: it is still in training mode then.

  Raises:
    ValueError: if the module cannot be called with `x` and `kwargs`.

  Examples:
    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> from saliency_jax import models
    >>> module = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    >>> model = models.from_nnx(module, models.Spec('mine', (4,)))
    >>> model.apply(model.params, jnp.ones(4)).shape  # One example, no batch.
    (3,)
  """
  hint = 'give from_nnx the keywords of its call, such as train=False'
  wrap.check_call(module.__call__, spec, kwargs, hint)
  module = nnx.clone(module)
  module.eval()
  graph, params, rest = nnx.split(module, nnx.Param, ...)
  params = nnx.to_pure_dict(params)

  def apply(params, x):
    inputs = wrap.arguments(spec, params, x, batch_axis)

    def step(constants):
      network = nnx.merge(graph, nnx.State(params), constants)
      before = _variables(network)
      outputs = network(*inputs, **kwargs)
      after = _variables(network)
      return outputs, before, {name: after[name] for name in before}

    constants = wrap.cast(rest, wrap.dtype(params))
    outputs = wrap.frozen(
      spec,
      step,
      constants,
      'turn its own flag off before from_nnx, or pass the keyword of its call '
      'to from_nnx, such as train=False or use_running_average=True',
    )
    return wrap.logits(spec, outputs, batch_axis)

  return types.Model(apply, params, spec)


def _variables(network):
  """Returns what a call must not change; it may leave intermediates."""
  return {
    '/'.join(map(str, path)): variable.get_value()
    for path, variable in nnx.to_flat_state(nnx.state(network))
    if not isinstance(variable, nnx.Param | nnx.Intermediate)
  }
