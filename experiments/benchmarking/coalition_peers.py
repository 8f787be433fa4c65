"""LIME, SHAP and ablation of other libraries, on the cells that ours hide.

shap and lime call a function of numpy; each is given the batch size of ours.
Those that are not installed are left out.
"""

from collections.abc import Callable, Mapping
import contextlib
import importlib
import io
from typing import Any
import warnings

from captum import attr
import jax.numpy as jnp
import numpy as np
import torch

from saliency_jax import maskers

# What runs a map, by library.
Runs = dict[str, Callable[[], Any]]


def explainers(
  network: torch.nn.Module,
  image: np.ndarray,
  label: int,
) -> dict[str, Callable[[Mapping[str, Any]], Runs]]:
  """Returns, by method, a function of its settings to what others run for it.

  Args:
    network: of images `[n, 3, H, W]`.
    image: `[H, W, 3]` in [0, 1].
    label: class to explain.
  """
  pixels = torch.from_numpy(np.array(image, np.float32))
  x = pixels.permute(2, 0, 1)[None].contiguous()

  def probs(x):
    return torch.softmax(network(x), -1)

  def predict(images):
    pixels = torch.from_numpy(np.asarray(images, np.float32))
    with torch.no_grad():
      return probs(pixels.permute(0, 3, 1, 2).contiguous()).numpy()

  def bare(settings, num):
    # As many calls as the others make, and nothing else.
    size = min(settings['batch_size'] or num, num)

    def run():
      for start in range(0, num, size):
        predict(np.repeat(image[None], min(size, num - start), 0))

    return run

  def by_captum(kind, settings, **arguments):
    labels = torch.from_numpy(_labels(image, settings['cells']))
    return lambda: kind(probs).attribute(
      x,
      baselines=0.0,
      target=label,
      feature_mask=labels[None, None].expand_as(x).contiguous(),
      perturbations_per_eval=settings['batch_size'] or 1,
      **arguments,
    )

  def game(settings, size):
    # For shap: a batch at a time, as lime and ours.
    labels = _labels(image, settings['cells'])

    def play(sets):
      starts = range(0, len(sets), size)
      batches = (sets[i : i + size] > 0.5 for i in starts)
      return np.concatenate(
        [predict(image[None] * b[:, labels][..., None]) for b in batches]
      )[:, label]

    return play, np.zeros((1, labels.max() + 1))

  def ablation(settings):
    num = int(_labels(image, settings['cells']).max()) + 1
    return {
      'captum': by_captum(attr.FeatureAblation, settings),
      'torch alone': bare(settings, num + 1),
    }

  def kernel_shap(settings):
    num = settings['num_samples'] + 2 * settings['num_fresh']
    runs = {
      'captum': by_captum(attr.KernelShap, settings, n_samples=num),
      'torch alone': bare(settings, num + 2),
    }
    if (shap := _found('shap')) is not None:
      play, nobody = game(settings, settings['batch_size'] or num)

      def by_shap():
        explainer = shap.KernelExplainer(play, nobody)
        return explainer.shap_values(
          1 - nobody[0], nsamples=num, l1_reg=False, silent=True
        )

      runs['shap'] = by_shap
    return runs

  def shapley(settings):
    # Of whole orders, a call a player, as many as come near to ours.
    num = settings['estimator'].keywords['num_samples']
    play, nobody = game(settings, settings['batch_size'] or num)
    pairs = max(1, round(num / (2 * nobody.size)))
    runs = {
      'captum': by_captum(
        attr.ShapleyValueSampling, settings, n_samples=2 * pairs
      ),
      'torch alone': bare(settings, num + 2),
    }
    if (shap := _found('shap')) is not None:

      def by_shap():
        explainer = shap.PermutationExplainer(play, nobody)
        most = pairs * (2 * nobody.size + 1)
        return explainer(1 - nobody, max_evals=most, silent=True).values[0]

      runs['shap'] = by_shap
    return runs

  def lime(settings):
    num = settings['num_samples'] + settings['num_fresh']
    runs = {
      'captum': by_captum(attr.Lime, settings, n_samples=num),
      'torch alone': bare(settings, num + 2),
    }
    if (package := _found('lime.lime_image')) is not None:
      labels = _labels(image, settings['cells'])

      def by_lime():
        # It draws a bar of its own.
        with contextlib.redirect_stderr(io.StringIO()):
          return package.LimeImageExplainer(random_state=0).explain_instance(
            np.asarray(image, np.double),
            predict,
            labels=(label,),
            top_labels=None,
            hide_color=0,
            num_samples=num,
            batch_size=settings['batch_size'] or num,
            segmentation_fn=lambda _: labels,
          )

      runs['lime'] = by_lime
    return runs

  return {
    'ablation': ablation,
    'kernel_shap': kernel_shap,
    'lime': lime,
    'shapley': shapley,
  }


def _labels(image, cells):
  """Returns the cell of each pixel, as our masker cuts them."""
  masker = maskers.grid(image, cells=cells)
  players = jnp.arange(masker.num, dtype=jnp.float32).reshape(masker.shape)
  return np.asarray(masker.spread(players))[..., 0].astype(np.int64)


def _found(name):
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Of the packages' own dependencies.
      return importlib.import_module(name)
  except ImportError:
    return None
