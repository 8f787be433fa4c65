"""Tests for `experiments/configs/`: every config can be run, and says what."""

import importlib
import pathlib
import re

from absl.testing import absltest
from absl.testing import parameterized

from experiments import attack
from experiments import certify
from experiments import configs
from experiments import evaluate
from experiments import train
from experiments.core import claims
from experiments.tables import contenders
from experiments.tables import metrics
from saliency_jax.models import types

_SPEC = types.Spec('toy', (224, 224, 3), taps=('last',))
_NAMES = sorted(
  p.stem
  for p in pathlib.Path(configs.__file__).parent.glob('*.py')
  if p.stem != '__init__' and not p.stem.endswith('common')
)


def _module(name):
  return importlib.import_module(f'experiments.configs.{name}')


def _check_evaluation(config):
  evaluate._check(config)
  contenders.choose(config['methods'], _SPEC)
  for metric in config['metrics'].values():
    metrics.settings_of(metric['name'], metric['settings'])


def _check_study(config):
  study = importlib.import_module(f'experiments.studies.{config["study"]}')
  if not callable(study.run):
    raise ValueError(config['study'])


def _check_training(config):
  for point in train.points(config).values():
    train._check(point)


_CHECKS = {
  'attack': attack._check,
  'certify': certify._check,
  'evaluate': _check_evaluation,
  'study': _check_study,
  'train': _check_training,
}


class ConfigsTest(parameterized.TestCase):
  @parameterized.parameters(
    *((name, None) for name in _NAMES),
    ('caso_confidence', 'digits'),
    ('training_boxes', 'seeds'),
    ('training_cifar10', 'batch_norm'),
    ('training_digits', 'seeds'),
    ('attacks', 'photos'),
    ('attacks', 'cifar10'),
    ('certificates', 'budget'),
    ('caso_row', 'se_resnet50'),
    ('certificates', 'cifar10'),
    ('certificates', 'resnet50'),
    ('invariant_photos', 'vgg16'),
    ('invariant_digits', 'mnist'),
    ('leg_sensitivity', 'photos'),
    ('leg_rivals', 'vgg19'),
    ('leg_rivals_masked', 'squeezenet'),
    ('sanity_cascade', 'squeezenet'),
    ('sanity_cascade', 'vit'),
    ('certificates', 'photos'),
    ('igos_tables_1_2', '28,14'),
    ('igos_tables_1_2', '28,14/vgg19'),
    ('igos_table_4', '224/squeezenet'),
    ('training_mnist', 'paper'),
  )
  def test_can_be_run(self, name, argument):
    module = _module(name)
    config = module.get_config(*([argument] if argument else [])).to_dict()
    told = set(re.findall(r'python -m experiments\.(\w+)', module.__doc__))
    self.assertEqual(told, {config['launcher']})
    _CHECKS[config['launcher']](config)
    for claim in config['claims']:
      self.assertIn(claim['paper'], claims.PAPERS)
      self.assertIn(claim['rule'], (claims.FIXED, claims.SEEN))
      self.assertBetween(len(claim['claim']), 10, 64, claim['claim'])
      self.assertEqual(claim['where'] == '', claim['paper'] == 'none')
      self.assertNotEmpty(claim['decides'])
      for comparison in claim['decides']:
        self.assertIn(claims.parts(comparison)[3], claims.DIRECTIONS)

  @parameterized.parameters(*_NAMES)
  def test_says_what_it_is(self, name):
    text = _module(name).__doc__
    config = _module(name).get_config()
    for part in ('Paper:', 'https://', 'Claim:', 'Here:', 'Command:'):
      self.assertIn(part, text)
    # The rule is a field of every claim.
    self.assertNotIn('Rule:', text)
    self.assertNotIn('comparisons', config)
    # Of one network, or of three, there is nothing to say.
    silent = name in ('training_boxes', 'training_cost', 'training_digits')
    self.assertEqual(bool(config.claims), not silent)
    self.assertIn(f'--config=experiments/configs/{name}.py', text)
    self.assertEqual(config.about, text)

  @parameterized.parameters('attacks', 'certificates', 'training_mnist')
  def test_no_such_variant(self, name):
    with self.assertRaisesRegex(
      ValueError, "after the colon is 'plotted', expected one of "
    ):
      _module(name).get_config('plotted')

  def test_tables_1_2_of_some_resolutions(self):
    config = _module('igos_tables_1_2').get_config('28,14')
    self.assertContainsSubset(['igos_28', 'mask_14'], config.methods)
    self.assertNotIn('rise', config.methods)
    compared = [c for claim in config.claims for c in claim['decides']]
    self.assertIn(
      ('igos_protocol.insertion', 'igos_14', 'igos_28', 'above'), compared
    )


if __name__ == '__main__':
  absltest.main()
