"""Metrics against captum's and Quantus's, on the same function and draws.

Where definitions differ:
- Quantus's pixel flipping ranks the entries of an image (a map of one channel
  is repeated first, and its ties fall by place), starts after the first step,
  and scales the map and takes its size unless told otherwise; its baseline
  'black' is the least value in the image.
- captum's infidelity has no standard error, and counts the randomness of a
  method as sensitivity.
"""

import functools

from absl.testing import absltest
from absl.testing import parameterized
from captum import metrics as captum_metrics
import jax
import jax.numpy as jnp
import numpy as np
import quantus
import torch

from saliency_jax import metrics
from saliency_jax.core import baselines
from saliency_jax.core import sampling
from saliency_jax.gradients import gradient
from saliency_jax.metrics import fidelity

_SHAPE = (6, 5, 2)
_NUM = 20


def _problem():
  rng = np.random.default_rng(0)
  w = rng.normal(size=(4, 60)).astype(np.float32)
  x = rng.uniform(size=_SHAPE).astype(np.float32)
  fn = lambda x: jnp.sum(jnp.tanh(jnp.asarray(w) @ x.ravel()))
  torch_fn = lambda x: torch.tanh(x.flatten(1) @ torch.tensor(w).T).sum(1)
  return fn, torch_fn, jnp.asarray(x)


class MetricsTest(parameterized.TestCase):
  def test_gini_is_quantus(self):
    scores = np.random.default_rng(0).normal(size=(1, 1, 8, 9)) ** 3
    theirs = quantus.Sparseness(
      abs=True, normalise=False, disable_warnings=True
    )(
      model=None,
      x_batch=scores,
      y_batch=np.zeros(1, int),
      a_batch=scores,
      device='cpu',
    )
    ours = metrics.gini(jnp.asarray(scores[0, 0], jnp.float32))
    np.testing.assert_allclose(ours, theirs[0], atol=1e-5)

  @parameterized.product(
    rescale=[False, True],
    perturbation=[
      fidelity.gaussian,
      functools.partial(fidelity.square, size=3),
    ],
  )
  def test_infidelity_is_captums(self, rescale, perturbation):
    fn, torch_fn, x = _problem()
    scores = gradient.gradient(fn, x).scores
    key = jax.random.key(1)
    draws = [
      np.array(perturbation(sampling.draw_key(key, i), x)) for i in range(_NUM)
    ]

    def perturb(inputs):
      change = torch.tensor(np.stack(draws))
      return change, inputs - change

    want = captum_metrics.infidelity(
      torch_fn,
      perturb,
      torch.tensor(np.array(x))[None],
      torch.tensor(np.array(scores))[None],
      n_perturb_samples=_NUM,
      normalize=rescale,
    )
    got = fidelity.infidelity(
      fn,
      x,
      scores,
      key=key,
      num_samples=_NUM,
      perturbation=perturbation,
      rescale=rescale,
    )
    np.testing.assert_allclose(got.infidelity, want.item(), rtol=1e-4)

  def test_max_sensitivity_is_captums(self):
    fn, torch_fn, x = _problem()
    scores = gradient.gradient(fn, x).scores
    key = jax.random.key(1)
    shifts = [
      np.array(sampling.uniform(sampling.draw_key(key, i + 1), x, low=-1))
      for i in range(_NUM)
    ]

    @torch.enable_grad()  # captum turns gradients off.
    def explain(inputs):
      (inputs,) = inputs if isinstance(inputs, tuple) else (inputs,)
      inputs = inputs.detach().requires_grad_()
      return torch.autograd.grad(torch_fn(inputs).sum(), inputs)

    def perturb(inputs):
      moved = inputs[0] + 0.02 * torch.tensor(np.stack(shifts))
      return (moved,)

    want = captum_metrics.sensitivity_max(
      explain,
      torch.tensor(np.array(x))[None],
      perturb_func=perturb,
      n_perturb_samples=_NUM,
    )
    got = metrics.max_sensitivity(
      fn,
      x,
      scores,
      method=gradient.gradient,
      key=key,
      radius=0.02,
      num_samples=_NUM,
    )
    np.testing.assert_allclose(got.max_sensitivity, want.item(), rtol=1e-4)

  def test_flipping_is_quantuss(self):
    rng = np.random.default_rng(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(60, 4))
    weight, bias = (p.detach().numpy() for p in net.parameters())
    x, m = rng.uniform(size=(2, 2, 6, 5)).astype(np.float32)  # [C, H, W]
    want = quantus.PixelFlipping(
      features_in_step=6,
      perturb_baseline=0.5,
      abs=False,
      normalise=False,
      disable_warnings=True,
    )(
      model=net.eval(),
      x_batch=x[None],
      y_batch=np.array([2]),
      a_batch=m[None],
      device='cpu',
      softmax=True,
    )[0]

    def logits_fn(x):
      flat = jnp.moveaxis(x, -1, 0).ravel()
      return jnp.asarray(weight) @ flat + jnp.asarray(bias)

    got = metrics.decision_flips(
      logits_fn,
      jnp.asarray(np.moveaxis(x, 0, -1)),
      jnp.asarray(np.moveaxis(m, 0, -1)),
      fractions=jnp.arange(1, 11, dtype=jnp.float32) / 10,
      baseline=baselines.constant,
      largest_first=True,
    )
    probs = jax.nn.softmax(got.logits)[:, 2]
    np.testing.assert_allclose(probs, want, rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
