"""Differences along the edges of a graph, and all their inverses.

`D` maps a map, one number a node, to the differences along the edges. Its
singular value decomposition is `D = U Theta V'`: the columns of `V` are the
waves of the graph, and `Theta^2` the eigenvalues of its Laplacian `D'D`. So
`(D'D)^+`, `D^+`, `D^{+T}` and every matrix that is diagonal in the waves follow
from `V`. A grid knows its waves (`grid.py`), any other graph has them computed
(`graph.py`); what is solved on either asks for an `Operator` alone. Channels
and batches are `jax.vmap`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.solvers import flows


class Operator(NamedTuple):
  """`D` of one graph, and its waves.

  Attributes:
    shape: of a map.
    difference: applies `D`.
    adjoint: applies `D'`: what flows into each node minus what flows out.
    waves: applies `V'`: the coefficients of a map, of its shape.
    from_waves: applies `V`.
    waves_difference: applies `D V`, where the map's own rounding, of the size
      of its slowest waves, would drown the differences of these.
    eigenvalues: `Theta^2`, in float64 on the host, laid out as the waves are;
      exactly zero for what `D` does not see: the mean of each connected piece.
    means: a map to the mean of its piece at each node.
    pinv_norm: returns `|D^+|_1`, the largest column sum of absolute values.
  """

  shape: tuple[int, ...]
  difference: Callable[[Float[Array, '*shape']], flows.Flow]
  adjoint: Callable[[flows.Flow], Float[Array, '*shape']]
  waves: Callable[[Float[Array, '*shape']], Float[Array, '*shape']]
  from_waves: Callable[[Float[Array, '*shape']], Float[Array, '*shape']]
  waves_difference: Callable[[Float[Array, '*shape']], flows.Flow]
  eigenvalues: Float[np.ndarray, '*shape']
  means: Callable[[Float[Array, '*shape']], Float[Array, '*shape']]
  pinv_norm: Callable[[], float]

  def filtered(
    self, u: Float[Array, '*shape'], spectrum: Float[Array, '*shape']
  ) -> Float[Array, '*shape']:
    """Applies `V diag(spectrum) V'`, a matrix diagonal in the waves."""
    return self.from_waves(spectrum * self.waves(u))

  def inverse_eigenvalues(
    self, dtype: DTypeLike = jnp.float32
  ) -> Float[Array, '*shape']:
    """Returns the eigenvalues of `(D'D)^+`, zero for the means."""
    seen = self.eigenvalues > 0
    inverse = np.where(seen, 1 / np.where(seen, self.eigenvalues, 1), 0)
    return jnp.asarray(inverse, dtype)

  def poisson(self, f: Float[Array, '*shape']) -> Float[Array, '*shape']:
    """Applies `(D'D)^+`: solves the Poisson problem with reflecting borders.

    Args:
      f: right-hand side; its means, for which there is no solution, are
        dropped.

    Returns:
      The solution whose means are zero.
    """
    return self.filtered(f, self.inverse_eigenvalues(f.dtype))

  def pinv(self, a: flows.Flow) -> Float[Array, '*shape']:
    """Applies `D^+`: the map of zero means whose differences are nearest."""
    return self.poisson(self.adjoint(a))

  def pinv_adjoint(self, y: Float[Array, '*shape']) -> flows.Flow:
    """Applies `D^{+T}`: the smallest flow whose divergence is `y - means`."""
    return self.difference(self.poisson(y))

  def total_variation(
    self, u: Float[Array, '*shape'], weights: flows.Flow | None = None
  ) -> Float[Array, '']:
    """Returns `sum_e w_e |(Du)_e|`, anisotropic; `None` weighs all edges 1."""
    size = flows.magnitude(self.difference(u))
    if weights is not None:
      size = jax.tree.map(jnp.multiply, weights, size)
    return flows.total(size)
