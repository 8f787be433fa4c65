"""Differences on any graph, and all their inverses, by a dense decomposition.

The Laplacian `D'D` is decomposed once, in float64 on the host, one connected
piece after the other, so that the waves that `D` does not see, the mean of each
piece, are known exactly. That is `p^3` operations and `p^2` numbers for `p`
nodes: for some thousand of them. The waves of a chain are the cosines of
`grid.py`, in the same order and with the same signs.

References:
  Shuman, Narang, Frossard, Ortega, Vandergheynst, The emerging field of signal
    processing on graphs, 2013. https://arxiv.org/abs/1211.0053
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from saliency_jax.core import graphs
from saliency_jax.solvers import operators

_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

# Numbers of a matrix that is kept in memory whole: 256 MiB in float32.
_MOST = 2**26


def operator(edges: Any, num: int) -> operators.Operator:
  """Returns the differences along the edges of a graph of `num` nodes.

  Args:
    edges: `[m, 2]`: see `core/graphs.py`.
    num: nodes.

  Raises:
    ValueError: for what is no graph, or one too large to be decomposed.
  """
  edges = graphs.known(edges, num)
  if max(num, len(edges)) * num > _MOST:
    raise ValueError(
      f'a graph of {num} nodes and {len(edges)} edges is too large to be '
      f'decomposed, at most {_MOST} nodes times nodes or edges: take fewer '
      'players, or a grid'
    )
  eigenvalues, waves, pieces = _decomposed(edges.tobytes(), num)
  first, second = edges.T
  sizes = np.bincount(pieces)

  def adjoint(a):
    flow = a[0]
    return jnp.zeros(num, flow.dtype).at[second].add(flow).at[first].add(-flow)

  def waves_difference(c):
    # Differences of waves, taken before they are rounded.
    steps = jnp.asarray(waves[second] - waves[first], c.dtype)
    return (_matmul(steps, c),)

  def means(u):
    sums = jnp.zeros(len(sizes), u.dtype).at[pieces].add(u)
    return (sums / jnp.asarray(sizes, u.dtype))[pieces]

  return operators.Operator(
    shape=(num,),
    difference=lambda u: (u[second] - u[first],),
    adjoint=adjoint,
    waves=lambda u: _matmul(jnp.asarray(waves.T, u.dtype), u),
    from_waves=lambda c: _matmul(jnp.asarray(waves, c.dtype), c),
    waves_difference=waves_difference,
    eigenvalues=eigenvalues,
    means=means,
    pinv_norm=lambda: _pinv_norm(eigenvalues, waves, edges),
  )


@functools.lru_cache(maxsize=4)
def _decomposed(edges: bytes, num: int):
  """Returns the eigenvalues, the waves, and the piece of each node."""
  first, second = np.frombuffer(edges, int).reshape(-1, 2).T
  links = sparse.coo_matrix((np.ones(len(first)), (first, second)), (num, num))
  num_pieces, pieces = sparse.csgraph.connected_components(links, False)
  links = (links + links.T).toarray()
  laplacian = np.diag(links.sum(0)) - links
  eigenvalues, waves = np.zeros(num), np.zeros((num, num))
  start = 0
  for piece in range(num_pieces):
    (nodes,) = np.nonzero(pieces == piece)
    found, basis = np.linalg.eigh(laplacian[np.ix_(nodes, nodes)])
    # What is zero but for rounding, and its wave but for its sign.
    found[0], basis[:, 0] = 0, 1 / np.sqrt(len(nodes))
    stop = start + len(nodes)
    eigenvalues[start:stop], waves[nodes, start:stop] = found, basis
    start = stop
  order = np.argsort(eigenvalues, kind='stable')
  eigenvalues, waves = eigenvalues[order], waves[:, order]
  # A wave begins above zero, as a cosine does.
  begins = np.argmax(np.abs(waves) > 1e-9, axis=0)
  return eigenvalues, waves * np.sign(waves[begins, np.arange(num)]), pieces


def _pinv_norm(eigenvalues, waves, edges) -> float:
  """Returns the largest sum of absolute values of a column of `D^+`."""
  seen = eigenvalues > 0
  inverse = (waves[:, seen] / eigenvalues[seen]) @ waves[:, seen].T
  # A column is the difference between two nodes of an edge.
  sums = [np.abs(inverse[i] - inverse[j]).sum() for i, j in edges]
  return float(np.max(sums, initial=0))
