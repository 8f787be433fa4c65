"""Checkpoints of a training: written aside by orbax, renamed when whole.

A run that is killed at any instant, also while it writes, leaves whole
checkpoints and folders under a temporary name, which the next run removes. A
checkpoint that was damaged later is put aside, named, and the one before it is
used.
"""

from collections.abc import Callable
import pathlib
import shutil
import sys
from typing import Any, NamedTuple

import jax
from jax.experimental import multihost_utils
import numpy as np
import orbax.checkpoint as ocp

from experiments.core import app

# What orbax and tensorstore raise for files that are missing, cut or changed.
_DAMAGE = (
  ValueError,
  KeyError,
  TypeError,
  AttributeError,
  OSError,
  jax.errors.JaxRuntimeError,
)


class Keeper(NamedTuple):
  """Writes the checkpoints of one run.

  Attributes:
    save: `(step, tree)`; returns once the arrays are copied.
    close: waits until all is written.
  """

  save: Callable[[int, Any], None]
  close: Callable[[], None]


def keeper(folder: pathlib.Path, *, num_kept: int = 2) -> Keeper:
  """Opens a folder of checkpoints for writing, in the background."""
  manager = _manager(folder.absolute(), max_to_keep=num_kept)

  def save(step, tree):
    manager.save(step, args=ocp.args.StandardSave(_named(tree)))

  return Keeper(save, manager.close)


def restore(folder: pathlib.Path, like: Any) -> Any:
  """Reads the newest checkpoint that is whole.

  Args:
    folder: of the checkpoints, which may not exist.
    like: a tree of arrays, or of shapes with their shardings.

  Returns:
    The tree, or `None` where there is no checkpoint yet.

  Raises:
    ValueError: no checkpoint can be read, or one is of something else.
  """
  folder = folder.absolute()
  found = steps(folder)
  for step in reversed(found):
    try:
      tree, wrong = _read(folder / str(step), like)
    except _DAMAGE as e:
      why = f'checkpoint {str(folder / str(step))!r} is damaged'
      why = f'{why}: {app.one_line(e)[:200]}'
      if step == found[0]:
        raise ValueError(
          f'{why}; there is no earlier one: take another --workdir, or remove '
          'that folder to start again'
        ) from e
      _put_aside(folder / str(step))
      if app.is_first():
        print(f'{why}; using the one before it', file=sys.stderr, flush=True)
    else:
      if wrong:
        raise ValueError(
          f'checkpoint {str(folder / str(step))!r} is of another network or '
          f'optimiser: {wrong[:2]}; take another --workdir'
        )
      return tree
  return None


def steps(folder: pathlib.Path) -> list[int]:
  """Lists the checkpoints of a folder, in ascending order."""
  if not folder.is_dir():
    return []
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal())


def _read(path, like):
  """Returns the tree, or what is wrong with its arrays' shapes."""
  named = _named(like)
  step = int(path.name)
  with _manager(path.parent) as manager:
    saved = manager.item_metadata(step)
    saved = {k: (tuple(v.shape), np.dtype(v.dtype)) for k, v in saved.items()}
    want = {k: (tuple(a.shape), np.dtype(a.dtype)) for k, a in named.items()}
    if saved != want:
      return None, sorted(set(saved.items()) ^ set(want.items()), key=str)
    arrays = manager.restore(step, args=ocp.args.StandardRestore(named))
  leaves = [arrays[name] for name in named]
  return jax.tree.unflatten(jax.tree.structure(like), leaves), []


def _manager(folder, **options):
  return ocp.CheckpointManager(
    folder,
    options=ocp.CheckpointManagerOptions(
      enable_async_checkpointing=True, cleanup_tmp_directories=True, **options
    ),
    item_handlers=ocp.StandardCheckpointHandler(),
  )


def _named(tree):
  """Returns a tree as one dictionary by path: orbax need know no optimiser."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _put_aside(path):
  _wait('read')
  if app.is_first():
    aside = path.with_name(f'damaged-{path.name}')
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
  _wait('put aside')


def _wait(what):
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(what)
