"""What all the wrappers of users' networks do alike.

A plain function needs no wrapping: any `apply(params, x)` that maps one example
to its logits will do wherever a `Model`'s `apply` does. A network written in a
framework becomes one by `from_nnx`, `from_linen`, `from_equinox`, `from_haiku`
or `from_keras`, each in the module `wrap_*` of its name.
"""

from collections.abc import Callable
import inspect
from typing import Any

import jax
import jax.numpy as jnp

from saliency_jax.core import jaxprs
from saliency_jax.models import types


def arguments(
  spec: types.Spec, params: Any, x: Any, batch_axis: bool
) -> tuple[Any, ...]:
  """Returns what a network is called with at one example.

  Several inputs in a tuple are as many arguments; all else is one.

  Raises:
    ValueError: for an example of the wrong structure, shape or dtype.
  """
  x = jax.tree.map(jnp.asarray, x)
  check_input(spec, params, x)
  if spec.channels_first:
    x = jax.tree.map(lambda a: jnp.moveaxis(a, -1, 0) if a.ndim == 3 else a, x)
  if batch_axis:
    x = jax.tree.map(lambda a: a[None], x)
  return x if type(x) is tuple else (x,)


def logits(spec: types.Spec, outputs: Any, batch_axis: bool) -> Any:
  """Returns the logits of one example; raises unless they are a vector."""
  if not hasattr(outputs, 'ndim'):
    raise ValueError(
      f'{spec.name} must return one array of logits, got a '
      f'{type(outputs).__name__}: wrap a network that returns that array alone'
    )
  return check_logits(spec, outputs[0] if batch_axis else outputs)


def check_call(
  call: Callable[..., Any],
  spec: types.Spec,
  kwargs: Any,
  hint: str,
  *others: Any,
) -> None:
  """Raises a `ValueError` where a network cannot be called at an example.

  Args:
    call: what is called with the inputs of the example, and with `kwargs`.
    spec: the network's.
    kwargs: the keywords that the user gave.
    hint: which arguments of which wrapper the user may have left out.
    *others: what stands before the inputs of the example.
  """
  num = len(spec.input_shape) if _several(spec.input_shape) else 1
  try:
    inspect.signature(call).bind(*others, *[None] * num, **kwargs)
  except TypeError as e:
    given = ', '.join(f'{k}={v!r}' for k, v in kwargs.items())
    inputs = f'{num} inputs' if num > 1 else 'an example'
    raise ValueError(
      f'{spec.name} cannot be called with {inputs}{" and " * bool(given)}'
      f'{given}: {e}; {hint}; several inputs are a tuple of shapes in its spec'
    ) from e


def frozen(
  spec: types.Spec,
  step: Callable[[Any], tuple[Any, dict[str, Any], dict[str, Any]]],
  state: Any,
  remedy: str,
) -> Any:
  """Calls a network whose state must not change, and returns its outputs.

  Args:
    spec: the network's.
    step: maps the state to the outputs of a call, and to the parts of the state
      by name, before and after the call.
    state: statistics, counters of draws: all that is no parameter.
    remedy: how the user turns training off.

  Raises:
    ValueError: if a call changes a part of the state.
  """
  outputs, before, after = step(state)
  # By identity: traced values have no other equality, and need none.
  if any(after.get(name) is not before[name] for name in before):
    changed = _changed(lambda state: step(state)[1:], state)
    if changed:
      raise ValueError(
        f'{spec.name} is in training mode: a call changes '
        f'{", ".join(changed)}; {remedy}'
      )
  return outputs


def named(tree: Any) -> dict[str, Any]:
  """Returns the leaves of a tree by their paths, keys joined by '/'."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in jax.tree.leaves_with_path(tree)
  }


def dtype(params: Any) -> Any:
  """Returns the dtype of parameters; where there are none, JAX's of floats."""
  return jnp.result_type(*(jax.tree.leaves(params) or [float]))


def cast(tree: Any, dtype: Any) -> Any:
  """Casts the floating arrays of a tree, and only those."""

  def leaf(a):
    floating = jnp.issubdtype(jnp.result_type(a), jnp.floating)
    return jnp.asarray(a, dtype) if floating else a

  return jax.tree.map(leaf, tree)


def check_input(spec: types.Spec, params: Any, x: Any) -> None:
  """Raises a `ValueError` for an example of the wrong shape or dtype."""
  wanted, treedef = jax.tree.flatten(spec.input_shape, is_leaf=_is_shape)
  if jax.tree.structure(x) != treedef:
    raise ValueError(
      f'{spec.name} takes inputs of shapes {spec.input_shape}, got '
      f'{jax.tree.map(jnp.shape, x)}'
    )
  dtypes = _spread(spec.input_dtype, treedef)
  for (path, a), shape, kind in zip(
    jax.tree.leaves_with_path(x), wanted, dtypes, strict=True
  ):
    key = jax.tree_util.keystr(path, simple=True, separator='/')
    kind = jnp.dtype(kind or dtype(params))
    _check_array(
      f'{spec.name} at {key!r}' if key else spec.name, a, shape, kind
    )


def check_logits(spec: types.Spec, logits: Any) -> Any:
  """Returns the logits; raises a `ValueError` unless they are a vector."""
  if jnp.ndim(logits) != 1:
    raise ValueError(
      f'{spec.name} must map one example to a vector of logits, got shape '
      f'{jnp.shape(logits)}'
    )
  return logits


def _check_array(name, a, shape, kind):
  if a.ndim != len(shape) or any(
    n not in (None, m) for n, m in zip(shape, a.shape, strict=True)
  ):
    raise ValueError(
      f'{name} takes one example of shape {tuple(shape)}, got {a.shape}; a '
      'batch needs jax.vmap(apply, (None, 0))'
    )
  if a.dtype != kind:
    whole = jnp.issubdtype(a.dtype, jnp.integer)
    raise ValueError(
      f'{name} takes examples of {kind}, got {a.dtype}: '
      + (
        f'pixels are given as {kind} in [0, 1]; token ids need '
        f"Spec(input_dtype='{a.dtype}')"
        if whole
        else f'give x.astype({str(kind)!r})'
      )
    )


def _is_shape(value):
  """Whether a value is the shape of one input, and not several inputs."""
  return isinstance(value, tuple | list) and all(
    n is None or isinstance(n, int) for n in value
  )


def _several(shapes):
  return type(shapes) is tuple and not _is_shape(shapes)


def _spread(kinds, treedef):
  """Returns the dtype of each input: one of them all, or one each."""
  if not isinstance(kinds, tuple | list | dict):
    return [kinds] * treedef.num_leaves
  return treedef.flatten_up_to(kinds)


def _changed(both, state):
  """Returns the names of what a call changes, read from its jaxpr.

  A jit inside of the network hands back copies of what it leaves alone.
  """
  closed, (before, _) = jax.make_jaxpr(both, return_shape=True)(state)
  outvars = jaxprs.inline(closed).jaxpr.outvars
  num, names = len(before), sorted(before)
  pairs = zip(names, outvars[:num], outvars[num:], strict=True)
  return [name for name, a, b in pairs if a is not b]
