"""From a config of training to its parts: the loss, the optimiser, the step.

To add a loss, write a function like the ones of `saliency_jax.training` and add
it to `LOSSES`; its settings are in its signature.
"""

from collections.abc import Callable, Mapping
import functools
import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.core import naming
from experiments.training import sharding
from saliency_jax import attacks
from saliency_jax import training
from saliency_jax.models import types
from saliency_jax.training import losses

LOSSES: dict[str, losses.Loss] = {
  'plain': training.plain,
  'interpretation': training.interpretation,
  'classification': training.classification,
  'input_gradient': training.input_gradient,
  'curvature': training.curvature,
  'interval_bounds': training.interval_bounds,
  'smoothed': training.smoothed,
}
OPTIMIZERS = {
  'adam': optax.adam,
  'adamw': optax.adamw,
  'sgd': optax.sgd,
}
# `(learning_rate, num_steps, **settings) -> optax schedule`.
SCHEDULES = {
  'constant': lambda rate, num_steps: optax.constant_schedule(rate),
  'cosine': lambda rate, num_steps, **settings: optax.cosine_decay_schedule(
    rate, num_steps, **settings
  ),
  'steps': lambda rate, num_steps, *, at, scale: (
    optax.piecewise_constant_schedule(
      rate, {round(part * num_steps): scale for part in at}
    )
  ),
  'warmup_cosine': lambda rate, num_steps, *, warmup: (
    optax.warmup_cosine_decay_schedule(
      0.0, rate, round(warmup * num_steps), num_steps
    )
  ),
}


class Trainer(NamedTuple):
  """The compiled parts of a training.

  Attributes:
    init: `(params) -> State`, where it lies on the devices.
    like: the shapes and places of a state.
    step: `(state, batch, seed) -> (state, metrics)`.
    first: the same, of the epochs without a penalty; `None` if there are none.
    validate: `(params, batch, seed) -> Sums`.
    rate: learning rate of a step.
  """

  init: Callable[[Any], training.State]
  like: training.State
  step: Callable[..., Any]
  first: Callable[..., Any] | None
  validate: Callable[..., training.Sums]
  rate: Callable[[int], Any]


def loss(config: Mapping[str, Any]) -> losses.Loss:
  """Returns the loss of `{'name', 'settings'}`.

  Raises:
    ValueError: no such loss, or no such setting of it.
  """
  fn = naming.find('config: loss', config['name'], LOSSES)
  settings = dict(config['settings'])
  if config['name'] == 'interpretation':
    if settings.get('lam') == 0:
      return training.plain  # Without a weight the attack would be for nothing.
    attack = {'batch_size': None, **settings.get('attack', {})}
    settings['attack'] = _bind('attack', attacks.top_k_attack, attack)
  return _bind('loss', fn, settings)


def ramped(
  config: Mapping[str, Any], num_steps: int
) -> Callable[[Any], losses.Loss]:
  """Returns `step -> loss`, some settings of which change over the training.

  Args:
    config: of the loss; its `ramps`, if any, are by setting the first value and
      the parts of the training at which the setting begins to go from there in
      a line, and at which it is what `settings` say: `(first, start, stop)`.
    num_steps: of the whole training.

  Raises:
    ValueError: a ramp of no setting, or one that does not go forward.
  """
  settings, ramps = config['settings'], {}
  for name, (first, start, stop) in config.get('ramps', {}).items():
    naming.check('config: loss.ramps', name, settings)
    if not 0 <= start < stop <= 1:
      raise ValueError(
        f'config: loss.ramps.{name} goes from {start} to {stop} of the '
        'training, expected 0 <= start < stop <= 1'
      )
    begin = round(start * num_steps)
    length = max(1, round(stop * num_steps) - begin)
    ramps[name] = optax.linear_schedule(first, settings[name], length, begin)

  def at(step):
    now = {name: ramp(step) for name, ramp in ramps.items()}
    return loss({**config, 'settings': {**settings, **now}})

  return at


