"""A user's own flax network as a `Model`: one call.

A plain function needs no wrapping: any `apply(params, x)` that maps one example
to its logits will do wherever a `Model`'s `apply` does. An Equinox module is
parted from what is no parameter, and joined again:

  params, static = equinox.partition(module, equinox.is_inexact_array)
  apply = lambda params, x: equinox.combine(params, static)(x)
"""

import functools
import inspect
from typing import Any

from flax import errors
from flax import nnx
import jax
import jax.numpy as jnp

from saliency_jax.models import types


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
  """
  _check_signature(module, kwargs, 'from_nnx')
  module = nnx.clone(module)
  module.eval()
  graph, params, rest = nnx.split(module, nnx.Param, ...)
  params = nnx.to_pure_dict(params)

  def apply(params, x):
    x = jnp.asarray(x)
    check_input(spec, params, x)
    constants = cast(rest, _dtype(params))
    network = nnx.merge(graph, nnx.State(params), constants)
    before = _variables(network)
    logits = _call(functools.partial(network, **kwargs), x, batch_axis)
    after = _variables(network)
    # By identity: traced values have no other equality, and need none.
    changed = [name for name in before if before[name] is not after[name]]
    if changed:
      raise ValueError(
        f'{spec.name} is in training mode: a call changes {", ".join(changed)};'
        ' turn its own flag off before from_nnx, or pass the keyword of its '
        'call to from_nnx, such as train=False or use_running_average=True'
      )
    return check_logits(spec, logits)

  return types.Model(apply, params, spec)


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
  _check_signature(module, kwargs, 'from_linen')
  rest = {k: v for k, v in variables.items() if k != 'params'}

  def apply(params, x):
    x = jnp.asarray(x)
    check_input(spec, params, x)
    constants = cast(rest, _dtype(params))

    def network(x):
      return module.apply({'params': params, **constants}, x, **kwargs)

    try:
      logits = _call(network, x, batch_axis)
    except (errors.ModifyScopeVariableError, errors.InvalidRngError) as e:
      raise ValueError(
        f'{spec.name} is in training mode: {str(e).split(". (http")[0]}; pass '
        'the keyword of its call to from_linen, such as train=False'
      ) from e
    return check_logits(spec, logits)

  return types.Model(apply, variables['params'], spec)


def _call(network, x, batch_axis):
  return network(x[None])[0] if batch_axis else network(x)


def _check_signature(module, kwargs, name):
  try:
    inspect.signature(module.__call__).bind(None, **kwargs)
  except TypeError as e:
    given = ', '.join(f'{k}={v!r}' for k, v in kwargs.items())
    raise ValueError(
      f'{type(module).__name__} cannot be called with an example'
      f'{" and " * bool(given)}{given}: {e}; give {name} the keywords of its '
      'call, such as train=False'
    ) from e


def _dtype(params):
  return jnp.result_type(*jax.tree.leaves(params))


def _variables(network):
  """Returns what a call must not change; it may leave intermediates."""
  return {
    '/'.join(map(str, path)): variable.get_value()
    for path, variable in nnx.to_flat_state(nnx.state(network))
    if not isinstance(variable, nnx.Param | nnx.Intermediate)
  }


def cast(tree: Any, dtype: Any) -> Any:
  """Casts the floating arrays of a tree, and only those."""

  def leaf(a):
    floating = jnp.issubdtype(jnp.result_type(a), jnp.floating)
    return jnp.asarray(a, dtype) if floating else a

  return jax.tree.map(leaf, tree)


def check_input(spec: types.Spec, params: Any, x: Any) -> None:
  """Raises a `ValueError` for an example of the wrong shape or dtype."""
  shape, want = jnp.shape(x), tuple(spec.input_shape)
  if len(shape) != len(want) or any(
    n not in (None, m) for n, m in zip(want, shape, strict=True)
  ):
    raise ValueError(
      f'{spec.name} takes one example of shape {want}, got {shape}; a batch '
      'needs jax.vmap(apply, (None, 0))'
    )
  want = jnp.dtype(spec.input_dtype or _dtype(params))
  if x.dtype != want:
    whole = jnp.issubdtype(x.dtype, jnp.integer)
    raise ValueError(
      f'{spec.name} takes examples of {want}, got {x.dtype}: '
      + (
        f'pixels are given as {want} in [0, 1]; token ids need '
        f"Spec(input_dtype='{x.dtype}')"
        if whole
        else f'give x.astype({str(want)!r})'
      )
    )


def check_logits(spec: types.Spec, logits: Any) -> Any:
  """Returns the logits; raises a `ValueError` unless they are a vector."""
  if jnp.ndim(logits) != 1:
    raise ValueError(
      f'{spec.name} must map one example to a vector of logits, got shape '
      f'{jnp.shape(logits)}'
    )
  return logits
