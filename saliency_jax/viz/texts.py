"""Texts of figures: what they say is what they show, in the space they have."""

import textwrap

DARK = '#111111'
MUTED = '#555555'
WARNING = '#b3261e'

_VISIBLE = {'\n': '↵', '\r': '↵', '\t': '⇥'}


def plain(text: str) -> str:
  """Returns text in which dollars do not start matplotlib's own markup."""
  return text.replace('$', r'\$')


def fit(text: str, max_chars: int, line: int | None = None) -> str:
  """Shortens text to what its place holds, on lines of `line` characters."""
  text = textwrap.shorten(plain(text), max_chars, placeholder='…')
  return text if line is None else textwrap.fill(text, line)


def visible(text: str, max_chars: int | None = None) -> str:
  """Shows what takes no ink, and shortens text with its spaces kept."""
  text = ''.join(_VISIBLE.get(c, c) for c in text) or '␣'
  if text.isspace():
    text = '␣' * len(text)
  if max_chars is not None and len(text) > max_chars:
    text = text[: max_chars - 1] + '…'
  return text
