"""Quadrature on [0, 1]: `integral of h = sum_k weights_k h(nodes_k)`.

A rule is a function `num_steps -> (nodes, weights)`; the weights sum to one.
"""

from collections.abc import Callable

import numpy as np
from typing_extensions import TypeAliasType

from saliency_jax.core import checks

Rule = TypeAliasType('Rule', Callable[[int], tuple[np.ndarray, np.ndarray]])


def midpoint(num_steps: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the middles of `num_steps` equal intervals, equally weighted."""
  checks.count('num_steps', num_steps)
  return (np.arange(num_steps) + 0.5) / num_steps, _equal(num_steps)


def right_riemann(num_steps: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the right ends of `num_steps` equal intervals: the IG paper's."""
  checks.count('num_steps', num_steps)
  return np.arange(1, num_steps + 1) / num_steps, _equal(num_steps)


def trapezoid(num_steps: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns `num_steps` equally spaced nodes, both ends at half weight.

  Raises:
    ValueError: for fewer than the two ends.
  """
  checks.count('num_steps', num_steps, 2)
  weights = np.full(num_steps, 1 / (num_steps - 1))
  weights[[0, -1]] /= 2
  return np.linspace(0.0, 1.0, num_steps), weights


def gauss_legendre(num_steps: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the nodes exact for polynomials of degree `2 num_steps - 1`."""
  checks.count('num_steps', num_steps)
  nodes, weights = np.polynomial.legendre.leggauss(num_steps)
  return (nodes + 1) / 2, weights / 2


def _equal(num_steps):
  return np.full(num_steps, 1 / num_steps)
