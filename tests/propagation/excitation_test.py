"""Tests for `excitation.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from saliency_jax import scores
from saliency_jax import transforms
from saliency_jax.models import convolutions
from saliency_jax.propagation import excitation
from tests import equivalence
from tests import networks


def _draw(*shape, seed=0):
  return np.random.default_rng([seed, *shape]).normal(size=shape)


def _positive(*shape, seed=0):
  return np.abs(_draw(*shape, seed=seed))


def _win(w, a, p):
  """Hands winning probabilities from outputs to inputs, one at a time."""
  given = np.zeros_like(a)
  for z in range(len(p)):
    shares = a * np.maximum(w[z], 0)
    if shares.sum() > 0:
      given += p[z] * shares / shares.sum()
  return given


_W, _U, _V = _draw(9, 6), _draw(7, 9), _draw(3, 7)


def _mlp(x, label=1):
  h = checkpoint_name(jax.nn.relu(_W @ x + 1), 'h')
  return (_V @ jax.nn.relu(_U @ h + 2) + 0.3)[label]


def _mlp_by_hand(x, w_last):
  h = np.maximum(_W @ x + 1, 0)
  g = np.maximum(_U @ h + 2, 0)
  at_h = _win(_U, h, _win(w_last[None, 1], g, np.ones(1)))
  return at_h, _win(_W, x, at_h)


def _cnn(x, fast=True):
  conv = functools.partial(convolutions.conv, fast=fast)
  h = (x[None] - 0.3) * 2
  h = jax.nn.relu6(conv(h, jnp.asarray(_draw(3, 3, 2, 4)), strides=(2, 1)))
  h = convolutions.max_pool(h, window=(2, 2), strides=(1, 1), fast=fast)
  skip = checkpoint_name(h, 'features')
  h = convolutions.depthwise_conv(skip, jnp.asarray(_draw(3, 3, 4)), fast=fast)
  h = jax.nn.relu(skip + h)
  return jnp.mean(conv(h, jnp.asarray(_positive(1, 1, 4, 3))), (1, 2))[0, 1]


class ExcitationTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64())

  def test_as_the_paper_writes_it(self):
    x = _positive(6)
    at_h, at_x = _mlp_by_hand(x, _V)
    explain = equivalence.compiled(excitation.excitation_backprop)
    for at, want in (('h', at_h), (None, at_x)):
      out = explain(_mlp, x, at=at)
      np.testing.assert_allclose(out.scores, want, atol=1e-12)
      np.testing.assert_allclose(out.info.kept, 1)
      np.testing.assert_allclose(out.info.lost, 0, atol=1e-12)
      np.testing.assert_allclose(out.info.score, _mlp(x))
    against, _ = _mlp_by_hand(x, -_V)
    out = explain(_mlp, x, at='h', contrastive=True)
    np.testing.assert_allclose(out.scores, at_h - against, atol=1e-12)
    np.testing.assert_allclose(out.info.negated, 1)

  def test_what_nothing_excites_is_lost(self):
    w = np.array([[1.0, 2, -1], [-1, -1, -1]])
    # The second unit is on by its bias alone.
    fn = lambda x: jnp.sum(jax.nn.relu(w @ x + np.array([0.0, 9])))
    scores, info = excitation.excitation_backprop(fn, np.array([2.0, 1, 1]))
    z = np.array([3.0, 5])
    np.testing.assert_allclose(scores, 3 / 8 * np.array([0.5, 0.5, 0]))
    np.testing.assert_allclose(info.kept, z[0] / z.sum())
    np.testing.assert_allclose(info.lost, z[1] / z.sum())

  def test_negative_inputs_do_not_win(self):
    out = excitation.excitation_backprop(
      lambda x: jnp.sum(x * np.array([1.0, 1, -1])), np.array([1.0, -2, 3])
    )
    np.testing.assert_allclose(out.scores, [1, 0, 0])

  def test_one_input_wins_whatever_its_sign(self):
    x, r = np.array([-1.0, 2, -3]), np.array([2.0, 1, -1])
    # A logit of a traced class is scaled too: it is NaN for no class.
    fn = lambda x, i: scores.logit(lambda p, x: p @ x, _draw(4, 3), i)(x)
    explain = jax.jit(
      lambda x, i: excitation.excitation_backprop(lambda x: fn(x, i), x)
    )
    for i in range(4):
      want = _win(_draw(4, 3)[[i]], np.maximum(x, 0), np.ones(1))
      np.testing.assert_allclose(explain(x, i).scores, want, atol=1e-12)
    out = excitation.excitation_backprop(lambda x: jnp.max(r * x + 9), x)
    np.testing.assert_allclose(out.scores, [0, 0, 0])
    np.testing.assert_allclose(out.info.lost, 1)
    out = excitation.excitation_backprop(lambda x: jnp.min(r * x + 9), x)
    np.testing.assert_allclose(out.scores, [1, 0, 0])

  def test_skips_share_by_value_and_may_go_around_a_tap(self):
    def fn(x):
      h = checkpoint_name(jax.nn.relu(2 * x), 'h')
      return jnp.sum(h + x)

    x = np.array([1.0, 2, 5])
    explain = functools.partial(excitation.excitation_backprop, fn, x)
    np.testing.assert_allclose(explain().scores, x / 8)
    scores, info = explain(at='h')
    np.testing.assert_allclose(scores, 2 / 3 * x / 8)
    np.testing.assert_allclose(info.around, 1 / 3)
    np.testing.assert_allclose(info.lost, 0, atol=1e-12)

  @parameterized.parameters(False, True)
  def test_average_pool_of_a_class_map(self, contrastive):
    a, w = _positive(5, 3), _draw(3, 2)
    fn = lambda a: jnp.mean(a @ w, 0)[1]

    def by_hand(w):
      maps = (a @ w)[:, 1]
      one = lambda i, p: _win(w.T[1:], a[i], np.array([p]))
      by_map = np.maximum(maps, 0) / np.maximum(maps, 0).sum()
      excited = a * np.maximum(w[:, 1], 0)
      return {
        'class_map': np.stack([one(i, p) for i, p in enumerate(by_map)]),
        'activations': excited / excited.sum(),
      }

    for prior, want in by_hand(w).items():
      out = excitation.excitation_backprop(
        fn, a, prior=prior, contrastive=contrastive
      )
      if contrastive:
        want = want - by_hand(-w)[prior]
      np.testing.assert_allclose(out.scores, want, atol=1e-12)

  def test_convolutions_agree_and_conserve(self):
    x = _positive(8, 6, 2, seed=1)
    explain = equivalence.compiled(excitation.excitation_backprop)
    want = explain(_cnn, x)
    got = explain(functools.partial(_cnn, fast=False), x)
    np.testing.assert_allclose(got.scores, want.scores, atol=1e-12)
    self.assertGreater(want.info.kept, 0.5)
    self.assertGreaterEqual(np.min(want.scores), 0)
    np.testing.assert_allclose(want.info.kept + want.info.lost, 1)
    at_tap = explain(_cnn, x, at='features')
    self.assertGreaterEqual(at_tap.info.kept, want.info.kept)

  def test_factors_share_alike(self):
    """A gate and what it opens have half each; a mixture, by its products."""
    w, u = _positive(4, 6), _draw(4, 6)
    x = _positive(6)

    def gated(x):
      return jnp.sum((w @ x) * jax.nn.sigmoid(u @ x))

    out = excitation.excitation_backprop(gated, x)
    value, gate = w @ x, 1 / (1 + np.exp(-(u @ x)))
    p = value * gate / np.sum(value * gate) / 2
    want = _win(w, x, p) + _win(u, x, p)
    np.testing.assert_allclose(out.scores, want, rtol=1e-5)
    np.testing.assert_allclose(out.info.kept, 1, rtol=1e-5)

    # By each product of the mixture, written out.
    h = x.reshape(2, 3) @ w[:3, :2]
    z = h @ x[:2]
    fn = lambda x: jnp.sum(jax.nn.relu(x.reshape(2, 3) @ w[:3, :2]) @ x[:2])
    out = excitation.excitation_backprop(fn, x)
    products = h * x[:2] / np.sum(z) / 2
    given = np.zeros((2, 3))
    for i, j in np.ndindex(2, 2):
      shares = x.reshape(2, 3)[i] * w[:3, j]
      given[i] += products[i, j] * shares / shares.sum()
    want = given.ravel()
    want[:2] += products.sum(0)
    np.testing.assert_allclose(out.scores, want, rtol=1e-5)

  def test_squeezenet_conserves(self):
    # Exactly, in all its layers, as no unit is on by its bias alone.
    model = networks.shrunk('squeezenet')
    x = np.random.default_rng(0).uniform(size=model.spec.input_shape)
    x = x.astype(np.float32)

    @jax.jit
    def explain(params, x):
      fn = scores.max_logit(model.apply, params)
      method = excitation.excitation_backprop
      image = transforms.to_image(
        functools.partial(method, contrastive=True, at='features')
      )
      return method(fn, x), image(fn, x)

    out, image = explain(model.params, x)
    np.testing.assert_allclose(out.info.kept, 1, atol=1e-5)
    np.testing.assert_allclose(np.sum(out.scores), out.info.kept, atol=1e-5)
    self.assertEqual(image.scores.shape, (64, 64, 1))
    np.testing.assert_allclose(image.info.negated, 1, atol=1e-5)

  def test_refused(self):
    explain = functools.partial(excitation.excitation_backprop, x=np.ones(3))
    with self.assertRaisesRegex(ValueError, "or 'activations', got 'mean'"):
      explain(jnp.sum, prior='mean')
    with self.assertRaisesRegex(
      ValueError,
      r"winning probabilities have no rule .*'softmax'.*_test.py:.*a logit",
    ):
      explain(lambda x: jax.nn.softmax(x)[0])
    with self.assertRaisesRegex(
      ValueError, r"'div' \(quotients\) at .*_test.py.*norms of one example"
    ):
      explain(lambda x: jnp.sum(x / x[:1]))
    with self.assertRaisesRegex(ValueError, 'found no sum of products'):
      explain(jnp.max, contrastive=True)


class EquivalenceTest(parameterized.TestCase):
  @parameterized.parameters(dict(), dict(contrastive=True, prior='activations'))
  def test_equivalence(self, **settings):
    method = functools.partial(excitation.excitation_backprop, **settings)
    equivalence.check(self, method, dtypes=equivalence.ALL_DTYPES)


if __name__ == '__main__':
  absltest.main()
