"""A scikit-learn classifier, explained by forward calls alone."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from sklearn import datasets
from sklearn import ensemble

from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.perturbations import occlusion
from saliency_jax.perturbations import rise
from tests import equivalence

METHODS = {
  'occlusion': functools.partial(
    occlusion.occlusion, window=2, stride=1, baseline=baselines.black
  ),
  'rise': functools.partial(rise.rise, cells=4, num_masks=200),
}


@functools.cache
def _forest():
  digits = datasets.load_digits()
  images = (digits.data / 16).astype(np.float32)
  forest = ensemble.RandomForestClassifier(30, random_state=0, max_depth=8)
  forest.fit(images[:1000], digits.target[:1000])
  return forest, images[1000:1003], digits.target[1000:1003]


def _predict(batch):
  return _forest()[0].predict_proba(batch.reshape(len(batch), -1))


class BlackBoxTest(parameterized.TestCase):
  @parameterized.parameters(*METHODS)
  def test_scikit_learn(self, name):
    _, images, labels = _forest()
    xs = jnp.asarray(images.reshape(-1, 8, 8, 1))
    black_box = scores.from_host(_predict, (10,))
    apply = lambda params, x: black_box(x)
    # The forest's outputs are probabilities already, and are explained as is.
    explain = explainer.build(METHODS[name], apply, scores.logit)
    keys = jax.random.split(jax.random.key(0), 3)
    out = explain((), xs, jnp.asarray(labels, jnp.int32), keys)
    self.assertEqual(out.scores.shape, (3, 8, 8, 1))
    self.assertTrue(np.all(np.isfinite(out.scores)))
    for i, label in enumerate(labels):
      # Hiding the pixels that it names lowers the forest's probability more
      # than hiding as many others.
      order = np.argsort(-np.asarray(out.scores[i]).ravel())
      lost = []
      for pixels in (order[:20], order[-20:]):
        hidden = images[i].copy()
        hidden[pixels] = 0
        lost.append(
          _predict(images[i : i + 1])[0, label]
          - _predict(hidden[None])[0, label]
        )
      self.assertGreater(lost[0], lost[1] + 0.1)

  def test_is_called_with_batches(self):
    sizes = []

    def predict(batch):
      sizes.append(len(batch))
      return batch.reshape(len(batch), -1).sum(1)

    (x,) = equivalence.examples(1)
    out = occlusion.occlusion(
      scores.from_host(predict), x, window=4, stride=2, batch_size=3
    )
    # Three by two windows, and the image itself.
    self.assertEqual(out.info.num_calls, 7)
    self.assertLessEqual(max(sizes), 3)
    self.assertLessEqual(len(sizes), 3)


if __name__ == '__main__':
  absltest.main()
