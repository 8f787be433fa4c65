"""The settings of methods and metrics, checked: what a name or a number means.

What a setting takes is read from the annotation of its parameter. A config has
values of Python's own types, which `check` takes as they are; a flag has text,
`method.setting=value`, which `read` parses first.
"""

import ast
from collections.abc import Callable, Mapping
import functools
import inspect
import types as python_types
import typing
from typing import Any, NamedTuple

import jax
import optax
import typing_extensions

from saliency_jax import scores
from saliency_jax.certificates import smoothed_maps
from saliency_jax.core import baselines
from saliency_jax.gradients import quadrature
from saliency_jax.gradients import smoothgrad
from saliency_jax.metrics import deletion
from saliency_jax.metrics import fidelity
from saliency_jax.metrics import information
from saliency_jax.optimization import box_bounds
from saliency_jax.optimization import descent
from saliency_jax.optimization import invariant
from saliency_jax.optimization import leg_tv
from saliency_jax.optimization import mask
from saliency_jax.optimization import masks
from saliency_jax.optimization import sparsity_weight
from saliency_jax.perturbations import gaussian_process
from saliency_jax.perturbations import leg
from saliency_jax.perturbations import shapley
from saliency_jax.perturbations import stratified
from saliency_jax.propagation import attention
from saliency_jax.propagation import composites

# How far an optimizer steps that is given by name: as the method's own does.
_LEARNING_RATES = {
  'mask': mask.LEARNING_RATE,
  'invariant_perturbation': invariant.LEARNING_RATE,
}
# What a flag or a config can spell.
_PLAIN = (int, float, bool, str, tuple, type(None))


class Assignment(NamedTuple):
  """What a flag says, its value not yet read."""

  method: str
  setting: str
  value: str
  text: str  # As it was given.


def _by_name(*functions):
  return {f.__name__: f for f in functions}


# What takes the place of what is removed, by the names of flags and configs.
BASELINES: dict[str, baselines.Baseline] = {
  'black': baselines.black,
  'white': functools.partial(baselines.constant, value=1.0),
  'grey': baselines.constant,
  'mean': baselines.mean,
  'blur': baselines.gaussian_blur,
  'slight_blur': functools.partial(
    baselines.gaussian_blur, kernel_size=11, sigma=5.0
  ),
  'rise_blur': deletion.rise_blur,
  'uniform': baselines.uniform,
}
# Settings that are functions, or made of them, by the names that flags and
# configs give them.
FUNCTIONS: dict[str, dict[str, Any]] = {
  'activation': {'relu': jax.nn.relu, 'identity': jax.nn.identity},
  'base': {
    'magnitude': smoothed_maps.magnitude,
    'channel_magnitude': smoothed_maps.channel_magnitude,
  },
  'baseline': BASELINES,
  'bound': _by_name(
    box_bounds.alpha_crown, box_bounds.crown, box_bounds.interval
  ),
  'composite': _by_name(
    composites.epsilon,
    composites.epsilon_plus,
    composites.epsilon_gamma_box,
    attention.attn_lrp,
    attention.cp_lrp,
  ),
  'colours': _by_name(leg.grey, leg.joint, leg.per_channel),
  'covariance': _by_name(leg.white, leg.paper, leg.smooth),
  'deleted': BASELINES,
  'draw': _by_name(leg.orthogonal, leg.gaussian),
  'entropy': _by_name(information.residual_entropy, information.webp),
  'estimator': _by_name(
    shapley.exact,
    shapley.permutation,
    stratified.stratified,
    gaussian_process.gaussian_process,
  ),
  'lam1': _by_name(sparsity_weight.search),
  'objective': _by_name(masks.deletion, masks.insertion),
  'optimizer': _by_name(optax.adam, optax.rmsprop, optax.sgd),
  'perturbation': _by_name(fidelity.gaussian, fidelity.square),
  'place_noise': _by_name(descent.noisy_image, descent.noisy_composite),
  'quadrature_fn': _by_name(
    quadrature.midpoint,
    quadrature.right_riemann,
    quadrature.trapezoid,
    quadrature.gauss_legendre,
  ),
  'radius': _by_name(
    leg_tv.relative,
    leg_tv.bootstrap,
    leg_tv.absolute,
    leg_tv.paper,
    leg_tv.mcdiarmid,
  ),
  'score': _by_name(
    scores.log_odds, scores.log_prob, scores.logit, scores.margin, scores.prob
  ),
  'sigma': _by_name(smoothgrad.of_range),
  'start': BASELINES,
  'stretch': {'nearest': leg.nearest, 'bilinear': leg.bilinear},
}


