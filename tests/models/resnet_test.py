"""Tests for `resnet.py`."""

from absl.testing import absltest
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import models
from saliency_jax.models import resnet


class ResnetTest(absltest.TestCase):
  def test_is_the_recipe_of_eighteen_layers(self):
    model = jax.eval_shape(
      lambda: models.create('resnet18', key=jax.random.key(0)).params
    )
    kernels = [a for a in jax.tree.leaves(model) if a.ndim == 4]
    self.assertLen([k for k in kernels if k.shape[0] == 3], 17)
    self.assertLen([k for k in kernels if k.shape[0] == 1], 3)
    # He et al.'s for CIFAR, whose normalisation has as many parameters.
    self.assertEqual(sum(a.size for a in jax.tree.leaves(model)), 11173962)

  def test_spec_describes_the_network(self):
    model = models.create('resnet18', key=jax.random.key(0), width=4)
    x = jnp.zeros(model.spec.input_shape)
    jaxpr = jax.make_jaxpr(model.apply)(model.params, x)
    names = [e.params['name'] for e in jaxpr.eqns if e.primitive.name == 'name']
    self.assertCountEqual(model.spec.taps, names)
    for path, _ in jax.tree_util.tree_leaves_with_path(model.params):
      text = '/'.join(str(key.key) for key in path)
      owners = [p for p in model.spec.layers if text.startswith(p + '/')]
      self.assertLen(owners, 1, text)

  def test_each_image_is_normalised_alone(self):
    model = models.create('resnet18', key=jax.random.key(0), width=4)
    xs = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
    both = jax.jit(jax.vmap(model.apply, (None, 0)))(model.params, xs)
    one = jax.jit(model.apply)(model.params, xs[0])
    np.testing.assert_allclose(both[0], one, atol=1e-5)

  def test_norm_is_flaxs(self):
    ours = resnet.GroupNorm(12, num_groups=4)
    theirs = nnx.GroupNorm(
      12,
      num_groups=4,
      epsilon=1e-5,
      use_fast_variance=False,
      rngs=nnx.Rngs(0),
    )
    for norm in (ours, theirs):
      norm.scale[...] = jnp.linspace(0.5, 2, 12)
      norm.bias[...] = jnp.linspace(-1, 1, 12)
    x = 3 + jax.random.normal(jax.random.key(0), (2, 5, 4, 12))
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)


if __name__ == '__main__':
  absltest.main()
