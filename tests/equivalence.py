"""What holds of every method, in one call: `check(self, method)`.

A method means the same eager and jitted, in a loop and in a batch on two
devices, with any `batch_size`, and at each call with the same key. (A batch on
one device is `explainer_test.py`'s.) Compiling is what these checks take, so
two programs answer all of it: one example alone with the method's own
`batch_size`, and a batch on two devices with another.
"""

from collections.abc import Callable, Sequence
import functools
import inspect
from typing import Any

from absl.testing import parameterized
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax.core import types

SHAPE = (8, 6, 3)

# With half precision: for one method of each way to compute.
ALL_DTYPES = (jnp.float32, jnp.float64, jnp.bfloat16)
NUM_CLASSES = 4


def network(dtype: Any = jnp.float32, shape: Sequence[int] = SHAPE):
  """Returns `(apply, params)`: a tiny convolution, ReLU and dense network.

  Its feature map `[H/2, W/2, 5]` is named 'features'.
  """
  keys = jax.random.split(jax.random.key(11), 3)
  wide = _wide(dtype)
  params = {
    'conv': 0.4 * jax.random.normal(keys[0], (3, 3, shape[-1], 5), wide),
    'bias': 0.1 * jax.random.normal(keys[1], (5,), wide),
    'dense': jax.random.normal(keys[2], (5, NUM_CLASSES), wide),
  }
  # In half precision the network is that of float32, rounded.
  params = jax.tree.map(lambda p: p.astype(dtype), params)

  def apply(params, x):
    h = jax.lax.conv_general_dilated(
      x[None],
      params['conv'],
      window_strides=(2, 2),
      padding='SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )[0]
    h = jax.nn.relu(h + params['bias'][None, None])
    h = checkpoint_name(h, 'features')
    return jnp.tanh(jnp.mean(h, (0, 1))) @ params['dense']

  return apply, params


def examples(
  n: int, dtype: Any = jnp.float32, shape: Sequence[int] = SHAPE
) -> jax.Array:
  """Returns `n` images in [0, 1]."""
  xs = jax.random.uniform(jax.random.key(5), (n, *shape), _wide(dtype))
  return xs.astype(dtype)


def score_fn(
  dtype: Any = jnp.float32, label: int = 1, score: Any = scores.logit
) -> types.ScoreFn:
  """Returns a score of the tiny network."""
  return score(*network(dtype), label)


def mesh() -> jax.sharding.Mesh:
  """Returns the mesh of two devices that the tests run on."""
  return jax.make_mesh(
    (2,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )


def compiled(method: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a method that runs as one program, settings and all.

  Eagerly every operation is a program of its own: for tests of what a method
  finds, while `check` compares the two.
  """

  def explain(fn, x, *, key=None, **settings):
    given = {} if key is None else {'key': key}
    run = jax.jit(lambda x, given: method(fn, x, **given, **settings))
    return run(x, given)

  return explain


def traced(method: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a method that is traced and not run, for what it refuses."""

  def explain(fn, x, *, key=None, **settings):
    return jax.eval_shape(
      lambda x, key: method(fn, x, key=key, **settings), x, key
    )

  return explain


def check(
  test: parameterized.TestCase,
  method: Callable[..., types.Attribution],
  *,
  draws: bool = False,
  batch_sizes: Sequence[int | None] = (3,),
  score: Any = scores.logit,
  dtypes: Sequence[Any] = (jnp.float32, jnp.float64),
) -> None:
  """Checks everything that holds of every method, on the tiny network.

  Values may differ by 1e-5 of the largest of their array, 1e-12 in float64.

  Args:
    test: the test case.
    method: its settings bound, small enough to run some times.
    draws: whether the map depends on the key.
    batch_sizes: tried where the method has a `batch_size`.
    score: what is explained, one of `scores`.
    dtypes: of the example and of the network; under the first, everything is
      checked, under the others that they are kept, which needs no compiling,
      and in half precision that the map is that of the first up to the rounding
      of the network.
  """
  _check_constant_points()
  dtype = dtypes[0]
  with jax.enable_x64(dtype == jnp.float64):
    run = _program(method, score, dtype)
    alone = [run(i, _key(i)) for i in range(3)]
    _check_values(test, alone[0], examples(3, dtype)[0])
    _check_eager(test, method, alone[0], score, dtype)
    _check_draws(test, run, alone[0], draws)
    several = 'batch_size' in inspect.signature(method).parameters
    for batch_size in batch_sizes if several else (None,):
      _check_batch(method, alone, batch_size, score, dtype)
  for dtype in dtypes[1:]:
    _check_dtype(test, method, score, dtype)
    if jnp.finfo(dtype).bits < 32:
      got = _program(method, score, dtype)(0, _key(0))
      _check_values(test, got, examples(3, dtype)[0])
      _check_half(test, got, alone[0])


def skip_without(test: parameterized.TestCase, dtype: Any) -> None:
  """Skips a test of a dtype whose programs this processor cannot run."""
  if not _converts(dtype):
    test.skipTest(f'no {np.dtype(dtype)} with this instruction set')


@functools.cache
def _converts(dtype):
  try:
    with jax.enable_x64():
      jax.jit(lambda x: x.astype(dtype))(np.ones(3, np.float32))
  except jax.errors.JaxRuntimeError:
    return False
  return True


# A quotient is known as well as its denominator allows, and a difference of
# scores may be far smaller than they are.
_DENOMINATORS = {
  'relative_error': lambda info: info.score - info.baseline_score,
}


def assert_close(got: Any, want: Any, what: str = '') -> None:
  """Asserts that two pytrees agree, each array to its own largest entry.

  Numbers alone are compared on the scale of the largest of them, say `s`: an
  error of completeness is a difference of scores, and known as well as they
  are. A quotient `q = a / d` of such numbers is compared on the scale of
  `(1 + |q|) s / |d|`, by which an error of `s` in both of them moves it.
  Standard errors come of differences of draws, which are known as well as the
  draws are: of the size of their mean at least, and of the size of `s` where a
  draw is itself a difference of scores. A margin is some of them.
  """
  got_leaves, got_tree = jax.tree.flatten(got)
  want_leaves, want_tree = jax.tree.flatten_with_path(want)
  assert got_tree == want_tree, f'{what}: {got_tree} is not {want_tree}'
  denominators = _denominators(want)
  numbers = max(
    (_size(b) for p, b in want_leaves if b.ndim == 0 and p not in denominators),
    default=0,
  )
  mean = _size(want.scores) if isinstance(want, types.Attribution) else 0
  stderr = getattr(getattr(want, 'info', None), 'stderr', np.zeros(()))
  for a, (path, b) in zip(got_leaves, want_leaves, strict=True):
    where = what + jax.tree_util.keystr(path)
    if not jnp.issubdtype(b.dtype, jnp.floating):
      np.testing.assert_array_equal(a, b, err_msg=where)
      continue
    tolerance = 1e-12 if b.dtype == np.float64 else 1e-5
    scale = _size(b) if b.ndim else numbers
    if path[-1:] == (jax.tree_util.GetAttrKey('stderr'),):
      scale = max(scale, mean, numbers)
    if path[-1:] == (jax.tree_util.GetAttrKey('margin'),) and _size(stderr):
      scale = max(scale, mean, numbers) * _size(b) / _size(stderr)
    if path in denominators:
      scale = (1 + _size(b)) * numbers / np.abs(denominators[path])
    np.testing.assert_allclose(
      a, b, rtol=0, atol=tolerance * scale, err_msg=where
    )


def _denominators(tree):
  """Returns the denominators of the quotients in an `info`, by their paths."""
  info = getattr(tree, 'info', None)
  field = jax.tree_util.GetAttrKey
  return {
    (field('info'), field(name)): denominator(info)
    for name, denominator in _DENOMINATORS.items()
    if hasattr(info, name)
  }


def _size(a):
  """Returns the largest finite absolute value of an array of floats."""
  if not jnp.issubdtype(a.dtype, jnp.floating):
    return 0.0
  a = np.asarray(a)
  return np.abs(a[np.isfinite(a)]).max(initial=0)


def temp_bytes(f: Callable[..., Any], *args: Any) -> int:
  """Returns the temporary memory of the compiled program `f(*args)`."""
  compiled = jax.jit(f).lower(*args).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def check_memory(
  test: parameterized.TestCase,
  method: Callable[..., types.Attribution],
  *,
  small: int = 4,
  large: int = 32,
  ratio: float = 0.25,
  shape: Sequence[int] = (64, 64, 3),
  score: Any = scores.logit,
) -> None:
  """Checks that `batch_size` bounds the memory of a method.

  The program at `batch_size=small` must take less than `ratio` of the memory of
  the one at `large`; bind enough draws, at least four times `large`.
  """
  apply, params = network(shape=shape)
  (x,) = examples(1, shape=shape)

  def size(batch_size):
    explain = functools.partial(method, batch_size=batch_size)
    return temp_bytes(
      lambda p, x, k: explain(score(apply, p, 1), x, key=k),
      params,
      x,
      jax.random.key(0),
    )

  test.assertLess(size(small), ratio * size(large))


def _wide(dtype):
  return np.promote_types(dtype, np.float32)


def _key(i):
  return jax.random.fold_in(jax.random.key(7), i)


def _labels():
  return jnp.array([1, 0, 3], jnp.int32)


def _explain(method, score, apply):
  """Returns `(params, x, label, key) -> attribution`."""
  return lambda params, x, label, key: method(
    score(apply, params, label), x, key=key
  )


def _program(method, score, dtype):
  """Returns the jitted `run(i, key)`, which explains example `i`."""
  apply, params = network(dtype)
  xs, labels = examples(3, dtype), _labels()
  explain = jax.jit(_explain(method, score, apply))
  return lambda i, key: jax.device_get(explain(params, xs[i], labels[i], key))


def _check_dtype(test, method, score, dtype):
  """Checks the dtypes of a program that is traced, and not compiled."""
  with jax.enable_x64(dtype == jnp.float64):
    apply, params = network(dtype)
    x = examples(3, dtype)[0]
    explain = _explain(method, score, apply)
    out = jax.eval_shape(explain, params, x, _labels()[0], _key(0))
    _check_types(test, out, x)


def _check_types(test, attribution, x):
  test.assertIsInstance(attribution, types.Attribution)
  test.assertEqual(attribution.scores.dtype, x.dtype)
  test.assertEqual(
    np.broadcast_shapes(attribution.scores.shape, x.shape), x.shape
  )
  test.assertTrue(hasattr(attribution.info, '_fields'), attribution.info)
  for path, leaf in jax.tree.leaves_with_path(attribution.info):
    if jnp.issubdtype(leaf.dtype, jnp.floating):
      test.assertEqual(leaf.dtype, _wide(x.dtype), jax.tree_util.keystr(path))


def _check_values(test, attribution, x):
  _check_types(test, attribution, x)
  test.assertTrue(np.all(np.isfinite(attribution.scores)))
  for path, leaf in jax.tree.leaves_with_path(attribution.info):
    test.assertFalse(np.any(np.isnan(leaf)), jax.tree_util.keystr(path))


def _check_eager(test, method, want, score, dtype):
  """Checks the compiled map against the eager one."""
  apply, params = network(dtype)
  x = examples(3, dtype)[0]
  eager = _explain(method, score, apply)(params, x, _labels()[0], _key(0))
  for path, leaf in jax.tree.leaves_with_path(eager):
    test.assertIsInstance(leaf, jax.Array, jax.tree_util.keystr(path))
  _check_values(test, eager, x)
  assert_close(eager, want, 'eager, ')


def _check_draws(test, run, want, draws):
  jax.tree.map(np.testing.assert_array_equal, run(0, _key(0)), want)
  if draws:
    other = run(0, _key(9)).scores
    test.assertGreater(np.max(np.abs(other - want.scores)), 0)


def _check_batch(method, alone, batch_size, score, dtype):
  """Checks a batch on two devices, and in other batches of draws, if any."""
  if batch_size is not None:
    method = functools.partial(method, batch_size=batch_size)
  apply, params = network(dtype)
  explain = explainer.build(method, apply, score, mesh=mesh())
  keys = jax.vmap(_key)(jnp.arange(3))
  got = jax.device_get(explain(params, examples(3, dtype), _labels(), keys))
  for i, want in enumerate(alone):
    one = jax.tree.map(lambda a, i=i: a[i], got)
    what = f'two devices, batch_size={batch_size}, example {i}, '
    assert_close(one, want, what)


def _check_half(test, got, want):
  got, want = (np.ravel(a.scores).astype(np.float64) for a in (got, want))
  test.assertGreater(np.corrcoef(got, want)[0, 1], 0.99)


@functools.cache
def _check_constant_points():
  """Checks gradients at values that do not vary over the devices.

  `shard_map`'s check of replication sums these over the devices in silence.
  """
  apply, params = network()
  xs = examples(4)

  def at_baseline(fn, x, *, key):
    return types.Attribution(jax.grad(fn)(jnp.full_like(x, 0.5)))

  def at_mask(fn, x, *, key):
    mask = jnp.ones(x.shape[:2])
    return types.Attribution(jax.grad(lambda m: fn(x * m[..., None]))(mask))

  def at_scalar(fn, x, *, key):
    grad = jax.grad(lambda s: fn(s * x))(jnp.array(0.7))
    return types.Attribution(jnp.full_like(x, grad))

  for probe in (at_baseline, at_mask, at_scalar):
    one = explainer.build(probe, apply)(params, xs)
    two = explainer.build(probe, apply, mesh=mesh())(params, xs)
    assert_close(two, one, f'{probe.__name__}, two devices, ')