def split(text: str) -> Assignment:
  """Splits `method.setting=value`.

  Raises:
    ValueError: if it is not of that form.
  """
  target, equals, value = text.partition('=')
  method, dot, setting = (part.strip() for part in target.partition('.'))
  if not equals or not dot:
    raise ValueError(f'--set {text!r}: expected method.setting=value')
  return Assignment(method, setting, value.strip(), text)


def parameters(fn: Callable[..., Any]) -> dict[str, inspect.Parameter]:
  """Returns the settings of a method or metric: its keywords but the key."""
  return {
    p.name: p
    for p in inspect.signature(fn).parameters.values()
    if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name != 'key'
  }


def check(
  name: str, fn: Callable[..., Any], given: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns settings as a method or metric takes them, functions for names.

  Args:
    name: of the method or metric.
    fn: the method or metric.
    given: settings of Python's own types, as a config has them.

  Raises:
    ValueError: no such setting, or a value that it does not take.
  """
  found = {}
  for setting, value in given.items():
    annotation = _annotation(name, fn, setting)
    try:
      found[setting] = _checked(name, setting, value, annotation)
    except ValueError as e:
      raise ValueError(f'{setting} is {value!r}, {e}') from e
  return found


def read(assignment: Assignment, method: Callable[..., Any]) -> Any:
  """Reads the value of a flag's setting as its annotation asks.

  Raises:
    ValueError: no such setting, or a value that it does not take.
  """
  name, setting, text, whole = assignment
  try:
    annotation = _annotation(name, method, setting)
    return _checked(name, setting, _parse(text, annotation), annotation)
  except ValueError as e:
    raise ValueError(f'--set {whole!r}: {e}') from e


def _parse(text: str, annotation: Any) -> Any:
  """Reads a value in Python's spelling; what is not one is text."""
  if annotation is str:
    return text
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    # Numbers that Python has no literal of: a method says what it takes.
    return float(text) if text in ('inf', '-inf', 'nan') else text


def _annotation(name: str, fn: Callable[..., Any], setting: str) -> Any:
  """Returns the annotation of a setting that can be spelled.

  Raises:
    ValueError: no such setting.
  """
  known = {
    k: p.annotation
    for k, p in parameters(fn).items()
    if _kinds(p.annotation) & {*_PLAIN, Callable}
  }
  if setting not in known:
    have = f'has {", ".join(known)}' if known else 'has none'
    raise ValueError(f'no such setting as {setting!r}, {name} {have}')
  return known[setting]


def _checked(name: str, setting: str, value: Any, annotation: Any) -> Any:
  """Returns the value of a setting, or the function that it names."""
  kinds = _kinds(annotation)
  functions = FUNCTIONS.get(setting, {}) if Callable in kinds else {}
  if isinstance(value, str) and value in functions:
    function = functions[value]
    return (
      function(_LEARNING_RATES[name]) if setting == 'optimizer' else function
    )
  if any(_fits(value, part) for part in _parts(annotation)):
    return value
  if type(value) is int and float in kinds:
    return float(value)
  words = sorted(
    'None' if k is type(None) else k.__name__ for k in kinds & {*_PLAIN}
  )
  literals = [
    repr(word)
    for part in _parts(annotation)
    if typing.get_origin(part) is typing.Literal
    for word in typing.get_args(part)
  ]
  named = [*words, *literals, *functions]
  raise ValueError(f'expected {" or ".join(named)}')


def _fits(value: Any, part: Any) -> bool:
  """Returns whether a value is of a type, and a tuple's elements of theirs."""
  if part is Any:  # A baseline: the name of a function, or a number.
    return type(value) is float
  if typing.get_origin(part) is typing.Literal:
    return value in typing.get_args(part)
  if typing.get_origin(part) is not tuple:
    return type(value) is part and part in _PLAIN
  elements = typing.get_args(part)
  if type(value) is not tuple:
    return False
  if elements[-1] is Ellipsis:
    elements = elements[:1] * len(value)
  return len(value) == len(elements) and all(
    any(_fits(v, p) for p in _parts(element))
    for v, element in zip(value, elements, strict=True)
  )


def _parts(annotation: Any) -> tuple[Any, ...]:
  """Returns the types that an annotation, or what it is a name of, unites."""
  if isinstance(annotation, typing_extensions.TypeAliasType):
    return _parts(annotation.__value__)
  united = isinstance(annotation, python_types.UnionType)
  if united or typing.get_origin(annotation) is typing.Union:
    return tuple(p for a in typing.get_args(annotation) for p in _parts(a))
  return (annotation,)


def _kinds(annotation: Any) -> set[Any]:
  """Returns the types that an annotation unites, without their arguments."""
  kinds = {typing.get_origin(p) or p for p in _parts(annotation)}
  if any(
    k in (Callable, optax.GradientTransformation)
    or getattr(k, '_is_protocol', False)
    for k in kinds
  ):
    kinds.add(Callable)
  return kinds | {Callable, float} if Any in kinds else kinds
