"""Attacks: neighbours of an example where a loss is large, or with another map.

`pgd` and `in_box` climb any function of one example, in a ball or a box;
`top_k_attack` and `random_search` look for a neighbour of the same class that
another map explains.
"""

from saliency_jax.attacks.adversaries import Adversary
from saliency_jax.attacks.ascent import in_box
from saliency_jax.attacks.ascent import pgd
from saliency_jax.attacks.top_k import mass_centre
from saliency_jax.attacks.top_k import random_search
from saliency_jax.attacks.top_k import target_share
from saliency_jax.attacks.top_k import top_k_attack
from saliency_jax.attacks.top_k import top_k_share

__all__ = [
  'Adversary',
  'in_box',
  'mass_centre',
  'pgd',
  'random_search',
  'target_share',
  'top_k_attack',
  'top_k_share',
]
