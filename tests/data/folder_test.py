"""Tests for `folder.py`."""

import os
import pathlib
import tempfile
import warnings

from absl.testing import absltest
from absl.testing import parameterized
from PIL import Image

from saliency_jax.data import folder


def _save(path, colour=0):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new('RGB', (4, 3), (colour, 0, 0)).save(path)


class FolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self._root = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

  def _names(self, contents):
    return [p.relative_to(self._root).as_posix() for p in contents.paths]

  def test_flat_folder_is_sorted_and_has_no_classes(self):
    for name in ('b.png', 'a.jpg', 'c.gif', '10.bmp', '9.webp'):
      _save(self._root / name)
    out = folder.scan(self._root)
    self.assertEqual(
      self._names(out), ['10.bmp', '9.webp', 'a.jpg', 'b.png', 'c.gif']
    )
    self.assertEqual(out.labels, (-1,) * 5)
    self.assertEqual(out.class_names, ())
    self.assertEqual(out.skipped, ())

  def test_sub_folders_are_classes(self):
    for name in ('dog/1.png', 'cat/2.png', 'cat/deep/3.png', 'loose.png'):
      _save(self._root / name)
    (self._root / 'empty').mkdir()
    out = folder.scan(str(self._root))
    self.assertEqual(out.class_names, ('cat', 'dog'))
    self.assertEqual(
      dict(zip(self._names(out), out.labels, strict=True)),
      {'cat/2.png': 0, 'cat/deep/3.png': 0, 'dog/1.png': 1, 'loose.png': -1},
    )

  def test_linked_sub_folder_is_a_class(self):
    with tempfile.TemporaryDirectory() as elsewhere:
      _save(pathlib.Path(elsewhere) / '1.png')
      (self._root / 'linked').symlink_to(elsewhere)
      out = folder.scan(self._root)
    self.assertEqual(out.class_names, ('linked',))

  def test_link_loop_ends(self):
    _save(self._root / 'a' / '1.png')
    (self._root / 'a' / 'up').symlink_to(self._root)
    self.assertLen(folder.scan(self._root).paths, 1)

  def test_links_upwards_list_each_image_once(self):
    """A folder that links to itself, its parents, a sibling, and in a ring."""
    for name in ('data/a.png', 'data/cat/1.png', 'data/dog/2.png', 'other.png'):
      _save(self._root / name)
    data = self._root / 'data'
    for link, target in (
      ('self', data),
      ('up', self._root),
      ('root', '/'),
      ('a_cat', data / 'cat'),
      ('ring', data / 'ring'),
      ('nowhere', data / 'missing'),
    ):
      (data / link).symlink_to(target)
    (data / 'dog' / 'up').symlink_to(data)
    out = folder.scan(data)
    names = [p.relative_to(data).as_posix() for p in out.paths]
    self.assertEqual(names, ['a.png', 'cat/1.png', 'dog/2.png'])
    self.assertEqual(out.class_names, ('cat', 'dog'))
    # The same, when the folder itself is reached through a link.
    (self._root / 'link').symlink_to(data)
    self.assertLen(folder.scan(self._root / 'link').paths, 3)

  def test_pipes_are_left_alone_and_folders_may_be_called_as_files(self):
    _save(self._root / 'cat.png' / '1.png')
    os.mkfifo(self._root / 'pipe.png')
    self.assertEqual(folder.scan(self._root).class_names, ('cat.png',))

  def test_unreadable_files_are_passed_over_with_a_warning(self):
    _save(self._root / 'good.png')
    whole = (self._root / 'good.png').read_bytes()
    (self._root / 'cut.png').write_bytes(whole[: len(whole) // 2])
    (self._root / 'notes.txt').write_text('not an image')
    with self.assertWarnsRegex(UserWarning, 'passed over 2 of 3 files.*cut'):
      out = folder.scan(self._root)
    self.assertEqual(self._names(out), ['good.png'])
    self.assertLen(out.skipped, 2)
    self.assertIn(str(self._root / 'cut.png'), out.skipped[0])
    self.assertIn('notes.txt', out.skipped[1])

  def test_class_of_unreadable_files_is_no_class(self):
    _save(self._root / 'cat' / '1.png')
    (self._root / 'notes').mkdir()
    (self._root / 'notes' / 'a.txt').write_text('not an image')
    with self.assertWarns(UserWarning):
      self.assertEqual(folder.scan(self._root).class_names, ('cat',))

  def test_hidden_files_are_left_out(self):
    for name in ('a.png', '.thumbnails/b.png'):
      _save(self._root / name)
    (self._root / '.DS_Store').write_bytes(b'\0')
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      self.assertEqual(self._names(folder.scan(self._root)), ['a.png'])

  def test_rejects_folders_without_images(self):
    with self.assertRaisesRegex(ValueError, r'no image .*\(0 files\)'):
      folder.scan(self._root)
    (self._root / 'a.txt').write_text('not an image')
    with self.assertRaisesRegex(ValueError, r'no image .*\(1 files: .*a.txt'):
      folder.scan(self._root)
    for path in (self._root / 'missing', self._root / 'a.txt'):
      with self.assertRaisesRegex(ValueError, f'{path.name}.*not a folder'):
        folder.scan(path)


if __name__ == '__main__':
  absltest.main()
