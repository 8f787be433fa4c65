"""Tests for `prepared.py`."""

import functools
import hashlib
import http.server
import io
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from unittest import mock
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from tensorflow_datasets.core.download import checksums

from saliency_jax.data import builders
from saliency_jax.data import prepared


def _idx(array):
  header = struct.pack(f'>BBBB{array.ndim}I', 0, 0, 8, array.ndim, *array.shape)
  return header + array.tobytes()


def _write_mnist(folder, first=0, suffix=''):
  """Writes 4 training and 2 test images, filled with `first + i`."""
  for prefix, n in (('train', 4), ('t10k', 2)):
    values = np.arange(first, first + n).astype(np.uint8)
    images = np.broadcast_to(values[:, None, None], (n, 28, 28))
    for kind, array in (('images-idx3', images), ('labels-idx1', values % 10)):
      path = folder / f'{prefix}-{kind}-ubyte{suffix}'
      path.write_bytes(_idx(array))


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *args):
    pass


class PreparedTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self._root = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    self._files = self._root / 'files'
    self._files.mkdir()
    self._cache = self._root / 'cache'
    self.enter_context(
      mock.patch.dict(os.environ, SALIENCY_JAX_CACHE=str(self._cache))
    )

  def _folders(self):
    return sorted(os.listdir(self._cache / 'datasets'))

  def _open(self, data_dir=None, download=False):
    builder = prepared.open_builder('mnist', data_dir, download=download)
    return prepared.records(builder, 'test')

  def test_prepares_once_and_prints_nothing(self):
    _write_mnist(self._files)
    with mock.patch('sys.stdout', io.StringIO()) as out:
      with mock.patch('sys.stderr', io.StringIO()) as err:
        self.assertLen(self._open(self._files), 2)
    self.assertEqual(out.getvalue() + err.getvalue(), '')
    self.assertLen(self._folders(), 1)
    with mock.patch.object(prepared, '_prepare', side_effect=AssertionError):
      self.assertLen(self._open(self._files), 2)

  def test_other_files_make_another_folder(self):
    _write_mnist(self._files)
    self.assertEqual(self._open(self._files)[1]['label'], 1)
    _write_mnist(self._files, first=3)
    self.assertEqual(self._open(self._files)[1]['label'], 4)
    self.assertLen(self._folders(), 2)

  def test_broken_files_leave_nothing_behind(self):
    _write_mnist(self._files)
    bad = self._files / 't10k-labels-idx1-ubyte'
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-1])
    with self.assertRaisesRegex(ValueError, f'{bad}.*truncated'):
      self._open(self._files)
    self.assertEqual(self._folders(), [])
    bad.write_bytes(whole)
    self.assertLen(self._open(self._files), 2)

  def test_the_second_of_two_yields_to_the_first(self):
    _write_mnist(self._files)
    files = builders.Mnist.find(self._files)
    folder = self._cache / 'datasets' / 'same'
    for _ in range(2):
      self.assertEqual(prepared._prepare(builders.Mnist, files, folder), folder)
    self.assertEqual(self._folders(), ['same'])

  def test_two_processes_at_once(self):
    _write_mnist(self._files)
    program = (
      'import sys; from saliency_jax.data import prepared as p\n'
      'b = p.open_builder("mnist", sys.argv[1], download=False)\n'
      'print([int(e["label"]) for e in p.records(b, "train")])'
    )
    command = [sys.executable, '-W', 'error', '-c', program, str(self._files)]
    environ = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    running = [
      subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
      )
      for _ in range(2)
    ]
    results = [(*p.communicate(timeout=60), p.returncode) for p in running]
    self.assertEqual(results, [('[0, 1, 2, 3]\n', '', 0)] * 2)
    self.assertLen(self._folders(), 1)

  @parameterized.product(
    pattern=('*test.array_record*', 'dataset_info.json', prepared._SUMS),
    damage=(
      lambda b: b[: len(b) // 2],
      lambda b: b'',
      lambda b: b[:100] + bytes([b[100] ^ 1]) + b[101:],
    ),
  )
  def test_damaged_cache_is_named_and_made_anew(self, pattern, damage):
    _write_mnist(self._files)
    self._open(self._files)
    (path,) = (self._cache / 'datasets').rglob(pattern)
    path.write_bytes(damage(path.read_bytes()))
    with self.assertWarnsRegex(UserWarning, 'datasets/.*was changed: mnist is'):
      self.assertEqual(self._open(self._files)[1]['label'], 1)
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      self.assertEqual(self._open(self._files)[1]['label'], 1)
    self.assertLen(self._folders(), 1)

  def test_cache_with_a_lost_file_or_no_folder_is_made_anew(self):
    _write_mnist(self._files)
    self._open(self._files)
    (path,) = (self._cache / 'datasets').rglob('*train.array_record*')
    path.unlink()
    with self.assertWarnsRegex(UserWarning, f'{path}.*is missing'):
      self._open(self._files)
    (folder,) = (self._cache / 'datasets').iterdir()
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      (folder / prepared._SUMS).unlink()  # As earlier versions left it.
      self.assertLen(self._open(self._files), 2)
      self.assertTrue((folder / prepared._SUMS).is_file())
      shutil.rmtree(folder)
      folder.touch()
      self.assertLen(self._open(self._files), 2)

  def test_unwritable_cache_falls_back_with_a_note(self):
    _write_mnist(self._files)
    self._cache.write_bytes(b'a file where the folder should be')
    with self.assertWarnsRegex(UserWarning, 'SALIENCY_JAX_CACHE'):
      self.assertLen(self._open(self._files), 2)
    self.assertLen(self._open(self._files), 2)  # No second note, nor work.

  def test_packaged_data_needs_no_network(self):
    with mock.patch.object(socket.socket, 'connect', side_effect=OSError):
      builder = prepared.open_builder('photos', download=False)
    self.assertLen(prepared.records(builder, 'test'), 20)

  def _serve(self):
    """Serves the raw files on loopback, and tells tfds their digests."""
    _write_mnist(self._files, suffix='.gz')
    handler = functools.partial(_QuietHandler, directory=str(self._files))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    self.addCleanup(server.server_close)
    self.addCleanup(server.shutdown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f'http://127.0.0.1:{server.server_port}/'
    urls = tuple(f'{base}{file}.gz' for file in builders.Mnist.FILES)
    self.enter_context(mock.patch.object(builders.Mnist, 'URLS', urls))
    infos = {}
    for url in urls:
      data = (self._files / url.removeprefix(base)).read_bytes()
      digest = hashlib.sha256(data).hexdigest()
      infos[url] = checksums.UrlInfo(len(data), digest, None)
    self.enter_context(
      mock.patch.object(checksums, 'get_all_url_infos', lambda: dict(infos))
    )
    return server

  def test_download(self):
    server = self._serve()
    with self.assertRaisesRegex(ValueError, 'download=True'):
      self._open()
    # A folder without the files does not stand in the way.
    self.assertLen(self._open(self._root, download=True), 2)
    server.shutdown()
    # Once fetched, the data opens without leave to download.
    self.assertEqual(self._open()[1]['label'], 1)

  def test_download_rejects_other_bytes(self):
    self._serve()
    _write_mnist(self._files, first=3, suffix='.gz')
    with self.assertRaisesRegex(ValueError, 'cannot download mnist.*[Cc]hecks'):
      self._open(download=True)
    self.assertEqual(self._folders(), ['downloads'])

  def test_download_without_network(self):
    server = self._serve()
    server.shutdown()
    server.server_close()
    with self.assertRaisesRegex(
      ValueError, 'cannot download mnist: Connection'
    ):
      self._open(download=True)

  @parameterized.parameters('mnist', 'fashion_mnist', 'cifar10')
  def test_download_checksums_are_known_to_tfds(self, name):
    urls = builders.BUILDERS[name].URLS
    self.assertContainsSubset(urls, checksums.get_all_url_infos())

  @parameterized.parameters(
    'train', 'test[', 'test[:3]', 'test[:0]', 'test[2:1]', ''
  )
  def test_rejects_splits(self, split):
    with self.assertRaisesRegex(ValueError, r'split is .*test \(2 examples\)'):
      prepared.indices(split, 2)
    _write_mnist(self._files)
    builder = prepared.open_builder('mnist', self._files, download=False)
    if split != 'train':
      with self.assertRaisesRegex(ValueError, r'split is .*test \(2 examples'):
        prepared.records(builder, split)

  @parameterized.parameters(
    ('test', range(10)),
    ('test[:3]', range(3)),
    ('test[-3:]', range(7, 10)),
    ('test[50%:]', range(5, 10)),
    ('test[8:]+test[:1]', (8, 9, 0)),
  )
  def test_indices(self, split, want):
    self.assertEqual(prepared.indices(split, 10), list(want))


if __name__ == '__main__':
  absltest.main()
