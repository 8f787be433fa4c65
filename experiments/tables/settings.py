"""Reads `method.setting=value`: a value in Python's spelling, or a function.

What a setting takes is read from the annotation of the method's parameter.
"""

import ast
from collections.abc import Callable
import functools
import inspect
import types as python_types
import typing
from typing import Any, NamedTuple

import jax
import optax

from saliency_jax.core import baselines
from saliency_jax.gradients import quadrature
from saliency_jax.gradients import smoothgrad
from saliency_jax.metrics import deletion
from saliency_jax.optimization import descent
from saliency_jax.optimization import leg_tv
from saliency_jax.optimization import masks
from saliency_jax.optimization import sparsity_weight
from saliency_jax.perturbations import leg

# How far an optimizer steps that a flag names, by method: the learning rate of
# the method's own default.
_LEARNING_RATES = {'mask': 0.1, 'invariant_perturbation': 0.01}


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
# Settings that are functions, or made of them, by the names that a flag can
# give them.
FUNCTIONS: dict[str, dict[str, Any]] = {
  'activation': {'relu': jax.nn.relu, 'identity': jax.nn.identity},
  'baseline': BASELINES,
  'colours': _by_name(leg.grey, leg.joint, leg.per_channel),
  'covariance': _by_name(leg.white, leg.paper, leg.smooth),
  'draw': _by_name(leg.orthogonal, leg.gaussian),
  'lam1': _by_name(sparsity_weight.search),
  'objective': _by_name(masks.deletion, masks.insertion),
  'optimizer': _by_name(optax.adam, optax.rmsprop, optax.sgd),
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
  'sigma': _by_name(smoothgrad.of_range),
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


def parameters(method: Callable[..., Any]) -> dict[str, inspect.Parameter]:
  """Returns the settings of a method: its keyword arguments but the key."""
  return {
    p.name: p
    for p in inspect.signature(method).parameters.values()
    if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name != 'key'
  }


def read(assignment: Assignment, method: Callable[..., Any]) -> Any:
  """Reads the value of a setting as its annotation asks.

  Raises:
    ValueError: no such setting, or a value that it does not take.
  """
  name, setting, text, whole = assignment
  # Arrays, which have no default, cannot be spelled in a flag.
  known = {
    k: p
    for k, p in parameters(method).items()
    if p.default is not inspect.Parameter.empty
  }
  if setting not in known:
    have = f'has {", ".join(known)}' if known else 'has none'
    raise ValueError(f'--set {whole!r}: no such setting, {name} {have}')
  kinds = _kinds(known[setting].annotation)
  functions = FUNCTIONS.get(setting, {}) if Callable in kinds else {}
  if text in functions:
    value = functions[text]
    return value(_LEARNING_RATES[name]) if setting == 'optimizer' else value
  kinds &= {int, float, bool, str, tuple, type(None)}
  if kinds == {str}:
    return text
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    # Numbers that Python has no literal of: a method says what it takes.
    value = float(text) if text in ('inf', '-inf', 'nan') else text
  if type(value) in kinds:
    return value
  if type(value) is int and float in kinds:
    return float(value)
  words = sorted(
    'None' if k is type(None) else k.__name__ for k in kinds
  ) + list(functions)
  raise ValueError(f'--set {whole!r}: expected {" or ".join(words)}')


def _kinds(annotation: Any) -> set[Any]:
  """Returns the types that an annotation unites, without their arguments."""
  parts = (
    typing.get_args(annotation)
    if isinstance(annotation, python_types.UnionType)
    or typing.get_origin(annotation) is typing.Union
    else (annotation,)
  )
  kinds = {typing.get_origin(p) or p for p in parts}
  if any(
    k in (Callable, optax.GradientTransformation)
    or getattr(k, '_is_protocol', False)
    for k in kinds
  ):
    kinds.add(Callable)
  # A baseline: the name of a function, or a number.
  return kinds | {Callable, float} if Any in kinds else kinds
