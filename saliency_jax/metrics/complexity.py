"""How sparse, how concise and how smooth a map is.

References:
  Bhatt, Weller and Moura, Evaluating and aggregating feature-based model
  explanations, 2020. https://arxiv.org/abs/2005.00631
  Hurley and Rickard, Comparing measures of sparsity, 2009.
  https://doi.org/10.1109/TIT.2009.2027527
  Chalasani et al., Concise explanations of neural networks using adversarial
  training, 2020. https://arxiv.org/abs/1810.06583
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.metrics import maps


def gini(scores: Float[Array, '...']) -> Float[Array, '']:
  """Returns the Gini index of `|scores|`, from 0 to 1.

  It is 0 where all are equal, `1 - 1/n` where one alone is not zero; a map of
  zeros has index 1, as none of it counts.
  """
  ordered = jnp.sort(jnp.abs(scores).ravel())
  n = ordered.size
  rank = jnp.arange(1, n + 1, dtype=ordered.dtype)
  total = jnp.sum(ordered)
  share = jnp.sum(ordered * (n - rank + 0.5)) / n
  index = 1 - 2 * share / jnp.where(total > 0, total, 1)
  return maps.if_finite(index, scores)


def entropy(scores: Float[Array, '...']) -> Float[Array, '']:
  """Returns the entropy of a map's shares, the complexity of Bhatt et al.

  Of the shares `p = |scores| / sum |scores|` it is `-sum p log p`, in nats: 0
  where one score alone is not zero, `log n` where all are of one size. A map of
  zeros has 0, as none of it counts.
  """
  sizes = jnp.abs(scores)
  total = jnp.sum(sizes)
  share = sizes / jnp.where(total > 0, total, 1)
  logs = jnp.log(jnp.where(share > 0, share, 1))
  return maps.if_finite(-jnp.sum(share * logs), scores)


def relative_variation(scores: Float[Array, 'H W C']) -> Float[Array, '']:
  """Returns the total variation over the sum of `|scores|`, from 0 to 4.

  The variation is the sum of `|differences|` of neighbours in each channel. It
  is 0 for a constant map, and 4 for points that lie apart.
  """
  total = jnp.sum(jnp.abs(scores))
  steps = sum(jnp.sum(jnp.abs(jnp.diff(scores, axis=i))) for i in (0, 1))
  return maps.if_finite(steps / jnp.where(total > 0, total, 1), scores)
