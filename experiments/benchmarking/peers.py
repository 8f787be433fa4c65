"""Other libraries on the same weights, for the benchmark to run beside ours.

Needs the `peers` extra: torch, autoLRP, captum, PAIR's saliency; zennit where
it is installed (see `zennits`).
"""

from collections.abc import Callable, Mapping
from typing import Any
import warnings

from captum import attr
import numpy as np
import saliency.core as pair
import torch

from experiments.benchmarking import coalition_peers
from experiments.benchmarking import zennits

with warnings.catch_warnings():
  warnings.simplefilter('ignore')
  import autolrp


def model_calls(
  network: torch.nn.Module, images: np.ndarray, label: int
) -> tuple[Callable[[], Any], Callable[[], Any]]:
  """Returns the forward call of a batch, and its forward and gradient call."""
  x = _tensor(images)

  def forward():
    with torch.no_grad():
      return network(x)

  def gradient():
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(network(leaf)[:, label].sum(), leaf)

  return forward, gradient


def explainers(
  network: torch.nn.Module,
  image: np.ndarray,
  label: int,
  settings: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Callable[[], Any]]]:
  """Returns, by method and library, calls that make the same map as ours.

  Of propagation it is as much work, and another map: captum and zennit look for
  modules and pass over what is none, autoLRP shares by absolute values.

  Args:
    network: see `torch_networks.load`.
    image: `[H, W, 3]` in [0, 1].
    label: class to explain.
    settings: of our methods, which give the same work to the others.
  """
  x = _tensor(image[None])

  def probs(x):
    return torch.softmax(network(x), -1)

  def pair_model(images, call_model_args=None, expected_keys=None):
    leaf = _tensor(images).requires_grad_()
    (grad,) = torch.autograd.grad(network(leaf)[:, label].sum(), leaf)
    return {pair.INPUT_OUTPUT_GRADIENTS: grad.permute(0, 2, 3, 1).numpy()}

  def gradient(settings):
    return {
      'captum': lambda: attr.Saliency(network).attribute(
        x.clone().requires_grad_(), target=label, abs=False
      ),
      'PAIR': lambda: pair.GradientSaliency().GetMask(image, pair_model),
    }

  def gradient_x_input(settings):
    return {
      'captum': lambda: attr.InputXGradient(network).attribute(
        x.clone().requires_grad_(), target=label
      )
    }

  def noise(kind):
    def run(settings):
      return {
        'captum': lambda: attr.NoiseTunnel(attr.Saliency(network)).attribute(
          x.clone().requires_grad_(),
          nt_type=kind,
          nt_samples=settings['num_samples'],
          nt_samples_batch_size=settings['batch_size'],
          stdevs=settings['sigma'],
          target=label,
          abs=False,
        )
      }

    return run

  def smooth_grad(settings):
    spread = settings['sigma'] / float(image.max() - image.min() or 1)
    return noise('smoothgrad')(settings) | {
      'PAIR': lambda: pair.GradientSaliency().GetSmoothedMask(
        image,
        pair_model,
        stdev_spread=spread,
        nsamples=settings['num_samples'],
        magnitude=False,
      )
    }

  def integrated_gradients(settings):
    batch = settings['batch_size']
    return {
      'captum': lambda: attr.IntegratedGradients(network).attribute(
        x,
        target=label,
        n_steps=settings['num_steps'],
        method='riemann_middle',
        internal_batch_size=batch,
      ),
      'PAIR': lambda: pair.IntegratedGradients().GetMask(
        image,
        pair_model,
        # It takes both ends of the path.
        x_steps=settings['num_steps'] - 1,
        batch_size=batch or settings['num_steps'],
      ),
    }

  def grad_cam(settings):
    return {
      'captum': lambda: attr.LayerGradCam(network, network.features).attribute(
        x.clone().requires_grad_(), target=label, relu_attributions=True
      )
    }

  def occlusion(settings):
    window, stride = settings['window'], settings['stride']
    return {
      'captum': lambda: attr.Occlusion(probs).attribute(
        x,
        sliding_window_shapes=(3, window, window),
        strides=(3, stride, stride),
        baselines=0.5,
        target=label,
        perturbations_per_eval=settings['batch_size'] or 1,
      )
    }

  def guided_backprop(settings):
    return {
      'captum': _quiet(
        lambda: attr.GuidedBackprop(network).attribute(
          x.clone().requires_grad_(), target=label
        )
      )
    }

  def deeplift(settings):
    return {
      'captum': _quiet(
        lambda: attr.DeepLift(network).attribute(
          x.clone(), torch.zeros_like(x), target=label
        )
      )
    }

  def lrp(settings):
    def by_autolrp():
      leaf = autolrp.tensor(x.clone())
      network(leaf)[0, label].lrp()
      return leaf.relevance

    runs = {'autoLRP': _quiet(by_autolrp)}
    if (zennit := zennits.load()) is not None:
      kinds, rules = zennit.types, zennit.rules
      composite = zennit.composites.LayerMapComposite(
        [
          (kinds.Activation, rules.Pass()),
          (kinds.AvgPool, rules.Norm()),
          (kinds.Linear, rules.Epsilon()),
        ]
      )

      def by_zennit():
        start = torch.zeros(1, network(x).shape[1])
        start[0, label] = 1
        with zennit.attribution.Gradient(network, composite) as attributor:
          return attributor(x.clone().requires_grad_(), start)[1]

      runs['zennit'] = _quiet(by_zennit)
    return runs

  known = {
    'gradient': gradient,
    'gradient_x_input': gradient_x_input,
    'smooth_grad': smooth_grad,
    'smooth_grad_squared': noise('smoothgrad_sq'),
    'var_grad': noise('vargrad'),
    'integrated_gradients': integrated_gradients,
    'grad_cam': grad_cam,
    'guided_backprop': guided_backprop,
    'deeplift': deeplift,
    'lrp': lrp,
    'occlusion': occlusion,
    **coalition_peers.explainers(network, image, label),
  }
  return {name: known[name](s) for name, s in settings.items() if name in known}


def _quiet(run: Callable[[], Any]) -> Callable[[], Any]:
  """Returns a call that warns of nothing: of hooks, or modules passed over."""

  def quiet():
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      return run()

  return quiet


def _tensor(images: np.ndarray) -> torch.Tensor:
  """Returns images `[n, H, W, 3]` as torch lays them out."""
  images = np.array(images, np.float32)  # A copy: torch may write into it.
  return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
