"""Tests for `experiments/explain.py`, on SqueezeNet with few draws."""

import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
from PIL import Image
import pytest

from experiments import explain
from experiments.explanation import programs
from experiments.tables import methods
import saliency_jax
from saliency_jax import models
from saliency_jax import transforms
from tests.experiments import launch

_FEW = ('smooth_grad.num_samples=4', 'rise.num_masks=8')
_METHODS = ('gradient', 'smooth_grad', 'grad_cam', 'rise')


def _run(**values):
  return launch.run(explain.main, **{'model': 'squeezenet', **values})


def _photo(mode, size=(20, 30)):
  """Returns an image of some mode, drawn at random."""
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (*size, 4), np.uint8)
  if mode == 'I;16':
    return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
  if mode == 'L':
    return Image.fromarray(pixels[..., 0])
  if mode == 'CMYK':
    return Image.fromarray(pixels, mode='RGBA').convert('RGB').convert('CMYK')
  return Image.fromarray(pixels)


class _LaunchTest(parameterized.TestCase):
  def _folder(self):
    return pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def assert_one_line(self, outcome, message):
    self.assertEqual(outcome.code, 1)
    lines = outcome.stderr.strip().splitlines()
    self.assertLen(lines, 1)
    self.assertStartsWith(lines[0], 'error: ')
    self.assertRegex(lines[0], message)


