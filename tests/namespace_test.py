"""Tests for the public names of `saliency_jax`."""

import inspect
import pathlib
import re
import types

from absl.testing import absltest

import saliency_jax
from saliency_jax import certificates
from saliency_jax import scores

_ROOT = pathlib.Path(__file__).parents[1]


class NamespaceTest(absltest.TestCase):
  def test_every_name_resolves(self):
    for name in saliency_jax.__all__:
      value = getattr(saliency_jax, name)
      self.assertIn(name, dir(saliency_jax))
      if not isinstance(value, types.ModuleType):
        self.assertEqual(value.__name__, name)

  def test_every_method_has_the_one_signature(self):
    for name in saliency_jax.__all__:
      value = getattr(saliency_jax, name)
      if isinstance(value, types.ModuleType) or name == 'describe':
        continue
      first, second, *settings = inspect.signature(value).parameters.values()
      self.assertEqual(second.name, 'x', name)
      self.assertIn(first.name, ('fn', 'logits_fn'), name)
      self.assertIn('key', [setting.name for setting in settings], name)
      for setting in settings:
        self.assertEqual(setting.kind, setting.KEYWORD_ONLY, name)

  def test_every_function_has_an_example(self):
    maps = ('scaled', 'quadratic', 'sparsified', 'relaxed')
    functions = [
      certificates.median_rank,
      certificates.percentile_map,
      *(getattr(certificates, f'{name}_map') for name in maps),
    ]
    for name in saliency_jax.__all__:
      value = getattr(saliency_jax, name)
      if not isinstance(value, types.ModuleType):
        functions.append(value)
    for function in functions:
      # `.ci/run` runs them.
      text = inspect.getdoc(function)
      self.assertIn('\n  >>> ', text, function.__name__)

  def test_unknown_name(self):
    with self.assertRaisesRegex(AttributeError, "attribute:? '?no_such"):
      _ = saliency_jax.no_such

  def test_scores_is_a_module(self):
    self.assertIs(saliency_jax.scores.prob, scores.prob)

  def test_version(self):
    version = saliency_jax.__version__
    self.assertTrue(re.fullmatch(r'\d+\.\d+\.\d+', version))
    for name, line in (
      ('README.md', f'Version {version}'),
      ('CITATION.cff', f'version: {version}\n'),
      ('CHANGELOG.md', f'# Changelog\n\n## {version}\n'),
    ):
      self.assertIn(line, (_ROOT / name).read_text(), name)


if __name__ == '__main__':
  absltest.main()
