"""Where what can be made again is kept between runs.

Prepared data, trained weights and compiled programs share one folder, named by
`SALIENCY_JAX_CACHE`, or the user's own: `~/.cache/saliency_jax` on Linux.
"""

import os
import pathlib

import platformdirs


def folder(name: str) -> pathlib.Path:
  """Returns the place of one kind of thing in the cache, which may not exist.

  Args:
    name: of the kind: 'datasets', 'weights', 'programs'.
  """
  root = os.environ.get('SALIENCY_JAX_CACHE')
  if root:
    # `Path.expanduser` raises for a user that does not exist.
    return pathlib.Path(os.path.expanduser(root), name)
  return platformdirs.user_cache_path('saliency_jax', appauthor=False) / name
