"""Tests for `bert.py`, on the published weights; torch's are in `peers`."""

import functools
import pathlib
import tempfile

from absl.testing import absltest
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax import models
from saliency_jax.models import bert
from saliency_jax.models import checkpoints
from saliency_jax.models import text

_LINES = ('A great film.', 'I loved this movie!', 'The train is late again.')
_load = functools.cache(models.load)


@pytest.mark.text
class BertTest(absltest.TestCase):
  def test_alike_sentences_are_near(self):
    model, ids = _load('minilm'), text.batch(_LINES)
    embed = jax.jit(jax.vmap(model.apply, (None, 0)))
    found = embed(model.params, ids)
    cosines = np.asarray(found @ found.T)
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-5)
    self.assertGreater(cosines[0, 1], 0.5)
    self.assertLess(cosines[2, :2].max(), 0.3)
    # Padding is not read: a sentence of its own length has the same embedding.
    alone = jax.jit(model.apply)(model.params, text.read(_LINES[0]).ids)
    np.testing.assert_allclose(alone, found[0], atol=1e-5)

  def test_spec_describes_the_network(self):
    model = _load('minilm')
    self.assertEqual(sum(a.size for a in jax.tree.leaves(model.params)),
                     22_565_376)  # fmt: skip
    jaxpr = jax.make_jaxpr(model.apply)(model.params, text.read('a').ids)
    names = [e.params['name'] for e in jaxpr.eqns if e.primitive.name == 'name']
    self.assertEqual(model.spec.taps, tuple(reversed(names)))
    paths = [
      '/'.join(str(key.key) for key in path)
      for path, _ in jax.tree_util.tree_leaves_with_path(model.params)
    ]
    for path in paths:
      owners = [p for p in model.spec.layers if path.startswith(p + '/')]
      self.assertLen(owners, 1, path)
    self.assertLen(paths, 3 + 2 + 6 * 16)

  def test_refuses(self):
    model = _load('minilm')
    apply = functools.partial(jax.eval_shape, model.apply, model.params)
    with self.assertRaisesRegex(ValueError, 'at most 512 tokens, got 513'):
      apply(jnp.ones(513, jnp.int32))
    with self.assertRaisesRegex(ValueError, r'shape \(None,\), got \(2, 3\)'):
      apply(jnp.ones((2, 3), jnp.int32))
    with self.assertRaisesRegex(ValueError, 'examples of int32, got float32'):
      apply(jnp.ones(3))
    with self.assertRaisesRegex(ValueError, "lack 'embeddings.word_embeddings"):
      bert.fill(bert.abstract(), {})
    with self.assertRaisesRegex(ValueError, '5 heads do not divide .* of 8'):
      bert.Bert(width=8, num_heads=5, rngs=nnx.Rngs(0))


class FileTest(absltest.TestCase):
  def test_damaged_file(self):
    path = pathlib.Path(
      self.enterContext(tempfile.TemporaryDirectory()), 'model.safetensors'
    )
    for content in (b'', b'\x80\x02.', b'\xff' * 64):
      path.write_bytes(content)
      with self.assertRaisesRegex(ValueError, 'not a whole file of weights'):
        checkpoints.read(path)


if __name__ == '__main__':
  absltest.main()
