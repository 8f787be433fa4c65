"""Opening a file that a user names: a regular one, or an error at once.

A pipe that nobody writes to never opens, and a device never ends.
"""

import errno
import io
import os
import stat

_KINDS = (
  (stat.S_ISDIR, 'a folder'),
  (stat.S_ISFIFO, 'a pipe'),
  (stat.S_ISSOCK, 'a socket'),
  (stat.S_ISCHR, 'a device'),
  (stat.S_ISBLK, 'a device'),
)


def open_regular(path: str | os.PathLike) -> io.BufferedReader:
  """Opens a regular file to read its bytes.

  Raises:
    OSError: missing, not to be read, empty, or no regular file; `strerror`
      says which.
  """
  name = os.fspath(path)
  found = os.stat(name)
  for is_kind, kind in _KINDS:
    if is_kind(found.st_mode):
      reason = f'it is {kind}, expected a regular file'
      raise OSError(errno.EINVAL, reason, name)
  if not found.st_size:
    raise OSError(errno.ENODATA, 'the file is empty', name)
  return open(name, 'rb')
