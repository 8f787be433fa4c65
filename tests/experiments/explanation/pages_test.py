"""Tests for `experiments/explanation/pages.py`."""

import base64
import json
import re

from absl.testing import absltest
import numpy as np

from tests.experiments.explanation import tiny_page


class PagesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.page = tiny_page.html()
    found = re.search('application/json" id="data">(.*?)</script>', self.page)
    self.data = json.loads(found[1])

  def _array(self, text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)

  def test_values_are_those_of_the_maps(self):
    expected = {
      'integrated gradients': tiny_page.SIGNED.sum(-1),
      'rise': tiny_page.REGIONS[..., 0],
    }
    for told in self.data['maps']:
      values = expected[told['title']].ravel()
      found = told['unit'] * self._array(told['values'], '<i2')
      # Half of a step, of which the largest size has 2^15 - 1.
      step = np.abs(values).max() / (2**15 - 1)
      np.testing.assert_allclose(found, values, rtol=0, atol=0.501 * step)
      self.assertIn(told['drawing'], self.data['palettes'])
    signed, regions = self.data['maps']
    self.assertEqual((signed['signed'], regions['signed']), (True, False))
    np.testing.assert_array_equal(
      self._array(regions['indices'], np.uint8), np.arange(16) * 17
    )

  def test_photo_is_whole(self):
    found = self._array(self.data['photo'], np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(found, np.rint(255 * tiny_page.PHOTO))

  def test_asks_for_no_other_file(self):
    self.assertNotRegex(self.page, 'https?:|src=|href=|import ')
    self.assertNotIn('__DATA__', self.page)
    # Texts of the data end no script.
    self.assertEqual(self.page.count('</script>'), 2)
    self.assertEqual(self.data['maps'][1]['warnings'], ['</script>: more'])


if __name__ == '__main__':
  absltest.main()
