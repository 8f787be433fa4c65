"""What a browser makes of the report and of a page: Chromium, no window.

It is no Python package: Debian's is `chromium`. The test fails without it.
"""

import pathlib
import re
import shutil
import subprocess
import tempfile

from absl.testing import absltest

from tests.experiments.evaluation import tiny_report
from tests.experiments.explanation import tiny_page

_NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
# Clicks the heads of the table of means, and writes down what is seen.
_CLICKS = """<script>
const table = document.querySelectorAll('table.sortable')[1];
const seen = document.createElement('pre');
const note = what => {
  const order = [...table.tBodies[0].rows].map(r => r.cells[0].innerText);
  seen.textContent += what + ': ' + order.join(' ') + '\\n';
};
note('first');
const buttons = [...table.tHead.querySelectorAll('button')];
for (const i of [0, 0, 1, 1, buttons.length - 1]) {
  buttons[i].click();
  note(i + ' ' + buttons[i].parentElement.ariaSort);
}
const shown = [...document.images].filter(i => i.complete && i.naturalWidth);
seen.textContent += 'images ' + shown.length + ' of ' + document.images.length;
seen.textContent += '\\nrequests ' + performance.getEntriesByType('resource')
  .filter(e => !e.name.startsWith('data:')).length + '.';
seen.id = 'seen';
document.body.append(seen);
</script>"""
# Points at the pixel in the second row and third column of the last map.
_POINTS = """<script>
const canvases = [...document.querySelectorAll('canvas')];
const box = canvases[2].getBoundingClientRect();
canvases[2].dispatchEvent(new PointerEvent('pointermove', {
  clientX: box.left + .6 * box.width, clientY: box.top + .4 * box.height}));
of('share').value = 25;
of('share').dispatchEvent(new Event('input'));
all();
const seen = document.createElement('pre');
const note = text => seen.textContent += text + '\\n';
for (const span of document.querySelectorAll('.value')) note(span.textContent);
const last = canvases[2].getContext('2d');
for (const row of [0, 3]) note(last.getImageData(0, row, 1, 1).data.join(' '));
note('requests ' + performance.getEntriesByType('resource').length);
note('wide ' + (document.documentElement.scrollWidth > innerWidth));
seen.id = 'seen';
document.body.append(seen);
</script>"""


def _browser():
  found = next(filter(None, map(shutil.which, _NAMES)), None)
  if found is None:
    raise FileNotFoundError(
      f'none of {", ".join(_NAMES)} is installed: apt-get install chromium'
    )
  return found


class BrowserTest(absltest.TestCase):
  def _open(self, path, *flags):
    with tempfile.TemporaryDirectory() as profile:
      return subprocess.run(
        [
          _browser(),
          '--headless',
          '--no-sandbox',
          '--disable-gpu',
          '--disable-dev-shm-usage',
          f'--user-data-dir={profile}',
          *flags,
          path.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
      )

  def test_opens_from_disk_and_sorts(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    tiny_report.write(folder)
    page = (folder / 'report.html').read_text()
    # Images that are not on the screen would else wait to be scrolled to.
    page = page.replace('loading="lazy"', '')
    clicked = folder / 'clicked.html'
    clicked.write_text(page.replace('</body>', f'{_CLICKS}</body>'))
    dom = self._open(clicked, '--dump-dom', '--virtual-time-budget=5000').stdout
    seen = re.search('<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    self.assertIsNotNone(seen, dom[-2000:])
    self.assertEqual(
      seen[1].splitlines(),
      [
        'first: gradient smooth rise random',
        '0 ascending: gradient random rise smooth',
        '0 descending: smooth rise random gradient',
        '1 ascending: gradient smooth rise random',
        '1 descending: random rise smooth gradient',
        # By number: 0.10, 1.00, 10.00, 100.00.
        '4 ascending: gradient smooth rise random',
        'images 15 of 15',
        'requests 0.',
      ],
    )

  def test_page_tells_values_and_cuts_off(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    path = folder / 'page.html'
    path.write_text(tiny_page.html().replace('</body>', f'{_POINTS}</body>'))
    flags = ('--dump-dom', '--window-size=500,900')
    dom = self._open(path, '--virtual-time-budget=5000', *flags).stdout
    seen = re.search('<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    self.assertIsNotNone(seen, dom[-2000:])
    photo, signed, regions, weak, strong, requests, wide = (
      seen[1].strip().splitlines()
    )
    self.assertStartsWith(photo, 'row 1, column 2: rgb ')
    value = float(signed.partition(';')[0])
    # The last of its digits, and a step of 2.94 / 32767.
    self.assertAlmostEqual(value, tiny_page.SIGNED[1, 2].sum(), delta=2e-4)
    self.assertEqual(regions, '6.000; 56.3% of pixels are stronger')
    # Of the last row, which is the strongest quarter, colours are left.
    red, green, blue, _ = map(int, weak.split())
    self.assertTrue(red == green == blue, weak)
    red, green, blue, _ = map(int, strong.split())
    self.assertFalse(red == green == blue, strong)
    self.assertEqual((requests, wide), ('requests 0', 'wide false'))

  def test_paints_without_an_error(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    tiny_report.write(folder)
    shot = folder / 'shot.png'
    done = self._open(
      folder / 'report.html',
      f'--screenshot={shot}',
      '--window-size=1200,2400',
      '--enable-logging=stderr',
    )
    self.assertNotRegex(done.stderr, r'CONSOLE.*(Error|error)')
    self.assertGreater(shot.stat().st_size, 50_000)


if __name__ == '__main__':
  absltest.main()
