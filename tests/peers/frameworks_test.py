"""One network in nnx, linen, Equinox, haiku, Keras and plain code: one map.

Equinox, haiku and Keras are of the extra `peers`.
"""

import functools
import importlib.util
import os
import pathlib
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from flax import linen
from flax import nnx
import jax
from jax import ad_checkpoint
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import models
from saliency_jax import scores
from saliency_jax import taps
from saliency_jax import transforms

# Keras reads it as it is first imported.
os.environ.setdefault('KERAS_BACKEND', 'jax')

_RNG = np.random.default_rng(0)


def _draw(*shape):
  return jnp.asarray(_RNG.normal(size=shape), jnp.float32)


_KERNEL, _BIAS = _draw(3, 3, 3, 4), _draw(4)
_SCALE, _OFFSET, _MEAN, _VAR = _draw(4), _draw(4), _draw(4), _draw(4) ** 2
_DENSE = _draw(4, 3)
_IMAGE = jnp.asarray(_RNG.random((8, 8, 3)), jnp.float32)
_FIRST, _SECOND = _draw(5, 6), _draw(6, 3)
_ROW = _draw(5)
_SPEC = models.Spec('mine', (8, 8, 3))
_ROWS = models.Spec('rows', (5,))
_METHODS = {
  'gradient': saliency_jax.gradient,
  'integrated_gradients': functools.partial(
    saliency_jax.integrated_gradients, num_steps=4
  ),
  'guided_backprop': saliency_jax.guided_backprop,
  'deconvnet': saliency_jax.deconvnet,
  'lrp': saliency_jax.lrp,
  'deeplift': saliency_jax.deeplift,
  'excitation_backprop': saliency_jax.excitation_backprop,
}


def _plain(_, x):
  """A convolution, a batch norm, a max-pool, a mean and a dense layer."""
  h = jax.lax.conv_general_dilated(
    x[None],
    _KERNEL,
    (1, 1),
    'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  h = (h + _BIAS[None, None, None] - _MEAN[None, None, None]) / jnp.sqrt(
    _VAR[None, None, None] + np.float32(1e-3)
  )
  h = h * _SCALE[None, None, None] + _OFFSET[None, None, None]
  h = ad_checkpoint.checkpoint_name(jnp.maximum(h, 0)[0], 'features')
  # Not `jnp.max` over pairs, whose gradient XLA miscompiles at level 0.
  h = jax.lax.reduce_window(
    h, -jnp.inf, jax.lax.max, (2, 2, 1), (2, 2, 1), 'VALID'
  )
  return jnp.mean(h, (0, 1)) @ _DENSE + 0.2


def _plain_rows(_, x):
  return jnp.maximum(x @ _FIRST + 0.1, 0) @ _SECOND


class _Nnx(nnx.Module):
  def __init__(self, rngs):
    self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
    self.norm = nnx.BatchNorm(4, epsilon=1e-3, rngs=rngs)
    self.act = nnx.Sequential(nnx.relu)
    self.drop = nnx.Dropout(0.5, rngs=rngs)
    self.dense = nnx.Linear(4, 3, rngs=rngs)

  def __call__(self, x):
    h = self.act(self.norm(self.conv(x)))
    h = nnx.max_pool(h, (2, 2), (2, 2)).mean((1, 2))
    return self.dense(self.drop(h))


def _nnx():
  module = _Nnx(nnx.Rngs(0))
  for variable, value in (
    (module.conv.kernel, _KERNEL),
    (module.conv.bias, _BIAS),
    (module.norm.scale, _SCALE),
    (module.norm.bias, _OFFSET),
    (module.norm.mean, _MEAN),
    (module.norm.var, _VAR),
    (module.dense.kernel, _DENSE),
    (module.dense.bias, jnp.full(3, 0.2)),
  ):
    variable.set_value(value)
  state = lambda: nnx.to_pure_dict(nnx.state(module.norm))
  return module, 'act', models.from_nnx, state


def _nnx_rows():
  first = nnx.Linear(5, 6, rngs=nnx.Rngs(0))
  second = nnx.Linear(6, 3, use_bias=False, rngs=nnx.Rngs(0))
  first.kernel.set_value(_FIRST)
  first.bias.set_value(jnp.full(6, 0.1))
  second.kernel.set_value(_SECOND)
  return models.from_nnx(nnx.Sequential(first, nnx.relu, second), _ROWS)


