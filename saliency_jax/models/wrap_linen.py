"""A user's own network in flax linen as a `Model`."""

from typing import Any

from flax import errors

from saliency_jax.models import types
from saliency_jax.models import wrap


def from_linen(
  module: Any,
  variables: Any,
  spec: types.Spec,
  *,
  batch_axis: bool = True,
  **kwargs: Any,
) -> types.Model:
  """Makes a model of a linen module and its variables.

  Only the collection 'params' becomes parameters; the others are constants that
  follow the parameters' dtype.

  Args:
    module: maps examples to logits.
    variables: what `module.init` returned, trained.
    spec: its name and input shape, and what else is known.
    batch_axis: whether the module expects a leading batch axis.
    **kwargs: given to the module at each call; linen has no evaluation mode of
      its own, so for example `train=False`.

  Returns:
    The model. Its `apply` raises a `ValueError` where the module is still in
    training mode.

  Raises:
    ValueError: if there is no collection 'params', or the module cannot be
      called with `x` and `kwargs`.
  """
  if 'params' not in variables:
    raise ValueError(f"expected a collection 'params', got {sorted(variables)}")
  hint = 'give from_linen the keywords of its call, such as train=False'
  wrap.check_call(module.__call__, spec, kwargs, hint)
  rest = {k: v for k, v in variables.items() if k != 'params'}

  def apply(params, x):
    inputs = wrap.arguments(spec, params, x, batch_axis)
    constants = wrap.cast(rest, wrap.dtype(params))
    try:
      outputs = module.apply({'params': params, **constants}, *inputs, **kwargs)
    except errors.ScopeCollectionNotFound as e:
      raise ValueError(
        f'{spec.name}: {str(e).split(". (http")[0]}; give from_linen all of '
        f'module.init, got the collections {", ".join(sorted(variables))}'
      ) from e
    except (errors.ModifyScopeVariableError, errors.InvalidRngError) as e:
      raise ValueError(
        f'{spec.name} is in training mode: {str(e).split(". (http")[0]}; pass '
        'the keyword of its call to from_linen, such as train=False'
      ) from e
    return wrap.logits(spec, outputs, batch_axis)

  return types.Model(apply, variables['params'], spec)
