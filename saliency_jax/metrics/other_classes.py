"""Random logit: does the map change when another class is explained?

The map of the class is compared with the maps of other classes, drawn at
random. A map that stays as it was shows the image, and not the class.

References:
  Sixt, Granz and Landgraf, When explanations lie: why many modified BP
  attributions fail, ICML 2020. https://arxiv.org/abs/1912.09818
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from saliency_jax import scores as score_functions
from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.metrics import likeness
from saliency_jax.metrics import maps


class RandomLogit(NamedTuple):
  """The maps of other classes against the map of the class."""

  labels: Int[Array, 'n']  # The other classes.
  likeness: likeness.Likeness  # One entry a class.


def random_logit(
  method: types.Method,
  apply: types.Apply,
  params: Any,
  x: Float[Array, 'H W C'],
  *,
  key: Key[Array, ''],
  score: Callable[..., types.ScoreFn] = score_functions.logit,
  label: score_functions.Label | None = None,
  support: Bool[Array, 'H W'] | None = None,
  num_samples: int = 1,
  batch_size: int | None = 1,
) -> RandomLogit:
  """Compares the maps of other classes with the map of the class.

  The paper draws one class and compares the sizes by SSIM.

  Args:
    method: explains one example, its settings bound.
    apply: maps `(params, x)` to the logits of one example.
    params: of the network.
    x: one image.
    key: consumed; a method that draws gets the same key for each class.
    score: which score is explained.
    label: class; `None` is the decision on `x`.
    support: the pixels whose scores are ranked; `None` ranks all.
    num_samples: other classes, drawn without return; at most all of them.
    batch_size: maps made at once; `None` makes all.
  """
  logits = apply(params, x)
  num = logits.size
  checks.count('num_samples', num_samples, 1, num - 1)
  label = jnp.argmax(logits) if label is None else jnp.asarray(label)
  label = label.astype(jnp.int32)
  order = jax.random.permutation(
    sampling.draw_key(key, 1), jnp.arange(1, num, dtype=jnp.int32)
  )
  others = (label + order[:num_samples]) % num

  def explain(label):
    method_key = sampling.key_for(key, sampling.METHOD)
    out = method(score(apply, params, label), x, key=method_key)
    return jnp.broadcast_to(
      maps.matching(out.scores, x), (*x.shape[:2], out.scores.shape[-1])
    )

  # The map of the class is one of them: the method is compiled once.
  made = sampling.batched_map(
    explain, jnp.concatenate([label[None], others]), batch_size=batch_size
  )
  compared = sampling.batched_map(
    lambda scores: likeness.compare(scores, made[0], support=support),
    made[1:],
    batch_size=batch_size,
  )
  return RandomLogit(others, compared)
