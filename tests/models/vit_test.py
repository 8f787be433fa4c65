"""Tests for `vit.py`; torch's form of it is in `peers`."""

import functools
import tempfile

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import models
from saliency_jax import scores
from saliency_jax.propagation import attention


class VitTest(absltest.TestCase):
  def test_spec_describes_the_network(self):
    model = models.create('vit_digits', key=jax.random.key(0))
    x = jnp.zeros(model.spec.input_shape)
    jaxpr = jax.make_jaxpr(model.apply)(model.params, x)
    self.assertEqual(jaxpr.out_avals[0].shape, (10,))
    names = [e for e in jaxpr.eqns if e.primitive.name == 'name']
    self.assertEqual(
      model.spec.taps, tuple(e.params['name'] for e in reversed(names))
    )
    self.assertEqual({e.outvars[0].aval.shape for e in names}, {(1, 4, 4, 48)})
    for path, _ in jax.tree_util.tree_leaves_with_path(model.params):
      name = '/'.join(str(key.key) for key in path)
      owners = [p for p in model.spec.layers if name.startswith(p + '/')]
      self.assertLen(owners, 1, name)

  def test_learns_and_is_explained(self):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 320)
    images = 0.2 * rng.random((320, 28, 28, 1), np.float32)
    for image, label in zip(images, labels, strict=True):
      image[2 * label + 3 : 2 * label + 6] += 0.8
    model = models.fit_small(
      'vit_digits',
      images,
      labels,
      epochs=8,
      cache_dir=self.enterContext(tempfile.TemporaryDirectory()),
    )

    @jax.jit
    def explain(params, x, label):
      fn = scores.logit(model.apply, params, label)
      cam = saliency_jax.grad_cam(fn, x, name='features').scores
      lrp = functools.partial(saliency_jax.lrp, composite=attention.attn_lrp)
      return jnp.argmax(model.apply(params, x)), cam, lrp(fn, x)

    x, label = jnp.asarray(images[0]), int(labels[0])
    got, cam, lrp = explain(model.params, x, label)
    self.assertEqual(got, label)
    # The bar is what the class is known by: it has more than its area's share.
    shares = jnp.sum(jnp.abs(lrp.scores), (1, 2))
    bar = jnp.sum(shares[2 * label + 3 : 2 * label + 6]) / jnp.sum(shares)
    self.assertGreater(bar, 1.5 * 3 / 28)
    self.assertLess(lrp.info.conservation_error, 1e-4)
    self.assertEqual(cam.shape, (28, 28, 1))


if __name__ == '__main__':
  absltest.main()
