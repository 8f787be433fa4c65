"""JAX-native saliency maps: pure functions, one signature for all.

Every method is `method(fn, x, *, key=None, **settings) -> (scores, info)`, and
all of them stand in this one namespace: `saliency_jax.gradient(fn, x)`. A name
is imported when it is first used, so that whoever wants one function pays for
JAX and for that function alone. `models`, `data` and `viz` are imported by
those who want them: `from saliency_jax import models`.
"""

import importlib
from typing import Any

__version__ = '0.1.0'

# Public name -> the module that defines it.
_METHODS = {
  'adaptive_integrated_gradients': 'gradients.integrated',
  'cafo': 'optimization.caso',
  'caso': 'optimization.caso',
  'certified_box': 'optimization.certified_box',
  'expected_gradients': 'gradients.integrated',
  'grad_cam': 'gradients.grad_cam',
  'grad_cam_pp': 'gradients.grad_cam',
  'gradient': 'gradients.gradient',
  'igos': 'optimization.igos',
  'igos_pp': 'optimization.igos_pp',
  'integrated_gradients': 'gradients.integrated',
  'invariant_perturbation': 'optimization.invariant',
  'leg': 'perturbations.leg',
  'leg_tv': 'optimization.leg_tv',
  'linear_invariant': 'optimization.linear_invariant',
  'mask': 'optimization.mask',
  'occlusion': 'perturbations.occlusion',
  'rise': 'perturbations.rise',
  'smooth_cafo': 'optimization.smooth_caso',
  'smooth_caso': 'optimization.smooth_caso',
  'smooth_grad': 'gradients.smoothgrad',
  'smooth_grad_squared': 'gradients.smoothgrad',
  'var_grad': 'gradients.smoothgrad',
}
_MODULES = (
  'attacks',
  'certificates',
  'explainer',
  'maskers',
  'metrics',
  'scores',
  'solvers',
  'taps',
  'training',
  'transforms',
)

__all__ = sorted([*_METHODS, *_MODULES])


def __getattr__(name: str) -> Any:
  if name in _METHODS:
    module = importlib.import_module(f'{__name__}.{_METHODS[name]}')
    value = getattr(module, name)
  elif name in _MODULES:
    value = importlib.import_module(f'{__name__}.{name}')
  else:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  return [*globals(), *__all__]
