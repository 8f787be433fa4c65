"""Modules of torch by `scores.from_torch`: captum's maps, and JAX's.

Maps of one module are captum's where captum has the method; maps of the tests'
own network in torch are the maps of the same network in JAX, with the same key.
All in float64.
"""

import functools
import importlib
import importlib.util
import unittest

from absl.testing import absltest
from absl.testing import parameterized
from captum import attr
import jax
import jax.numpy as jnp
import numpy as np
import torch

import saliency_jax
from saliency_jax import attacks
from saliency_jax import certificates
from saliency_jax import explainer
from saliency_jax import maskers
from saliency_jax import scores
from saliency_jax import taps
from saliency_jax import transforms
from saliency_jax.core import baselines
from saliency_jax.core import host
from saliency_jax.core import sampling
from saliency_jax.perturbations import shapley as orders
from tests import equivalence

_KEY = jax.random.key(3)
_FIRST = taps.channels_first


class _Tiny(torch.nn.Module):
  """The tests' own network: channels first, batch norm that does nothing."""

  def __init__(self):
    super().__init__()
    params = jax.device_get(equivalence.network()[1])
    weights = {k: torch.tensor(v).double() for k, v in params.items()}
    self.conv = torch.nn.Conv2d(3, 5, 3, stride=2)
    self.norm = torch.nn.BatchNorm2d(5, eps=0)
    self.act = torch.nn.ReLU(inplace=True)
    self.drop = torch.nn.Dropout(0.5)
    self.dense = torch.nn.Linear(5, equivalence.NUM_CLASSES, bias=False)
    self.double()
    with torch.no_grad():
      self.conv.weight.copy_(weights['conv'].permute(3, 2, 0, 1))
      self.conv.bias.copy_(weights['bias'])
      self.dense.weight.copy_(weights['dense'].T)

  def forward(self, x):
    # 'SAME' at stride 2 pads one pixel, after the last.
    x = torch.nn.functional.pad(x, (0, 1, 0, 1))
    h = self.act(self.norm(self.conv(x)))
    return self.dense(self.drop(torch.tanh(h.mean((2, 3)))))


def _wide(test):
  """Runs a test in float64."""

  @functools.wraps(test)
  def run(*args, **kwargs):
    with jax.enable_x64(True):
      return test(*args, **kwargs)

  return run


def _twin():
  """Returns the network in JAX, in float64, as `(apply, params)`."""
  apply, params = equivalence.network()
  return apply, jax.tree.map(lambda a: a.astype(jnp.float64), params)


def _image():
  return equivalence.examples(1, jnp.float64)[0]


def _to_torch(x):
  return torch.tensor(np.moveaxis(np.asarray(x), -1, 0)[None])


def _assert_same(got, want, tolerance=1e-12):
  """Compares trees of numbers, each on the scale of its largest.

  What is below 1e-14 is the rounding of the numbers of which it is a rest.
  """
  for a, b in zip(*map(jax.tree.leaves, (got, want)), strict=True):
    a, b = np.asarray(a), np.asarray(b)
    scale = np.max(np.abs(b), initial=0, where=np.isfinite(b)) or 1
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale + 1e-14)