class _Linen(linen.Module):
  @linen.compact
  def __call__(self, x, train):
    h = linen.Conv(4, (3, 3), name='conv')(x)
    h = linen.BatchNorm(not train, epsilon=1e-3, name='norm')(h)
    h = linen.Sequential([linen.relu], name='act')(h)
    h = linen.max_pool(h, (2, 2), (2, 2)).mean((1, 2))
    h = linen.Dropout(0.5)(h, deterministic=not train)
    return linen.Dense(3, name='dense')(h)


def _linen():
  variables = {
    'params': {
      'conv': {'kernel': _KERNEL, 'bias': _BIAS},
      'norm': {'scale': _SCALE, 'bias': _OFFSET},
      'dense': {'kernel': _DENSE, 'bias': jnp.full(3, 0.2)},
    },
    'batch_stats': {'norm': {'mean': _MEAN, 'var': _VAR}},
  }
  wrap = lambda module, spec: models.from_linen(
    module, variables, spec, train=False
  )
  return _Linen(), 'act', wrap, lambda: variables


def _linen_rows():
  variables = {
    'params': {
      'layers_0': {'kernel': _FIRST, 'bias': jnp.full(6, 0.1)},
      'layers_2': {'kernel': _SECOND},
    }
  }
  module = linen.Sequential(
    [linen.Dense(6), linen.relu, linen.Dense(3, use_bias=False)]
  )
  return models.from_linen(module, variables, _ROWS)


def _equinox_class():
  import equinox

  class Net(equinox.Module):
    conv: equinox.nn.Conv2d
    norm: equinox.nn.BatchNorm
    act: equinox.nn.Lambda
    drop: equinox.nn.Dropout
    dense: equinox.nn.Linear

    def __init__(self, key):
      first, second = jax.random.split(key)
      self.conv = equinox.nn.Conv2d(3, 4, 3, padding='SAME', key=first)
      self.norm = equinox.nn.BatchNorm(4, 'batch', eps=1e-3, mode='ema')
      self.act = equinox.nn.Lambda(jax.nn.relu)
      self.drop = equinox.nn.Dropout(0.5)
      self.dense = equinox.nn.Linear(4, 3, key=second)

    def __call__(self, x, state, *, key):
      h, state = self.norm(self.conv(x), state)
      h = equinox.nn.MaxPool2d(2, 2)(self.act(h)).mean((1, 2))
      return self.dense(self.drop(h, key=key)), state

  return Net


def _equinox():
  import equinox

  module, state = equinox.nn.make_with_state(_equinox_class())(
    jax.random.key(0)
  )
  module = equinox.tree_at(
    lambda m: (
      m.conv.weight,
      m.conv.bias,
      m.norm.weight,
      m.norm.bias,
      m.dense.weight,
      m.dense.bias,
    ),
    module,
    (
      _KERNEL.transpose(3, 2, 0, 1),
      _BIAS[:, None, None],
      _SCALE,
      _OFFSET,
      _DENSE.T,
      jnp.full(3, 0.2),
    ),
  )
  state = state.set(module.norm.ema_first_time_index, jnp.array(False))
  state = state.set(module.norm.ema_state_index, (_MEAN, _VAR))
  wrap = lambda module, spec: models.from_equinox(
    module, spec._replace(channels_first=True), state=state, key=None
  )
  return module, 'act', wrap, lambda: state


def _equinox_rows():
  import equinox

  module = equinox.nn.MLP(
    5, 3, 6, 1, use_final_bias=False, key=jax.random.key(0)
  )
  module = equinox.tree_at(
    lambda m: (m.layers[0].weight, m.layers[0].bias, m.layers[1].weight),
    module,
    (_FIRST.T, jnp.full(6, 0.1), _SECOND.T),
  )
  return models.from_equinox(module, _ROWS)


def _haiku_function(x, is_training):
  import haiku

  h = haiku.Conv2D(4, 3, name='conv')(x)
  norm = haiku.BatchNorm(True, True, 0.9, eps=1e-3, name='norm')
  h = norm(h, is_training=is_training)
  h = haiku.Sequential([jax.nn.relu], name='act')(h)
  h = haiku.max_pool(h, (1, 2, 2, 1), (1, 2, 2, 1), 'VALID').mean((1, 2))
  if is_training:
    h = haiku.dropout(haiku.next_rng_key(), 0.5, h)
  return haiku.Linear(3, name='dense')(h)


