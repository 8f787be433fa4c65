"""How often methods call the classifier.

Each function takes the settings of a method and its `info`, and returns the
`Calls` of one map.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from saliency_jax.solvers import line_search


class Calls(NamedTuple):
  """How often a method calls the classifier."""

  gradients: int = 0  # Of its value and gradient.
  forwards: int = 0  # Of its value alone.
  products: int = 0  # Of its Hessian with a vector.


Cost = Callable[[Mapping[str, Any], Any], Calls]


def _draws(most, info):
  """Returns how many draws there were: fewer where a tolerance was met."""
  draws = getattr(info, 'draws', None)
  return most if draws is None else int(np.ravel(draws.num)[0])


def nothing(settings, info) -> Calls:
  """Counts no call at all."""
  del settings, info
  return Calls()


def one_gradient(settings, info) -> Calls:
  """Counts the gradient at the example."""
  del settings, info
  return Calls(gradients=1)


def walk(settings, info) -> Calls:
  """Counts one walk back over the network's equations as a gradient."""
  return one_gradient(settings, info)


def walks(settings, info) -> Calls:
  """Counts a walk a baseline, and the score of the example."""
  del info
  return Calls(settings['num_baselines'], 1)


def samples(settings, info) -> Calls:
  """Counts a gradient a draw."""
  return Calls(gradients=_draws(settings['num_samples'], info))


def var_grad(settings, info) -> Calls:
  """Counts a gradient a draw, and one of the example."""
  return Calls(gradients=_draws(settings['num_samples'], info) + 1)


def integrated(settings, info) -> Calls:
  """Counts a gradient a step, and the scores of both ends."""
  del info
  return Calls(settings['num_steps'], 2)


def adaptive(settings, info) -> Calls:
  """Counts the gradients that were taken, and the scores of both ends."""
  del settings
  return Calls(int(info.num_steps), 2)


def expected(settings, info) -> Calls:
  """Counts a gradient a draw, and the scores of the example and references."""
  num = _draws(settings['num_samples'], info)
  return Calls(num, 1 + len(settings['references']))


def forwards(settings, info) -> Calls:
  """Counts what `info.num_calls` says."""
  del settings
  return Calls(forwards=int(np.ravel(info.num_calls)[0]))


def rise(settings, info) -> Calls:
  """Counts a score a mask."""
  return Calls(forwards=_draws(settings['num_masks'], info))


def leg_tv(settings, info) -> Calls:
  """Counts the scores that LEG takes."""
  return forwards(settings, info.leg)


def mask(settings, info) -> Calls:
  """Counts a gradient an update, and one more look at the last mask."""
  del info
  return Calls(settings['num_steps'], 1)


def descent(terms: int) -> Cost:
  """Counts the descents of I-GOS, `terms` objectives at each step."""

  def cost(settings, info):
    del info
    # A direction is the mean of gradients along the path; every trial step of
    # the search is a forward call, and so is the first mask.
    trials = line_search.ladder(
      settings['upper'], settings['lower'], settings['decay']
    ).size
    steps = settings['num_steps']
    return Calls(
      terms * steps * settings['path_steps'], terms * (1 + steps * trials)
    )

  return cost


def caso(settings, info) -> Calls:
  """Counts the products of the eigenvalue and of the steps."""
  del info
  return Calls(
    gradients=1, products=settings['num_steps'] + settings['eigen_steps']
  )


def smooth_caso(settings, info) -> Calls:
  """Counts the same at every draw."""
  del info
  draws = settings['num_samples']
  products = settings['num_steps'] + settings['eigen_steps'] + 1
  return Calls(gradients=draws, products=draws * products)


def invariant(settings, info) -> Calls:
  """Counts the draws of all steps, and what two boxes are tried with."""
  del info
  return Calls(
    gradients=settings['num_steps'] * settings['num_samples']
    + settings['num_ascent']
    + 1,
    # The box that is found, and the largest.
    forwards=2 * settings['num_checks'] + 2,
  )


def linear_invariant(settings, info) -> Calls:
  """Counts a gradient a row of the program, and what the box is tried with."""
  # A row is a margin of one of the noisy copies.
  return Calls(
    gradients=info.solver.multipliers.size + settings['num_ascent'] + 1,
    forwards=settings['num_checks'] + 2,
  )
