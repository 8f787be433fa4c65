"""Tests for `evaluation/report.py` and `plots.py`, without a browser.

What a browser makes of the page is in `tests/peers/browser_test.py`.
"""

import base64
import html.parser
import io
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from experiments.evaluation import plots
from experiments.evaluation import report
from experiments.evaluation import summaries
from saliency_jax import viz
from tests.experiments.evaluation import tiny_report

_VOID = ('meta', 'img', 'br')


class _Page(html.parser.HTMLParser):
  """Collects the elements of a page, and checks that they are closed."""

  def __init__(self):
    super().__init__()
    self.open, self.elements, self.texts = [], [], []

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    if tag not in _VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open and self.open[-1] == tag, (tag, self.open)
    self.open.pop()

  def handle_data(self, data):
    self.texts.append(data)

  def all(self, tag):
    return [attrs for t, attrs in self.elements if t == tag]


class ReportTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.config, self.summary = tiny_report.write(self.folder)
    self.text = (self.folder / 'report.html').read_text()
    self.page = _Page()
    self.page.feed(self.text)
    self.page.close()

  def test_well_formed_and_escaped(self):
    self.assertEmpty(self.page.open)
    self.assertIn('Tiny: <b>not</b> a claim of any paper.', self.page.texts)
    self.assertIn('digit <1>: a & b (75.0%, wrong)', ''.join(self.page.texts))
    self.assertEmpty(self.page.all('b'))
    self.assertIn('photo digit <1>', self.page.texts)
    alts = [attrs['alt'] for attrs in self.page.all('img')]
    self.assertIn('smooth of digit <1>', alts)

  def test_numbers_of_another_run_come_last_and_are_said_to_be_its_own(self):
    heads = ['Claims', 'Means', 'Maps', 'What the config says']
    heads.append('Seen in another run')
    places = [self.text.index(f'<h2>{head}</h2>') for head in heads]
    self.assertEqual(places, sorted(places))
    self.assertGreater(self.text.index('Seen on a moon: 1 &lt; 2.'), places[-1])
    self.assertGreater(self.text.index('a claim of any paper.'), places[-2])

  def test_agreement_is_a_sentence(self):
    w = self.summary['agreement']['w']
    self.assertBetween(w, 0, 1)
    text = ''.join(self.page.texts)
    self.assertIn('Each of 3 columns puts the 4 methods in an order', text)
    self.assertIn(f'of these orders is {w:.2f}: it is 1', text)

  def test_names_of_methods_are_escaped(self):
    comparison = dict(
      zip(('a', 'direction', 'b'), ('<i>m</i>', 'below', 'x & y'), strict=True),
      metric='<m>', clusters=3, mean=0.1, low=0.0, high=0.2, p=None,
      verdict='interval only',
    )  # fmt: skip
    verdict = {'claim': '<i>c</i>', 'verdict': 'undecided'}
    page = _Page()
    page.feed(report._verdicts([{**verdict, 'comparisons': [comparison]}]))
    self.assertEmpty(page.all('i'))
    self.assertContainsSubset(
      ('<i>c</i>', '<m>: <i>m</i> below x & y'), page.texts
    )
    self.assertIn('text interval', [a['class'] for a in page.all('td')])

  def test_needs_no_other_file(self):
    for _, attrs in self.page.elements:
      self.assertNotIn('href', attrs)
      self.assertStartsWith(attrs.get('src', 'data:'), 'data:')
    self.assertNotIn('http', self.text.replace('http-equiv', ''))
    self.assertNotIn('url(', self.text)

  def test_figures_are_inside(self):
    sizes = []
    for attrs in self.page.all('img'):
      self.assertNotEmpty(attrs['alt'])
      data = base64.b64decode(attrs['src'].partition('base64,')[2])
      with Image.open(io.BytesIO(data)) as image:
        image.load()
        sizes.append(image.size)
    # One figure of curves; three photos; four maps each but for a refused one.
    self.assertEqual(sizes.count((144, 144)), 3 + 3 * 4 - 1)
    self.assertLen(sizes, 1 + 3 + 3 * 4 - 1)
    self.assertIn('3 of 9 scores are NaN', self.text)
    with Image.open(self.folder / 'curves_igos_protocol.png') as image:
      self.assertGreater(min(image.size), 300)

  def test_tables(self):
    tables = self.page.all('table')
    # Claims, means, and the differences of each of three values.
    self.assertLen(tables, 2 + 3)
    self.assertTrue(all(t['class'] == 'sortable' for t in tables))
    texts = ''.join(self.page.texts)
    for text in (
      'smooth below random',
      'interval only',
      '2 of 3 classified right',
    ):
      self.assertIn(text, texts)
    best = [a for a in self.page.all('td') if a['class'] == 'best']
    # One in each of two columns; three methods tie in the third.
    self.assertLen(best, 1 + 1 + 3)
    means = self.summary['means']['igos_protocol.deletion']
    self.assertEqual(
      min(means.values(), key=lambda e: e['mean']), means['gradient']
    )
    self.assertEqual(best[0]['data-value'], str(means['gradient']['mean']))

  def test_text(self):
    text = report.tables(self.config, self.summary)
    for part in ('smooth not below random', 'interval only', '100.00 s'):
      self.assertIn(part, text)
    row = next(l for l in text.splitlines() if l.startswith('rise'))
    self.assertIn('1.00 [1.00, 1.00]', row)

  def test_no_claims_no_curves_no_maps(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    config = {**self.config, 'claims': ()}
    records = [
      {
        'index': 0,
        'name': 'a',
        'label': None,
        'right': None,
        'explained': 0,
        'class': '0',
        'prob': 1.0,
        'maps': {
          m: {
            'seconds': 1.0,
            'refused': None,
            'quality': '',
            'values': {'flipping.flipped': 0.5},
            'curves': {},
          }
          for m in config['methods']
        },
      }
    ]
    summary = {
      **summaries.summarize(records, config),
      'machine': '',
      'jax': '',
    }
    report.write(folder, config, records, summary)
    page = _Page()
    page.feed((folder / 'report.html').read_text())
    page.close()
    self.assertEmpty(page.open)
    self.assertEmpty(page.all('img'))
    texts = ''.join(page.texts)
    for title in ('Claims', 'Curves', 'Maps'):
      self.assertNotIn(title, texts)


class PlotsTest(parameterized.TestCase):
  @parameterized.parameters(
    ('deletion', 'prob', 'probability of the class'),
    ('insertion', 'log_odds', 'log odds of the class'),
    ('log_odds_ratio', 'prob', 'change of the log odds'),
  )
  def test_the_height_is_named_by_what_is_measured(self, curve, score, want):
    record = {'x': [0.0, 1.0], 'y': [1.0, 0.5]}
    records = [{'maps': {'a': {'curves': {f'm.{curve}': record}}}}]
    fig = plots.curves(records, ['a'], [f'm.{curve}'], 'part', score)
    self.assertEqual(fig.axes[0].get_ylabel(), want)

  def test_band_is_that_of_the_mean(self):
    ys = np.array([[1.0, 0.2], [1.0, 0.6], [1.0, 0.7]])
    records = [
      {'maps': {'a': {'curves': {'m.c': {'x': [0.0, 1.0], 'y': list(y)}}}}}
      for y in ys
    ]
    fig = plots.curves(records, ['a'], ['m.c'], 'part')
    (ax,) = fig.axes
    self.assertEqual((ax.get_xlabel(), ax.get_ylabel()), ('part', 'c'))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), ys.mean(0))
    (band,) = ax.collections
    at_end = [y for x, y in band.get_paths()[0].vertices if x == 1]
    half = 1.96 * ys[:, 1].std(ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(
      [min(at_end), max(at_end)], [0.5 - half, 0.5 + half]
    )

  @parameterized.parameters(((28, 28, 1), 144), ((300, 200, 3), 144))
  def test_thumbnails(self, shape, side):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    scores = np.random.default_rng(1).normal(size=(*shape[:2], 1))
    for data in (
      plots.photo(image),
      plots.painted(scores, image, viz.HEAT),
      plots.painted(0 * scores, image, viz.MAGNITUDE),
    ):
      with Image.open(io.BytesIO(data)) as found:
        self.assertEqual((found.size, found.format), ((side, side), 'JPEG'))


if __name__ == '__main__':
  absltest.main()
