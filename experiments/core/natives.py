"""Keeps the native messages of a process away from its user.

JAX ends a process whose peer has died by an abort in native code, with a stack
trace that Python cannot stop. So a child that does nothing else reads what
native code writes, and says in one line why the process has ended.
"""

import atexit
import os
import signal
import sys

# What JAX says natively of a peer that has died.
_LOST = b'JAX distributed service detected fatal errors'
_END = b'\0'


def watch(message: str) -> None:
  """Forks a child that tells of a native end; call it before JAX has threads.

  Python's own errors stay on stderr. What native code writes there is dropped,
  unless the process ends by it for another reason than a lost peer.

  Args:
    message: the line to print where a peer was lost.
  """
  sys.stderr.flush()
  read, write = os.pipe()
  if not os.fork():
    os.close(write)
    _tell(read, message)
    os._exit(0)
  os.close(read)
  sys.stderr = os.fdopen(os.dup(2), 'w', buffering=1)
  os.dup2(write, 2)
  os.close(write)
  # Written at every end that is not a native one.
  atexit.register(os.write, 2, _END)


def _tell(read: int, message: str) -> None:
  # The signals of a terminal are for the process that is watched.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  signal.signal(signal.SIGTERM, signal.SIG_IGN)
  # Whoever reads the output of the process waits for no one else.
  os.close(1)
  with os.fdopen(read, 'rb') as pipe:
    native = pipe.read()
  if native.endswith(_END):
    return
  os.write(2, f'{message}\n'.encode() if _LOST in native else native)
