"""A user's own network in Keras 3, on its JAX backend, as a `Model`."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from saliency_jax.models import types
from saliency_jax.models import wrap


def from_keras(model: Any, spec: types.Spec, **kwargs: Any) -> types.Model:
  """Makes a model of a Keras model or layer, in inference mode.

  Its trainable variables become parameters, by their paths, and the others are
  constants: running statistics, and the weights of layers that are frozen. The
  Keras model is not changed. Keras computes in the dtype that it was built in.

  Args:
    model: maps a batch of examples to one array of logits, or of probabilities,
      for which `scores.logit` is the score that takes them as they are.
    spec: its name and input shape, and what else is known.
    **kwargs: given to the model at each call, beside `training=False`.

  Returns:
    The model. Its `apply` raises a `ValueError` where a call changes a
    variable: a layer is still in training mode then.

  Raises:
    ValueError: if Keras runs on another backend, or the model is not built, or
      cannot be called with `x` and `kwargs`.
  """
  import keras

  if keras.backend.backend() != 'jax':
    raise ValueError(
      f'Keras runs on {keras.backend.backend()!r}: set the environment '
      "variable KERAS_BACKEND to 'jax' before keras is imported"
    )
  if not model.built:
    raise ValueError(f'{spec.name} is not built: call it at a batch once')
  if _takes_training(model.call):
    kwargs = {'training': False, **kwargs}
  hint = 'give from_keras the keywords of its call'
  wrap.check_call(model.call, spec, kwargs, hint)
  names = _paths(model.trainable_variables)
  kinds = [jnp.dtype(v.dtype) for v in model.trainable_variables]
  rest = dict(
    zip(
      _paths(model.non_trainable_variables),
      [v.value for v in model.non_trainable_variables],
      strict=True,
    )
  )

  def apply(params, x):
    inputs = wrap.arguments(spec, params, x, True)
    weights = [params[name] for name in names]
    for name, weight, kind in zip(names, weights, kinds, strict=True):
      if weight.dtype != kind:
        raise ValueError(
          f'{spec.name} was built with {name!r} in {kind}, got {weight.dtype}: '
          'Keras computes in the dtype of keras.config.set_floatx'
        )

    def step(rest):
      # Keras counts on both promotions.
      with jax.numpy_rank_promotion('allow'):
        with jax.numpy_dtype_promotion('standard'):
          outputs, after = model.stateless_call(
            weights, list(rest.values()), *inputs, **kwargs
          )
      return outputs, rest, dict(zip(rest, after, strict=True))

    remedy = 'take training=True out of the call of the layer it belongs to'
    outputs = wrap.frozen(spec, step, rest, remedy)
    return wrap.logits(spec, outputs, True)

  params = [v.value for v in model.trainable_variables]
  return types.Model(apply, dict(zip(names, params, strict=True)), spec)


def _takes_training(call):
  parameters = inspect.signature(call).parameters.values()
  return any(
    p.name == 'training' or p.kind == p.VAR_KEYWORD for p in parameters
  )


def _paths(variables):
  """Returns a name for each variable: its path, which two may share."""
  names: list[str] = []
  for variable in variables:
    name = variable.path
    while name in names:
      name += '_'
    names.append(name)
  return names
