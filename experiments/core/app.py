"""What launchers share: flags, devices, the compilation cache, errors, tables.

A launcher is `main(setup)` and `app.run(main)`. It may log and print; what is
worth importing lives in the library.
"""

from collections.abc import Callable, Iterable, Iterator
import contextlib
import os
import pathlib
import platform
import re
import socket
import sys
import tempfile
from typing import Any, NamedTuple

from absl import app
from absl import flags
from absl import logging
import jax
from jax.experimental import multihost_utils
import tqdm

from experiments.core import files
from experiments.core import natives
from experiments.core import progressing
from saliency_jax.core import cache
from saliency_jax.core import host

_SEED = flags.DEFINE_integer(
  'seed',
  0,
  'Seed of everything that is drawn; with a config it is config.seed.',
  # Where JAX would take the rest of a division by 2**32, in silence.
  lower_bound=0,
  upper_bound=2**32 - 1,
)
_OUT = flags.DEFINE_string(
  'out',
  None,
  "Folder to write to, out/ and the launcher's name by default; with a config "
  'it is --workdir.',
)
_CACHE_DIR = flags.DEFINE_string(
  'compilation_cache_dir',
  None,
  "Where compiled programs are kept for the next run; '' for nowhere. The "
  "default is in $SALIENCY_JAX_CACHE, or in the user's cache folder.",
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator_address', None, 'host:port of process 0, for several processes.'
)
_NUM_PROCESSES = flags.DEFINE_integer(
  'num_processes', None, 'How many processes there are.'
)
_PROCESS_ID = flags.DEFINE_integer(
  'process_id', None, 'Which of the processes this one is, from 0.'
)
_DISTRIBUTED = flags.DEFINE_bool(
  'distributed',
  False,
  'Connect the processes that Slurm, Kubernetes or a TPU pod has started; the '
  'three flags of several processes do it by hand.',
)
_DEBUG = flags.DEFINE_bool('debug', False, 'Show the traceback of an error.')

# What a user can cause, or a black box of the user's; the rest are our bugs.
_EXPECTED = (
  ValueError,
  OSError,
  ImportError,
  jax.errors.JaxRuntimeError,
  flags.Error,
)


class Setup(NamedTuple):
  """What a launcher starts from.

  Attributes:
    seed: of everything that is drawn.
    key: of the seed, the same in every process.
    mesh: all devices of all processes, along one axis 'data'.
  """

  seed: int
  key: jax.Array
  mesh: jax.sharding.Mesh


def run(main: Callable[[Setup], None]) -> None:
  """Parses the flags, sets JAX up, and runs `main`; errors end in one line."""

  def parse(argv):
    _list_flags(argv[0])
    with user_errors():
      try:
        return flags.FLAGS(argv)
      except SystemExit:
        # absl ends `--help` as it does an error.
        sys.exit(0)
      except (AttributeError, KeyError) as e:
        # What ml_collections raises for a flag like --config.no_such=1.
        raise flags.Error(f'--config has no such field: {e}') from e

  def start(argv):
    # JAX and tfds tell at INFO what no user of a launcher asked for.
    logging.set_verbosity(logging.WARNING)
    with user_errors():
      if len(argv) > 1:
        raise ValueError(f'expected flags only, got {argv[1:]}')
      main(set_up())

  app.run(start, flags_parser=parse)


def _list_flags(launcher: str) -> None:
  """Has `--help` list the flags of every module that a launcher uses."""
  for module, found in flags.FLAGS.flags_by_module_dict().items():
    if module.startswith('experiments.'):
      for flag in found:
        flags.FLAGS.register_key_flag_for_module(launcher, flag)


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
  """Turns an expected error into one line on stderr and exit code 1."""
  try:
    try:
      yield
    except jax.errors.JaxRuntimeError as e:
      if isinstance(host.failure(e), KeyboardInterrupt):
        raise KeyboardInterrupt from e
      raise
  except _EXPECTED as e:
    if flags.FLAGS.is_parsed() and _DEBUG.value:
      raise
    print(f'error: {one_line(e)}', file=sys.stderr, flush=True)
    sys.exit(1)
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr, flush=True)
    sys.exit(130)


def one_line(error: BaseException) -> str:
  """Returns an error's message on one line, without JAX's own traceback."""
  if isinstance(error, OSError) and error.strerror:
    where = f'{os.fspath(error.filename)!r}: ' if error.filename else ''
    return where + error.strerror.lower()
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  if any(line.startswith('Traceback (') for line in lines) or isinstance(
    error, jax.errors.JaxRuntimeError
  ):
    # The words of the black box, or of the config, below their traceback.
    lines = [lines[-1].removeprefix('ValueError: ')]
  return ' '.join(lines) or type(error).__name__


