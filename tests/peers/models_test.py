"""The networks against torch's, on the same weights."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import torch

from experiments.benchmarking import torch_networks
from saliency_jax import models


class TorchTest(parameterized.TestCase):
  @parameterized.parameters(*models.names())
  def test_same_logits_and_gradients(self, name):
    net = torch_networks.load(name).double()
    with jax.enable_x64(True):
      model = models.load(name, dtype=jnp.float64)
      x = np.random.default_rng(0).random(model.spec.input_shape)
      logits, pull = jax.vjp(lambda x: model.apply(model.params, x), x)
      y = torch.from_numpy(x).permute(2, 0, 1)[None].requires_grad_(True)
      want = net(y)
      want[0, 3].backward()
      (grad,) = pull(jnp.zeros(1000).at[3].set(1.0))
    want, got = want[0].detach().numpy(), np.asarray(logits)
    grad = np.asarray(grad)  # Outside of the context it is refused.
    scale = np.max(np.abs(want))
    np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=1e-6)
    want = y.grad[0].permute(1, 2, 0).numpy()
    scale = np.max(np.abs(want))
    np.testing.assert_allclose(grad / scale, want / scale, rtol=0, atol=1e-6)


if __name__ == '__main__':
  absltest.main()
