"""The saliency methods for images that the launchers know, in one table.

To add a method, add an entry to `METHODS`; its settings, their types and their
defaults are read from the signature of its function.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
import functools
import inspect
import types as python_types
import typing
from typing import Any, NamedTuple

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments import inputs
import saliency_jax
from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax import transforms
from saliency_jax import viz
from saliency_jax.core import baselines
from saliency_jax.core import types
from saliency_jax.gradients import quadrature
from saliency_jax.gradients import smoothgrad
from saliency_jax.models import types as model_types
from saliency_jax.optimization import descent
from saliency_jax.optimization import masks
from saliency_jax.solvers import line_search

NAMES = flags.DEFINE_list(
  'methods', ['quick'], 'Comma list; or quick, those of a few seconds; or all.'
)
SETTINGS = flags.DEFINE_multi_string(
  'set', [], 'method.setting=value; may be given many times.'
)


class Calls(NamedTuple):
  """How often a method calls the classifier."""

  gradients: int = 0  # Of its value and gradient.
  forwards: int = 0  # Of its value alone.


class Entry(NamedTuple):
  """A method, and what a launcher has to know of it.

  Attributes:
    method: `(fn, x, *, key, **settings) -> Attribution`.
    calls: the number of calls, given the settings and the method's `info`.
    describe: one line of diagnostics of an attribution.
    drawing: how its map is drawn.
    score: what is explained.
    settings: the launchers' defaults, where they are not the method's own.
    for_model: settings that depend on the network.
    quick: whether a map of a photo takes seconds, and not a good part of a
      minute, on two cores.
  """

  method: Callable[..., types.Attribution]
  calls: Callable[[Mapping[str, Any], Any], Calls]
  describe: Callable[[types.Attribution], str]
  drawing: viz.Drawing
  score: explainer.Score = scores.logit
  settings: Mapping[str, Any] = python_types.MappingProxyType({})
  for_model: Callable[[model_types.Spec], Mapping[str, Any]] = lambda spec: {}
  quick: bool = True


def _rms(a) -> float:
  return float(np.sqrt(np.mean(np.square(np.asarray(a, np.float64)))))


def _score(out):
  return f'score {float(out.info.score):.4g}'


def _stderr(out):
  noise = _rms(out.info.stderr) / (_rms(out.scores) or np.inf)
  return f'standard error {noise:.1%} of the map'


def _completeness(out):
  return f'completeness error {float(out.info.relative_error):.1%}'


def _expected(out):
  chance = float(out.info.completeness_stderr) / abs(
    float(out.info.score) - float(out.info.baseline_score)
  )
  error = float(out.info.relative_error)
  return f'completeness error {error:.0%} (chance: {chance:.0%})'


def _adaptive(out):
  steps = f'{_completeness(out)} after {int(out.info.num_steps)} steps'
  return steps if out.info.converged else f'{steps}, not converged'


def _removed(out):
  return (
    f'score {float(out.info.score):.3f} with {float(out.info.removed):.1%} '
    'of the image removed'
  )


def _searched(out):
  accepted = float(out.info.accepted_fraction)
  return f'{_removed(out)}; {accepted:.0%} of steps accepted'


def _discarded(out):
  return f'{float(out.info.discarded):.0%} of the layer map was negative'


def _occlusion(out):
  drop = float(np.max(np.asarray(out.info.drops)))
  return f'largest drop {drop:.3f} of {float(out.info.score):.3f}'


def _rise(out):
  return (
    f'{_stderr(out)}; masked score {float(out.info.mean_score):.3f} '
    f'± {float(out.info.score_std):.3f}'
  )


def _one_gradient(settings, info):
  return Calls(gradients=1)


def _samples(settings, info):
  return Calls(gradients=settings['num_samples'])


def _mask_calls(settings, info):
  # Every update takes a gradient; the last mask is looked at once more.
  return Calls(settings['num_steps'], 1)


def _descent_calls(terms):
  def calls(settings, info):
    # A direction is the mean of gradients along the path; every trial step of
    # the search is a forward call, and so is the first mask.
    trials = line_search.ladder(
      settings['upper'], settings['lower'], settings['decay']
    ).size
    steps = settings['num_steps']
    return Calls(
      terms * steps * settings['path_steps'], terms * (1 + steps * trials)
    )

  return calls


def _tap(spec):
  return {'name': spec.taps[0]} if spec.taps else {}


_smooth = functools.partial(
  Entry,
  calls=_samples,
  describe=_stderr,
  drawing=viz.MAGNITUDE,
)
_cam = functools.partial(
  Entry,
  calls=_one_gradient,
  describe=_discarded,
  drawing=viz.HEAT,
  for_model=_tap,
)

METHODS: dict[str, Entry] = {
  'gradient': Entry(
    saliency_jax.gradient, _one_gradient, _score, viz.MAGNITUDE
  ),
  'gradient_x_input': Entry(
    transforms.times_input(saliency_jax.gradient),
    _one_gradient,
    _score,
    viz.SIGNED,
  ),
  'smooth_grad': _smooth(saliency_jax.smooth_grad),
  'smooth_grad_squared': _smooth(saliency_jax.smooth_grad_squared),
  'var_grad': _smooth(
    saliency_jax.var_grad,
    calls=lambda settings, info: Calls(settings['num_samples'] + 1),
  ),
  'integrated_gradients': Entry(
    saliency_jax.integrated_gradients,
    lambda settings, info: Calls(settings['num_steps'], 2),
    _completeness,
    viz.SIGNED,
  ),
  'adaptive_integrated_gradients': Entry(
    saliency_jax.adaptive_integrated_gradients,
    lambda settings, info: Calls(int(info.num_steps), 2),
    _adaptive,
    viz.SIGNED,
    quick=False,
  ),
  'expected_gradients': Entry(
    saliency_jax.expected_gradients,
    lambda settings, info: Calls(
      settings['num_samples'], 1 + len(settings['references'])
    ),
    _expected,
    viz.SIGNED,
    settings={'num_samples': 100},
    for_model=lambda spec: {'references': jnp.asarray(inputs.photos(spec))},
  ),
  'grad_cam': _cam(saliency_jax.grad_cam),
  'grad_cam_pp': _cam(saliency_jax.grad_cam_pp),
  'occlusion': Entry(
    saliency_jax.occlusion,
    lambda settings, info: Calls(forwards=int(np.ravel(info.num_calls)[0])),
    _occlusion,
    viz.SIGNED,
    scores.prob,
  ),
  'rise': Entry(
    saliency_jax.rise,
    lambda settings, info: Calls(forwards=settings['num_masks']),
    _rise,
    viz.HEAT,
    scores.prob,
    # A quarter of the paper's masks: the standard error says what that costs.
    settings={'num_masks': 1000},
  ),
  'mask': Entry(
    saliency_jax.mask,
    _mask_calls,
    _removed,
    viz.HEAT,
    scores.prob,
    quick=False,
  ),
  'igos': Entry(
    saliency_jax.igos,
    _descent_calls(1),
    _searched,
    viz.HEAT,
    scores.prob,
    settings={'batch_size': 10},
  ),
  'igos_pp': Entry(
    saliency_jax.igos_pp,
    _descent_calls(4),
    _searched,
    viz.HEAT,
    scores.prob,
    settings={'batch_size': 20, 'path_steps': 5},
    quick=False,
  ),
}

# Settings that are functions, by the names that a flag can give them.
_BASELINES = {
  f.__name__: f
  for f in (
    baselines.black,
    baselines.constant,
    baselines.mean,
    baselines.gaussian_blur,
    baselines.uniform,
  )
}
_FUNCTIONS = {
  'baseline': _BASELINES,
  'fill': _BASELINES,
  'quadrature_fn': {
    f.__name__: f
    for f in (
      quadrature.midpoint,
      quadrature.right_riemann,
      quadrature.trapezoid,
      quadrature.gauss_legendre,
    )
  },
  'activation': {'relu': jax.nn.relu, 'identity': jax.nn.identity},
  'objective': {f.__name__: f for f in (masks.deletion, masks.insertion)},
  'place_noise': {
    f.__name__: f for f in (descent.noisy_image, descent.noisy_composite)
  },
  'sigma': {'of_range': smoothgrad.of_range},
}


def choose(names: Sequence[str]) -> list[str]:
  """Returns the methods that a flag names, or all that 'all' or 'quick' is.

  Raises:
    ValueError: an unknown name, a name given twice, or none.
  """
  chosen = [name.strip() for name in names if name.strip()]
  if chosen in (['all'], ['quick']):
    return [n for n, e in METHODS.items() if e.quick or chosen == ['all']]
  unknown = [name for name in chosen if name not in METHODS]
  if unknown or not chosen or len(set(chosen)) < len(chosen):
    raise ValueError(
      f"--methods {','.join(names)!r}: expected 'quick', 'all', or some of "
      + ', '.join(METHODS)
    )
  return chosen


def settings_of(
  names: Sequence[str], assignments: Sequence[str], spec: model_types.Spec
) -> dict[str, dict[str, Any]]:
  """Returns every setting of some methods: their own, the launchers', a flag's.

  Args:
    names: of the methods.
    assignments: `method.setting=value`, the values in Python's spelling or the
      name of a function.
    spec: of the network.

  Raises:
    ValueError: a method that is not among `names`, no such setting, or a value
      that it does not take.
  """
  given = {name: {} for name in names}
  for assignment in assignments:
    target, equals, text = assignment.partition('=')
    name, dot, setting = (part.strip() for part in target.partition('.'))
    if not equals or not dot:
      raise ValueError(f'--set {assignment!r}: expected method.setting=value')
    if name not in given:
      raise ValueError(
        f'--set {assignment!r}: {name!r} is not one of the methods of this '
        f'run, {", ".join(names)}'
      )
    given[name][setting] = _value(assignment, name, setting, text.strip())
  return {
    name: {
      **{k: p.default for k, p in _parameters(METHODS[name]).items()},
      **METHODS[name].settings,
      **METHODS[name].for_model(spec),
      **given[name],
    }
    for name in names
  }


def build(
  name: str, settings: Mapping[str, Any], apply: types.Apply, **kwargs: Any
) -> Callable[..., types.Attribution]:
  """Returns the compiled explainer of one method: see `explainer.build`."""
  entry = METHODS[name]
  method = functools.partial(entry.method, **settings)
  return explainer.build(method, apply, entry.score, **kwargs)


def _parameters(entry: Entry) -> dict[str, inspect.Parameter]:
  parameters = inspect.signature(entry.method).parameters.values()
  return {
    p.name: p
    for p in parameters
    if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name != 'key'
  }


def _value(assignment: str, name: str, setting: str, text: str) -> Any:
  """Reads the value of a setting as its annotation asks."""
  # Arrays cannot be spelled in a flag.
  parameters = {
    k: p
    for k, p in _parameters(METHODS[name]).items()
    if p.default is not inspect.Parameter.empty
  }
  if setting not in parameters:
    have = f'has {", ".join(parameters)}' if parameters else 'has none'
    raise ValueError(f'--set {assignment!r}: no such setting, {name} {have}')
  functions = _FUNCTIONS.get(setting, {})
  if text in functions:
    return functions[text]
  kinds = _kinds(parameters[setting].annotation)
  if kinds == {str}:
    return text
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    value = text
  if type(value) in kinds:
    return value
  if type(value) is int and float in kinds:
    return float(value)
  words = sorted(
    'None' if k is type(None) else k.__name__ for k in kinds
  ) + list(functions)
  raise ValueError(f'--set {assignment!r}: expected {" or ".join(words)}')


def _kinds(annotation: Any) -> set[type]:
  """Returns the types of an annotation that a flag can spell."""
  parts = (
    typing.get_args(annotation)
    if isinstance(annotation, python_types.UnionType)
    or typing.get_origin(annotation) is typing.Union
    else (annotation,)
  )
  parts = {typing.get_origin(p) or p for p in parts}
  return parts & {int, float, bool, str, tuple, type(None)}
