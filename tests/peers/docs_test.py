"""What `docs/peers.md` says that the peers have, asked of them."""

import importlib
import pathlib
import re
import warnings

from absl.testing import absltest

import saliency_jax

_DOCS = pathlib.Path(__file__).parents[2] / 'docs' / 'peers.md'

# Of the table of features, what each peer does it by; and what it lacks.
_HAVE = {
  'captum.attr': (
    'Saliency IntegratedGradients NoiseTunnel LayerGradCam LRP DeepLift '
    'Occlusion Lime KernelShap ShapleyValues ShapleyValueSampling'
  ),
  'captum.concept': 'TCAV',
  'captum.metrics': 'infidelity sensitivity_max',
  'shap': (
    'GradientExplainer DeepExplainer KernelExplainer ExactExplainer '
    'PermutationExplainer TreeExplainer'
  ),
  'shap.benchmark': '',
  'zennit.attribution': 'Gradient IntegratedGradients SmoothGrad Occlusion',
  'zennit.rules': 'Epsilon Gamma AlphaBeta',
  'saliency.core': 'XRAI BlurIG GuidedIG',
}
_LACK = {
  'captum.attr': 'rise igos tree legtv caso',
  'shap': 'rise igos smoothgrad gradcam lrp',
  'zennit.attribution': 'shap lime rise cam',
}


def _module(name):
  with warnings.catch_warnings():
    # What is deprecated in the libraries that they use.
    warnings.simplefilter('ignore')
    return importlib.import_module(name)


def _names(cell):
  """Returns the names in a cell: of `A(B(x))` both, of `C, D` both."""
  calls = ' '.join(re.findall('`([^`]*)`', cell))
  return re.findall(r'(?<![\w.=])[A-Z]\w+', re.sub(r'\w+=\w+', '', calls))


class DocsTest(absltest.TestCase):
  def _rows(self, heading):
    lines = _DOCS.read_text().partition(heading)[2].splitlines()
    start = lines.index(next(line for line in lines if line.startswith('|--')))
    for line in lines[start + 1 :]:
      if not line.startswith('|'):
        return
      yield [cell.strip() for cell in line.strip('|').split('|')]

  def test_names(self):
    captum = _module('captum.attr')
    pair = _module('saliency.core')
    rows = list(self._rows('## Names'))
    self.assertGreater(len(rows), 10)
    for theirs, pairs, ours in rows:
      self.assertNotEmpty(_names(theirs))
      for name in _names(theirs):
        self.assertTrue(hasattr(captum, name), name)
      for name in _names(pairs):
        in_class = hasattr(pair.GradientSaliency, name)
        self.assertTrue(in_class or hasattr(pair, name), name)
      name = re.match(r'`(\w+)', ours)[1]
      self.assertTrue(hasattr(saliency_jax, name), name)

  def test_features(self):
    for module, names in _HAVE.items():
      found = _module(module)
      for name in names.split():
        self.assertTrue(hasattr(found, name), f'{module}.{name}')
    for module, names in _LACK.items():
      there = ' '.join(dir(_module(module))).lower()
      for name in names.split():
        self.assertNotIn(name, there, module)


if __name__ == '__main__':
  absltest.main()
