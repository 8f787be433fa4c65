"""Tests for `classes.py`."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import classes

_VALUES = jnp.array([3.0, -1.0, 2.0])


class ClassesTest(absltest.TestCase):
  def test_entry_of_a_class(self):
    run = jax.jit(jax.value_and_grad(classes.at))
    for label in range(3):
      for value, grad in (
        run(_VALUES, label),
        jax.value_and_grad(classes.at)(_VALUES, label),
      ):
        self.assertEqual(value, _VALUES[label])
        np.testing.assert_array_equal(grad, np.eye(3)[label])
    for label in (-4, -1, 3, 2**31 - 1):
      value, grad = run(_VALUES, label)
      self.assertTrue(np.isnan(value))
      # Whatever the values are made of, its gradient is a sum of these.
      self.assertTrue(np.any(np.isnan(grad)))
      with self.assertRaisesRegex(ValueError, f'label {label} is not one of 3'):
        classes.at(_VALUES, label)

  def test_labels_are_whole_and_minus_one_is_none(self):
    classes.check(np.array([0, 2, 1], np.uint8), 3)
    with self.assertRaisesRegex(ValueError, 'labels of float'):
      classes.check(np.array([0.0, 1.0]), 3)
    with self.assertRaisesRegex(
      ValueError, 'label -1 of example 2 .*without a label; labels=None'
    ):
      classes.check(np.array([0, 2, -1]), 3)

  def test_names_what_is_no_number(self):
    with self.assertRaisesRegex(ValueError, r"labels \['cat'\]: the index of"):
      classes.numbers(['cat'])
    with self.assertRaisesRegex(ValueError, r'one class, got labels \(1,\)'):
      classes.at.__wrapped__(_VALUES, jnp.array([2]))


if __name__ == '__main__':
  absltest.main()
