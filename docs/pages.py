"""Pages that mkdocs makes of files that lie elsewhere, and of the packages."""

import html
import json
import pathlib
import posixpath
import re

from mkdocs.structure import files as mkdocs_files

_ROOT = pathlib.Path(__file__).parents[1]
# Text of the repository -> its page.
_TEXTS = {
  'README.md': 'index.md',
  'CHANGELOG.md': 'changelog.md',
  'experiments/README.md': 'experiments.md',
  'tests/peers/README.md': 'propagation.md',
}
# Whatever else is shown -> where.
_FOLDERS = {
  'docs/': '',
  'colabs/': 'notebooks/',
  'experiments/figures/': 'experiments/figures/',
}
_LINK = re.compile(r'\]\(([^)#:\s]+)')


def on_files(files, config):
  """Adds pages: a hook of mkdocs."""

  def add(uri, **source):
    files.append(mkdocs_files.File.generated(config, uri, **source))

  for text, uri in _TEXTS.items():
    add(uri, content=(_ROOT / text).read_text())
  for path in sorted(_ROOT.glob('experiments/figures/*.jpg')):
    add(_uri(str(path.relative_to(_ROOT))), abs_src_path=str(path))
  for path in sorted(_ROOT.glob('colabs/*.ipynb')):
    uri = _uri(str(path.relative_to(_ROOT)))
    add(uri, content=_notebook(json.loads(path.read_text())))
  for name in _parts():
    add(f'api/{name}.md', content=f'# {name}\n\n::: saliency_jax.{name}\n')
  return files


def on_page_markdown(markdown, page, config, files):
  """Makes links between files of the repository links between pages."""
  of_page = {uri: text for text, uri in _TEXTS.items()}
  uri = page.file.src_uri
  source = of_page.get(uri, f'docs/{uri}')

  def moved(link):
    target = posixpath.join(posixpath.dirname(source), link[1])
    shown = _uri(posixpath.normpath(target))
    if shown is None:
      return link[0]
    return '](' + posixpath.relpath(shown, posixpath.dirname(uri) or '.')

  return _LINK.sub(moved, markdown)


def _uri(path: str) -> str | None:
  """Returns where a file of the repository is shown; `None` for nowhere."""
  if path in _TEXTS:
    return _TEXTS[path]
  for folder, shown in _FOLDERS.items():
    if path.startswith(folder):
      return (shown + path.removeprefix(folder)).replace('.ipynb', '.md')
  return None


def _notebook(notebook: dict) -> str:
  """Returns a notebook, with the outputs that are saved in it, as a page."""
  parts = []
  for cell in notebook['cells']:
    source = ''.join(cell['source'])
    if cell['cell_type'] == 'markdown':
      parts.append(source)
      continue
    parts.append(f'```python\n{source}\n```')
    parts.extend(_output(output) for output in cell['outputs'])
  return '\n\n'.join(parts)


def _output(output: dict) -> str:
  data = output.get('data', {'text/plain': output.get('text', '')})
  text = {kind: ''.join(value) for kind, value in data.items()}
  for kind in ('image/jpeg', 'image/png'):
    if kind in text:
      return f'<img alt="what is drawn" src="data:{kind};base64,{text[kind]}">'
  if 'text/html' in text:
    return f'<div>{text["text/html"]}</div>'
  return f'<pre>{html.escape(text["text/plain"].rstrip())}</pre>'


def _parts() -> list[str]:
  """Returns the packages and the modules at the top of the library."""
  return sorted(
    path.stem
    for path in (_ROOT / 'saliency_jax').glob('[!_]*')
    if path.suffix == '.py' or (path / '__init__.py').is_file()
  )