class ExplainTest(_LaunchTest):
  def test_writes_figure_maps_and_facts(self):
    out = self._folder() / 'new' / 'folder'
    done = _run(
      out=str(out), methods=list(_METHODS), set=list(_FEW), seed=3, html=True
    )
    self.assertEqual((done.code, done.stderr), (0, ''))
    self.assertCountEqual(
      [p.name for p in out.iterdir()],
      ['explain.html', 'explain.png', 'info.json', 'maps.npz'],
    )
    for text in (*_METHODS, 'standard error', str(out), 'explained: '):
      self.assertIn(text, done.stdout)
    page = (out / 'explain.html').read_text()
    for name in ('gradient', 'smooth grad', 'grad cam', 'rise', 'standard err'):
      self.assertIn(name, page)
    with Image.open(out / 'explain.png') as figure:
      self.assertGreater(min(figure.size), 400)
    info = json.loads((out / 'info.json').read_text())
    self.assertEqual(info['seed'], 3)
    self.assertLen(info['predictions'], 5)
    self.assertEqual(list(info['methods']), list(_METHODS))
    self.assertEqual(info['methods']['rise']['settings']['num_masks'], 8)
    self.assertEqual(info['methods']['rise']['calls']['forwards'], 8)
    self.assertGreater(info['methods']['rise']['run_seconds'], 0)
    with np.load(out / 'maps.npz', allow_pickle=False) as maps:
      self.assertEqual(maps['image'].shape, (227, 227, 3))
      self.assertEqual(maps['smooth_grad'].shape, (227, 227, 3))
      self.assertEqual(maps['smooth_grad.stderr'].shape, (227, 227, 3))
      self.assertEqual(maps['rise'].shape, (227, 227, 1))
      self.assertTrue(all(np.isfinite(maps[k]).all() for k in maps))

  def test_superpixels_are_players(self):
    out = self._folder()
    done = _run(
      out=str(out),
      methods=['ablation', 'lime'],
      segments=6,
      set=['lime.cells=2', 'lime.num_samples=8', 'lime.num_fresh=4'],
    )
    self.assertEqual((done.code, done.stderr), (0, ''))
    self.assertRegex(done.stdout, 'wrote .*: segments.png, explain.png, maps')
    with np.load(out / 'maps.npz', allow_pickle=False) as maps:
      labels = maps['ablation.segments']
      values = maps['ablation.values']
      np.testing.assert_array_equal(maps['ablation'][..., 0], values[labels])
      # What a flag says of one method goes before what it says of all.
      self.assertEqual(maps['lime.values'].shape, (2, 2))
      self.assertNotIn('lime.segments', maps)
    self.assertEqual((labels.shape, values.shape), ((227, 227), (6,)))
    with Image.open(out / 'segments.png') as figure:
      self.assertGreater(min(figure.size), 400)

  def test_what_is_cut_off_leaves_its_maps(self):
    out, run = self._folder(), programs._run

    def cut(names, *args):
      if 'rise' in names:
        raise KeyboardInterrupt
      return run(names, *args)

    with mock.patch.object(programs, '_run', cut):
      done = _run(
        out=str(out), methods=['gradient', 'rise', 'grad_cam'], set=[_FEW[1]]
      )
    self.assertEqual(done.code, 130)
    info = json.loads((out / 'info.json').read_text())
    self.assertEqual(list(info['methods']), ['gradient', 'grad_cam'])
    with np.load(out / 'maps.npz') as maps:
      self.assertContainsSubset(('image', 'gradient', 'grad_cam'), maps)
    self.assertTrue((out / 'explain.png').is_file())

  def _vit(self):
    path = self._folder() / 'vit.npz'
    models.save(path, models.create('vit_digits', key=jax.random.key(0)))
    return str(path)

  def test_leaves_out_what_has_no_rule_for_the_network(self):
    out, model = self._folder(), self._vit()
    names = 'gradient', 'guided_backprop', 'lrp', 'deconvnet'
    few = {name: methods.METHODS[name] for name in names}
    with mock.patch.dict(methods.METHODS, few, clear=True):
      done = _run(out=str(out), model=model, methods=None)
    self.assertEqual((done.code, done.stderr), (0, ''))
    info = json.loads((out / 'info.json').read_text())
    self.assertEqual(list(info['methods']), ['gradient', 'lrp'])
    self.assertRegex(info['image'], '^digit_')
    self.assertEqual(list(info['left_out']), ['guided_backprop', 'deconvnet'])
    for name, why in info['left_out'].items():
      self.assertIn('there is a smooth activation', why)
      self.assertIn(f'- {name} is left out: {why}\n', done.stdout)
    self.assertTrue((out / 'explain.png').is_file())

  def test_what_is_asked_for_by_name_is_not_left_out(self):
    out, model = str(self._folder()), self._vit()
    done = _run(out=out, model=model, methods=['guided_backprop'])
    self.assert_one_line(done, 'guided_backprop: .* smooth activation')
    few = {name: methods.METHODS[name] for name in ('gradient', 'deconvnet')}
    with mock.patch.dict(methods.METHODS, few, clear=True):
      done = _run(
        out=out, model=model, methods=None, set=['deconvnet.at=patches']
      )
    self.assert_one_line(done, 'deconvnet: .* smooth activation')

  def test_seed_decides_and_other_methods_do_not(self):
    maps = []
    for seed, names in ((0, 'rise'), (0, 'gradient,rise'), (1, 'rise')):
      out = self._folder()
      done = _run(
        out=str(out), methods=names.split(','), set=[_FEW[1]], seed=seed
      )
      self.assertEqual(done.code, 0, done.stderr)
      with np.load(out / 'maps.npz') as f:
        maps.append(f['rise'])
    np.testing.assert_array_equal(maps[0], maps[1])
    self.assertGreater(np.max(np.abs(maps[0] - maps[2])), 0)

  @parameterized.parameters('243', 'bull mastiff', 'BULL MAST')
  def test_label_by_index_or_name(self, label):
    out = self._folder()
    done = _run(out=str(out), methods=['gradient'], label=label)
    self.assertEqual(done.code, 0, done.stderr)
    info = json.loads((out / 'info.json').read_text())
    self.assertEqual((info['label'], info['class']), (243, 'bull mastiff'))

  def test_refuses_a_map_of_nan_and_keeps_the_rest(self):
    out = self._folder()
    broken = methods.METHODS['gradient']._replace(
      method=transforms.map_scores(
        saliency_jax.gradient,
        lambda scores, x: scores.at[2:4, 5, 0].set(np.nan),
      )
    )
    with mock.patch.dict(methods.METHODS, {'gradient_x_input': broken}):
      done = _run(out=str(out), methods=['gradient', 'gradient_x_input'])
    self.assert_one_line(
      done,
      "'imagenet_00_243': gradient_x_input: 2 of 154587 scores are NaN or inf",
    )
    info = json.loads((out / 'info.json').read_text())
    self.assertEqual(list(info['refused']), ['gradient_x_input'])
    with np.load(out / 'maps.npz') as maps:
      self.assertIn('gradient', maps)
      self.assertNotIn('gradient_x_input', maps)

  @parameterized.parameters(
    ({'label': '1000'}, '1000: expected 0 to 999'),
    ({'label': '-1'}, '-1: expected 0 to 999'),
    ({'label': 'no such class'}, "'no such class': no such class"),
    ({'label': 'bul mastif'}, 'did you mean bull mastiff'),
    ({'label': 'terrier'}, 'one of several: .*terrier'),
    ({'model': 'resnet'}, "efficientnet_lite0.*squeezenet.*got 'resnet'"),
    ({'methods': ['gradient', 'magic']}, "'gradient,magic'.*, rise"),
    ({'methods': []}, "expected 'quick', 'all', or some of gradient"),
    ({'methods': ['rise', 'rise']}, "'rise,rise'"),
    ({'set': ['rise']}, "'rise': expected method.setting=value"),
    ({'set': ['magic.x=1']}, "'magic' is not one of the methods"),
    ({'set': ['rise.masks=1']}, 'rise has num_masks, cells, keep_prob'),
    ({'set': ['rise.num_masks=many']}, "num_masks=many': expected int"),
    ({'set': ['rise.baseline=pink']}, 'expected float or black or white or'),
    ({'image': 'nowhere.png'}, "'nowhere.png': no such file"),
    ({'image': ''}, "'' is a folder|'': no such file"),
  )
  def test_bad_flag(self, values, message):
    out = self._folder()
    done = _run(**{'out': str(out), 'methods': ['rise'], **values})
    self.assert_one_line(done, message)
    self.assertEmpty(list(out.iterdir()))

  @parameterized.parameters(
    ('smooth_grad.batch_size=0', 'batch_size must be .*, got 0'),
    ('smooth_grad.sigma=-1', r'sigma must be in \(0, inf\), got -1'),
    (
      'smooth_grad.num_samples=0',
      r'num_samples must be a whole number of at least 1, got 0',
    ),
    ('integrated_gradients.num_steps=0', 'num_steps must be .*, got 0'),
    ('occlusion.window=999', 'window must be .*, got 999'),
    ('grad_cam.name=nowhere', "'nowhere', found 0"),
  )
  def test_bad_setting_names_the_method(self, setting, message):
    name = setting.partition('.')[0]
    done = _run(out=str(self._folder()), methods=[name], set=[setting])
    self.assert_one_line(done, f'error: {name}: .*{message}')

  def test_bad_image_file(self):
    folder = self._folder()
    (folder / 'empty').mkdir()
    (folder / 'text.png').write_text('no image')
    _photo('RGB').convert('RGB').save(folder / 'whole.jpg')
    half = (folder / 'whole.jpg').read_bytes()[:500]
    (folder / 'truncated.jpg').write_bytes(half)
    pixels = np.full((9, 9), np.nan, np.float32)
    Image.fromarray(pixels).save(folder / 'nan.tiff')
    for name, message in (
      ('empty', 'is a folder, expected a regular file'),
      ('text.png', "text.png': not an image"),
      ('truncated.jpg', "cannot read image .*truncated.jpg'"),
      ('nan.tiff', "nan.tiff': grey values span .nan"),
    ):
      with self.subTest(name):
        done = _run(
          out=str(folder / 'out'),
          methods=['gradient'],
          image=str(folder / name),
        )
        self.assert_one_line(done, message)

  def test_out_that_cannot_be_written(self):
    file = self._folder() / 'file'
    file.touch()
    done = _run(out=f'{file}/below', methods=['gradient'])
    self.assert_one_line(done, f"cannot write to --out '{file}/below'")

  @parameterized.parameters('L', 'RGBA', 'CMYK', 'I;16')
  def test_any_mode_of_image(self, mode):
    folder = self._folder()
    path = folder / ('photo.tiff' if mode == 'CMYK' else 'photo.png')
    _photo(mode).save(path)
    done = _run(out=str(folder), methods=['gradient'], image=str(path))
    self.assertEqual(done.code, 0, done.stderr)
    self.assertTrue((folder / 'explain.png').is_file())

  @parameterized.parameters((1, 1), (30, 20))
  def test_black_and_tiny_images(self, *size):
    folder = self._folder()
    Image.new('RGB', size).save(folder / 'black.png')
    done = _run(
      out=str(folder),
      methods=['gradient', 'grad_cam'],
      image=str(folder / 'black.png'),
    )
    self.assertEqual(done.code, 0, done.stderr)
    with np.load(folder / 'maps.npz') as maps:
      np.testing.assert_array_equal(maps['image'], np.zeros((227, 227, 3)))

  def test_command_line(self):
    commands = {
      'error: Unknown command line flag': ['--no_such_flag'],
      "error: expected flags only, got .'photo.jpg'.": ['photo.jpg'],
    }
    found = launch.commands('explain', *commands.values())
    for message, done in zip(commands, found, strict=True):
      self.assertEqual(done.code, 1)
      self.assertRegex(done.stderr.strip(), f'^{message}[^\n]*$')


