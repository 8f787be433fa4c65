"""Which module may import which: read from the source, nothing is run."""

import ast
import pathlib
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

_ROOT = pathlib.Path(__file__).parents[1]
_BASE = {'maskers', 'scores', 'taps', 'core', 'solvers'}
_METHODS = _BASE | {
  'transforms',
  'gradients',
  'propagation',
  'perturbations',
  'optimization',
}
_ALL = _METHODS | {
  'explainer',
  'certificates',
  'attacks',
  'training',
  'metrics',
}
# Part of the library -> the parts that it may import.
_MAY_IMPORT = {
  'core': {'core'},
  'solvers': {'core', 'solvers'},
  'maskers': {'core'},
  'scores': {'core'},
  'taps': {'core'},
  'transforms': _METHODS,
  'gradients': _METHODS,
  'propagation': _METHODS,
  'perturbations': _METHODS,
  'optimization': _METHODS,
  'explainer': _BASE,
  'certificates': _ALL,
  'attacks': _ALL,
  'training': _ALL,
  'metrics': _ALL,
  # Leaves; they share with the methods where the cache is, and what an image
  # is.
  'models': {'core', 'models'},
  'data': {'core', 'data'},
  'viz': {'core', 'viz'},
  '__init__': set(),
}
_PARTS = (
  'benchmarking',
  'evaluation',
  'explanation',
  'robustness',
  'training',
)
# Part of the experiments -> the parts that it may import. A launcher, a module
# at the top, may import all of them, and nothing imports a launcher.
_EXPERIMENTS = {
  'core': {'core'},
  'tables': {'core', 'tables'},
  **{part: {'core', 'tables', part} for part in _PARTS},
  'studies': {'core', 'tables', 'training', 'studies'},
  'configs': {'configs', 'core'},
  'reproduction': {'configs', 'core', 'reproduction'},
}
# Whoever imports one function pays for JAX alone.
_HEAVY = ('absl', 'flax', 'matplotlib', 'optax', 'tensorflow_datasets')


def _sources(folder):
  return sorted((_ROOT / folder).rglob('*.py'))


def _imports(path):
  """Yields `(module, line)` of every import in a file, nested ones included."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      for alias in node.names:
        yield alias.name, node.lineno
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        yield f'{node.module}.{alias.name}', node.lineno


class LayeringTest(parameterized.TestCase):
  def test_imports_go_one_way(self):
    wrong = []
    for path in _sources('saliency_jax'):
      part = path.relative_to(_ROOT / 'saliency_jax').parts[0]
      allowed = _MAY_IMPORT[part.removesuffix('.py')]
      for name, line in _imports(path):
        top, _, rest = name.partition('.')
        if top in ('experiments', 'tests', 'colabs'):
          wrong.append(f'{path}:{line} imports {name}')
        if top == 'saliency_jax' and rest.split('.')[0] not in allowed:
          wrong.append(f'{path}:{line} imports {name}')
    self.assertEqual(wrong, [])

  def test_imports_of_experiments_go_one_way(self):
    folder, wrong = _ROOT / 'experiments', []
    for path in _sources('experiments'):
      part = path.relative_to(folder).parts[0]
      allowed = _EXPERIMENTS.get(part, _EXPERIMENTS.keys())
      for name, line in _imports(path):
        top, _, rest = name.partition('.')
        if top in ('tests', 'colabs'):
          wrong.append(f'{path}:{line} imports {name}')
        if top == 'experiments' and rest.split('.')[0] not in allowed:
          wrong.append(f'{path}:{line} imports {name}')
    self.assertEqual(wrong, [])

  def test_top_of_experiments_is_launchers(self):
    for path in (_ROOT / 'experiments').glob('*.py'):
      if path.name != '__init__.py':
        self.assertIn('app.run(main)', path.read_text(), path)
    folders = {path.parent.name for path in _sources('experiments')}
    self.assertEqual(folders, {'experiments', *_EXPERIMENTS})

  def test_every_source_was_read(self):
    self.assertGreater(len(_sources('saliency_jax')), 15)
    self.assertGreater(len(_sources('experiments')), 15)

  def test_jaxopt_has_one_home(self):
    users = [
      path.name
      for path in _sources('saliency_jax')
      if any(name.split('.')[0] == 'jaxopt' for name, _ in _imports(path))
    ]
    self.assertLessEqual(set(users), {'proximal.py'})

  @parameterized.parameters(
    # Keys are those of the draws and places of `sampling`; a network is fitted
    # with its own.
    (
      ('jax.random.fold_in', 'jax.random.split'),
      {'core/sampling.py', 'models/fitting.py'},
    ),
    # Batches are spread and compiled by `over_batch`; networks are leaves.
    (('jax.shard_map',), {'core/batching.py'}),
    (
      ('jax.jit',),
      {
        'core/batching.py',
        'models/convolutions.py',
        'models/fitting.py',
      },
    ),
  )
  def test_has_one_home(self, functions, homes):
    users = {
      str(path.relative_to(_ROOT / 'saliency_jax'))
      for path in _sources('saliency_jax')
      for node in ast.walk(ast.parse(path.read_text()))
      if isinstance(node, ast.Attribute) and ast.unparse(node) in functions
    }
    self.assertEqual(users, homes)

  def test_no_future_annotations(self):
    for folder in ('saliency_jax', 'experiments', 'tests'):
      for path in _sources(folder):
        names = [name for name, _ in _imports(path)]
        self.assertNotIn('__future__.annotations', names, path)

  @parameterized.parameters(
    'import saliency_jax; saliency_jax.gradient',
    'from saliency_jax import explainer, scores, taps, transforms',
    'import saliency_jax; saliency_jax.rise; saliency_jax.grad_cam',
  )
  def test_import_loads_jax_alone(self, code):
    code += f'; import sys; print([m for m in {_HEAVY} if m in sys.modules])'
    out = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, cwd=_ROOT
    )
    self.assertEqual((out.stdout.strip(), out.stderr), ('[]', ''))


if __name__ == '__main__':
  absltest.main()
