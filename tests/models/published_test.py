"""Tests for `published.py`, and of the networks that files fill.

What torch makes of the same files is in `peers`.
"""

import math
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import models
from saliency_jax.models import checkpoints
from saliency_jax.models import layers
from saliency_jax.models import published
from saliency_jax.models import registry
from tests import torch_writer


class _Tiny(nnx.Module):
  """A convolution and its norm, a third of a dense layer, a classifier."""

  def __init__(self, depth=1, num_classes=4):
    rngs = nnx.Rngs(0)
    self.convs = nnx.List(
      layers.ConvNorm(2, 2, 3, epsilon=1e-5, rngs=rngs) for _ in range(depth)
    )
    self.query = nnx.Linear(2, 2, rngs=rngs)
    self.classifier = nnx.Linear(2, num_classes, rngs=rngs)


def _network(depth):
  names = published.Names(
    'torch',
    (
      (r'convs\.(\d)\.conv', r'conv\1'),
      (r'convs\.(\d)\.norm', r'bn\1'),
      ('query', 'in_proj_#1'),
      ('classifier', 'fc'),
    ),
  )
  return published.Network(
    lambda **kwargs: nnx.eval_shape(lambda: _Tiny(depth, **kwargs)),
    (names, published.OWN),
  )


_NETWORKS = {'tiny': _network(1), 'deep': _network(2)}


def _arrays(depth=1, num_classes=4, dtype=np.float32):
  """What torch would save, each array of numbers of its own."""
  shapes = {'in_proj_weight': (6, 2), 'in_proj_bias': (6,)}
  for i in range(depth):
    shapes[f'conv{i}.weight'] = (2, 2, 3, 3)
    for name in ('weight', 'bias', 'running_mean', 'running_var'):
      shapes[f'bn{i}.{name}'] = (2,)
  shapes |= {'fc.weight': (num_classes, 2), 'fc.bias': (num_classes,)}
  rng = np.random.default_rng(0)
  # Sums of few powers of two: half precision holds them all.
  arrays = {n: rng.integers(-8, 8, s) / 4 for n, s in shapes.items()}
  return {n: a.astype(dtype) for n, a in arrays.items()}


class FillTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder, 'w.pth')

  def fill(self, tree, name='tiny', write=torch_writer.zipped, **kwargs):
    self.path.write_bytes(write(tree, **kwargs))
    return published.fill(name, checkpoints.read(self.path), _NETWORKS)

  def same(self, module, want):
    conv, query, last = module.convs[0], module.query, module.classifier
    for got, name, of in (
      (conv.conv.kernel, 'conv0.weight', lambda a: a.transpose(2, 3, 1, 0)),
      (conv.norm.scale, 'bn0.weight', np.asarray),
      (conv.norm.bias, 'bn0.bias', np.asarray),
      (conv.norm.mean, 'bn0.running_mean', np.asarray),
      (conv.norm.var, 'bn0.running_var', np.asarray),
      (query.kernel, 'in_proj_weight', lambda a: a[2:4].T),
      (query.bias, 'in_proj_bias', lambda a: a[2:4]),
      (last.kernel, 'fc.weight', np.transpose),
      (last.bias, 'fc.bias', np.asarray),
    ):
      self.assertEqual(got.get_value().dtype, jnp.float32)
      np.testing.assert_array_equal(got.get_value(), of(want[name]))

  @parameterized.parameters(
    ('prefix', lambda a: {f'module.{n}': v for n, v in a.items()}),
    ('nested', lambda a: {'state_dict': a, 'epoch': 90}),
    ('other prefix', lambda a: {f'backbone.{n}': v for n, v in a.items()}),
    (
      'beside others',
      lambda a: {
        **{f'model.{n}': v for n, v in a.items()},
        'criterion.weight': np.ones(3, np.float32),
      },
    ),
    ('both', lambda a: {'model': {f'model.{n}': v for n, v in a.items()}}),
    ('counts', lambda a: {**a, 'bn0.num_batches_tracked': np.array(7)}),
    (
      'cast counts',
      lambda a: {**a, 'bn0.num_batches_tracked': np.array(7, np.float16)},
    ),
    ('flat', lambda a: {**a, 'conv0.weight': a['conv0.weight'].reshape(2, -1)}),
    ('1x1', lambda a: {**a, 'fc.weight': a['fc.weight'][..., None, None]}),
  )
  def test_the_same_whatever_is_around(self, _, wrap):
    self.same(self.fill(wrap(_arrays())), _arrays())

  @parameterized.parameters(np.float64, np.float16, jnp.bfloat16)
  def test_the_same_in_any_precision(self, dtype):
    self.same(self.fill(_arrays(dtype=dtype)), _arrays())

  def test_the_same_from_a_gpu_and_in_the_old_format(self):
    self.same(self.fill(_arrays(), location='cuda:1'), _arrays())
    self.same(self.fill(_arrays(), write=torch_writer.old), _arrays())

  @parameterized.parameters(1, 3, 1001)
  def test_other_classes(self, num):
    module = self.fill(_arrays(num_classes=num))
    self.assertEqual(module.classifier.out_features, num)
    self.same(module, _arrays(num_classes=num))

  def test_own_names(self):
    module = self.fill(_arrays())
    state = nnx.to_pure_dict(
      nnx.state(module, nnx.Any(nnx.Param, nnx.BatchStat))
    )
    flat = {
      '.'.join(str(key.key) for key in path): np.asarray(leaf)
      for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }
    np.savez(self.path.with_suffix('.npz'), **flat)
    arrays = checkpoints.read(self.path.with_suffix('.npz'))
    self.same(published.fill('tiny', arrays, _NETWORKS), _arrays())

  @parameterized.parameters(
    (
      'another network',
      lambda a: _arrays(depth=2),
      r'tiny does not fit it, by the names of torch: 5 too many '
      r'\(conv1.weight \(2, 2, 3, 3\); bn1.weight \(2,\); bn1.bias \(2,\); '
      r'...\); deep fits it best: 14 of its 14 arrays are there',
    ),
    (
      'a missing array',
      lambda a: {n: v for n, v in a.items() if n != 'bn0.bias'},
      r'1 missing \(bn0.bias \(2,\)\); 8 of its 9 arrays are there: write',
    ),
    (
      'two networks',
      lambda a: {f'{w}.{n}': v for n, v in a.items() for w in ('old', 'new')},
      r'9 missing .*nor does any of tiny, deep: a module of torch is explained',
    ),
    (
      'a head of one more loss',
      lambda a: {**a, 'aux.fc.bias': np.zeros(4, np.float32)},
      r'1 too many \(aux.fc.bias \(4,\)\); 9 of its 9',
    ),
    (
      'another window',
      lambda a: {**a, 'conv0.weight': np.zeros((2, 2, 5, 5), np.float32)},
      r'1 of another shape \(conv0.weight \(2, 2, 5, 5\), not \(2, 2, 3, 3\)\)',
    ),
    (
      'classes without their weights',
      lambda a: {**a, 'fc.bias': np.zeros(5, np.float32)},
      r'1 of another shape \(fc.weight \(4, 2\), not \(5, 2\)\)',
    ),
    (
      'something else',
      lambda a: {'x': a['fc.bias']},
      r'9 missing \(.*; ...\), 1 too many \(x \(4,\)\); nor does any of tiny, ',
    ),
    (
      'whole numbers',
      lambda a: {n: v.astype(np.int64) for n, v in a.items()},
      '9 missing',
    ),
    (
      'not a number',
      lambda a: {**a, 'bn0.bias': np.array([0, np.nan], np.float32)},
      "holds NaN or infinity in 'bn0.bias'",
    ),
  )
  def test_refuses(self, _, change, message):
    with self.assertRaisesRegex(ValueError, message) as caught:
      self.fill(change(_arrays()))
    self.assertNotIn('\n', str(caught.exception))