def optimizer(
  config: Mapping[str, Any], num_steps: int
) -> tuple[optax.GradientTransformation, Callable[[int], Any]]:
  """Returns the optimiser and the learning rate of each step.

  `weight_decay` is the L2 penalty of SGD's recipes, added to the gradient;
  `clip` bounds the gradient's norm.

  Raises:
    ValueError: no such optimiser, schedule or setting.
  """
  settings = dict(config['settings'])
  if 'learning_rate' not in settings:
    raise ValueError('config: optimizer has no learning_rate, expected one')
  plan = settings.pop('schedule', {'name': 'constant', 'settings': {}})
  rate = settings.pop('learning_rate')
  decay, clip = settings.pop('weight_decay', 0), settings.pop('clip', 0)
  fn = naming.find('config: optimizer', config['name'], OPTIMIZERS)
  make = naming.find('config: schedule', plan['name'], SCHEDULES)
  schedule = _bind('schedule', make, plan['settings'])(rate, num_steps)
  parts = [
    optax.clip_by_global_norm(clip) if clip else optax.identity(),
    optax.add_decayed_weights(decay) if decay else optax.identity(),
    _bind('optimizer', fn, settings)(schedule),
  ]
  return optax.chain(*parts), schedule


def trainer(
  config: Mapping[str, Any],
  model: types.Model,
  mesh: jax.sharding.Mesh,
  *,
  num_steps: int,
  num_parts: int = 1,
  split: bool = False,
) -> Trainer:
  """Compiles nothing yet: each part is a jitted function.

  Args:
    config: of the training.
    model: whose parameters are the start.
    mesh: all devices.
    num_steps: of the whole training, for the schedule.
    num_parts: in which each device takes its part of a batch in turn.
    split: whether parameters are split over the devices.
  """
  apply, statistics = model.apply, _statistics(model, mesh)
  if config['dtype'] != 'float32':
    lower = lambda fn: training.compute_in(fn, jnp.dtype(config['dtype']))
    apply = lower(apply)
    if statistics is not None:
      statistics = statistics._replace(of_batch=lower(statistics.of_batch))
  update, rate = optimizer(config['optimizer'], num_steps)
  init = functools.partial(training.init, optimizer=update)
  shapes = jax.eval_shape(init, model.params)
  places = sharding.of_state(shapes, mesh, split=split)
  whole = jax.sharding.NamedSharding(mesh, jax.P())

  def spread(total):
    total = training.accumulate(total, num_parts)
    return sharding.over_devices(total, mesh)

  augment = training.crop_and_flip if config['augment'] else None

  def step(loss_at):
    def run(state, batch, seed):
      loss = loss_at(state.step)
      total = training.total(
        loss, apply, augment=augment, statistics=statistics
      )
      return training.step(
        spread(total),
        update,
        state,
        batch,
        jax.random.key(seed),
        statistics=statistics,
      )

    return jax.jit(run, out_shardings=(places, whole))

  measured = spread(training.measure(loss(config['loss']), apply))
  return Trainer(
    init=jax.jit(init, out_shardings=places),
    like=jax.tree.map(
      lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
      shapes,
      places,
    ),
    step=step(ramped(config['loss'], num_steps)),
    first=step(lambda _: training.plain) if config['first_epochs'] else None,
    validate=jax.jit(
      lambda params, batch, seed: measured(params, batch, jax.random.key(seed))
    ),
    rate=rate,
  )


def _statistics(model, mesh):
  """Returns the statistics of batches that lie over all devices, if any."""
  if model.statistics is None:
    return None
  (axis,) = mesh.axis_names
  of_batch = functools.partial(model.statistics.of_batch, axis_name=axis)
  return model.statistics._replace(of_batch=of_batch)


def _bind(what, fn, settings):
  known = [
    p.name
    for p in inspect.signature(fn).parameters.values()
    if p.kind is not p.POSITIONAL_ONLY
  ]
  wrong = [name for name in settings if name not in known]
  if wrong and not _takes_any(fn):
    raise ValueError(
      f'config: {what} has no setting {wrong[0]!r}, only {", ".join(known)}'
    )
  return functools.partial(fn, **settings)


def _takes_any(fn):
  return any(
    p.kind is p.VAR_KEYWORD for p in inspect.signature(fn).parameters.values()
  )
