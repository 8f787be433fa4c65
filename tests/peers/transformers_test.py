"""LRP of transformers: against another form of the rules, and autoLRP's.

With no epsilon the rules of LRP are gradient x input of a network in which some
parts are held fast (Ali et al., 2022): an activation is its input times a
constant, a norm divides by one, and of two factors each gets half of its
gradient. So is the reference here, in torch, of MiniLM and of a vision
transformer, whose weights are both networks' own.

`README.md` in this folder says where autoLRP differs. It takes other rules in
the place of its own, and runs them on the graph of transformers' own
`BertModel`: with signed ones its map is ours.
"""

import functools
from unittest import mock
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from saliency_jax import models
from saliency_jax import scores
from saliency_jax import transforms
from saliency_jax.models import heads
from saliency_jax.models import text
from saliency_jax.propagation import attention
from saliency_jax.propagation import composites
from saliency_jax.propagation import lrp

with warnings.catch_warnings():
  warnings.simplefilter('ignore')
  import autolrp

_LINE, _OTHER = 'My puppies eat unbelievably much.', 'I like dogs.'
_COMPOSITES = {
  'epsilon': composites.epsilon,
  'attn_lrp': attention.attn_lrp,
  'cp_lrp': attention.cp_lrp,
}


def _half(a):
  return (a + a.detach()) / 2


def _passed(f, a):
  return a * (f(a) / a).detach()


def _dense(p, h):
  return h @ p['kernel'] + p['bias']


def _divided(h, square, which):
  """Divides by the root of a sum of squares."""
  if which != 'epsilon':
    return h / torch.sqrt(square).detach()
  return _half(h) * _half(_passed(torch.rsqrt, square))


def _norm(p, h, epsilon, which):
  h = h - h.mean(-1, keepdim=True)
  variance = _passed(torch.square, h).mean(-1, keepdim=True)
  return _divided(h, variance + epsilon, which) * p['scale'] + p['bias']


def _attention(p, h, num_heads, which):
  apart = lambda a: a.reshape(len(h), num_heads, -1).transpose(0, 1)
  q, k, v = (apart(_dense(p[part], h)) for part in ('query', 'key', 'value'))
  logits = _half(q) @ _half(k).transpose(1, 2) / q.shape[-1] ** 0.5
  weights = torch.softmax(logits, -1)
  if which == 'cp_lrp':
    mixed = weights.detach() @ v
  else:
    mixed = _half(weights) @ _half(v)
  return _dense(p['out'], mixed.transpose(0, 1).reshape(h.shape))


def _minilm(params, h, which):
  """Maps what the table of words holds to a similarity."""
  p, head = params['network'], params['head']['kernel'][:, 0]
  places = p['positions']['embedding'][: len(h)] + p['kinds']['embedding'][:1]
  h = _norm(p['norm'], h + places, 1e-12, which)
  gelu = torch.nn.functional.gelu
  for i in range(6):
    b = p['blocks'][i]
    h = h + _attention(b['attention'], h, 12, which)
    h = _norm(b['attention_norm'], h, 1e-12, which)
    h = h + _dense(b['down'], _passed(gelu, _dense(b['up'], h)))
    h = _norm(b['norm'], h, 1e-12, which)
  mean = h.mean(0)
  return _divided(mean, (_half(mean) * _half(mean)).sum(), which) @ head


def _vit(p, x, which):
  """Maps a digit to the logit of its class."""
  gelu = functools.partial(torch.nn.functional.gelu, approximate='tanh')
  x = ((x - 0.1307) / 0.3081).reshape(4, 7, 4, 7)
  h = _dense(p['patches'], x.transpose(1, 2).reshape(16, 49))
  h = h + p['places']['embedding']
  for i in range(2):
    b = p['blocks'][i]
    a = _norm(b['attention_norm'], h, 1e-6, which)
    h = h + _attention(b['attention'], a, 4, which)
    a = _norm(b['norm'], h, 1e-6, which)
    h = h + _dense(b['down'], _passed(gelu, _dense(b['up'], a)))
  h = _norm(p['norm'], h, 1e-6, which)
  return _dense(p['head'], h.mean(0))[3]


@functools.cache
def _sentences():
  """MiniLM, its similarity with a sentence for logit."""
  return heads.similarity(
    models.load('minilm', dtype=jnp.float64), text.read(_OTHER).ids
  )


@functools.cache
def _digits():
  """A vision transformer whose biases are not zero."""
  model = models.create('vit_digits', key=jax.random.key(0))
  rng = np.random.default_rng(0)
  noisy = lambda a: np.asarray(a) + rng.normal(size=a.shape) / 10
  return model._replace(params=jax.tree.map(noisy, model.params))


