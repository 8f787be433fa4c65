"""Solvers of the optimisation problems behind the maps."""

from saliency_jax.solvers.admm import admm
from saliency_jax.solvers.dantzig import tv_dantzig
from saliency_jax.solvers.infilling import infill
from saliency_jax.solvers.primal_dual import pdhg
from saliency_jax.solvers.proximal import fista
from saliency_jax.solvers.total_variation import tv_box
from saliency_jax.solvers.total_variation import tv_box_from
from saliency_jax.solvers.total_variation import tv_box_path

__all__ = (
  'admm',
  'fista',
  'infill',
  'pdhg',
  'tv_box',
  'tv_box_from',
  'tv_box_path',
  'tv_dantzig',
)
