"""Tests for `ground_truth.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import metrics
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.metrics import ground_truth
from tests import equivalence

_CELLS = (2, 2)


def _mosaic():
  return metrics.mosaic(equivalence.examples(4), _CELLS)


class MosaicTest(parameterized.TestCase):
  def test_lays_out_row_by_row(self):
    images = equivalence.examples(6)
    laid = metrics.mosaic(images, (2, 3))
    rows = [np.concatenate(list(images[i : i + 3]), 1) for i in (0, 3)]
    np.testing.assert_array_equal(laid, np.concatenate(rows, 0))
    np.testing.assert_array_equal(ground_truth.tiles(laid, (2, 3)), images)

  @parameterized.parameters(range(4))
  def test_region_is_the_cell(self, cell):
    height, width, _ = _mosaic().shape
    region = metrics.cell_region((height, width), _CELLS, cell)
    images = jnp.zeros((4, *equivalence.SHAPE[:2], 1)).at[cell].set(1)
    want = metrics.mosaic(images, _CELLS)[..., 0]
    np.testing.assert_array_equal(region, want)

  def test_bad_arguments(self):
    with self.assertRaisesRegex(ValueError, 'expected 2 x 2 images, got 3'):
      metrics.mosaic(equivalence.examples(3), _CELLS)
    with self.assertRaisesRegex(ValueError, 'does not divide into 3 x 2 cells'):
      ground_truth.tiles(_mosaic(), (3, 2))


class DisconnectedTest(parameterized.TestCase):
  def test_is_the_classifier_of_the_cell(self):
    apply, params = equivalence.network()
    x, images = _mosaic(), equivalence.examples(4)
    for cell in range(4):
      alone = metrics.disconnected(apply, cells=_CELLS, cell=cell)
      np.testing.assert_allclose(
        alone(params, x), apply(params, images[cell]), atol=1e-6
      )

  def test_gradients_are_inside(self):
    apply, params = equivalence.network()
    alone = metrics.disconnected(apply, cells=_CELLS, cell=2)
    x = _mosaic()
    found = saliency_jax.gradient(scores.logit(alone, params, 1), x).scores
    region = metrics.cell_region(x.shape[:2], _CELLS, 2)
    got = metrics.localization(found, region, by_size=True)
    np.testing.assert_allclose(got, [1, 1, 1])
    self.assertGreater(np.min(np.sum(np.abs(found), -1)[8:, :6]), 0)

  def test_grad_cam_by_a_layout(self):
    """Its map of the whole mosaic is the map of the cell, and shows others."""
    apply, params = equivalence.network()
    x = _mosaic()
    alone = metrics.disconnected(apply, cells=_CELLS, cell=0)
    found = saliency_jax.grad_cam(
      scores.logit(alone, params, 1),
      x,
      layout=functools.partial(metrics.mosaic, cells=_CELLS),
    ).scores
    self.assertEqual(found.shape[:2], x.shape[:2])
    region = metrics.cell_region(x.shape[:2], _CELLS, 0)
    self.assertLess(metrics.localization(found, region).mass, 1)


class BlindTest(parameterized.TestCase):
  def test_sees_the_region_alone(self):
    apply, params = equivalence.network()
    (x,) = equivalence.examples(1)
    region = jnp.zeros(x.shape[:2]).at[2:5, 1:4].set(1)
    inside = region[..., None] > 0
    blind = metrics.blind(apply, region, baseline=0.5)
    want = apply(params, jnp.where(inside, x, 0.5))
    np.testing.assert_allclose(blind(params, x), want, atol=1e-6)
    np.testing.assert_array_equal(
      blind(params, jnp.where(inside, x, 7.0)), blind(params, x)
    )
    found = saliency_jax.gradient(scores.logit(blind, params, 1), x).scores
    np.testing.assert_array_equal(jnp.where(inside, 0, found), 0)
    self.assertGreater(np.max(np.abs(found)), 0)

  def test_a_baseline_that_reads_the_image_has_no_gradient_outside(self):
    apply, params = equivalence.network()
    (x,) = equivalence.examples(1)
    region = jnp.zeros(x.shape[:2]).at[2:5, 1:4].set(1)
    blind = metrics.blind(apply, region, baseline=baselines.mean)
    found = jax.grad(lambda x: blind(params, x)[0])(x)
    np.testing.assert_array_equal(jnp.where(region[..., None] > 0, 0, found), 0)


if __name__ == '__main__':
  absltest.main()