def set_up() -> Setup:
  """Connects the processes, turns the compilation cache on, draws the key.

  Raises:
    ValueError: some of the flags of several processes, but not all.
  """
  if flags.FLAGS['verbosity'].using_default_value:
    logging.set_verbosity(logging.WARNING)  # JAX and tfds tell much at INFO.
  several = {
    'coordinator_address': _COORDINATOR.value,
    'num_processes': _NUM_PROCESSES.value,
    'process_id': _PROCESS_ID.value,
  }
  given = [name for name, value in several.items() if value is not None]
  if given and len(given) < len(several):
    raise ValueError(
      f'expected all or none of --{", --".join(several)}, got --'
      + ', --'.join(given)
    )
  if given or _DISTRIBUTED.value:
    _connect(several)
  _cache_programs()
  mesh = jax.make_mesh(
    (jax.device_count(),), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  return Setup(_SEED.value, jax.random.key(_SEED.value), mesh)


def _connect(several: dict[str, Any]) -> None:
  """Connects the processes of a run."""
  address = several['coordinator_address']
  if address is not None and not re.fullmatch(r'.+:\d+', address):
    raise ValueError(f'--coordinator_address={address}: expected host:port')
  if address is not None and several['process_id'] == 0:
    # JAX ends by a segmentation fault where it cannot listen.
    try:
      socket.create_server(('', int(address.rpartition(':')[2]))).close()
    except (OSError, OverflowError) as e:
      raise ValueError(
        f'--coordinator_address={address}: cannot listen at this port: '
        f'{one_line(e)}'
      ) from e
  natives.watch(
    'error: another process of this run has ended, and so has this one: give '
    'the command of each again'
  )
  try:
    jax.distributed.initialize(**several)
  except RuntimeError as e:
    raise ValueError(
      f'cannot connect the processes at {address}: {one_line(e)} (are all '
      'started, and do all name this address?)'
    ) from e


def alone(launcher: str) -> None:
  """Refuses to run a launcher whose work is not shared by processes.

  Raises:
    ValueError: there are several.
  """
  if jax.process_count() > 1:
    raise ValueError(
      f'{launcher} runs in one process, got {jax.process_count()}: it uses all '
      'devices of that one; evaluate, certify, attack and train share theirs'
    )


def local_mesh() -> jax.sharding.Mesh:
  """Returns the devices of this process, along one axis 'data'."""
  return jax.make_mesh(
    (jax.local_device_count(),),
    ('data',),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=jax.local_devices(),
  )


def wait_for_all(what: str) -> None:
  """Waits until every process has come as far as this."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(what)


def is_first() -> bool:
  """Returns whether this process is the one that prints and writes."""
  return jax.process_index() == 0


def progress(
  items: Iterable[Any], *, what: str, total: int | None = None
) -> tqdm.tqdm | progressing.Lines:
  """Shows how far a loop is, in the first process: see `progressing.over`."""
  return progressing.over(items, what=what, total=total, hidden=not is_first())


def out_dir(launcher: str) -> pathlib.Path:
  """Makes the folder of `--out`, and tries to write in it before any work.

  Args:
    launcher: its name, that of the folder where the flag is not given.

  Raises:
    ValueError: it cannot be made or written.
  """
  given = _OUT.value
  path = files.folder('out', f'out/{launcher}' if given is None else given)
  try:
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
      pass
  except OSError as e:
    reason = (e.strerror or str(e)).lower()
    raise ValueError(f'cannot write to --out {str(path)!r}: {reason}') from e
  return path


def machine() -> dict[str, str]:
  """Returns what a summary says of where its numbers were made."""
  devices = jax.devices()
  return {
    'machine': (
      f'{os.cpu_count()} cores of {platform.machine()}, '
      f'{len(devices)} x {devices[0].device_kind}'
    ),
    'jax': jax.__version__,
  }


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
  """Returns text in columns: the first and the last to the left."""
  rows = [header, *rows]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  last = len(header) - 1

  def line(row):
    cells = (
      c.ljust(w) if i in (0, last) else c.rjust(w)
      for i, (c, w) in enumerate(zip(row, widths, strict=True))
    )
    return '  '.join(cells).rstrip()

  rule = '  '.join('-' * w for w in widths)
  return '\n'.join([line(header), rule, *map(line, rows[1:])])


def _cache_programs() -> None:
  folder = _CACHE_DIR.value
  if folder is None:
    folder = str(cache.folder('programs'))
  jax.config.update('jax_compilation_cache_dir', folder or None)
  # Everything: on a few cores even a small program costs more than a file.
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