class CaptumTest(parameterized.TestCase):
  """One module, in torch and through JAX."""

  def explain(self, method, **settings):
    fn = scores.from_torch(_Tiny(), channels_last=True)
    run = jax.jit(lambda x: method(scores.logit(fn, None, 2), x, **settings))
    return run(_image())

  def assert_same(self, got, want, tolerance=1e-12):
    want = want.detach().numpy()[0].transpose(1, 2, 0)
    _assert_same(np.broadcast_to(got, want.shape), want, tolerance)

  @_wide
  def test_gradients(self):
    net, x = _Tiny().eval(), _to_torch(_image()).requires_grad_()
    want = attr.Saliency(net).attribute(x, target=2, abs=False)
    self.assert_same(self.explain(saliency_jax.gradient).scores, want)
    got = self.explain(transforms.times_input(saliency_jax.gradient))
    want = attr.InputXGradient(net).attribute(x, target=2)
    self.assert_same(got.scores, want)

  @_wide
  def test_integrated_gradients(self):
    want, delta = attr.IntegratedGradients(_Tiny().eval()).attribute(
      _to_torch(_image()),
      torch.full((1, 3, 8, 6), 0.5, dtype=torch.float64),
      target=2,
      n_steps=8,  # Captum's weights are float32, which holds an eighth.
      method='riemann_middle',
      return_convergence_delta=True,
    )
    got = self.explain(
      saliency_jax.integrated_gradients,
      baseline=baselines.constant,
      num_steps=8,
      batch_size=4,
    )
    self.assert_same(got.scores, want)
    np.testing.assert_allclose(
      got.info.completeness_error, np.abs(delta.numpy()[0]), atol=1e-12
    )

  @_wide
  def test_smooth_grad_of_the_same_draws(self):
    x, sigma = _image(), 0.1
    neighbours = [
      x + sigma * sampling.normal(jax.random.fold_in(_KEY, i), x)
      for i in range(5)
    ]
    batch = torch.cat([_to_torch(n) for n in neighbours]).requires_grad_()
    want = attr.Saliency(_Tiny().eval()).attribute(batch, target=2, abs=False)
    got = self.explain(
      saliency_jax.smooth_grad,
      key=_KEY,
      sigma=sigma,
      num_samples=5,
      batch_size=2,
    )
    self.assert_same(got.scores, want.mean(0, keepdim=True))

  @_wide
  def test_occlusion(self):
    want = attr.Occlusion(_Tiny().eval()).attribute(
      _to_torch(_image()),
      sliding_window_shapes=(3, 4, 3),
      strides=(3, 2, 3),
      baselines=0.25,  # As float32, which holds a quarter, in captum.
      target=2,
    )
    got = self.explain(
      saliency_jax.occlusion,
      window=(4, 3),
      stride=(2, 3),
      baseline=functools.partial(baselines.constant, value=0.25),
    )
    self.assert_same(got.scores, want, 1e-7)  # Captum divides in float32.

  @parameterized.parameters(
    functools.partial(saliency_jax.shapley, estimator=orders.exact),
    functools.partial(saliency_jax.kernel_shap, num_samples=2**4 - 2),
  )
  @_wide
  def test_shapley_values(self, method):
    rows = np.arange(8)[:, None, None] // 4
    labels = np.broadcast_to(rows + 2 * (np.arange(6)[:, None] // 3), (8, 6, 3))
    want = attr.ShapleyValues(_Tiny().eval()).attribute(
      _to_torch(_image()),
      feature_mask=torch.tensor(np.moveaxis(labels, -1, 0)[None].copy()),
      baselines=0.25,
      target=2,
    )
    got = self.explain(
      method,
      masker=functools.partial(maskers.segments, labels=labels, baseline=0.25),
    )
    self.assert_same(got.scores, want, 1e-6)  # Captum sums in float32.

  @_wide
  def test_grad_cam(self):
    """Of a layer whose output the module overwrites later."""
    net = _Tiny().eval()
    for name in ('act', 'norm', 'conv'):
      layer = net.get_submodule(name)
      net.act.inplace = name == 'act'  # Captum's hook sees what is written.
      want = attr.LayerGradCam(net, layer).attribute(
        _to_torch(_image()).requires_grad_(), target=2
      )
      net.act.inplace = True
      fn = scores.from_torch(net, taps=name, channels_last=True)
      got = saliency_jax.grad_cam(
        scores.logit(fn, None, 2),
        _image(),
        name=name,
        layout=_FIRST,
      )
      _assert_same(got.info.raw, want.detach().numpy()[0, 0])


class TorchvisionTest(absltest.TestCase):
  @unittest.skipUnless(
    importlib.util.find_spec('torchvision'),
    'pip install --no-deps torchvision',
  )
  @_wide
  def test_resnet(self):
    """In three lines, a network of the shop that nobody has edited."""
    torch.manual_seed(0)
    net = importlib.import_module('torchvision.models').resnet18()
    net = net.double().train()
    x = equivalence.examples(1, jnp.float64, (64, 48, 3))[0]

    fn = scores.from_torch(net, channels_last=True, taps='layer4')
    score = scores.logit(fn, None, 281)
    got = saliency_jax.grad_cam(score, x, name='layer4', layout=_FIRST)

    self.assertTrue(net.training)
    net.eval()
    batch = _to_torch(x).requires_grad_()
    want = attr.LayerGradCam(net, net.layer4).attribute(batch, target=281)
    _assert_same(got.info.raw, want.detach().numpy()[0, 0])
    slope = saliency_jax.gradient(score, x).scores
    want = attr.Saliency(net).attribute(batch, target=281, abs=False)
    _assert_same(np.moveaxis(slope, -1, 0), want.numpy()[0], 1e-10)
    self.assertEqual({p.grad for p in net.parameters()}, {None})


_METHODS = {
  'gradient': saliency_jax.gradient,
  'expected_gradients': functools.partial(
    saliency_jax.expected_gradients,
    references=np.random.default_rng(0).random((3, *equivalence.SHAPE)),
    num_samples=6,
    batch_size=4,
  ),
  'igos': functools.partial(saliency_jax.igos, resolution=4, num_steps=3),
  'igos_pp': functools.partial(saliency_jax.igos_pp, resolution=4, num_steps=2),
  'mask': functools.partial(saliency_jax.mask, resolution=4, num_steps=4),
  'sparsified_map': functools.partial(
    certificates.sparsified_map, num_samples=9, batch_size=4
  ),
  'relaxed_map': functools.partial(
    certificates.relaxed_map, num_samples=9, batch_size=4
  ),
  'invariant': functools.partial(
    saliency_jax.invariant_perturbation,
    num_steps=4,
    num_samples=4,
    num_checks=8,
    num_ascent=2,
  ),
  'cafo': saliency_jax.cafo,
  'caso': functools.partial(saliency_jax.caso, num_steps=6, eigen_steps=6),
  'smooth_caso': functools.partial(
    saliency_jax.smooth_caso, num_samples=3, num_steps=3, eigen_steps=4
  ),
}


_SCORES = {
  'cafo': scores.loss,
  'caso': scores.loss,
  'smooth_caso': scores.loss,
  'invariant': scores.prob_margins,
}


class TwinTest(parameterized.TestCase):
  """The network in torch and the network in JAX, explained alike."""

  @parameterized.parameters(*_METHODS)
  @_wide
  def test_method(self, name):
    method, score = _METHODS[name], _SCORES.get(name, scores.prob)
    run = jax.jit(lambda fn, x: method(fn, x, key=_KEY), static_argnums=0)
    torch_fn = scores.from_torch(_Tiny(), channels_last=True)
    got = run(score(torch_fn, None, 2), _image())
    want = run(score(*_twin(), 2), _image())
    _assert_same(got, want, 1e-9)

  @_wide
  def test_inside_of_a_network(self):
    """A tap of torch is a tap of JAX; its channels come first there."""
    fn = scores.from_torch(_Tiny(), channels_last=True, taps=['act', 'conv'])
    fn, twin = scores.prob(fn, None, 2), scores.prob(*_twin(), 2)
    x = _image()
    self.assertEqual(taps.names(fn, x), ['conv', 'act'])
    for got, want in (
      (fn(x), twin(x)),
      (jax.grad(fn)(x), jax.grad(twin)(x)),
      (jax.hessian(fn)(x), jax.hessian(twin)(x)),
      (
        saliency_jax.grad_cam(fn, x, name='act', layout=_FIRST),
        saliency_jax.grad_cam(twin, x),
      ),
      (
        transforms.at_tap(saliency_jax.gradient, 'act')(fn, x).scores,
        jnp.moveaxis(
          transforms.at_tap(saliency_jax.gradient, 'features')(twin, x).scores,
          -1,
          0,
        ),
      ),
    ):
      _assert_same(got, want, 1e-10)

  @_wide
  def test_gradient_of_a_map(self):
    """What attacks on maps, and training against them, move by."""
    x = _image()
    share = lambda fn: (
      lambda x: attacks.top_k_share(
        jnp.abs(saliency_jax.gradient(fn, x).scores), x, k=20
      )
    )
    torch_fn = scores.from_torch(_Tiny(), channels_last=True)
    got = jax.grad(share(scores.log_prob(torch_fn, None, 2)))(x)
    want = jax.grad(share(scores.log_prob(*_twin(), 2)))(x)
    _assert_same(got, want, 1e-10)
    self.assertTrue(jnp.any(want != 0))

  def test_batches_on_devices(self):
    """One call for what is in memory at once, of every device."""
    sizes = []
    net = _Tiny().float()
    net.register_forward_hook(lambda m, args, out: sizes.append(len(args[0])))
    method = functools.partial(
      saliency_jax.integrated_gradients, num_steps=6, batch_size=3
    )
    fn = scores.from_torch(net, channels_last=True)
    explain = explainer.build(method, fn, scores.prob, mesh=equivalence.mesh())
    twin = explainer.build(method, equivalence.network()[0], scores.prob)
    xs = equivalence.examples(3)
    got = explain(None, xs)
    want = twin(equivalence.network()[1], xs)
    _assert_same(got.scores, want.scores, 1e-5)
    # Four rows on two devices, of three points each.
    self.assertEqual(max(sizes), 6)


class ModuleTest(parameterized.TestCase):
  """What is done to a module, and asked of it."""

  @_wide
  def test_is_left_as_it_was(self):
    net = _Tiny()
    net.norm.running_mean += 0.1
    net.train()
    net.act.eval()
    net.conv.bias.requires_grad_(False)
    net.dense.weight.grad = torch.ones_like(net.dense.weight)
    modes = [m.training for m in net.modules()]
    state = {k: v.clone() for k, v in net.state_dict().items()}
    random = torch.random.get_rng_state()

    fn = scores.from_torch(net, channels_last=True, taps='norm')
    score = scores.loss(fn, None, 1)
    with torch.no_grad():
      first, slope = jax.value_and_grad(score)(_image())
      jax.jit(jax.hessian(lambda t: score(t * _image())))(1.0)
    self.assertEqual(score(_image()), first)
    self.assertTrue(jnp.any(slope != 0))

    self.assertEqual([m.training for m in net.modules()], modes)
    for name, value in net.state_dict().items():
      torch.testing.assert_close(value, state[name], rtol=0, atol=0)
    self.assertFalse(net.conv.bias.requires_grad)
    self.assertTrue(net.conv.weight.requires_grad)
    self.assertIsNone(net.conv.weight.grad)
    self.assertTrue(torch.all(net.dense.weight.grad == 1))
    self.assertTrue(torch.equal(torch.random.get_rng_state(), random))
    self.assertFalse(any(m._forward_hooks for m in net.modules()))

  def test_mode_after_an_error(self):
    net = torch.nn.Sequential(torch.nn.Linear(3, 2)).train()
    fn = scores.from_torch(net)
    with self.assertRaisesRegex(ValueError, r'take a batch \(1, 4\): .*shapes'):
      fn(jnp.ones(4))
    self.assertTrue(net.training and net[0].training)

  def test_shapes_as_torch_has_them(self):
    """Without `channels_last` an example is what the module takes."""
    net = _Tiny().float()
    x = equivalence.examples(1)[0]
    got = jax.grad(scores.logit(scores.from_torch(net), None, 0))(
      jnp.moveaxis(x, -1, 0)
    )
    want = jax.grad(equivalence.score_fn(label=0))(x)
    _assert_same(jnp.moveaxis(got, 0, -1), want, 1e-5)
    with self.assertRaisesRegex(
      ValueError, r'batch \(1, 8, 6, 3\): .*H, W, C\] need channels_last=True'
    ):
      scores.from_torch(net)(x)

  def test_several_inputs(self):
    class Sum(torch.nn.Module):
      def forward(self, a, b):
        a *= 2  # In place: what it is given is its own.
        return {'logits': torch.stack([(a * b).sum(-1), b.prod(-1)], -1)}

    given = {'b': jnp.array([1.0, 3]), 'a': jnp.array([2.0, 5])}
    for x in (given, (given['a'], given['b'])):
      fn = scores.from_torch(Sum(), output=lambda out: out['logits'])
      for run in (lambda f: f, jax.jit):
        np.testing.assert_allclose(run(fn)(x), [34, 3])
        slope = run(jax.grad(scores.logit(fn, None, 0)))(x)
        slope = slope if x is given else dict(zip('ab', slope, strict=True))
        np.testing.assert_allclose(slope['a'], 2 * given['b'])
        np.testing.assert_allclose(slope['b'], 2 * given['a'])
    with self.assertRaisesRegex(ValueError, 'returned dict.*output=lambda'):
      scores.from_torch(Sum())(given)

  def test_tokens_are_explained_at_their_embeddings(self):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
      torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(12, 2)
    )
    fn = scores.logit(scores.from_torch(net, taps='0'), None, 1)
    ids = jnp.array([3, 8, 0])
    at_tap = transforms.at_tap
    got = at_tap(saliency_jax.gradient, '0')(fn, ids).scores
    want = net[2].weight[1].detach().numpy().reshape(3, 4)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    hessian = at_tap(saliency_jax.caso, '0')(fn, ids, key=_KEY)
    self.assertEqual(hessian.info.eigenvalue, 0)  # It is linear.

  @_wide
  def test_second_derivatives_of_attention(self):
    """Torch's fast attention has first derivatives alone."""

    class Attention(torch.nn.Module):
      def forward(self, x):
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(x, x, 2 * x).mean((1, 2))[:, None]

    x = _image()[:3, :4, 0]
    fn = scores.logit(scores.from_torch(Attention()), None, 0)
    got = jax.hessian(fn)(x)
    want = jax.hessian(lambda x: jnp.mean(2 * jax.nn.softmax(x @ x.T / 2) @ x))(
      x
    )
    _assert_same(got, want, 1e-10)

  def test_half_precision(self):
    net = torch.nn.Linear(3, 2).bfloat16()
    fn = scores.logit(scores.from_torch(net), None, 0)
    want = net.weight[0].float().detach().numpy()
    for dtype in (jnp.float32, jnp.bfloat16):
      value, slope = jax.value_and_grad(fn)(jnp.ones(3, dtype))
      self.assertEqual((value.dtype, slope.dtype), (dtype, dtype))
      np.testing.assert_array_equal(slope.astype(jnp.float32), want)
    wide = scores.from_torch(net.float(), dtype=torch.float64, device='cpu')
    with self.assertRaisesRegex(ValueError, 'dtype'):
      wide(jnp.ones(3))

  def test_nan(self):
    fn = scores.logit(scores.from_torch(torch.nn.Linear(2, 2)), None, 0)
    value, slope = jax.value_and_grad(lambda x: fn(x) ** 2)(
      jnp.array([jnp.nan, 1])
    )
    self.assertTrue(jnp.isnan(value) and jnp.all(jnp.isnan(slope)))

  @parameterized.parameters(
    (torch.nn.BatchNorm1d(3, track_running_stats=False), 'mixes its examples'),
    (lambda x: x, 'expected a torch.nn.Module, got <function'),
  )
  def test_refuses_modules(self, module, message):
    with self.assertRaisesRegex(ValueError, message):
      scores.from_torch(module)

  @parameterized.parameters(
    (lambda x: x.detach() * 2, 'do not depend on the input .*detach'),
    (lambda x: torch.ones(1, requires_grad=True) + 0 * x.detach(), 'detach'),
    (lambda x: x.sum(), r'returned \(\) for a batch of one'),
    (lambda x: torch.cat([x, x]), r'returned \(2, 3\) for a batch of one'),
    (lambda x: x.to(torch.complex64), 'returned torch.complex64, expected'),
  )
  def test_refuses_outputs(self, output, message):
    fn = scores.from_torch(torch.nn.Identity(), output=output)
    with self.assertRaisesRegex(ValueError, message):
      jax.grad(scores.logit(fn, None, 0))(jnp.ones(3))

  @parameterized.parameters(
    ('norms', "no submodule 'norms': it has norm, "),
    (['act', 'missing'], "no submodule 'missing'"),
    ('', "no submodule ''"),
  )
  def test_refuses_taps(self, names, message):
    with self.assertRaisesRegex(ValueError, message):
      scores.from_torch(_Tiny(), taps=names)

  def test_a_tap_is_one_value(self):
    layer = torch.nn.Linear(3, 3)
    net = torch.nn.Sequential(layer, layer, torch.nn.LSTM(3, 2))
    message = "calls '0' 2 times"
    with self.assertRaisesRegex(ValueError, message):
      scores.from_torch(net[:2], taps='0')(jnp.ones(3))
    fn = scores.from_torch(net, output=lambda out: out[0], taps='2')
    with self.assertRaisesRegex(ValueError, "'2' returned tuple, expected"):
      fn(jnp.ones((4, 3)))

  def test_stops_when_interrupted(self):
    def output(y):
      if y.requires_grad:
        raise KeyboardInterrupt
      return y

    fn = scores.from_torch(torch.nn.Linear(3, 2), output=output)
    fn = scores.logit(fn, None, 0)
    with self.assertRaises(KeyboardInterrupt):
      saliency_jax.gradient(fn, jnp.ones(3))
    with self.assertRaises(KeyboardInterrupt):
      with host.own_errors():
        jax.block_until_ready(jax.jit(jax.grad(fn))(jnp.ones(3)))


if __name__ == '__main__':
  absltest.main()