def _haiku():
  import haiku

  network = haiku.transform_with_state(_haiku_function)
  row = lambda a: a[None, None, None]
  params = {
    'conv': {'w': _KERNEL, 'b': _BIAS},
    'norm': {'scale': row(_SCALE), 'offset': row(_OFFSET)},
    'dense': {'w': _DENSE, 'b': jnp.full(3, 0.2)},
  }
  state = {
    f'norm/~/{name}_ema': {
      'counter': jnp.array(1, jnp.int32),
      'hidden': row(value),
      'average': row(value),
    }
    for name, value in (('mean', _MEAN), ('var', _VAR))
  }
  wrap = lambda network, spec: models.from_haiku(
    network, params, spec, state=state, is_training=False
  )
  return network, 'act', wrap, lambda: state


def _haiku_rows():
  import haiku

  network = haiku.transform(
    lambda x: haiku.Linear(3, False, name='second')(
      jax.nn.relu(haiku.Linear(6, name='first')(x))
    )
  )
  params = {
    'first': {'w': _FIRST, 'b': jnp.full(6, 0.1)},
    'second': {'w': _SECOND},
  }
  return models.from_haiku(network, params, _ROWS)


def _keras():
  import keras

  inputs = keras.Input((8, 8, 3))
  h = keras.layers.Conv2D(4, 3, padding='same', name='conv')(inputs)
  h = keras.layers.BatchNormalization(name='norm')(h)
  h = keras.layers.ReLU(name='act')(h)
  h = keras.layers.MaxPooling2D()(h)
  h = keras.layers.GlobalAveragePooling2D()(h)
  h = keras.layers.Dropout(0.5)(h)
  model = keras.Model(inputs, keras.layers.Dense(3, name='dense')(h))
  weights = {
    'conv': [_KERNEL, _BIAS],
    'norm': [_SCALE, _OFFSET, _MEAN, _VAR],
    'dense': [_DENSE, jnp.full(3, 0.2)],
  }
  for name, values in weights.items():
    model.get_layer(name).set_weights(values)
  state = lambda: [v.value for v in model.variables]
  return model, 'act', models.from_keras, state


def _keras_rows():
  import keras

  model = keras.Sequential(
    [
      keras.Input((5,)),
      keras.layers.Dense(6, activation='relu'),
      keras.layers.Dense(3, use_bias=False),
    ]
  )
  model.set_weights([_FIRST, jnp.full(6, 0.1), _SECOND])
  return models.from_keras(model, _ROWS)


# The network, the path of what it rectifies, the wrapper, and the state of it.
_FRAMEWORKS = {
  'flax.nnx': (_nnx, _nnx_rows),
  'flax.linen': (_linen, _linen_rows),
  'equinox': (_equinox, _equinox_rows),
  'haiku': (_haiku, _haiku_rows),
  'keras': (_keras, _keras_rows),
}


def _pooled(h):
  return jnp.mean(jax.nn.relu(h), (1, 2))


@functools.cache
def _compiled(fn):
  """Returns the logits of one input, and its maps by every method."""

  def run(x):
    score = scores.logit(fn, None, 1)
    maps = {name: method(score, x) for name, method in _METHODS.items()}
    return fn(None, x), {name: made.scores for name, made in maps.items()}

  return jax.jit(run)


def _same(got, want, name):
  scale = np.max(np.abs(want))
  np.testing.assert_array_less(0, scale, name)
  np.testing.assert_allclose(got / scale, want / scale, atol=1e-6, err_msg=name)


