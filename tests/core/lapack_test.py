"""Tests for `lapack.py`."""

import pathlib
import re

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import lapack
from saliency_jax.optimization import caso

_ROOT = pathlib.Path(__file__).parents[2]
_SIZE = 20
_SPECTRA = {
  'random': np.random.default_rng(1).standard_normal(_SIZE),
  'clustered': np.r_[np.ones(8), 1 + 1e-7 * np.arange(8), np.full(4, -2.0)],
  'graded': 10.0 ** -np.arange(_SIZE),
  'rank_one': np.r_[3.0, np.zeros(_SIZE - 1)],
}


def _matrices(dtype=np.float64):
  """Returns a symmetric matrix of each spectrum, `[4, n, n]`."""
  rng = np.random.default_rng(0)
  q = np.linalg.qr(rng.standard_normal((len(_SPECTRA), _SIZE, _SIZE)))[0]
  values = np.stack(list(_SPECTRA.values()))
  matrices = (q * values[:, None]) @ q.swapaxes(1, 2)
  return ((matrices + matrices.swapaxes(1, 2)) / 2).astype(dtype)


def _positive(dtype=np.float64):
  return _matrices(dtype) + 4 * np.eye(_SIZE, dtype=dtype)


def _lower(a):
  return jnp.tril(a) + 4 * jnp.eye(_SIZE, dtype=a.dtype)


_B = np.random.default_rng(2).standard_normal((_SIZE, 3))

# Each function, the same of JAX, and arguments made of a positive matrix.
_FUNCTIONS = {
  'cholesky': (lapack.cholesky, jnp.linalg.cholesky, lambda a: (a,)),
  'cho_solve': (
    lapack.cho_solve,
    lambda factor, b: jax.scipy.linalg.cho_solve((factor, True), b),
    lambda a: (_lower(a), jnp.asarray(_B, a.dtype)),
  ),
  'eigh': (lapack.eigh, jnp.linalg.eigh, lambda a: (a,)),
  'eigvalsh': (lapack.eigvalsh, jnp.linalg.eigvalsh, lambda a: (a,)),
  'solve': (
    lapack.solve,
    jnp.linalg.solve,
    lambda a: (a, jnp.asarray(_B, a.dtype)),
  ),
  'solve_triangular': (
    lapack.solve_triangular,
    lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True),
    lambda a: (_lower(a), jnp.asarray(_B, a.dtype)),
  ),
}


def _batches(fn, *args, platform='cpu'):
  """Returns the numbers of batch axes of the LAPACK calls of a program."""
  traced = jax.jit(fn).trace(*args)
  text = traced.lower(lowering_platforms=(platform,)).as_text()
  return set(map(int, re.findall(r'num_batch_dims = "(\d)"', text)))


class LapackTest(parameterized.TestCase):
  @parameterized.parameters(*_FUNCTIONS)
  def test_is_the_function_of_jax(self, name):
    ours, theirs, arguments = _FUNCTIONS[name]
    with jax.enable_x64():
      a = jnp.asarray(_positive())
      got = jax.jit(jax.vmap(lambda a: ours(*arguments(a))))(a)
      want = jax.jit(jax.vmap(lambda a: theirs(*arguments(a))))(a)
      alone = ours(*arguments(a[1]))
    jax.tree.map(np.testing.assert_array_equal, got, want)
    second = jax.tree.map(lambda a: a[1], got)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-13),
      alone,
      second,
    )

  @parameterized.parameters(np.float32, np.float64)
  def test_eigenpairs_are_those_of_the_matrix(self, dtype):
    """Errors are a few roundings of the largest eigenvalue."""
    with jax.enable_x64():
      a = _matrices(dtype)
      values, vectors = jax.jit(jax.vmap(lapack.eigh))(a)
    self.assertEqual(vectors.dtype, dtype)
    a, values, vectors = (np.float64(x) for x in (a, values, vectors))
    eps = _SIZE * np.finfo(dtype).eps
    for name, m, w, v in zip(_SPECTRA, a, values, vectors, strict=True):
      size = np.abs(_SPECTRA[name]).max()
      error = np.abs(w - np.linalg.eigvalsh(m)).max() / size
      self.assertLess(error, eps, name)
      self.assertLess(np.abs(m @ v - v * w[None]).max() / size, eps, name)
      self.assertLess(np.abs(v.T @ v - np.eye(_SIZE)).max(), eps, name)

  @parameterized.parameters(*_FUNCTIONS)
  def test_a_processor_is_never_given_a_batch(self, name):
    """Two batches that are shared out may wait for each other for ever."""
    ours, theirs, arguments = _FUNCTIONS[name]
    a = jnp.asarray(_positive(np.float32))
    both = jnp.stack([a, a])
    for fn, once, twice in ((ours, {0}, {0}), (theirs, {1}, {2})):
      run = lambda a, fn=fn: fn(*arguments(a))
      self.assertEqual(_batches(jax.vmap(run), a), once)
      self.assertEqual(_batches(jax.vmap(jax.vmap(run)), both), twice)

  def test_other_platforms_are_given_a_batch(self):
    a = jnp.asarray(_positive(np.float32))
    eigh = jax.vmap(lapack.eigh)
    self.assertEqual(_batches(eigh, a, platform='cuda'), {1})

  def test_a_batch_of_caso(self):
    weights = jnp.asarray(_matrices(np.float32)[0])

    def explain(x, key):
      return caso.caso(
        lambda x: jnp.sum(jnp.tanh(weights @ x)), x, key=key, num_steps=2
      )

    keys = jax.random.split(jax.random.key(0), 3)
    self.assertEqual(
      _batches(jax.vmap(explain), jnp.ones((3, _SIZE)), keys), {0}
    )

  @parameterized.parameters(*_FUNCTIONS)
  def test_derivatives_are_those_of_the_function_of_jax(self, name):
    ours, theirs, arguments = _FUNCTIONS[name]
    with jax.enable_x64():
      # Only of the first matrix are all eigenvalues apart.
      a = jnp.asarray(_positive()[:1])

      def slopes(fn):
        def run(a):
          return sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(fn(a)))

        backwards = jax.vmap(jax.grad(run))(a)
        forwards = jax.vmap(lambda a: jax.jvp(run, (a,), (a,))[1])(a)
        return backwards, forwards

      got = slopes(lambda a: ours(*arguments(a)))
      want = slopes(lambda a: theirs(*arguments(a)))
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), got, want
    )
    self.assertGreater(np.abs(want[0]).max(), 0)

  def test_nobody_factors_a_matrix_past_this_module(self):
    direct = re.compile(
      r'\b(?:jnp|jax\.numpy|jax\.scipy|jax\.lax)\.linalg\.(?!norm\b)\w+'
    )
    found = {
      str(path.relative_to(_ROOT)): direct.findall(path.read_text())
      for part in ('saliency_jax', 'experiments')
      for path in (_ROOT / part).rglob('*.py')
    }
    ours = found.pop('saliency_jax/core/lapack.py')
    self.assertIn('jnp.linalg.eigh', ours)
    self.assertEqual({p: names for p, names in found.items() if names}, {})


if __name__ == '__main__':
  absltest.main()