@pytest.mark.text
class SentenceTest(_LaunchTest):
  def test_sentence(self):
    out = self._folder()
    done = _run(
      out=str(out),
      text='My puppies eat unbelievably much.',
      against=['I like dogs.'],
      methods=['kernel_shap', 'gradient_x_input', 'integrated_gradients'],
      set=['kernel_shap.num_samples=64', 'integrated_gradients.num_steps=1'],
    )
    self.assertEqual((done.code, done.stderr), (0, ''))
    names = ('words.png', 'tokens.png', 'explain.html', 'maps.npz', 'info.json')
    self.assertCountEqual([p.name for p in out.iterdir()], names)
    self.assertIn('explained: I like dogs.', done.stdout)
    warning = 'the map does not sum to'
    self.assertIn(f'! integrated_gradients: {warning}', done.stdout)
    self.assertNotIn('! gradient_x_input', done.stdout)
    with np.load(out / 'maps.npz', allow_pickle=False) as maps:
      owners = maps['owners']
      for name in ('kernel_shap', 'gradient_x_input'):
        tokens, words = (maps[f'{name}.{k}'] for k in ('tokens', 'words'))
        self.assertEqual((tokens.shape, words.shape), ((13,), (6,)))
        self.assertTrue(np.isfinite([*tokens, *words]).all())
      # Of a method at the embeddings a word has what its tokens have.
      np.testing.assert_allclose(words[3], tokens[owners == 3].sum(), rtol=1e-5)
    info = json.loads((out / 'info.json').read_text())
    self.assertEqual(info['words'][1], 'puppies')
    found = info['methods']['words']['kernel_shap']['values']
    self.assertEqual(int(np.argmax(found)), 1)
    page = (out / 'explain.html').read_text()
    self.assertIn('puppies', page)
    self.assertIn(warning, page)
    with Image.open(out / 'tokens.png') as figure:
      self.assertGreater(min(figure.size), 200)

  @parameterized.parameters(
    ({'text': ''}, "'' has 0 tokens, expected 1 to 510"),
    ({'methods': ['rise']}, "'rise': .*some of occlusion, lime"),
    ({'label': 'It is great.'}, "--label 'It is great.': no such class"),
    ({'segments': 5}, '--segments is for images: leave it out'),
    ({'set': ['lime.num_samples=0']}, 'lime: num_samples must be'),
    ({'set': ['lrp.magic=0']}, "'lrp' is not one of the methods"),
  )
  def test_bad_flag_of_a_sentence(self, values, message):
    out = self._folder()
    done = _run(
      **{'out': str(out), 'text': 'A dog.', 'methods': ['lime'], **values}
    )
    self.assert_one_line(done, message)
    self.assertEmpty(list(out.iterdir()))


if __name__ == '__main__':
  absltest.main()
