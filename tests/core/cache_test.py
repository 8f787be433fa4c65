"""Tests for `cache.py`."""

import os
import pathlib
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from saliency_jax.core import cache


class CacheTest(parameterized.TestCase):
  @parameterized.parameters(
    ({'SALIENCY_JAX_CACHE': '/a/b', 'XDG_CACHE_HOME': '/c'}, '/a/b/kind'),
    ({'SALIENCY_JAX_CACHE': '~/b', 'HOME': '/h'}, '/h/b/kind'),
    ({'SALIENCY_JAX_CACHE': '~no_such_user/b'}, '~no_such_user/b/kind'),
    ({'XDG_CACHE_HOME': '/c'}, '/c/saliency_jax/kind'),
    ({'HOME': '/h'}, '/h/.cache/saliency_jax/kind'),
  )
  def test_folder(self, environ, want):
    with mock.patch.dict(os.environ, environ, clear=True):
      self.assertEqual(cache.folder('kind'), pathlib.Path(want))


if __name__ == '__main__':
  absltest.main()
