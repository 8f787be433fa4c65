"""Tests for `superpixels.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import ndimage

from experiments.core import superpixels


def _smooth(*shape):
  """Returns an image whose colours change slowly, as those of photos do."""
  noise = np.random.default_rng(0).normal(size=shape)
  image = ndimage.gaussian_filter(noise, (4, 4, 0))
  return (image - image.min()) / np.ptp(image)


class SuperpixelsTest(parameterized.TestCase):
  @parameterized.parameters(2, 7, 30)
  def test_are_as_many_as_asked_for(self, num):
    noise = np.random.default_rng(1).uniform(size=(40, 50, 3))
    for image in (_smooth(40, 50, 3), noise, np.zeros((40, 50, 1))):
      labels = superpixels.find(image, num)
      self.assertEqual(labels.shape, (40, 50))
      np.testing.assert_array_equal(np.unique(labels), np.arange(num))

  def test_follow_colours(self):
    image = np.zeros((40, 40, 3))
    image[:, 23:] = [1.0, 0.5, 0.0]
    labels = superpixels.find(image, 10)
    left, right = set(labels[:, :23].flat), set(labels[:, 23:].flat)
    self.assertEmpty(left & right)

  def test_joins_the_smallest_to_its_like(self):
    labels = np.array([[0, 0, 1, 2], [0, 0, 1, 2], [3, 3, 3, 3]])
    image = np.array([0.1, 0.4, 0.9, 0.5])[labels][..., None]
    # Regions 1 and 2 have two pixels each; 1 is the first, and like 3.
    found = superpixels._joined(labels, image, 3)
    np.testing.assert_array_equal(
      found, [[0, 0, 2, 1], [0, 0, 2, 1], [2, 2, 2, 2]]
    )

  def test_no_room(self):
    labels = superpixels.find(np.zeros((2, 2, 3)), 50)
    self.assertLess(labels.max(), 4)


if __name__ == '__main__':
  absltest.main()
