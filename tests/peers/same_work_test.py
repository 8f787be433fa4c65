"""What the benchmark times of other libraries is the same work as ours."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarking import peers
from experiments.benchmarking import torch_networks
from experiments.core import inputs
from experiments.tables import methods
from saliency_jax import models

# Of few calls, and the same rule on both sides.
_SETTINGS = (
  'smooth_grad.num_samples=4',
  'smooth_grad.batch_size=4',
  'integrated_gradients.num_steps=4',
  'occlusion.window=80',
  'occlusion.stride=70',
)
# Other draws, other nodes of the path, another size, other rules: the maps are
# not ours. Of EfficientNet-Lite0 autoLRP's and zennit's are NaN in float32.
_UNLIKE = (
  ('grad_cam', 'captum'),
  ('smooth_grad', 'captum'),
  ('smooth_grad', 'PAIR'),
  ('integrated_gradients', 'PAIR'),
  ('guided_backprop', 'captum'),
  ('deeplift', 'captum'),
  ('lrp', 'autoLRP'),
  ('lrp', 'zennit'),
)


def _array(found):
  """Returns a peer's map as `[h, w, c]`."""
  if isinstance(found, np.ndarray):
    return found
  return found[0].detach().permute(1, 2, 0).numpy()


class PeersTest(parameterized.TestCase):
  @parameterized.parameters('squeezenet', 'efficientnet_lite0')
  def test_same_maps(self, name):
    model, network = models.load(name), torch_networks.load(name)
    x = inputs.photos(model.spec, num=1)[0]
    chosen = [
      'gradient',
      'gradient_x_input',
      'smooth_grad',
      'integrated_gradients',
      'grad_cam',
      'occlusion',
      'guided_backprop',
      'deeplift',
      'lrp',
    ]
    settings = methods.settings_of(chosen, _SETTINGS, model.spec)
    theirs = peers.explainers(network, x, 243, settings)
    self.assertEqual(list(theirs), chosen)
    for method, calls in theirs.items():
      explain = methods.build(method, settings[method], model.apply)
      keys = jax.random.split(jax.random.key(0), 1)
      out = explain(model.params, jnp.asarray(x)[None], jnp.array([243]), keys)
      ours = np.asarray(out.scores[0])
      for library, call in calls.items():
        got = _array(call())
        with self.subTest(f'{method} of {library}'):
          self.assertEqual(got.ndim, 3)
          if (method, library) not in _UNLIKE:
            self.assertTrue(np.isfinite(got).all())
            got, ours = np.broadcast_arrays(got, ours)
            size = np.linalg.norm(got) * np.linalg.norm(ours)
            # In float32 a few ReLUs flip.
            self.assertGreater(np.sum(got * ours) / size, 0.99)


if __name__ == '__main__':
  absltest.main()
