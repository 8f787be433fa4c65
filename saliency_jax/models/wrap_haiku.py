"""A user's own network in haiku as a `Model`."""

import inspect
from typing import Any

from saliency_jax.models import types
from saliency_jax.models import wrap


def from_haiku(
  network: Any,
  params: Any,
  spec: types.Spec,
  *,
  state: Any = None,
  batch_axis: bool = True,
  **kwargs: Any,
) -> types.Model:
  """Makes a model of a function that haiku transformed, and its parameters.

  It is called without a random key.

  Args:
    network: what `haiku.transform` or `haiku.transform_with_state` returned,
      of a function of examples to logits.
    params: its parameters, trained.
    spec: its name and input shape, and what else is known.
    state: its state, of `transform_with_state`: constants that follow the
      parameters' dtype.
    batch_axis: whether the function expects a leading batch axis.
    **kwargs: given to the function at each call; haiku has no evaluation mode
      of its own, so for example `is_training=False`.

  Returns:
    The model. Its `apply` raises a `ValueError` where a call changes the state,
    or needs a key: the function is still in training mode then.

  Raises:
    ValueError: if the state is missing or too many, or the function cannot be
      called with `x` and `kwargs`.
  """
  import haiku

  stateful = isinstance(network, haiku.TransformedWithState)
  if stateful != (state is not None):
    kind = 'transform_with_state' if stateful else 'transform'
    raise ValueError(
      f'{spec.name} is of haiku.{kind}, which '
      + ('needs its state: state=state' if stateful else 'takes no state=')
    )
  lead = 2 if stateful else 1
  names = list(inspect.signature(network.apply).parameters)
  rng = (None,) if names[lead : lead + 1] == ['rng'] else ()
  hint = 'give from_haiku the keywords of its call, such as is_training=False'
  wrap.check_call(network.apply, spec, kwargs, hint, *[None] * lead, *rng)

  def apply(params, x):
    inputs = wrap.arguments(spec, params, x, batch_axis)

    def step(state):
      states = (state,) if stateful else ()
      outputs = network.apply(params, *states, *rng, *inputs, **kwargs)
      outputs, after = outputs if stateful else (outputs, state)
      return outputs, wrap.named(state), wrap.named(after)

    remedy = 'pass the keyword of its call to from_haiku: is_training=False'
    constants = wrap.cast(state, wrap.dtype(params))
    try:
      outputs = wrap.frozen(spec, step, constants, remedy)
    except ValueError as e:
      if type(e).__name__ != 'MissingRNGError':
        raise
      raise ValueError(
        f'{spec.name} is in training mode: it draws random numbers; {remedy}'
      ) from e
    return wrap.logits(spec, outputs, batch_axis)

  return types.Model(apply, params, spec)
