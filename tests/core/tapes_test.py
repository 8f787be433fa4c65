"""Tests for `tapes.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.models import convolutions


def _weights(*shape):
  return jax.random.normal(jax.random.key(sum(shape)), shape) / shape[0] ** 0.5


def _mlp(x):
  h = jax.nn.relu(x @ _weights(6, 8) + 0.1)
  h = jax.nn.gelu(jax.checkpoint(lambda h: h @ _weights(8, 5))(h))
  h = (h - jnp.mean(h)) * jax.lax.rsqrt(jnp.var(h) + 1e-3)
  return jax.nn.log_softmax(jax.nn.softplus(h) / (1 + h**2))[2]


def _cnn(fast, x):
  conv = functools.partial(convolutions.conv, fast=fast)
  h = x.reshape(1, 6, 6, 2)
  h = jax.nn.relu6(conv(h, _weights(3, 3, 2, 4), strides=(2, 1)))
  h = convolutions.max_pool(h, window=(2, 3), strides=(1, 1), fast=fast)
  skip = h
  h = convolutions.depthwise_conv(h, _weights(3, 3, 4), fast=fast)
  h = jnp.concatenate([jax.nn.silu(h), skip], -1)
  h = jax.lax.reduce_window(
    h, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 1, 1, 1), 'VALID'
  )
  return jnp.sum(jnp.mean(h, (1, 2)) ** 2)


def _attention(x):
  tokens = x.reshape(4, 6) @ _weights(6, 8)
  q, k, v = (tokens @ _weights(8, 8 + i)[:, :8] for i in range(3))
  causal = jnp.tril(jnp.ones((4, 4), bool))
  logits = jnp.where(causal, q @ k.T / 8**0.5, -jnp.inf)
  h = tokens + jax.nn.softmax(logits) @ v
  h = (h - jnp.mean(h, -1, keepdims=True)) / jnp.std(h, -1, keepdims=True)
  gate = jax.nn.sigmoid(h @ _weights(8, 16))
  return jnp.sum((gate * jnp.tanh(h @ _weights(8, 16))) @ _weights(16, 1))


def _loops(x):
  def step(c, w):
    return jnp.tanh(w * c), c[0]

  c, ys = jax.lax.scan(step, x, jnp.arange(1.0, 4.0))
  c = jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, c)
  return jnp.sum(c) * jnp.sum(ys)


@jax.custom_vjp
def _cubed(x):
  return x * x * x


_cubed.defvjp(lambda x: (_cubed(x), x), lambda x, r: (3 * x * x * r,))


def _custom(x):
  return jnp.sum(jax.jit(lambda x: _cubed(jax.nn.softplus(x)))(x) * x)


def _whole(x):
  # Integers, comparisons, indices, random keys; a variable twice; two outputs.
  order = jnp.argmax(x)
  noise = jax.random.normal(jax.random.key(0), x.shape, x.dtype)
  top, where = jax.lax.top_k(x, 2)
  a, b = jnp.split(x * x + noise, 2)
  picked = jnp.where(x > 0, x, 0.1 * x)[order] + x[where[0]]
  return picked * a[0] + jnp.sum(top) + jnp.floor(x[1]) * x[2]


_GRADIENT = {
  **tapes.GRADIENT,
  primitives.CONTROL: tapes.vjp,
  'top_k': tapes.vjp,
}

_NETWORKS = {
  'mlp': (_mlp, 6),
  'cnn': (functools.partial(_cnn, False), 72),
  'cnn_fast': (functools.partial(_cnn, True), 72),
  'attention': (_attention, 24),
  'loops': (_loops, 5),
  'custom': (_custom, 4),
  'whole': (_whole, 6),
}


def _example(size, seed=0):
  return jax.random.normal(jax.random.key(seed), (size,))


def _backward(fn, x, rule=None):
  tape = tapes.record(fn, x)
  rule = rule or tapes.by_table(_GRADIENT, 'gradients')
  (out,) = tapes.backward(tape, jnp.ones(()), rule)
  return out


class BackwardTest(parameterized.TestCase):
  @parameterized.named_parameters((n, *v) for n, v in _NETWORKS.items())
  def test_each_equations_vjp_is_the_gradient(self, fn, size):
    x = _example(size)
    want = jax.grad(fn)(x)
    got = jax.jit(functools.partial(_backward, fn))(x)
    scale = np.max(np.abs(want))
    self.assertGreater(scale, 0)
    np.testing.assert_allclose(got / scale, want / scale, atol=1e-6)

  def test_eager_and_vmapped(self):
    xs = jnp.stack([_example(6, seed) for seed in range(3)])
    want = jax.vmap(jax.grad(_mlp))(xs)
    got = jax.vmap(functools.partial(_backward, _mlp))(xs)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
      _backward(_mlp, xs[0]), want[0], rtol=1e-5, atol=1e-6
    )

  def test_weights_may_be_traced(self):
    @jax.jit
    def explain(w, x):
      return _backward(lambda x: jnp.sum(jnp.tanh(w @ x)), x)

    w, x = _weights(4, 3), _example(3)
    want = jax.grad(lambda x: jnp.sum(jnp.tanh(w @ x)))(x)
    np.testing.assert_allclose(explain(w, x), want, atol=1e-6)

  def test_pytrees_of_arguments_and_outputs(self):
    def fn(x, n, y):
      return {'a': x['p'] * y[n], 'b': (y, 3)}

    x = {'p': _example(3), 'q': jnp.ones(2)}
    tape = tapes.record(fn, x, 1, _example(3, 1))
    y = _example(3, 1)
    start = {'a': jnp.array([1.0, 2.0, 3.0]), 'b': (jnp.ones(3), None)}
    dx, dn, dy = tapes.backward(tape, start, tapes.vjp)
    np.testing.assert_allclose(dx['p'], start['a'] * y[1], rtol=1e-6)
    np.testing.assert_array_equal(dx['q'], jnp.zeros(2))
    # An integer has no derivative, and an output may be an input.
    self.assertIsNone(dn)
    want = jnp.ones(3).at[1].add(jnp.vdot(start['a'], x['p']))
    np.testing.assert_allclose(dy, want, rtol=1e-6)

  def test_relevance_may_be_a_pytree(self):
    # Two walks in one: of the sum of all and of the first.
    def rule(equation, inputs, outputs, relevance):
      ((one, two),) = relevance
      return list(
        zip(
          tapes.vjp(equation, inputs, outputs, [one]),
          tapes.vjp(equation, inputs, outputs, [two]),
          strict=True,
        )
      )

    x = _example(3)
    tape = tapes.record(lambda x: jnp.sin(x) + x, x)
    start = [(tape.closed.jaxpr.outvars[0], (jnp.ones(3), jnp.eye(3)[0]))]
    found = tapes.walk(tape, start, rule)[tape.closed.jaxpr.invars[0]]
    np.testing.assert_allclose(found[0], jnp.cos(x) + 1, rtol=1e-6)
    np.testing.assert_allclose(found[1][1:], 0)

  def test_walk_finds_relevance_at_a_tap(self):
    fn = lambda x: jnp.sum(checkpoint_name(jnp.sin(x), 'h') ** 2)
    x = _example(4)
    tape = tapes.record(fn, x)
    (out,) = tape.closed.jaxpr.outvars
    found = tapes.walk(tape, [(out, jnp.ones(()))], tapes.vjp)
    tap = tapes.named(tape, 'h')
    np.testing.assert_allclose(found[tap], 2 * jnp.sin(x), rtol=1e-6)
    with self.assertRaisesRegex(
      ValueError, r"named 'g', found 0; .*\['h'\].*\(h, 'g'\)"
    ):
      tapes.named(tape, 'g')

  def test_guided_rectifier_of_the_docstring(self):
    def rectifier(equation, inputs, outputs, relevance):
      if sum(equation.moving) == 1:
        relevance = [jnp.maximum(relevance[0], 0)]
      return tapes.vjp(equation, inputs, outputs, relevance)

    w, v, u = _weights(9, 5), _weights(8, 9), _weights(8)
    fn = lambda x: jnp.dot(u, jax.nn.relu(v @ jax.nn.relu(w @ x)))
    x = _example(5)
    rule = tapes.by_table({**tapes.GRADIENT, 'max': rectifier}, 'guided maps')
    got = _backward(fn, x, rule)
    h = w @ x
    z = v @ jax.nn.relu(h)
    back = v.T @ jnp.where(z > 0, jnp.maximum(u, 0), 0)
    want = w.T @ jnp.where(h > 0, jnp.maximum(back, 0), 0)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    self.assertGreater(np.max(np.abs(want - jax.grad(fn)(x))), 0.1)

  def test_replay_reads_another_example(self):
    x, other = _example(6), _example(6, 1)
    tape = tapes.record(_mlp, x)
    values = tapes.replay(tape, other)
    (out,) = tape.closed.jaxpr.outvars
    for each, point in ((tape, x), (values, other)):
      np.testing.assert_allclose(each.values[out], _mlp(point), rtol=1e-5)

  def test_kept_functions_are_one_equation(self):
    fn = lambda x: jnp.sum(jax.nn.silu(x) * 2)
    names = lambda **settings: [
      primitives.name(eqn)
      for eqn in tapes.record(fn, _example(3), **settings).closed.jaxpr.eqns
    ]
    self.assertIn('logistic', names())
    self.assertEqual(names(keep=('silu',)), ['silu', 'mul', 'reduce_sum'])

  def test_scans_may_be_written_out(self):
    def fn(x):
      def cell(c, w):
        h, m = c
        i, f, o = (jax.nn.sigmoid(k * h + w) for k in (0.5, 1.0, -1.0))
        m = f * m + i * jnp.tanh(h * w)
        return (o * jnp.tanh(m), m), h

      start = jnp.tanh(x), jnp.zeros(3)
      (h, _), hs = jax.lax.scan(cell, start, jnp.outer(jnp.arange(4.0), x))
      _, back = jax.lax.scan(cell, (h, h), hs, reverse=True)
      return jnp.sum(back * hs)

    x = _example(3)
    rule = tapes.by_table(tapes.GRADIENT, 'gradients')
    tape = tapes.record(fn, x, unroll=4)
    (got,) = tapes.backward(tape, jnp.ones(()), rule)
    want = jax.grad(fn)(x)
    np.testing.assert_allclose(got, want, atol=1e-6 * np.max(np.abs(want)))
    tape = tapes.record(fn, x, unroll=3)
    with self.assertRaisesRegex(
      ValueError, r"'scan' \(control flow\) at .*:\d"
    ):
      tapes.backward(tape, jnp.ones(()), rule)

  def test_constants_may_be_let_through(self):
    fn = lambda x: x + jax.lax.stop_gradient(2 * x)
    x = _example(3)
    rule = lambda equation, inputs, outputs, relevance: (
      relevance
      if equation.eqn.primitive.name == 'stop_gradient'
      else tapes.vjp(equation, inputs, outputs, relevance)
    )
    for constant, want in (((primitives.STEPS,), 1), ((), 3)):
      tape = tapes.record(fn, x, constant=constant)
      (got,) = tapes.backward(tape, jnp.ones(3), rule)
      np.testing.assert_allclose(got, want)

  def test_unknown_is_named(self):
    rule = tapes.by_table(tapes.GRADIENT, 'gradients')
    for fn, message in (
      (
        lambda x: jnp.sum(jnp.sort(x)),
        r"gradients have no rule for the primitive 'sort' \(unknown\) at "
        r'.*tapes_test.py:\d+',
      ),
      (_loops, r"'(cond|scan)' \(control flow\) at .*tapes_test.py:\d+"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        _backward(fn, _example(4), rule)

  def test_wrong_number_of_answers(self):
    with self.assertRaisesRegex(ValueError, "'mul' returned 1 values, .* 2"):
      _backward(lambda x: x * 2, jnp.ones(()), lambda *args: [None])

  def test_wrong_shape_of_an_answer(self):
    # The denominator `[2, 1]` meets every entry of `[2, 3]`.
    fn = lambda x: jnp.sum(x / (x[:, :1] + 9))

    def rule(equation, inputs, outputs, relevance):
      if equation.eqn.primitive.name == 'div':
        return [relevance[0], -relevance[0] * outputs[0] / inputs[1]]
      return tapes.vjp(equation, inputs, outputs, relevance)

    with self.assertRaisesRegex(
      ValueError,
      r"'div' returned shape \(2, 3\) for an input of shape \(2, 1\)",
    ):
      _backward(fn, jnp.ones((2, 3)), rule)


if __name__ == '__main__':
  absltest.main()
