"""Tests for `experiments/configs/`: every config can be run, and says what."""

import importlib
import pathlib

from absl.testing import absltest
from absl.testing import parameterized

from experiments import configs
from experiments import contenders
from experiments import evaluate
from experiments import metrics
from saliency_jax.models import types

_SPEC = types.Spec('toy', (224, 224, 3), taps=('last',))
_NAMES = sorted(
  p.stem
  for p in pathlib.Path(configs.__file__).parent.glob('*.py')
  if p.stem not in ('__init__', 'common')
)


def _module(name):
  return importlib.import_module(f'experiments.configs.{name}')


class ConfigsTest(parameterized.TestCase):
  @parameterized.parameters(
    *((name, None) for name in _NAMES),
    ('igos_tables_1_2', '28,14'),
    ('igos_table_4', '224'),
  )
  def test_can_be_run(self, name, argument):
    module = _module(name)
    config = module.get_config(*([argument] if argument else [])).to_dict()
    evaluate._check(config)
    self.assertNotEmpty(config['comparisons'])
    found = contenders.choose(config['methods'], _SPEC)
    self.assertIn('random', found)
    for metric in config['metrics'].values():
      metrics.settings_of(metric['name'], metric['settings'])

  @parameterized.parameters(*_NAMES)
  def test_says_what_it_is(self, name):
    text = _module(name).__doc__
    for part in ('Paper:', 'https://', 'Claim:', 'Here:', 'Rule:', 'Command:'):
      self.assertIn(part, text)
    self.assertIn(f'--config=experiments/configs/{name}.py', text)
    self.assertEqual(_module(name).get_config().about, text)

  def test_tables_1_2_of_some_resolutions(self):
    config = _module('igos_tables_1_2').get_config('28,14')
    self.assertContainsSubset(['igos_28', 'mask_14'], config.methods)
    self.assertNotIn('rise', config.methods)
    self.assertIn(
      ('igos_protocol.insertion', 'igos_14', 'igos_28', 'above'),
      config.comparisons,
    )


if __name__ == '__main__':
  absltest.main()
