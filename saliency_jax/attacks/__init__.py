"""Attacks on maps: neighbours of an example that another map explains."""

from saliency_jax.attacks.top_k import Adversary
from saliency_jax.attacks.top_k import mass_centre
from saliency_jax.attacks.top_k import random_search
from saliency_jax.attacks.top_k import target_share
from saliency_jax.attacks.top_k import top_k_attack
from saliency_jax.attacks.top_k import top_k_share

__all__ = [
  'Adversary',
  'mass_centre',
  'random_search',
  'target_share',
  'top_k_attack',
  'top_k_share',
]
