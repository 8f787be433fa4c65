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
from saliency_jax.core import checks
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

  @parameterized.parameters(None, 2)
  def test_its_errors_are_its_own(self, batch_size):
    """A score of one example was asked for, and two numbers came."""
    fn = scores.from_host(lambda batch: np.zeros((len(batch), 2)))
    (x,) = equivalence.examples(1)
    method = functools.partial(
      occlusion.occlusion, window=4, stride=2, batch_size=batch_size
    )
    message = r'^the black box got .* and returned \(\d, 2\), expected'
    with self.assertRaisesRegex(ValueError, message):
      method(fn, x)
    explain = explainer.build(method, lambda _, x: fn(x)[None])
    with self.assertRaisesRegex(ValueError, message):
      explain((), x[None])

  def test_a_row_of_numbers(self):
    """Six columns of a table are an image of one row."""
    w = np.array([3.0, 0, -1, 0.5, 0, 2], np.float32)
    fn = scores.from_host(lambda batch: batch.reshape(len(batch), 6) @ w)
    x = jnp.arange(1.0, 7.0)
    hide = functools.partial(
      occlusion.occlusion, window=1, stride=1, baseline=0
    )
    with self.assertRaisesRegex(ValueError, r'row .*x.reshape\(1, 6, 1\)'):
      checks.image(x)
    got = hide(fn, x.reshape(1, 6, 1)).scores.ravel()
    np.testing.assert_allclose(got, w * np.asarray(x), rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
