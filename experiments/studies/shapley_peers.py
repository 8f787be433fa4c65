"""The estimators of shap and shapiq, on games whose every coalition is known.

They want numpy's functions of many coalitions, and are seeded one by one. Which
of them are there depends on the versions that are installed.
"""

from collections.abc import Callable
import importlib
import importlib.metadata
import logging
from typing import Any
import warnings

from jaxtyping import Float
import numpy as np

# `(player count, seed) -> approximator`, of shapiq.
_SHAPIQ = {
  'KernelSHAP': {'pairing_trick': True},
  'LeverageSHAP': {},
  'UnbiasedKernelSHAP': {'pairing_trick': True},
  'PermutationSamplingSV': {},
  'SVARM': {},
  'kADDSHAP': {'max_order': 2},
  'PolySHAP': {'max_order': 3, 'pairing_trick': True},
  'OddSHAP': {},
  'RegressionMSR': {'index': 'SV', 'proxy_model': 'linear'},
}


def estimators() -> dict[str, Callable[..., Float[np.ndarray, 'p']]]:
  """Returns `(worths, budget, seed) -> values` of what is installed, by name.

  `budget` counts every call, nobody and everyone among them.
  """
  found = {}
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Of the packages' own dependencies.
    for package, add in (('shapiq', _of_shapiq), ('shap', _of_shap)):
      try:
        found |= add(importlib.import_module(package))
      except ImportError:
        continue
  return found


def versions() -> dict[str, str]:
  """Returns the versions of the packages that are installed."""
  found = {}
  for package in ('shap', 'shapiq'):
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


def _of_shapiq(package):
  approximators = importlib.import_module('shapiq.approximator')
  regression = importlib.import_module('shapiq.approximator.regression')
  found = {}
  for name, settings in _SHAPIQ.items():
    kind = getattr(approximators, name, getattr(regression, name, None))
    if kind is not None:
      found[f'shapiq {name}'] = _approximated(kind, settings)
  return found


def _approximated(kind, settings):
  def run(worths, budget, seed):
    num, play = _played(worths)
    with _quiet():
      values = kind(n=num, random_state=seed, **settings).approximate(
        budget, play
      )
    return np.array([values[(i,)] for i in range(num)])

  return run


def _of_shap(package):
  def kernel(worths, budget, seed):
    num, play = _played(worths)
    with _quiet():
      explainer = package.KernelExplainer(play, np.zeros((1, num)), seed=seed)
      return explainer.shap_values(
        np.ones(num), nsamples=budget - 2, l1_reg=False, silent=True
      )

  def permutation(worths, budget, seed):
    num, play = _played(worths)
    with _quiet():
      explainer = package.PermutationExplainer(
        play, np.zeros((1, num)), seed=seed
      )
      row = np.ones((1, num))
      return explainer(row, max_evals=budget, silent=True).values[0]

  return {'shap Kernel': kernel, 'shap Permutation': permutation}


def _played(worths):
  """Returns the number of players, and a game that may be called in numpy."""
  num = len(worths).bit_length() - 1
  bits = 2 ** np.arange(num)

  def play(sets: Any) -> np.ndarray:
    return worths[(np.atleast_2d(sets) > 0.5).astype(int) @ bits].copy()

  return num, play


class _quiet(warnings.catch_warnings):
  """Keeps back what packages warn and log of small budgets."""

  def __enter__(self):
    super().__enter__()
    warnings.simplefilter('ignore')
    logging.disable(logging.WARNING)

  def __exit__(self, *args):
    logging.disable(logging.NOTSET)
    super().__exit__(*args)
