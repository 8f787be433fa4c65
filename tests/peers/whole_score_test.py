"""DeepLIFT and LRP account for the whole score, on real networks, in float64.

DeepLIFT's scores sum to the score less the baseline's, LRP's to the score less
what was absorbed.
"""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import models
from saliency_jax import scores
from saliency_jax import transforms
from saliency_jax.models import heads
from saliency_jax.models import text
from saliency_jax.models import wrap
from saliency_jax.propagation import attention
from saliency_jax.propagation import composites
from tests import networks

_RNG = np.random.default_rng(0)


def _published(name):
  """A network of photos, on an image of 64 x 64."""
  model = networks.shrunk(name, dtype=jnp.float64)
  return model, _RNG.random(model.spec.input_shape), {}


def _trained(name, **settings):
  """A network with random parameters, norms and biases among them."""
  model = models.create(name, key=jax.random.key(0), **settings)
  noisy = lambda a: np.asarray(a) + _RNG.normal(size=a.shape) / 10
  params = jax.tree.map(noisy, wrap.cast(model.params, jnp.float64))
  x = _RNG.random(model.spec.input_shape)
  return model._replace(params=params), x, {}


def _tokens():
  """Two classes by their descriptions, of a sentence at its embeddings."""
  model = models.load('minilm', dtype=jnp.float64)
  model = heads.similarity(model, *map(_ids, ('It is bad.', 'It is good.')))
  line = text.read("The film wasn't unbelievably bad.")
  hidden = np.where(line.owners < 0, line.ids, text.MASK)
  return model, line.ids, {'baseline': hidden.astype(np.int32)}


def _ids(sentence):
  return text.read(sentence).ids


class WholeScoreTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('efficientnet', lambda: _published('efficientnet_lite0'), None),
    ('squeezenet', lambda: _published('squeezenet'), None),
    ('resnet', lambda: _trained('resnet18', width=8, num_classes=7), None),
    ('vit', lambda: _trained('vit_digits'), attention.attn_lrp),
    ('tokens', _tokens, attention.attn_lrp),
  )
  def test_is_accounted_for(self, make, composite):
    with jax.enable_x64():
      model, x, baseline = make()
      composite = composite or composites.epsilon
      at_tap = lambda method: (
        transforms.at_tap(method, 'embeddings') if baseline else method
      )

      @jax.jit
      def explain(params, x):
        fn = scores.logit(model.apply, params, 1)
        lrp, deeplift = map(at_tap, (saliency_jax.lrp, saliency_jax.deeplift))
        return deeplift(fn, x, **baseline), lrp(fn, x, composite=composite)

      deeplift, lrp = explain(model.params, x)
      info, whole = deeplift.info, jnp.abs(deeplift.info.score)
      scale = jnp.maximum(whole, jnp.abs(info.baseline_score))
      self.assertEqual(info.score.dtype, jnp.float64)
      self.assertLess(info.completeness_error, 1e-9 * scale)
      self.assertLess(lrp.info.conservation_error, 1e-9 * whole)
      # By another sum than its own.
      left = info.score - info.baseline_score - jnp.sum(deeplift.scores)
      self.assertLess(jnp.abs(left), 1e-9 * scale)
      absorbed = sum(lrp.info.absorbed)
      left = lrp.info.score - absorbed - jnp.sum(lrp.scores)
      self.assertLess(jnp.abs(left), 1e-9 * whole)
      for out in (deeplift, lrp):
        self.assertGreater(jnp.max(jnp.abs(out.scores)), 0)


if __name__ == '__main__':
  absltest.main()