def _reference(fn, params, x, which):
  x = torch.tensor(np.asarray(x)).requires_grad_()
  params = jax.tree.map(lambda a: torch.tensor(np.asarray(a)), params)
  score = fn(params, x, which)
  score.backward()
  return score.item(), (x * x.grad).detach().numpy()


def _signed(a, b, r, eps, *_, attribute='both'):
  del eps
  z = a + b
  return {
    'lhs': (r, None), 'rhs': (None, r), 'both': (a * r / z, b * r / z)
  }[attribute]  # fmt: skip


def _signed_difference(a, b, r, eps, *rest, **settings):
  return _signed(a, -b, r, eps, *rest, **settings)


def _signed_mean(x, y, r, eps, *, dim=None, keepdim=False, **_):
  del y, eps
  dims = (dim,) if isinstance(dim, int) else dim
  dims = tuple((d - (1 << 64) if d >= 1 << 63 else d) for d in dims)
  if not keepdim:
    r = r.unsqueeze(dims[0])
  return x / x.sum(dims, keepdim=True) * r


def _signed_norm(x, y, r, eps, *, weight, bias, mean, rstd, **_):
  y = (x - mean) * rstd * weight + bias
  back = r / y * weight * rstd
  return x * (back - back.mean(-1, keepdim=True))


def _signed_bias(r, z, bias, eps):
  return r if bias is None else r * z / (z + bias)


def _cosine(a, b):
  return np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)


class TransformersTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64())

  def _lrp(self, which, explain=lrp.lrp):
    composite = functools.partial(_COMPOSITES[which], epsilon=0.0)
    return functools.partial(explain, composite=composite)

  def _assert_same(self, got, want):
    self.assertGreater(_cosine(got, want), 0.9999)
    scale = np.max(np.abs(want))
    self.assertGreater(scale, 0)
    np.testing.assert_allclose(got / scale, want / scale, atol=1e-6)

  @parameterized.parameters(*_COMPOSITES)
  def test_minilm(self, which):
    model, ids = _sentences(), text.read(_LINE).ids
    method = transforms.at_tap(self._lrp(which), 'embeddings')
    explain = jax.jit(
      lambda params, ids: method(scores.logit(model.apply, params, 0), ids)
    )
    out = explain(model.params, ids)
    table = model.params['network']['words']['embedding']
    score, want = _reference(_minilm, model.params, table[ids], which)
    np.testing.assert_allclose(out.info.score, score, rtol=1e-9)
    self.assertLess(out.info.conservation_error, 1e-9 * abs(score))
    self._assert_same(np.asarray(out.scores), want)

  @parameterized.parameters(*_COMPOSITES)
  def test_vit(self, which):
    model = _digits()
    x = np.random.default_rng(1).random((28, 28, 1))
    fn = scores.logit(model.apply, model.params, 3)
    out = jax.jit(functools.partial(self._lrp(which), fn))(x)
    score, want = _reference(_vit, model.params, x, which)
    np.testing.assert_allclose(out.info.score, score, rtol=1e-9)
    self.assertLess(out.info.conservation_error, 1e-9 * abs(score))
    self._assert_same(np.asarray(out.scores), want)

  @parameterized.parameters(
    ('attn_lrp', autolrp.ATTNLRP), ('cp_lrp', autolrp.CPLRP)
  )
  def test_autolrp_of_their_bert(self, which, changes):
    model, ids = _sentences(), text.read(_LINE).ids
    kernel = np.asarray(model.params['head']['kernel'])
    net = transformers.BertModel.from_pretrained(
      models.weights_path('minilm').parent,
      add_pooling_layer=False,
      local_files_only=True,
      attn_implementation='eager',
    )
    net = net.double().eval()
    words = net.embeddings.word_embeddings(torch.tensor(ids).long()).detach()

    def theirs(changes):
      x = autolrp.tensor(words[None])
      mean = net(inputs_embeds=x).last_hidden_state.mean(1)
      score = (mean @ torch.tensor(kernel))[0, 0] / mean.norm().item()
      rule = {**autolrp.BASE, **changes}
      score.lrp(config=autolrp.LRPConfig(rule=rule, eps=1e-30))
      return x.relevance[0].numpy() * score.item()

    signed = {
      **autolrp.on(autolrp.ADD_NODES, _signed),
      **autolrp.on(autolrp.LAYERNORM_NODES, _signed_norm),
      **autolrp.on(autolrp.REDUCTION_NODES, _signed_mean),
    }
    with mock.patch('autolrp.backward.install.apply_bias_split', _signed_bias):
      want = theirs({**changes, **signed})
    params = jax.tree.map(jnp.asarray, model.params)
    table = params['network']['words']['embedding']
    _, reference = _reference(_minilm, params, table[ids], which)
    self._assert_same(want, reference)
    # By absolute values it is another map.
    self.assertLess(_cosine(theirs(changes), reference), 0.9)


if __name__ == '__main__':
  absltest.main()
