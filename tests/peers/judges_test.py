"""Metrics of faith, place and change against Quantus's, and the curves of PAIR.

All in float64, on the same function, sets, draws and neighbours. Where
definitions differ:
- Quantus's `SensitivityN` is another measure: it removes the best features one
  after the other, and correlates over the examples of a batch.
- Its faithfulness correlation has no standard error. MuFidelity is not there:
  Spearman's correlation of its sets is (`correlation_spearman`).
- Its ROAD counts decisions of a batch and adds noise of numpy; it removes `int`
  of a share where ours rounds, and with several channels ranks entries by an
  index of pixels, so it is compared on one channel, its infilling on three.
- PAIR's curves raise an error where ours are NaN, keep images of 8 bits, take
  all pixels that tie at a quantile, and fill by triangles: its filling is given
  to ours here.
- Quantus's relevance mass counts negative scores as negative mass, so it is
  compared on positive ones. Its pointing game is 1 as soon as one of several
  best pixels is inside.
- Its random logit draws the class by numpy and takes SSIM of the flat map; its
  rank correlation is compared.
- Its relative stability is NaN as soon as one neighbour is decided otherwise,
  where ours leaves that neighbour out; it adds `eps` to a change of zero alone.
- Its entropy adds 1e-12 inside of the logarithm.
"""

import functools
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import quantus
from quantus.functions import perturb_func
from quantus.functions import similarity_func
from saliency.metrics import pic
import torch

from saliency_jax import metrics
from saliency_jax import scores as score_functions
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.gradients import gradient
from saliency_jax.metrics import information
from saliency_jax.solvers import infilling

_NUM = 12
_QUIET = {'disable_warnings': True, 'normalise': False}


def _problem(shape=(2, 6, 5), seed=0, steep=1.0):
  """Returns a torch network of images `[C, H, W]`, ours, and an image."""
  torch.manual_seed(seed)
  size = int(np.prod(shape))
  net = torch.nn.Sequential(
    torch.nn.Flatten(),
    torch.nn.Linear(size, 6),
    torch.nn.Tanh(),
    torch.nn.Linear(6, 4),
  ).double()
  net[1].weight.data *= steep
  # No class is ahead on a grey image.
  net[3].bias.data -= net(torch.full((1, size), 0.5)).detach()[0]
  params = [jnp.asarray(p.detach().numpy()) for p in net.parameters()]
  x = np.random.default_rng(seed).uniform(0.1, 1, size=shape)

  def hidden(params, x):
    flat = jnp.moveaxis(x, -1, 0).ravel()
    return jnp.tanh(params[0] @ flat + params[1])

  def apply(params, x):
    return params[2] @ hidden(params, x) + params[3]

  return net.eval(), apply, params, hidden, x


def _ours(x):
  """Returns an image `[C, H, W]` as `[H, W, C]`."""
  return jnp.asarray(np.moveaxis(np.asarray(x), 0, -1))


def _torch_gradients(model, inputs, targets, **kwargs):
  """Explains as Quantus asks: a batch of gradients of the logits."""
  del kwargs
  inputs = torch.tensor(np.asarray(inputs), requires_grad=True)
  out = model(inputs)[torch.arange(len(inputs)), torch.as_tensor(targets)]
  return torch.autograd.grad(out.sum(), inputs)[0].numpy()


class JudgesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enterContext(jax.enable_x64())
    # Quantus hands torch its default dtype.
    self.addCleanup(torch.set_default_dtype, torch.get_default_dtype())
    torch.set_default_dtype(torch.float64)

  def test_faithfulness_correlation_is_quantuss(self):
    net, apply, params, _, x = _problem()
    m = np.random.default_rng(1).normal(size=x.shape)
    key, size = jax.random.key(2), 7
    drawn = []
    for i in range(_NUM):
      order = jax.random.permutation(
        sampling.draw_key(key, i), jnp.arange(x.size, dtype=jnp.int32)
      )
      # In the order of `[C, H, W]`.
      hidden = np.asarray(order < size).reshape(6, 5, 2)
      drawn.append(np.flatnonzero(np.moveaxis(hidden, -1, 0)))
    with mock.patch.object(np.random, 'choice', side_effect=drawn):
      want = quantus.FaithfulnessCorrelation(
        nr_runs=_NUM,
        subset_size=size,
        perturb_baseline='black',
        return_aggregate=False,
        abs=False,
        **_QUIET,
      )(
        model=net,
        x_batch=x[None],
        y_batch=np.array([2]),
        a_batch=m[None],
        device='cpu',
        softmax=False,
      )
    got = metrics.faithfulness_correlation(
      score_functions.logit(apply, params, 2),
      _ours(x),
      _ours(m),
      key=key,
      share=size / x.size,
      baseline=x.min(),  # Quantus's black.
      num_samples=_NUM,
    )
    np.testing.assert_allclose(got.correlation, want[0], atol=1e-6)

  def test_mu_fidelity_is_spearmans(self):
    _, apply, params, _, x = _problem()
    m = np.random.default_rng(1).normal(size=x.shape)
    got = metrics.mu_fidelity(
      score_functions.logit(apply, params, 2),
      _ours(x),
      _ours(m),
      key=jax.random.key(2),
      cells=3,
      num_samples=_NUM,
    )
    want = similarity_func.correlation_spearman(
      np.asarray(got.sums), np.asarray(got.falls)
    )
    np.testing.assert_allclose(got.correlation, want, atol=1e-12)

  @parameterized.parameters(0.1, 0.5, 0.9)
  def test_infilling_is_roads(self, share):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(3, 14, 11))
    indices = rng.permutation(14 * 11)[: int(share * 14 * 11)]
    want = perturb_func.noisy_linear_imputation(x, indices, noise=0)
    known = np.ones(14 * 11)
    known[indices] = 0
    got = infilling.infill(
      _ours(x), jnp.asarray(known.reshape(14, 11)), num_steps=60
    )
    np.testing.assert_allclose(got.value, _ours(want), atol=1e-10)

  def test_road_is_quantuss(self):
    net, apply, params, _, x = _problem((1, 8, 10), seed=3, steep=8.0)
    m = np.random.default_rng(1).normal(size=(8, 1, 8, 10))
    shares = [10, 20, 30, 40, 50, 70, 90]  # Of 80 pixels: whole numbers.
    xs = np.random.default_rng(2).uniform(size=m.shape)
    labels = net(torch.tensor(xs)).argmax(-1).numpy()
    want = quantus.ROAD(
      percentages=shares,
      noise=0,
      abs=False,
      **_QUIET,
    )(model=net, x_batch=xs, y_batch=labels, a_batch=m, device='cpu')
    measure = lambda x, m, label: metrics.road(
      functools.partial(apply, params),
      x,
      m,
      key=jax.random.key(0),
      label=label,
      fractions=jnp.asarray(shares) / 100,
      noise=0,
      num_steps=40,
    )
    got = jax.jit(jax.vmap(measure))(
      jnp.moveaxis(jnp.asarray(xs), 1, -1),
      jnp.moveaxis(jnp.asarray(m), 1, -1),
      jnp.asarray(labels),
    )
    curve = np.mean(got.right_best_first, 0)
    np.testing.assert_allclose(curve, list(want.values()), atol=1e-12)
    self.assertGreater(np.ptp(curve), 0)
    self.assertLess(np.max(got.residual), 1e-9)

  @parameterized.parameters('sic', 'aic')
  def test_information_curves_are_pairs(self, which):
    _, apply, params, _, _ = _problem((3, 20, 20))
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)
    image[5:15, 4:16] //= 4
    m = rng.normal(size=(20, 20))
    key, shares = jax.random.key(1), (0.05, 0.1, 0.25, 0.5, 0.75)
    order = jax.random.permutation(
      sampling.draw_key(key, 1), jnp.arange(400, dtype=jnp.int32)
    )
    seeds = np.asarray(order < 40).reshape(20, 20)
    whole = jnp.asarray(image / 255)
    blurred = jnp.asarray(pic.create_blurred_image(image, seeds) / 255)
    # Of two classes, decided where a third of the way is gone.
    logit_fn = lambda x: apply(params, x)[0]
    way = logit_fn(whole) - logit_fn(blurred)
    part = lambda x: (logit_fn(x) - logit_fn(blurred)) / way
    decide = lambda x: jnp.stack([5 * (part(x) - 1 / 3), 0 * part(x)])
    label = 0

    def predict(images):
      logits = np.stack([decide(jnp.asarray(i / 255)) for i in images])
      if which == 'aic':
        return (logits.argmax(-1) == label).astype(float)
      return np.asarray(jax.nn.softmax(jnp.asarray(logits), -1))[:, label]

    with mock.patch.object(np, 'trapz', np.trapezoid, create=True):
      want = pic.compute_pic_metric(
        image,
        m,
        seeds,
        predict,
        shares,
        min_pred_value=0,
        num_data_points=100,
      )

    def fill(x, known):
      del x
      blur = lambda known: (
        pic.create_blurred_image(image, np.asarray(known) > 0) / 255
      )
      like = jax.ShapeDtypeStruct(image.shape, np.float64)
      return jax.pure_callback(blur, like, known, vmap_method='sequential')

    got = metrics.information_curves(
      decide,
      whole,
      jnp.asarray(m)[..., None],
      key=key,
      label=label,
      shares=shares,
      start=0.1,
      fill=fill,
      entropy=information.webp,
    )
    curve = got.softmax_curve if which == 'sic' else got.accuracy_curve
    np.testing.assert_allclose(got.information, want.curve_x, atol=1e-12)
    np.testing.assert_allclose(curve, want.curve_y, atol=1e-9)
    np.testing.assert_allclose(getattr(got, which), want.auc, atol=1e-9)
    self.assertBetween(want.auc, 0.05, 0.98)

  def test_localization_is_quantuss(self):
    rng = np.random.default_rng(0)
    m = rng.uniform(size=(1, 1, 9, 8))
    region = np.zeros((1, 1, 9, 8))
    region[:, :, 2:6, 1:5] = 1
    given = {
      'model': None,
      'x_batch': m,
      'y_batch': np.zeros(1, int),
      's_batch': region,
      'device': 'cpu',
    }
    got = metrics.localization(_ours(m[0]), jnp.asarray(region[0, 0]))._asdict()
    for name, judge in (
      ('mass', quantus.RelevanceMassAccuracy),
      ('rank', quantus.RelevanceRankAccuracy),
      ('hit', quantus.PointingGame),
    ):
      want = judge(abs=False, **_QUIET)(a_batch=m.copy(), **given)
      np.testing.assert_allclose(got[name], want[0], atol=1e-12)

  def test_entropy_is_quantuss(self):
    m = np.random.default_rng(0).normal(size=(1, 1, 9, 8)) ** 3
    want = quantus.Complexity(abs=True, **_QUIET)(
      model=None,
      x_batch=m,
      y_batch=np.zeros(1, int),
      a_batch=m.copy(),
      device='cpu',
    )
    np.testing.assert_allclose(
      metrics.entropy(jnp.asarray(m)), want[0], atol=1e-9
    )

  def test_random_logit_is_quantuss(self):
    net, apply, params, _, x = _problem((1, 8, 9))
    label = 2
    got = metrics.random_logit(
      gradient.gradient,
      apply,
      params,
      _ours(x),
      key=jax.random.key(0),
      label=label,
    )
    # Among the classes but the explained one, as Quantus counts.
    (other,) = got.labels.tolist()
    place = np.array([other - (other > label)])
    with mock.patch.object(np.random, 'randint', return_value=place):
      want = quantus.RandomLogit(
        similarity_func=_batched_spearman, num_classes=4, abs=False, **_QUIET
      )(
        model=net,
        x_batch=x[None],
        y_batch=np.array([label]),
        explain_func=_torch_gradients,
        device='cpu',
      )
    np.testing.assert_allclose(
      got.likeness.rank_correlation[0], want[0], atol=1e-12
    )

  @parameterized.parameters('ris', 'ros', 'rrs')
  def test_relative_stability_is_quantuss(self, which):
    net, apply, params, hidden, x = _problem((1, 6, 5))
    key, radius = jax.random.key(0), 0.02
    moved = [
      x
      + radius
      * np.moveaxis(
        sampling.uniform(sampling.draw_key(key, i + 1), _ours(x), low=-1), -1, 0
      )
      for i in range(_NUM)
    ]
    draws = iter(moved)
    judge, settings = {
      'ris': (quantus.RelativeInputStability, {}),
      'ros': (quantus.RelativeOutputStability, {}),
      'rrs': (quantus.RelativeRepresentationStability, {'layer_names': ['2']}),
    }[which]
    label = int(net(torch.tensor(x[None])).argmax())
    want = judge(
      nr_samples=_NUM,
      abs=False,
      perturb_func=lambda arr, **kwargs: next(draws).reshape(1, -1),
      **settings,
      **_QUIET,
    )(
      model=net,
      x_batch=x[None],
      y_batch=np.array([label]),
      explain_func=_torch_gradients,
      device='cpu',
      softmax=False,
    )
    fn = score_functions.logit(apply, params, label)
    got = metrics.relative_stability(
      fn,
      _ours(x),
      gradient.gradient(fn, _ours(x)).scores,
      logits_fn=functools.partial(apply, params),
      method=lambda fn, x, *, key: types.Attribution(
        gradient.gradient(fn, x).scores
      ),
      key=key,
      layer_fn=functools.partial(hidden, params),
      radius=radius,
      num_samples=_NUM,
    )
    self.assertEqual(got.same, _NUM)
    np.testing.assert_allclose(getattr(got, which), want[0], rtol=1e-9)


def _batched_spearman(a, b, batched):
  del batched
  return [
    similarity_func.correlation_spearman(*pair)
    for pair in zip(a, b, strict=True)
  ]


if __name__ == '__main__':
  absltest.main()
