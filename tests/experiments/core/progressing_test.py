"""Tests for `experiments/core/progressing.py`, with a clock of its own."""

import contextlib
import io
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import tqdm

from experiments.core import progressing


class _Terminal(io.StringIO):
  def isatty(self):
    return True


class ProgressingTest(parameterized.TestCase):
  def _lines(self, num, seconds):
    """Runs a loop of which each turn takes some seconds; returns the log."""
    now = 0.0
    with (
      mock.patch.object(progressing.time, 'monotonic', lambda: now),
      contextlib.redirect_stderr(io.StringIO()) as stderr,
    ):
      seen = []
      for item in (bar := progressing.over(range(num), what='photos')):
        bar.set_postfix_str(f'photo {item}')
        now += seconds
        seen.append(item)
    self.assertEqual(seen, list(range(num)))
    return stderr.getvalue().splitlines()

  def test_a_line_says_how_far_and_how_long(self):
    self.assertEqual(
      self._lines(4, 6.0),
      [
        'photos: 1 of 4 after 6 s, about 18 s to go: photo 0',
        'photos: 2 of 4 after 12 s, about 12 s to go: photo 1',
        'photos: 3 of 4 after 18 s, about 6 s to go: photo 2',
        'photos: 4 of 4 after 24 s: photo 3',
      ],
    )

  def test_lines_are_few(self):
    self.assertEmpty(self._lines(4, 1.0))
    self.assertLen(self._lines(100, 1.0), 20)
    # A day: a line of 5 seconds at first, and of 2% of the time at last.
    self.assertLess(len(self._lines(86400, 1.0)), 350)

  def test_a_loop_that_counts_by_itself(self):
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
      with progressing.over([1, 2, 3], what='x') as bar:
        bar.update(2)
    self.assertEqual(stderr.getvalue(), '')

  def test_a_bar_on_a_terminal_and_nothing_where_hidden(self):
    with contextlib.redirect_stderr(_Terminal()):
      self.assertIsInstance(progressing.over([1], what='x'), tqdm.tqdm)
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
      bar = progressing.over([1], what='x', hidden=True)
      self.assertEqual(list(bar), [1])
    self.assertEqual(stderr.getvalue(), '')


if __name__ == '__main__':
  absltest.main()
