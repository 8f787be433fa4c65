"""A user's own flax network as a `Model`: one call.

A plain function needs no wrapping: any `apply(params, x)` that maps one example
to its logits will do wherever a `Model`'s `apply` does.
"""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from saliency_jax.models import types


def from_nnx(
  module: nnx.Module, spec: types.Spec, *, batch_axis: bool = True
) -> types.Model:
  """Makes a model of an nnx module, in evaluation mode.

  Only its `nnx.Param`s become parameters; running statistics and the rest are
  constants that follow the parameters' dtype. The module itself is not changed.

  Args:
    module: maps examples to logits.
    spec: its name and input shape, and what else is known.
    batch_axis: whether the module expects a leading batch axis.

  Returns:
    The model.
  """
  module = nnx.clone(module)
  module.eval()
  graph, params, rest = nnx.split(module, nnx.Param, ...)
  params = nnx.to_pure_dict(params)

  def apply(params, x):
    check_input(spec, params, x)
    constants = cast(rest, x.dtype)
    network = nnx.merge(graph, nnx.State(params), constants)
    return check_logits(spec, _call(network, x, batch_axis))

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
    The model.

  Raises:
    ValueError: if there is no collection 'params'.
  """
  if 'params' not in variables:
    raise ValueError(f"expected a collection 'params', got {sorted(variables)}")
  rest = {k: v for k, v in variables.items() if k != 'params'}

  def apply(params, x):
    check_input(spec, params, x)
    constants = cast(rest, x.dtype)

    def network(x):
      return module.apply({'params': params, **constants}, x, **kwargs)

    return check_logits(spec, _call(network, x, batch_axis))

  return types.Model(apply, variables['params'], spec)


def _call(network, x, batch_axis):
  return network(x[None])[0] if batch_axis else network(x)


def cast(tree: Any, dtype: Any) -> Any:
  """Casts the floating arrays of a tree, and only those."""

  def leaf(a):
    floating = jnp.issubdtype(jnp.result_type(a), jnp.floating)
    return jnp.asarray(a, dtype) if floating else a

  return jax.tree.map(leaf, tree)


def check_input(spec: types.Spec, params: Any, x: Any) -> None:
  """Raises a `ValueError` for an example of the wrong shape or dtype."""
  if jnp.shape(x) != tuple(spec.input_shape):
    raise ValueError(
      f'{spec.name} takes one example of shape {tuple(spec.input_shape)}, got '
      f'{jnp.shape(x)}; a batch needs jax.vmap(apply, (None, 0))'
    )
  want = jnp.result_type(*jax.tree.leaves(params))
  if x.dtype != want:
    raise ValueError(
      f'{spec.name} has {want} parameters, got an example of {x.dtype}: cast '
      'one of them'
    )


def check_logits(spec: types.Spec, logits: Any) -> Any:
  """Returns the logits; raises a `ValueError` unless they are a vector."""
  if jnp.ndim(logits) != 1:
    raise ValueError(
      f'{spec.name} must map one example to a vector of logits, got shape '
      f'{jnp.shape(logits)}'
    )
  return logits
