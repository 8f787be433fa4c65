"""Tests for `text.py`."""

import importlib.util
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from saliency_jax.models import text

_LINE = "It wasn't unbelievably bad."


@pytest.mark.text
class ReadTest(parameterized.TestCase):
  def test_tokens_and_words(self):
    got = text.read(_LINE)
    self.assertEqual(
      got.tokens,
      ('[CLS]', 'it', 'wasn', "'", 't', 'un', '##bel', '##ie', '##va', '##bly')
      + ('bad', '.', '[SEP]'),
    )
    self.assertEqual(got.words, ('It', "wasn't", 'unbelievably', 'bad', '.'))
    np.testing.assert_array_equal(
      got.owners, [-1, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 4, -1]
    )
    self.assertEqual(got.ids.dtype, np.int32)
    self.assertEqual((got.ids[0], got.ids[-1]), (text.START, text.END))

  def test_padding(self):
    short, padded = text.read(_LINE), text.read(_LINE, length=16)
    np.testing.assert_array_equal(padded.ids[:13], short.ids)
    np.testing.assert_array_equal(padded.ids[13:], text.PADDING)
    np.testing.assert_array_equal(padded.owners[13:], -1)
    self.assertEqual(padded.words, short.words)
    self.assertLen(padded.tokens, 16)

  def test_batch(self):
    got = text.batch(['a', _LINE])
    self.assertEqual(got.shape, (2, 13))
    np.testing.assert_array_equal(got[0, :3], text.read('a').ids)
    np.testing.assert_array_equal(got[0, 3:], text.PADDING)

  @parameterized.parameters(
    # Accents, other scripts, signs and letters that the vocabulary lacks.
    ('caf\u00e9 \u4f60\u597d e-mail \u2603 3.5% a_b', 11),
    ('  two\nlines\t', 2),
    ('\u2019tis', 2),
  )
  def test_every_token_has_its_word(self, line, num_words):
    got = text.read(line)
    self.assertLen(got.words, num_words)
    self.assertEqual({*got.owners}, {*range(-1, num_words)})
    self.assertTrue(np.all(np.diff(got.owners[1:-1]) >= 0))

  @parameterized.parameters(
    ('', None, '0 tokens, expected 1 to 510'),
    (' \n', None, '0 tokens'),
    ('a b c', 4, '3 tokens, expected 1 to 2'),
    ('a ' * 511, None, '511 tokens'),
  )
  def test_refuses(self, line, length, message):
    with self.assertRaisesRegex(ValueError, message):
      text.read(line, length=length)


class MissingTest(absltest.TestCase):
  def test_missing_package(self):
    text._tokenizer.cache_clear()
    with mock.patch.object(importlib.util, 'find_spec', return_value=None):
      with self.assertRaisesRegex(ImportError, r'saliency-jax\[text\]'):
        text.read(_LINE)


if __name__ == '__main__':
  absltest.main()
