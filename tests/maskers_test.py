"""Tests for `maskers.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import stretching
from saliency_jax.perturbations import occlusion

_partial = functools.partial


def _draw(*shape):
  draw = np.random.default_rng(sum(shape)).uniform(0.1, 1, shape)
  return jnp.asarray(draw, jnp.float32)


_SUPERPIXELS = np.array([[0, 0, 1, 1], [2, 0, 1, 1], [2, 2, 3, 3]])

# Constructor and example of each; number of players; shape that scores have.
CASES = {
  'grid': (
    _partial(maskers.grid, cells=(2, 3)),
    _draw(5, 6, 3),
    (2, 3),
    (5, 6, 1),
  ),
  'grid of an image, bilinear': (
    _partial(maskers.grid, cells=3, stretch=stretching.aligned),
    _draw(5, 6, 3),
    (3, 3),
    (5, 6, 1),
  ),
  'grid of a channels-first image': (
    _partial(maskers.grid, cells=(2, 3), axes=(1, 2)),
    _draw(3, 5, 6),
    (2, 3),
    (1, 5, 6),
  ),
  'grid, its axes turned': (
    _partial(maskers.grid, cells=(3, 2), axes=(1, 0)),
    _draw(5, 6, 3),
    (3, 2),
    (5, 6, 1),
  ),
  'grid of a volume': (
    _partial(maskers.grid, cells=2, axes=(0, 1, 2)),
    _draw(4, 5, 6, 1),
    (2, 2, 2),
    (4, 5, 6, 1),
  ),
  'segments': (
    _partial(maskers.segments, labels=_SUPERPIXELS),
    _draw(3, 4, 2),
    (4,),
    (3, 4, 1),
  ),
  'segments of a channels-first image': (
    _partial(maskers.segments, labels=_SUPERPIXELS[None]),
    _draw(2, 3, 4),
    (4,),
    (1, 3, 4),
  ),
  'entries': (maskers.entries, _draw(13), (13,), (13,)),
  'groups': (
    _partial(maskers.groups, labels=[0, 1, 1, 0, 2]),
    _draw(5),
    (3,),
    (5,),
  ),
  'steps': (
    _partial(maskers.steps, width=10),
    _draw(95, 2),
    (10,),
    (95, 1),
  ),
  'tokens': (
    _partial(maskers.tokens, mask_id=7),
    jnp.array([3, 1, 4, 1, 5]),
    (5,),
    (5,),
  ),
  'words': (
    _partial(maskers.tokens, mask_id=7, words=[0, 1, 1, 2, 0]),
    jnp.array([3, 1, 4, 1, 5]),
    (3,),
    (5,),
  ),
  'leaves': (
    maskers.leaves,
    {'a': _draw(4, 2), 'b': jnp.ones(3)},
    (2,),
    {'a': (1, 1), 'b': (1,)},
  ),
}


class MaskersTest(parameterized.TestCase):
  @parameterized.parameters(*CASES)
  def test_laws(self, name):
    constructor, x, shape, scores_shape = CASES[name]
    masker = constructor(x)
    self.assertEqual(masker.shape, shape)
    self.assertEqual(masker.num, np.prod(shape))
    # All present is the example, bit by bit; all hidden the baseline.
    jax.tree.map(np.testing.assert_array_equal, masker.hide(jnp.ones(shape)), x)
    nothing = masker.hide(jnp.zeros(shape))
    want = 7 if name in ('tokens', 'words') else 0
    jax.tree.map(lambda a: np.testing.assert_array_equal(a, want), nothing)
    # What is spread pools to itself, and fits the example.
    values = _draw(*shape)
    spread = masker.spread(values)
    self.assertEqual(jax.tree.map(jnp.shape, spread), scores_shape)
    np.testing.assert_allclose(masker.pool(spread), values, atol=1e-5)
    # An example that is hidden in part keeps its dtype and structure.
    half = masker.hide(jnp.full(shape, 0.5))
    jax.tree.map(lambda a, b: self.assertEqual(a.dtype, b.dtype), half, x)

  @parameterized.parameters(*CASES)
  def test_each_feature_has_its_players(self, name):
    constructor, x, shape, _ = CASES[name]
    masker = constructor(x)
    # Ones spread to ones: every entry belongs to players, wholly.
    for leaf in jax.tree.leaves(masker.spread(jnp.ones(shape))):
      np.testing.assert_allclose(leaf, 1, atol=1e-6)
    for i in range(masker.num):
      gone = (jnp.arange(masker.num) == i).astype(jnp.float32).reshape(shape)
      hidden, covers = masker.hide(1 - gone), masker.spread(gone)

      def check(hidden, covers, x):
        changed = np.asarray(hidden != x)
        cover = np.broadcast_to(np.asarray(covers) > 0, x.shape)
        self.assertTrue(changed.any())
        self.assertFalse((changed & ~cover).any())

      leaves = map(jax.tree.leaves, (hidden, covers, x))
      some = [
        leaves for leaves in zip(*leaves, strict=True) if np.any(leaves[1])
      ]
      for three in some:
        check(*three)

  def test_segments_are_their_labels(self):
    constructor, x, _, _ = CASES['segments']
    hidden = constructor(x).hide(jnp.array([1.0, 0, 1, 0.25]))
    want = np.array(x)
    want[_SUPERPIXELS == 1] = 0
    want[_SUPERPIXELS == 3] *= 0.25
    np.testing.assert_allclose(hidden, want, rtol=1e-6)

  def test_segments_of_a_running_program(self):
    constructor, x, shape, _ = CASES['segments']
    keep, scores = jnp.array([1.0, 0, 1, 0.25]), _draw(*x.shape)

    @jax.jit
    def run(labels):
      masker = maskers.segments(x, labels=labels, num=5)
      more = jnp.append(keep, 1)  # The fifth player has no entry.
      return masker.hide(more), masker.spread(more), masker.pool(scores)

    masker = constructor(x)
    hidden, spread, pooled = run(jnp.asarray(_SUPERPIXELS))
    np.testing.assert_array_equal(hidden, masker.hide(keep))
    np.testing.assert_array_equal(spread, masker.spread(keep))
    np.testing.assert_allclose(
      pooled, np.append(masker.pool(scores), 0), rtol=1e-5
    )
    with self.assertRaisesRegex(ValueError, 'only when the program runs: pass'):
      jax.eval_shape(
        lambda labels: maskers.segments(x, labels=labels).spread(keep),
        jnp.asarray(_SUPERPIXELS),
      )

  def test_pool_sums_colours_and_averages_pixels(self):
    constructor, x, _, _ = CASES['segments']
    scores = np.array(_draw(*x.shape))
    want = [scores.sum(-1)[_SUPERPIXELS == k].mean() for k in range(4)]
    np.testing.assert_allclose(
      constructor(x).pool(jnp.asarray(scores)), want, rtol=1e-5
    )

  def test_pool_of_cells_that_overlap_is_least_in_squares(self):
    constructor, x, shape, _ = CASES['grid of an image, bilinear']
    masker = constructor(x)
    scores = _draw(5, 6, 1)
    columns = jax.vmap(masker.spread)(jnp.eye(9).reshape(9, *shape))
    want, *_ = np.linalg.lstsq(
      np.asarray(columns).reshape(9, -1).T, np.ravel(scores), rcond=None
    )
    np.testing.assert_allclose(
      masker.pool(scores), want.reshape(shape), atol=1e-5
    )

  def test_baselines_show_through(self):
    x = _draw(4, 4, 3)
    fill = _partial(baselines.uniform, low=2, high=3)
    key = jax.random.key(0)
    masker = maskers.grid(x, key=key, cells=2, baseline=fill)
    hidden = masker.hide(jnp.zeros((2, 2)))
    np.testing.assert_array_equal(
      hidden, baselines.evaluate(fill, x, jax.random.key(0))
    )

  def test_whole_numbers_are_rounded(self):
    x = jnp.array([10, 20, 31], jnp.uint8)
    hidden = maskers.entries(x).hide(jnp.array([1, 0.5, 0.5]))
    self.assertEqual(hidden.dtype, jnp.uint8)
    self.assertEqual([*np.asarray(hidden)], [10, 10, 16])

  def test_special_tokens_stay(self):
    x = jnp.array([101, 9, 8, 102])
    masker = maskers.tokens(x, mask_id=103, special=(101, 102))
    self.assertEqual([*masker.hide(jnp.zeros(4))], [101, 103, 103, 102])
    self.assertEqual([*masker.hide(jnp.array([0, 0.4, 0.6, 0]))][1:3], [103, 8])
    self.assertEqual([*masker.spread(jnp.ones(4))], [0, 1, 1, 0])
    # They stay players; words leave them out.
    self.assertEqual(masker.shape, (4,))
    words = maskers.tokens(x, mask_id=103, words=[-1, 0, 1, -1])
    self.assertEqual(words.shape, (2,))

  def test_words_are_hidden_whole(self):
    x = jnp.array([101, 9, 8, 7, 102])
    words = [-1, 0, 1, 1, -1]
    masker = maskers.tokens(x, mask_id=103, words=words)
    self.assertEqual(masker.shape, (2,))
    self.assertEqual(
      [*masker.hide(jnp.array([1.0, 0]))], [101, 9, 103, 103, 102]
    )
    self.assertEqual([*masker.spread(jnp.array([5, 6]))], [0, 5, 6, 6, 0])
    # Of a word that holds a special token, the others are hidden.
    masker = maskers.tokens(x, mask_id=103, words=words, special=(8,))
    self.assertEqual([*masker.hide(jnp.zeros(2))], [101, 103, 8, 103, 102])
    np.testing.assert_allclose(
      masker.pool(jnp.array([1.0, 2, 3, 4, 5])), [2, 4]
    )

  def test_groups_of_columns(self):
    x = jnp.ones((3, 4))
    masker = maskers.groups(x, labels=[0, 1, 1, 0])
    want = np.tile([1, 0, 0, 1], (3, 1))
    np.testing.assert_array_equal(masker.hide(jnp.array([1.0, 0])), want)

  def test_gradients_pass(self):
    constructor, x, shape, _ = CASES['grid of an image, bilinear']
    masker = constructor(x)
    slope = jax.grad(lambda keep: jnp.sum(masker.hide(keep)))(jnp.ones(shape))
    np.testing.assert_allclose(jnp.sum(slope), jnp.sum(x), rtol=1e-5)

  @parameterized.named_parameters(
    ('channels first', maskers.grid, (3, 8, 8), {}, 'its channels first'),
    (
      'too many cells',
      maskers.grid,
      (4, 9, 3),
      {'cells': 5},
      r'cells must be a whole number in \[1, 4\], got 5',
    ),
    ('no axis', maskers.grid, (8, 8), {'axes': (0, 2)}, 'has no axes'),
    ('no labels', maskers.segments, (2,), {'labels': [-1, 0]}, 'whole num'),
    ('a gap', maskers.segments, (3,), {'labels': [0, 2, 2]}, '1 is missing'),
    ('unlike', maskers.segments, (3, 2), {'labels': [0, 1]}, 'fit neither'),
    ('few', maskers.groups, (3,), {'labels': [0, 1]}, 'expected 3 labels'),
    ('wide', maskers.steps, (3, 2), {'width': 4}, 'width must be'),
    ('floats', maskers.tokens, (3,), {}, 'embeddings take maskers.steps'),
  )
  def test_errors(self, constructor, shape, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      constructor(jnp.zeros(shape), **settings)

  @parameterized.parameters(
    ([0, 1], r'expected \(3,\) words, one a token, got \(2,\)'),
    ([-2, 0, 1], 'whole numbers from -1'),
    ([-1, -1, -1], 'all of the 3 labels are -1'),
    ([0, 2, -1], '1 is missing'),
  )
  def test_errors_of_words(self, words, message):
    with self.assertRaisesRegex(ValueError, message):
      maskers.tokens(jnp.arange(3), words=words)

  def test_a_tree_is_not_an_array(self):
    with self.assertRaisesRegex(ValueError, 'maskers.leaves takes its arrays'):
      maskers.entries({'a': jnp.ones(2)})

  def test_a_masker_that_was_called_is_refused(self):
    x = jnp.ones(3)
    with self.assertRaisesRegex(TypeError, 'of 3 players that was called'):
      occlusion.occlusion(jnp.sum, x, masker=maskers.entries(x))

  def test_a_methods_own_parts_are_refused(self):
    with self.assertRaisesRegex(ValueError, 'window is a setting of the parts'):
      occlusion.occlusion(
        jnp.sum, jnp.ones(3), window=2, masker=maskers.entries
      )

  def test_a_background_set(self):
    x = {'a': jnp.ones((2, 2)), 'b': jnp.array([1, 2])}
    rows = {'a': np.zeros((3, 2, 2)), 'b': np.array([[4, 4], [6, 6], [8, 8]])}
    background = baselines.Background(rows, batch_size=2)
    masker = maskers.leaves(x, baseline=background)
    total = lambda x: jnp.sum(x['a']) + jnp.sum(x['b'])
    average = lambda *keep: masker.average(
      total, masker.spread(jnp.array(keep))
    )
    self.assertEqual(average(1.0, 1), 7)
    self.assertEqual(average(0.0, 1), 3)
    self.assertEqual(average(1.0, 0), 4 + 12)
    self.assertEqual(masker.num_rows, 3)
    with self.assertRaisesRegex(ValueError, 'background set is several base'):
      masker.hide(jnp.ones(2))

  @parameterized.parameters(
    (np.zeros((5, 4)), r'background .*\(5, 4\), .*\[n, \*x\] .*example \(3,\)'),
    (np.linspace(0, 1, 3), r'\(3,\), .*example \(3,\): one row alone is X\[N'),
    (np.zeros((5, 1)), r'background .*\(5, 1\)'),
    (np.zeros((0, 3)), r'background .*\(0, 3\), expected at least one'),
    ([[0.0] * 3, [1.0] * 3], r'background are a tree .*jnp.asarray\(rows\)'),
    ([], 'background are a tree'),
    ('rows', "baseline 'rows' is no number"),
  )
  def test_a_background_unlike_the_example(self, rows, message):
    background = baselines.Background(rows)
    with self.assertRaisesRegex(ValueError, message):
      maskers.entries(jnp.ones(3), baseline=background)

  @parameterized.parameters(
    ({'a': (4, 3), 'b': (2,)}, r"background .*\{'a': \(4, 3\), 'b': \(2,\)\}"),
    ({'a': (4, 3), 'b': (3, 2)}, 'background .*as many in every array'),
  )
  def test_a_background_of_trees_unlike_the_example(self, shapes, message):
    background = baselines.Background(
      {k: np.ones(s) for k, s in shapes.items()}
    )
    with self.assertRaisesRegex(ValueError, message):
      maskers.leaves({'a': jnp.ones(3), 'b': jnp.ones(2)}, baseline=background)

  def test_a_background_of_integers_is_not_rounded(self):
    x = jnp.array([3, 5])
    with self.assertRaisesRegex(
      ValueError, 'baseline 0.9 is no value of int32'
    ):
      rows = np.array([[0.9, 0.9], [1.9, 1.9]])
      maskers.entries(x, baseline=baselines.Background(rows))
    masker = maskers.entries(x, baseline=baselines.Background(np.eye(2) * 4))
    hidden = masker.average(jnp.sum, jnp.zeros(2))
    self.assertEqual(hidden, 4)

  def test_true_and_false(self):
    x = jnp.array([True, False, True])
    hide = lambda **settings: maskers.entries(x, **settings).hide(
      jnp.array([1.0, 0, 0])
    )
    np.testing.assert_array_equal(hide(), [True, False, False])
    np.testing.assert_array_equal(hide(baseline=1), [True, True, True])
    np.testing.assert_array_equal(hide(baseline=x), x)
    with self.assertRaisesRegex(ValueError, 'baseline 0.5 is no value of bool'):
      hide(baseline=0.5)


if __name__ == '__main__':
  absltest.main()
