"""Tests for `heads.py`; and MiniLM explained, by its tokens and words."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import saliency_jax
from saliency_jax import maskers
from saliency_jax import models
from saliency_jax import scores
from saliency_jax import transforms
from saliency_jax.models import heads
from saliency_jax.models import text
from saliency_jax.perturbations import shapley

_load = functools.cache(models.load)
_RNG = np.random.default_rng(0)


def _model():
  """A model of one layer, whose output is the embedding."""
  weights = {'w': jnp.asarray(_RNG.normal(size=(3, 4)), jnp.float32)}
  spec = models.Spec('net', (3,), layers=('w',), taps=('h',))
  return models.Model(lambda params, x: x @ params['w'], weights, spec)


class HeadsTest(parameterized.TestCase):
  def test_attached(self):
    model, x = _model(), jnp.array([1.0, 2, 3])
    kernel = np.asarray(_RNG.normal(size=(4, 2)), np.float32)
    bias = np.array([1, -1], np.float32)
    got = heads.attach(model, kernel, bias, class_names=('a', 'b'))
    want = x @ model.params['w'] @ kernel + bias
    np.testing.assert_allclose(got.apply(got.params, x), want, rtol=1e-5)
    self.assertEqual(got.spec.class_names, ('a', 'b'))
    self.assertEqual(got.spec.layers, ('network/w', 'head'))
    self.assertEqual(got.spec.taps, ('h',))

  def test_similarity_is_a_product(self):
    model, xs = _model(), jnp.eye(3)
    got = heads.similarity(model, xs[0], xs[1])
    w = model.params['w']
    np.testing.assert_allclose(
      got.apply(got.params, xs[2]), w[:2] @ w[2], rtol=1e-5
    )

  def test_fitted_head_is_the_minimum(self):
    model, xs = _model(), jnp.asarray(_RNG.normal(size=(60, 3)), jnp.float32)
    labels = np.argmax(xs, 1)
    got = heads.fit(model, xs, labels)
    logits = jax.vmap(got.apply, (None, 0))(got.params, xs)
    self.assertGreater(np.mean(np.argmax(logits, 1) == labels), 0.9)
    # The slope of what is minimised, by the formula of its papers.
    values = np.asarray(xs @ model.params['w'])
    rest = jax.nn.softmax(logits) - jax.nn.one_hot(labels, 3)
    head = got.params['head']
    slope = values.T @ rest / 60 + 1e-3 * head['kernel']
    np.testing.assert_allclose(slope, 0, atol=1e-3)
    np.testing.assert_allclose(np.mean(rest, 0), 0, atol=1e-3)

  @parameterized.parameters(
    (lambda m: heads.attach(m, np.ones((4, 2)), np.ones(3)), 'bias of shape'),
    (
      lambda m: heads.attach(m, np.ones((4, 2)), class_names=('a', 'b', 'c')),
      '3 class',
    ),
    (lambda m: heads.fit(m, jnp.ones((2, 3)), [0]), 'expected 2 labels from 0'),
    (lambda m: heads.fit(m, jnp.ones((2, 3)), [0, -1]), 'from -1'),
  )
  def test_refuses(self, make, message):
    with self.assertRaisesRegex(ValueError, message):
      make(_model())


@pytest.mark.text
class TextTest(absltest.TestCase):
  """The similarity of two sentences, explained in every way."""

  def setUp(self):
    super().setUp()
    other = text.read('I like dogs').ids
    self.model = heads.similarity(_load('minilm'), other)
    self.sentence = text.read('My puppies eat unbelievably much.')
    self.score = lambda params: scores.logit(self.model.apply, params, 0)

  def _largest(self, per_token):
    return self.sentence.words[self.sentence.owners[np.argmax(per_token)]]

  def test_by_words_and_tokens(self):
    words = functools.partial(
      maskers.tokens, mask_id=text.MASK, words=self.sentence.owners
    )
    tokens = functools.partial(
      maskers.tokens, mask_id=text.MASK, special=text.SPECIAL
    )

    @jax.jit
    def explain(params, ids):
      fn = self.score(params)
      return (
        saliency_jax.shapley(fn, ids, masker=words, estimator=shapley.exact),
        saliency_jax.occlusion(fn, ids, masker=tokens),
        fn(ids),
        fn(words(ids).hide(jnp.zeros(6))),
      )

    shared, alone, whole, nothing = explain(
      self.model.params, self.sentence.ids
    )
    self.assertEqual(self._largest(shared.scores), 'puppies')
    self.assertEqual(self._largest(alone.scores), 'puppies')
    # Each word's value is at all of its tokens, and the values are efficient.
    values = words(self.sentence.ids).pool(shared.scores)
    np.testing.assert_allclose(np.sum(values), whole - nothing, atol=1e-5)
    np.testing.assert_array_equal(alone.scores[jnp.array([0, -1])], 0)

  def test_at_the_embeddings(self):
    hidden = jnp.where(self.sentence.owners < 0, self.sentence.ids, text.MASK)
    method = functools.partial(
      saliency_jax.integrated_gradients, baseline=hidden, num_steps=16
    )

    @jax.jit
    def explain(params, ids):
      fn = self.score(params)
      return transforms.at_tap(method, 'embeddings')(fn, ids)

    scores_of, info = explain(self.model.params, self.sentence.ids)
    self.assertEqual(scores_of.shape, (*self.sentence.ids.shape, 384))
    self.assertLess(info.relative_error, 0.02)
    self.assertEqual(self._largest(np.sum(scores_of, -1)), 'puppies')


if __name__ == '__main__':
  absltest.main()
