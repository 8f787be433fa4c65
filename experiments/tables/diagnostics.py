"""What launchers say of maps: warnings of one, and of many."""

from collections.abc import Mapping, Sequence
from typing import Any

from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax.core import describing
from saliency_jax.core import types


def warnings(
  out: types.Attribution, *, score: explainer.Score, prob: float
) -> tuple[str, ...]:
  """Returns a sentence for each reason not to trust a map.

  Args:
    out: the attribution of one example.
    score: what it explains.
    prob: probability of the explained class.
  """
  flat = score in (scores.prob, scores.log_prob, scores.loss)
  return describing.warnings(out, prob=prob if flat else 0)


def counted(records: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns one line for each warning of an evaluation and its method.

  Args:
    records: one an example; records of older runs hold no warnings.
  """
  counts: dict[tuple[str, str], int] = {}
  for record in records:
    for label, row in record['maps'].items():
      for sentence in row.get('warnings', ()):
        counts[label, sentence] = counts.get((label, sentence), 0) + 1
  return [
    f'{label}, {count} of {len(records)}: {sentence}'
    for (label, sentence), count in counts.items()
  ]