class NetworksTest(parameterized.TestCase):
  @parameterized.parameters(
    ('resnet18', 11_689_512),
    ('resnet34', 21_797_672),
    ('resnet50', 25_557_032),
    ('se_resnet50', 28_088_024),
    ('vgg16', 138_357_544),
    ('vgg16_bn', 138_365_992),
    ('vgg19', 143_667_240),
    ('vgg19_bn', 143_678_248),
    ('vit_b_16', 86_567_656),
    ('vit_s_16', 22_050_664),
    ('deit_s', 22_050_664),
  )
  def test_size_and_spec(self, name, num_parameters):
    home = registry._HOMES[name]
    paths = {}

    def apply(x):
      # Made within the trace: no array is.
      module = home.NETS[name](rngs=nnx.Rngs(0))
      model = models.from_nnx(module, home.spec(name, module))
      for path, leaf in jax.tree_util.tree_leaves_with_path(model.params):
        paths['/'.join(str(key.key) for key in path)] = leaf.size
      apply.spec = model.spec
      return model.apply(model.params, x)

    x = jax.ShapeDtypeStruct((224, 224, 3), jnp.float32)
    jaxpr = jax.make_jaxpr(apply)(x)
    self.assertEqual(jaxpr.out_avals[0].shape, (1000,))
    self.assertEqual(sum(paths.values()), num_parameters)
    found = [e for e in jaxpr.eqns if e.primitive.name == 'name']
    names = tuple(e.params['name'] for e in reversed(found))
    self.assertEqual(apply.spec.taps, names)
    for e in found:
      self.assertEqual(len(e.outvars[0].aval.shape), 4)
    for path in paths:
      owners = [p for p in apply.spec.layers if path.startswith(p + '/')]
      self.assertLen(owners, 1, path)

  def test_load(self):
    network = registry.networks()['resnet18']
    names = network.names[0]
    rng = np.random.default_rng(0)
    shapes = published.shapes(network.build(num_classes=10), names)
    arrays = {
      f'module.{n}': (rng.random(s) / math.prod(s[1:])).astype(np.float16)
      for n, s in shapes.items()
    }
    folder = self.enterContext(tempfile.TemporaryDirectory())
    path = pathlib.Path(folder, 'mine.pth')
    path.write_bytes(torch_writer.zipped({'state_dict': arrays}))
    model = models.load('resnet18', weights=path, fast=False)
    self.assertEqual(model.spec.class_names, ())
    np.testing.assert_array_equal(
      model.params['classifier']['kernel'],
      arrays['module.fc.weight'].T.astype(np.float32),
    )
    out = jax.eval_shape(
      model.apply, model.params, jnp.zeros(model.spec.input_shape)
    )
    self.assertEqual(out.shape, (10,))

  def test_refuses(self):
    with self.assertRaisesRegex(
      ValueError, "no package has .* 'resnet50'.*as "
    ):
      models.load('resnet50')
    with self.assertRaisesRegex(FileNotFoundError, 'no file .*nowhere.pth'):
      models.load('resnet50', weights='nowhere.pth')
    with self.assertRaisesRegex(ValueError, "'squeezenet' has the weights of"):
      models.load('squeezenet', weights='w.pth')
    with self.assertRaisesRegex(ValueError, r"says itself .*got \['weights'\]"):
      models.load('mine.npz', weights='w.pth')


if __name__ == '__main__':
  absltest.main()
