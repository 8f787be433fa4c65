"""Runs notebooks, and saves what they show, small; or checks that it is saved.

  python colabs/run.py colabs/00_quickstart.ipynb
  python colabs/run.py --check colabs/*.ipynb

Numbers differ in their last digits from one machine to another, and pictures
with them: `--check` compares what kinds of outputs each cell has. A notebook in
which nothing is saved is run, no more.
"""

import base64
import copy
import io
import pathlib
import re
import sys

import nbclient
import nbformat
from PIL import Image

# What the pictures of a notebook may take together, in bytes, and the widths in
# pixels and qualities that are tried for it, the best first.
_ROOM = 110_000
_SIZES = ((900, 80), (800, 75), (720, 70), (640, 60), (560, 50), (480, 45))

# The folder of a kernel's cells, which has another name each time.
_KERNEL = re.compile(r'\S*/ipykernel_\d+/')


def run(path: pathlib.Path) -> nbformat.NotebookNode:
  """Returns a notebook with the outputs that it has now."""
  notebook = nbformat.read(path, as_version=4)
  metadata = copy.deepcopy(notebook.metadata)
  nbclient.NotebookClient(notebook, timeout=480).execute()
  # Which Python ran it is nobody's concern.
  notebook.metadata = metadata
  for cell in _code(notebook):
    cell.metadata.pop('execution', None)
    cell.outputs = [o for o in cell.outputs if o.get('name') != 'stderr']
    for output in cell.outputs:
      if 'text' in output:
        output['text'] = _KERNEL.sub('', output['text'])
  return notebook


def shrink(notebook: nbformat.NotebookNode) -> None:
  """Makes JPEG of the pictures of a notebook, in place."""
  shown = [
    output.data
    for cell in _code(notebook)
    for output in cell.outputs
    if 'image/png' in output.get('data', {})
  ]
  pictures = [
    Image.open(io.BytesIO(base64.b64decode(data.pop('image/png')))).convert(
      'RGB'
    )
    for data in shown
  ]
  for width, quality in _SIZES:
    small = [_jpeg(picture, width, quality) for picture in pictures]
    if sum(map(len, small)) <= _ROOM:
      break
  for data, picture in zip(shown, small, strict=True):
    data['image/jpeg'] = base64.b64encode(picture).decode()


def kinds(notebook: nbformat.NotebookNode) -> list[list[str]]:
  """Returns what kinds of outputs each cell of code has."""
  found = []
  for cell in _code(notebook):
    found.append([])
    for output in cell.outputs:
      data = output.get('data', {'printed': ''})
      pictured = any(kind.startswith('image/') for kind in data)
      kind = 'picture' if pictured else sorted(data)[0]
      # Where what is printed is cut into parts is a matter of time.
      if kind != 'printed' or found[-1][-1:] != ['printed']:
        found[-1].append(kind)
  return found


def _code(notebook):
  return [cell for cell in notebook.cells if cell.cell_type == 'code']


def _jpeg(picture: Image.Image, width: int, quality: int) -> bytes:
  small = picture.copy()
  small.thumbnail((width, 2 * width))
  written = io.BytesIO()
  small.save(written, 'jpeg', quality=quality, optimize=True)
  return written.getvalue()


def main(arguments: list[str]) -> None:
  """Runs the notebooks that are named."""
  check = '--check' in arguments
  for name in arguments:
    if name == '--check':
      continue
    path = pathlib.Path(name)
    notebook = run(path)
    if not check:
      shrink(notebook)
      nbformat.write(notebook, path)
      continue
    saved = kinds(nbformat.read(path, as_version=4))
    if not any(saved):
      continue
    for i, (old, new) in enumerate(zip(saved, kinds(notebook), strict=True)):
      if old != new:
        sys.exit(
          f'{name}: cell {i} of code shows {new}, and {old} is saved: '
          f'python colabs/run.py {name}'
        )


if __name__ == '__main__':
  main(sys.argv[1:])