class FrameworksTest(parameterized.TestCase):
  def _built(self, name, which=0):
    if importlib.util.find_spec(name.split('.')[0]) is None:
      self.skipTest("pip install 'saliency-jax[peers]'")
    return _FRAMEWORKS[name][which]()

  @parameterized.parameters(*_FRAMEWORKS)
  def test_maps_of_an_image(self, name):
    network, path, wrap, state = self._built(name)
    before = jax.tree.map(np.array, state())
    model = wrap(network, _SPEC)
    self._check(model, _plain, _IMAGE)
    jax.tree.map(np.testing.assert_array_equal, state(), before)
    model = wrap(taps.of(network, path, name='features'), _SPEC)
    first = name == 'equinox'
    layout = taps.channels_first if first else taps.channels_last
    cam = functools.partial(saliency_jax.grad_cam, layout=layout)
    got = cam(scores.logit(model.apply, model.params, 1), _IMAGE)
    want = saliency_jax.grad_cam(scores.logit(_plain, None, 1), _IMAGE)
    _same(got.scores, want.scores, 'grad_cam')
    # And whatever else goes by the name of a tap.
    at_tap = transforms.at_tap(saliency_jax.gradient, 'features')
    got = at_tap(scores.logit(model.apply, model.params, 1), _IMAGE).scores
    want = at_tap(scores.logit(_plain, None, 1), _IMAGE).scores
    _same(layout(got), want, 'at_tap')

  @parameterized.parameters(*_FRAMEWORKS)
  def test_maps_of_a_row(self, name):
    self._check(self._built(name, 1), _plain_rows, _ROW)

  def test_examples_with_channels_first(self):
    """What the network takes as it is gets its map as it is."""
    self._built('equinox', 1)
    import equinox

    key = jax.random.key(0)
    module = equinox.nn.Sequential(
      [equinox.nn.Conv2d(3, 8, 3, key=key), equinox.nn.Lambda(_pooled)]
    )
    maps = []
    for shape, first in (((8, 8, 3), True), ((3, 8, 8), False)):
      spec = models.Spec('mine', shape, channels_first=first)
      model = models.from_equinox(module, spec)
      x = _IMAGE if first else _IMAGE.transpose(2, 0, 1)
      score = scores.logit(model.apply, model.params, 1)
      maps.append(saliency_jax.gradient(score, x).scores)
    np.testing.assert_array_equal(maps[0].transpose(2, 0, 1), maps[1])

  def test_left_in_training_equinox(self):
    self._built('equinox')
    import equinox

    class Counting(equinox.Module):
      calls: equinox.nn.StateIndex
      drop: equinox.nn.Dropout
      draws: bool

      def __init__(self, draws):
        self.calls = equinox.nn.StateIndex(jnp.zeros(3))
        self.drop, self.draws = equinox.nn.Dropout(0.5), draws

      def __call__(self, x, state, key=None):
        calls = state.get(self.calls)
        state = state.set(self.calls, calls + 1.0)
        # Its own flag, of which `inference_mode` does not know.
        return self.drop(x * calls, key=key, inference=not self.draws), state

    for draws, message in ((False, 'changes leaf 0'), (True, 'requires a key')):
      module, state = equinox.nn.make_with_state(Counting)(draws)
      model = models.from_equinox(
        module, models.Spec('mine', (3,)), state=state
      )
      with self.assertRaisesRegex(ValueError, f'training mode: .*{message}'):
        model.apply(model.params, jnp.ones(3))
    with self.assertRaisesRegex(ValueError, "argument: 'state'.*and state= "):
      models.from_equinox(module, models.Spec('mine', (3,)))

  def test_left_in_training_haiku(self):
    self._built('haiku')
    import haiku

    x = jnp.ones((1, 3))
    norm = haiku.transform_with_state(
      lambda x, t: haiku.BatchNorm(False, False, 0.9, name='n')(x, t)
    )
    drop = haiku.transform(
      lambda x, t: haiku.dropout(haiku.next_rng_key(), 0.5, x) if t else x
    )
    with jax.numpy_dtype_promotion('standard'):
      params, state = norm.init(None, x, True)
    spec = models.Spec('mine', (3,))
    for network, settings, message in (
      (norm, {'state': state}, 'changes n/~/mean_ema/average, '),
      (drop, {}, 'it draws random numbers; .*is_training=False'),
      # Told apart from the networks that take a key by their signatures.
      (haiku.without_apply_rng(norm), {'state': state}, 'changes n/~/mean_ema'),
      (haiku.without_apply_rng(drop), {}, 'draws random numbers'),
    ):
      wrap = functools.partial(
        models.from_haiku, network, params, spec, **settings
      )
      with self.assertRaisesRegex(ValueError, f'training mode: .*{message}'):
        with jax.numpy_dtype_promotion('standard'):
          wrap(t=True).apply({}, x[0])
      got = wrap(t=False).apply({}, x[0])
      np.testing.assert_allclose(got, 0 if settings else 1, atol=1e-6)
      with self.assertRaisesRegex(ValueError, "'t'; give from_haiku"):
        wrap()
    with self.assertRaisesRegex(ValueError, 'state: state=state'):
      models.from_haiku(norm, params, spec, t=False)
    with self.assertRaisesRegex(ValueError, 'takes no state='):
      models.from_haiku(drop, params, spec, state=state, t=False)

  def test_haiku_in_jit_keeps_its_state(self):
    self._built('haiku')
    import haiku

    network = haiku.transform_with_state(
      lambda x, t: haiku.BatchNorm(False, False, 0.9, name='n')(x, t)
    )
    params, state = network.init(None, jnp.ones((1, 3)), True)
    network = network._replace(apply=jax.jit(network.apply, static_argnums=4))
    fn = lambda x: network.apply(params, state, None, x[None], False)
    x = jnp.arange(3.0)
    wanted, after = fn(x)
    self.assertIsNot(jax.tree.leaves(after)[0], jax.tree.leaves(state)[0])
    spec = models.Spec('mine', (3,))

    def called(params, state, rng, x):
      return network.apply(params, state, rng, x, False)

    model = models.from_haiku(
      network._replace(apply=called), params, spec, state=state
    )
    got = model.apply({}, x)
    np.testing.assert_allclose(got, wanted[0], rtol=1e-6)

  def test_left_in_training_keras(self):
    self._built('keras', 1)
    import keras

    class Training(keras.Model):
      def __init__(self, layer):
        super().__init__()
        self.inner = layer

      def call(self, x):
        return self.inner(x, training=True)

    spec = models.Spec('mine', (3,))
    inputs = keras.Input((3,))
    for make, message in (
      (lambda: keras.layers.Dropout(0.5), 'seed_generator_state'),
      (keras.layers.BatchNormalization, 'moving_mean, .*moving_variance'),
    ):
      model = Training(make())
      with jax.numpy_dtype_promotion('standard'):
        with jax.numpy_rank_promotion('allow'):
          model(jnp.ones((1, 3)))
      model = models.from_keras(model, spec)
      with self.assertRaisesRegex(ValueError, f'training mode: .*{message}'):
        model.apply(model.params, jnp.ones(3))
      # Keras itself turns off what is a part of a graph.
      model = keras.Model(inputs, make()(inputs, training=True))
      model = models.from_keras(model, spec)
      got = model.apply(model.params, jnp.ones(3))
      np.testing.assert_allclose(got, np.ones(3), rtol=1e-3)
    with self.assertRaisesRegex(ValueError, 'mine is not built'):
      models.from_keras(keras.Sequential([keras.layers.Dense(3)]), spec)
    with self.assertRaisesRegex(ValueError, 'return one array .*got a list'):
      inputs = keras.Input((3,))
      model = models.from_keras(keras.Model(inputs, [inputs, inputs]), spec)
      model.apply(model.params, jnp.ones(3))

  def test_keras_keeps_its_dtype(self):
    model = self._built('keras', 1)
    with jax.enable_x64(True):
      params = jax.tree.map(lambda p: p.astype(jnp.float64), model.params)
      with self.assertRaisesRegex(ValueError, 'float32, got float64.*floatx'):
        model.apply(params, jnp.ones(5, jnp.float64))

  def test_keras_of_another_backend(self):
    self._built('keras', 1)
    import keras

    with mock.patch.object(keras.backend, 'backend', lambda: 'torch'):
      with self.assertRaisesRegex(ValueError, "'torch': .*KERAS_BACKEND"):
        models.from_keras(None, _SPEC)

  def test_keras_layers_within_layers(self):
    self._built('keras', 1)
    import keras

    class Net(keras.Model):
      """Takes no flag of training, and two layers of one name."""

      def __init__(self):
        super().__init__()
        self.blocks = [keras.layers.Dense(3, name='same') for _ in range(2)]

      def call(self, x):
        for block in self.blocks:
          x = block(x)
        return x

    inner = Net()
    inputs = keras.Input((3,))
    with jax.numpy_rank_promotion('allow'):
      outer = keras.Model(inputs, inner(inputs), name='outer')
    spec, x = models.Spec('mine', (3,)), jnp.arange(3.0)
    (first, a), (second, _) = (
      [v.value for v in block.weights] for block in inner.blocks
    )
    for network, path in ((inner, 'blocks/0'), (outer, 'net/blocks/0')):
      model = models.from_keras(taps.of(network, path), spec)
      self.assertLen(model.params, 4)
      score = scores.logit(model.apply, model.params, 0)
      layer = taps.split(score, x, path).trunk(x)[0]
      np.testing.assert_allclose(layer, (x[None] @ first + a[None]), rtol=1e-5)
      got = saliency_jax.gradient(score, x).scores
      np.testing.assert_allclose(got, (first @ second)[:, 0], rtol=1e-5)
    # The name is gone as the call ends, or fails.
    with self.assertRaisesRegex(ValueError, 'expected axis -1'):
      taps.of(inner, 'blocks/0')(jnp.ones((1, 7)))
    self.assertNotIn('call', vars(inner.blocks[0]))
    with self.assertRaisesRegex(ValueError, "at 'blocks/2'.*'blocks/0'"):
      taps.of(inner, 'blocks/2')

  @parameterized.parameters('equinox', 'haiku', 'keras')
  def test_several_inputs(self, name):
    self._built(name, 1)
    spec = models.Spec('mine', ((3,), (4,)))
    x = (jnp.arange(3.0), jnp.ones(4))

    def add(a, b):
      return a * 2.0 + jnp.sum(b, -1, keepdims=True)

    if name == 'equinox':
      import equinox

      class Net(equinox.Module):
        w: jax.Array

        def __call__(self, a, b):
          return self.w * add(a, b)

      model = models.from_equinox(Net(jnp.ones(3)), spec)
    elif name == 'haiku':
      import haiku

      model = models.from_haiku(haiku.transform(add), {}, spec)
    else:
      import keras

      shapes = {'a': (3,), 'b': (4,)}
      inputs = {k: keras.Input(shape, name=k) for k, shape in shapes.items()}
      total = keras.ops.sum(inputs['b'], -1, keepdims=True)
      network = keras.Model(
        inputs, keras.layers.Rescaling(2.0)(inputs['a']) + total
      )
      spec = models.Spec('mine', shapes)
      x = dict(zip('ab', x, strict=True))
      model = models.from_keras(network, spec)
    score = scores.logit(model.apply, model.params, 1)
    first, second = jax.tree.leaves(saliency_jax.gradient(score, x).scores)
    np.testing.assert_allclose(first, [0.0, 2.0, 0.0])
    np.testing.assert_allclose(second, np.ones(4))

  def test_readme(self):
    """Its lines on frameworks that its own code cannot count on."""
    for name in ('equinox', 'haiku', 'keras'):
      self._built(name, 1)
    import equinox
    import haiku
    import keras

    pool = lambda h: jnp.mean(h, (1, 2))
    conv = equinox.nn.Conv2d(3, 8, 3, key=jax.random.key(0))
    act, last = (equinox.nn.Lambda(f) for f in (jax.nn.relu, pool))
    transformed = haiku.transform(
      lambda x: pool(haiku.Conv2D(8, 3, name='conv')(x))
    )
    inputs = keras.Input((16, 16, 3))
    h = keras.layers.Conv2D(8, 3, name='conv')(inputs)
    h = keras.layers.GlobalAveragePooling2D()(h)
    image = jnp.ones((16, 16, 3))
    space = {
      'models': models,
      'taps': taps,
      'scores': scores,
      'saliency_jax': saliency_jax,
      'spec': models.Spec('mine', (16, 16, 3)),
      'image': image,
      'module': equinox.nn.Sequential([conv, act, last]),
      'transformed': transformed,
      'params': transformed.init(jax.random.key(0), image[None]),
      'network': keras.Model(inputs, h),
    }
    readme = (pathlib.Path(__file__).parents[2] / 'docs/models.md').read_text()
    block = readme.split('```py\n')[1].split('```')[0]
    for lines in block.split('\n\n'):
      exec(lines, space)
      self.assertEqual(space.pop('maps').shape, (16, 16, 1))

  def _check(self, model, plain, x):
    logits, maps = _compiled(lambda _, x: model.apply(model.params, x))(x)
    expected, wanted = _compiled(plain)(x)
    _same(logits, expected, 'logits')
    for name in _METHODS:
      _same(maps[name], wanted[name], name)


if __name__ == '__main__':
  absltest.main()
