"""What every attack returns: the neighbour, and how it was found."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float


class Adversary(NamedTuple):
  """The neighbour that was found.

  Attributes:
    x: the neighbour; the example itself where none is better, or none of an
      attack on maps kept the class.
    objective: at the neighbour; attacks on maps make it small, `pgd` large.
    clean_objective: at the example.
    trace: the best objective so far, from the starts on, `[num_steps + 1]`; NaN
      while no restart of an attack on maps had a start.
    feasible: whether a start was found: always by `pgd`, by attacks on maps
      where one kept the class.
    norm: of the step from the example.
  """

  x: Float[Array, '...']
  objective: Float[Array, '']
  clean_objective: Float[Array, '']
  trace: Float[Array, 'n']
  feasible: Bool[Array, '']
  norm: Float[Array, '']
