"""The saliency methods for images that the launchers know, in one table.

To add a method, add an entry to `METHODS`; its settings, their types and their
defaults are read from the signature of its function.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any

import jax.numpy as jnp

from experiments.core import inputs
from experiments.tables import costs
from experiments.tables import entries
from experiments.tables import players
from experiments.tables import settings
import saliency_jax
from saliency_jax import certificates
from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax import transforms
from saliency_jax import viz
from saliency_jax.core import types
from saliency_jax.models import types as model_types
from saliency_jax.perturbations import gaussian_process
from saliency_jax.propagation import attention


def _tap(spec):
  return {'name': spec.taps[0]} if spec.taps else {}


def _window(spec):
  """Returns windows of a small image: a seventh, as the default is of 224."""
  side = min(spec.input_shape[:2])
  window = max(2, side // 7)
  return {} if side >= 64 else {'window': window, 'stride': window // 2}


# A walk back over the equations of the network, by rules.
_walk = functools.partial(entries.Entry, cost=costs.walk)
_guided = functools.partial(
  _walk,
  drawing=viz.MAGNITUDE,
  reading=entries.SIZE,
)
_smooth = functools.partial(
  entries.Entry,
  cost=costs.samples,
  drawing=viz.MAGNITUDE,
  reading=entries.SIZE,
)
_differences = functools.partial(
  entries.Entry, drawing=viz.SIGNED, units=entries.Units.DIFFERENCE
)
# The loss is explained by the step of the input that would raise it.
_loss = functools.partial(
  entries.Entry, drawing=viz.MAGNITUDE, reading=entries.SIZE, score=scores.loss
)
# A fourth of the paper's cells and images: maps of photos in seconds. It
# estimates a slope, and its paper ranks by size.
_leg = functools.partial(
  entries.Entry,
  drawing=viz.SIGNED,
  reading=entries.SIZE,
  units=entries.Units.CELL_SLOPE,
  score=scores.prob,
  settings={'cells': 14, 'num_samples': 784},
)
# Of 256 draws: a certificate wants thousands.
_certifiable = functools.partial(
  entries.Entry,
  cost=costs.samples,
  drawing=viz.HEAT,
  score=scores.max_logit,
  quick=False,
)
# Players are cells or superpixels; who is below zero speaks against the class.
_players = functools.partial(
  entries.Entry,
  cost=costs.forwards,
  drawing=viz.SIGNED,
  score=scores.prob,
  quick=False,
)
_cam = functools.partial(
  entries.Entry,
  cost=costs.one_gradient,
  drawing=viz.HEAT,
  for_model=_tap,
)

METHODS: dict[str, entries.Entry] = {
  'gradient': entries.Entry(
    saliency_jax.gradient,
    costs.one_gradient,
    viz.MAGNITUDE,
    entries.SIZE,
    entries.Units.SLOPE,
  ),
  'gradient_x_input': _differences(
    transforms.times_input(saliency_jax.gradient),
    costs.one_gradient,
  ),
  'smooth_grad': _smooth(saliency_jax.smooth_grad, units=entries.Units.SLOPE),
  'smooth_grad_squared': _smooth(saliency_jax.smooth_grad_squared),
  'var_grad': _smooth(saliency_jax.var_grad, cost=costs.var_grad),
  'scaled_map': _certifiable(certificates.scaled_map),
  'quadratic_map': _certifiable(certificates.quadratic_map),
  'sparsified_map': _certifiable(certificates.sparsified_map),
  'relaxed_map': _certifiable(certificates.relaxed_map),
  'median_rank': _certifiable(certificates.median_rank),
  'integrated_gradients': _differences(
    saliency_jax.integrated_gradients,
    costs.integrated,
  ),
  'adaptive_integrated_gradients': _differences(
    saliency_jax.adaptive_integrated_gradients,
    costs.adaptive,
    quick=False,
  ),
  'expected_gradients': _differences(
    saliency_jax.expected_gradients,
    costs.expected,
    settings={'num_samples': 100},
    for_model=lambda spec: {'references': jnp.asarray(inputs.photos(spec))},
  ),
  'grad_cam': _cam(saliency_jax.grad_cam),
  'grad_cam_pp': _cam(saliency_jax.grad_cam_pp),
  'guided_backprop': _guided(saliency_jax.guided_backprop),
  'deconvnet': _guided(saliency_jax.deconvnet),
  # Where nothing is divided by what depends on the image, as by the norms of a
  # transformer, that is the composite `epsilon`.
  'lrp': _walk(
    saliency_jax.lrp,
    drawing=viz.SIGNED,
    settings={'composite': attention.attn_lrp},
  ),
  'deeplift': _differences(saliency_jax.deeplift, costs.walks),
  # Contrastive, as in the paper's comparisons, at the layer of Grad-CAM. Of a
  # pooled class map a few cells alone would be the negated network's.
  'excitation_backprop': _walk(
    transforms.to_image(saliency_jax.excitation_backprop),
    drawing=viz.SIGNED,
    settings={'contrastive': True, 'prior': 'activations'},
    for_model=lambda spec: {'at': spec.taps[0]} if spec.taps else {},
  ),
  'occlusion': entries.Entry(
    saliency_jax.occlusion,
    costs.forwards,
    viz.SIGNED,
    score=scores.prob,
    for_model=_window,
  ),
  'rise': entries.Entry(
    saliency_jax.rise,
    costs.rise,
    viz.HEAT,
    score=scores.prob,
    # An eighth of the paper's masks: the standard error says what that costs.
    settings={'num_masks': 500},
  ),
  'lime': _players(players.of_image(saliency_jax.lime)),
  'kernel_shap': _players(
    players.of_image(saliency_jax.kernel_shap),
  ),
  # Closer at equal calls than KernelSHAP.
  'shapley': _players(
    players.of_image(saliency_jax.shapley),
    settings={
      'cells': 7,
      'estimator': functools.partial(
        gaussian_process.gaussian_process, num_samples=512
      ),
    },
  ),
  'banzhaf': _players(players.of_image(saliency_jax.banzhaf)),
  'ablation': _players(players.of_image(saliency_jax.ablation)),
  # 781 coalitions of 49 cells.
  'l_shapley': _players(
    players.of_image(saliency_jax.l_shapley),
    settings={'cells': 7},
  ),
  'c_shapley': _players(
    players.of_image(saliency_jax.c_shapley),
    settings={'cells': 7},
  ),
  # The C-Shapley of LEG's paper.
  'ball_regression': _players(
    players.of_image(saliency_jax.ball_regression),
  ),
  'leg': _leg(
    saliency_jax.leg,
    costs.forwards,
    quick=False,
  ),
  'leg_tv': _leg(
    saliency_jax.leg_tv,
    costs.leg_tv,
  ),
  'cafo': _loss(saliency_jax.cafo, costs.one_gradient),
  'caso': _loss(saliency_jax.caso, costs.caso),
  'smooth_cafo': _loss(
    saliency_jax.smooth_cafo,
    costs.samples,
    quick=False,
  ),
  'smooth_caso': _loss(
    saliency_jax.smooth_caso,
    costs.smooth_caso,
    quick=False,
  ),
  'invariant_perturbation': entries.Entry(
    saliency_jax.invariant_perturbation,
    costs.invariant,
    viz.HEAT,
    score=scores.prob_margins,
    # A quarter of the paper's draws a step.
    settings={'num_samples': 8, 'batch_size': 8},
    quick=False,
  ),
  'linear_invariant': entries.Entry(
    saliency_jax.linear_invariant,
    costs.linear_invariant,
    viz.HEAT,
    score=scores.margins,
    settings={'batch_size': 8},
    quick=False,
  ),
  'mask': entries.Entry(
    saliency_jax.mask,
    costs.mask,
    viz.HEAT,
    score=scores.prob,
    quick=False,
  ),
  'igos': entries.Entry(
    saliency_jax.igos,
    costs.descent(1),
    viz.HEAT,
    score=scores.prob,
    settings={'batch_size': 10},
  ),
  'igos_pp': entries.Entry(
    saliency_jax.igos_pp,
    costs.descent(4),
    viz.HEAT,
    score=scores.prob,
    settings={'batch_size': 20, 'path_steps': 5},
    quick=False,
  ),
}


def choose(
  names: Sequence[str], table: Mapping[str, entries.Entry] = METHODS
) -> list[str]:
  """Returns the methods that a flag names, or all that 'all' or 'quick' is.

  Args:
    names: of methods.
    table: of methods.

  Raises:
    ValueError: an unknown name, a name given twice, or none.
  """
  chosen = [name.strip() for name in names if name.strip()]
  if chosen in (['all'], ['quick']):
    return [n for n, e in table.items() if e.quick or chosen == ['all']]
  unknown = [name for name in chosen if name not in table]
  if unknown or not chosen or len(set(chosen)) < len(chosen):
    raise ValueError(
      f"--methods {','.join(names)!r}: expected 'quick', 'all', or some of "
      + ', '.join(table)
    )
  return chosen


def are_named(names: Sequence[str] | None) -> bool:
  """Returns whether a flag, if it is given, names methods one by one."""
  return names is not None and not {'all', 'quick'}.issuperset(
    name.strip() for name in names
  )


def given(
  names: Sequence[str],
  assignments: Sequence[str],
  table: Mapping[str, entries.Entry] = METHODS,
) -> dict[str, dict[str, Any]]:
  """Returns the settings of some methods that a flag gives.

  Args:
    names: of the methods.
    assignments: `method.setting=value`: see `settings.py`.
    table: of methods.

  Raises:
    ValueError: a method that is not among `names`, no such setting, or a value
      that it does not take.
  """
  values: dict[str, dict[str, Any]] = {name: {} for name in names}
  for text in assignments:
    found = settings.split(text)
    if found.method not in values:
      raise ValueError(
        f'--set {text!r}: {found.method!r} is not one of the methods of this '
        f'run, {", ".join(names)}'
      )
    value = settings.read(found, table[found.method].method)
    values[found.method][found.setting] = value
  return values


def settings_of(
  names: Sequence[str], assignments: Sequence[str], spec: model_types.Spec
) -> dict[str, dict[str, Any]]:
  """Returns every setting of some methods: see `given` and `complete`."""
  found = given(names, assignments)
  return {name: complete(name, found[name], spec) for name in names}


def complete(
  name: str, given: Mapping[str, Any], spec: model_types.Spec
) -> dict[str, Any]:
  """Returns every setting of a method: its own, the launchers', the given.

  Args:
    name: of the method.
    given: settings as the method takes them: see `settings.check`.
    spec: of the network.
  """
  entry = METHODS[name]
  defaults = settings.parameters(entry.method)
  return {
    **{k: p.default for k, p in defaults.items()},
    **entry.settings,
    **entry.for_model(spec),
    **given,
  }


def build(
  name: str, settings: Mapping[str, Any], apply: types.Apply, **kwargs: Any
) -> Callable[..., types.Attribution]:
  """Returns the compiled explainer of one method: see `explainer.build`."""
  entry = METHODS[name]
  method = functools.partial(entry.method, **settings)
  return explainer.build(method, apply, entry.score, **kwargs)
