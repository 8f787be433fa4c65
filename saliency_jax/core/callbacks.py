"""A function of the host as primitives of JAX, closed under differentiation.

Of `y = f(x)` on the host, with `J` its Jacobian and `H_u` the Hessian of `u'y`,
a program can ask for

  `value`  `y`,          whose derivative is `J v`,
  `vjp`    `J' u`,       whose derivative is `J' du + H_u v`,
  `jvp`    `J v`,        linear in `v`, and its transpose is `J' u`,
  `hvp`    `H_u v`,      linear in `v`, and its own transpose.

JAX's custom rules do not do: `custom_vjp` has no forward derivative, and
`linear_call` has none in what it is not linear in. Where `y` is one number `u`
is 1 and left out, and `J v` is the product of the gradient with `v`, taken
here. `vmap` adds an axis to the batch of a call: whatever is nested, one call
leaves the program.
"""

import collections
from collections.abc import Callable, Sequence
import math
from typing import Any, NamedTuple

import jax
from jax.experimental import buffer_callback
from jax.extend.core import Primitive
from jax.interpreters import ad
from jax.interpreters import batching
from jax.interpreters import mlir
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import examples
from saliency_jax.core import types

# What black boxes raised of late: of a failure a program hands on the text.
failures: collections.deque[BaseException] = collections.deque(maxlen=8)

_FORWARD = 'occlusion, rise, leg, shapley, kernel_shap, lime'
_MISSING = {
  'gradient': (
    'a black box has no gradient: pass from_host(predict, gradient=...), or '
    f'use a method of forward calls only ({_FORWARD})'
  ),
  'hvp': (
    'a black box has no second derivatives: pass from_host(predict, '
    'gradient=..., hvp=...), or take a method of first order, such as cafo '
    'for caso'
  ),
  'jvp': (
    'a black box of several outputs has no derivative forwards: pass '
    'from_host(..., jvp=...), or make it one number, output_shape=()'
  ),
}
_THIRD = 'a black box has no third derivatives: take a method of lower order'


class Functions(NamedTuple):
  """What the host computes of batches; `None` for what it does not.

  Attributes:
    predict: `x -> y`.
    gradient: `x, u -> J' u`.
    hvp: `x, u, v -> H_u v`.
    jvp: `x, v -> J v`.
  """

  predict: Callable[..., Any]
  gradient: Callable[..., Any] | None = None
  hvp: Callable[..., Any] | None = None
  jvp: Callable[..., Any] | None = None

  def __repr__(self):  # A jaxpr shows it, and a module of torch is long.
    name = getattr(self.predict, '__name__', type(self.predict).__name__)
    return f'Functions({name})'


def call(
  functions: Functions, output_shape: tuple[int, ...], x: types.Example
) -> Any:
  """Returns the host's outputs `[*output_shape]` at one example."""
  x = examples.arrays(x)
  leaves, tree = jax.tree.flatten(x)
  if not leaves:
    raise ValueError(f'expected an example of arrays, got {x!r:.80}')
  return _value.bind(
    *leaves,
    functions=functions,
    shape=output_shape,
    dtype=examples.result_dtype(x),
    tree=tree,
    lead=0,
  )[0]


class _Operands(NamedTuple):
  """The operands of a call; there are only vectors of floats."""

  x: Sequence[Any]
  cotangents: Sequence[Any]
  vectors: Sequence[Any]


def _parts(primitive, operands, *, shape, tree, **_):
  """Returns the operands of a primitive apart."""
  num, one = tree.num_leaves, int(shape != () and 'u' in _READS[primitive])
  return _Operands(
    operands[:num], operands[num : num + one], operands[num + one :]
  )


def _is_float(a):
  return jnp.issubdtype(a.dtype, jnp.floating)


def _results(primitive, operands, *, shape, dtype, tree, lead, **_):
  """Returns the shapes and dtypes of what a primitive returns."""
  x = operands[: tree.num_leaves]
  if primitive in (_value, _jvp):
    return [(x[0].shape[:lead] + shape, dtype)]
  return [(a.shape, a.dtype) for a in x if _is_float(a)]


# On the host.


def _run(primitive, operands, *, functions, shape, tree, lead, **_):
  """Calls the host with a batch that is its own, and checks what it returns."""
  lengths = operands[0].shape[:lead]
  n = math.prod(lengths)
  # The program's memory, which it reuses, is not handed out: hence the copies.
  arrays = [np.array(a).reshape((n, *a.shape[lead:])) for a in operands]
  parts = _parts(primitive, arrays, shape=shape, tree=tree)
  floating = [_is_float(a) for a in parts.x]
  shapes = [a.shape for a in parts.x]
  batch = jax.tree.unflatten(tree, parts.x)
  given = [batch, *parts.cotangents]
  if parts.vectors:
    vectors = iter(parts.vectors)
    filled = [
      next(vectors) if floats else np.zeros(a.shape, np.float32)
      for a, floats in zip(parts.x, floating, strict=True)
    ]
    given.append(jax.tree.unflatten(tree, filled))
  name = _NAMES[primitive]
  result = getattr(functions, name)(*given)
  got = 'the black box'
  if name != 'predict':
    got += f"'s {name}"
  got += f' got a batch {jax.tree.unflatten(tree, shapes)}'
  if primitive in (_value, _jvp):
    results, wanted = [result], [(n, *shape)]
  else:
    try:
      results = tree.flatten_up_to(result)
    except ValueError as e:
      raise ValueError(
        f'{got} and returned {type(result).__name__}, expected the same '
        f'structure: {e}'
      ) from e
    results = [r for r, floats in zip(results, floating, strict=True) if floats]
    wanted = [s for s, floats in zip(shapes, floating, strict=True) if floats]
  return [
    _checked(r, s, got).reshape((*lengths, *s[1:]))
    for r, s in zip(results, wanted, strict=True)
  ]


def _checked(result, expected, got):
  result = np.asarray(result)
  if result.shape != expected:
    raise ValueError(f'{got} and returned {result.shape}, expected {expected}')
  kinds = (jnp.floating, jnp.integer, jnp.bool_)
  if not any(jnp.issubdtype(result.dtype, kind) for kind in kinds):
    raise ValueError(
      f'the black box returned {result.dtype}, expected real numbers'
    )
  return result


# In a program.


def _directly(primitive, *operands, **params):
  """Outside of a program: the host's errors are Python's own."""
  require(params['functions'], _NAMES[primitive])
  results = _run(primitive, operands, **params)
  dtypes = [dtype for _, dtype in _results(primitive, operands, **params)]
  return [jnp.array(r, t) for r, t in zip(results, dtypes, strict=True)]


def _lowered(primitive, on_cpu):
  """Returns the lowering of a primitive: a call that JAX knows."""

  def function(*operands, **params):
    require(params['functions'], _NAMES[primitive])
    out = [
      jax.ShapeDtypeStruct(*result)
      for result in _results(primitive, operands, **params)
    ]

    def run(operands):
      try:
        return _run(primitive, operands, **params)
      except BaseException as e:
        failures.append(e)
        raise

    return (_buffers if on_cpu else _arrays)(run, out, operands)

  return mlir.lower_fun(function, multiple_results=True)


def _buffers(run, out, operands):
  # On CPUs `pure_callback` waits forever at the size of images, with several
  # devices.
  def callback(ctx, outs, *operands):
    del ctx
    results = run([np.asarray(a) for a in operands])
    for out, result in zip(outs, results, strict=True):
      np.asarray(out)[...] = result

  return buffer_callback.buffer_callback(callback, out)(*operands)


def _arrays(run, out, operands):
  def callback(*operands):
    results = run([np.asarray(a) for a in operands])
    return [r.astype(s.dtype) for r, s in zip(results, out, strict=True)]

  return jax.pure_callback(callback, out, *operands)


def require(functions: Functions, name: str) -> None:
  """Raises a `ValueError` for a function that the host does not have."""
  if getattr(functions, name) is None:
    raise ValueError(_MISSING[name])


def _batched(primitive, operands, dims, **params):
  """Adds an axis to the batch: operands that lack it are repeated."""
  size = next(
    a.shape[d] for a, d in zip(operands, dims, strict=True) if d is not None
  )
  operands = [
    jnp.broadcast_to(a[None], (size, *a.shape))
    if d is None
    else jnp.moveaxis(a, d, 0)
    for a, d in zip(operands, dims, strict=True)
  ]
  params['lead'] += 1
  out = primitive.bind(*operands, **params)
  return out, [0] * len(out)


# Derivatives.


def _moves(tangents):
  return any(type(t) is not ad.Zero for t in tangents)


def _floats(tangents, x):
  """Returns the tangents of the floats, zeros filled in."""
  return [
    ad.instantiate_zeros(t)
    for t, a in zip(tangents, x, strict=True)
    if _is_float(a)
  ]


def _value_jvp(primals, tangents, **params):
  require(params['functions'], 'gradient')
  out = _value.bind(*primals, **params)
  vectors = _floats(tangents, primals)
  if params['shape'] != ():
    return out, _jvp.bind(*primals, *vectors, **params)
  gradients = _vjp.bind(*primals, **params)
  lead, dtype = params['lead'], params['dtype']
  terms = [
    jnp.sum((g * v).astype(dtype), tuple(range(lead, g.ndim)))
    for g, v in zip(gradients, vectors, strict=True)
  ]
  return out, [sum(terms[1:], start=terms[0])]


def _vjp_jvp(primals, tangents, **params):
  at = _parts(_vjp, primals, **params)
  along = _parts(_vjp, tangents, **params)
  terms = []
  if _moves(along.cotangents):
    terms.append(_vjp.bind(*at.x, *along.cotangents, **params))
  if _moves(along.x):
    require(params['functions'], 'hvp')
    vectors = _floats(along.x, at.x)
    terms.append(_hvp.bind(*at.x, *at.cotangents, *vectors, **params))
  return _vjp.bind(*primals, **params), _total(terms)


def _hvp_jvp(primals, tangents, **params):
  at = _parts(_hvp, primals, **params)
  along = _parts(_hvp, tangents, **params)
  if _moves(along.x):
    raise ValueError(_THIRD)
  terms = []
  if _moves(along.cotangents):
    terms.append(_hvp.bind(*at.x, *along.cotangents, *at.vectors, **params))
  if _moves(along.vectors):
    vectors = map(ad.instantiate_zeros, along.vectors)
    terms.append(_hvp.bind(*at.x, *at.cotangents, *vectors, **params))
  return _hvp.bind(*primals, **params), _total(terms)


def _jvp_jvp(primals, tangents, **params):
  at = _parts(_jvp, primals, **params)
  along = _parts(_jvp, tangents, **params)
  if _moves(along.x):
    raise ValueError(
      'a black box of several outputs has no derivative forwards of its '
      'derivative forwards: take the derivative of its gradient'
    )
  vectors = map(ad.instantiate_zeros, along.vectors)
  return (
    _jvp.bind(*primals, **params),
    _jvp.bind(*at.x, *vectors, **params),
  )


def _total(terms):
  return [sum(each[1:], start=each[0]) for each in zip(*terms, strict=True)]


def _vjp_transpose(cotangents, *operands, **params):
  at = _parts(_vjp, operands, **params)
  vectors = map(ad.instantiate_zeros, cotangents)
  return [None] * len(at.x) + _jvp.bind(*at.x, *vectors, **params)


def _jvp_transpose(cotangents, *operands, **params):
  at = _parts(_jvp, operands, **params)
  u = map(ad.instantiate_zeros, cotangents)
  return [None] * len(at.x) + _vjp.bind(*at.x, *u, **params)


def _hvp_transpose(cotangents, *operands, **params):
  at = _parts(_hvp, operands, **params)
  if any(map(ad.is_undefined_primal, at.cotangents)):
    raise ValueError(_THIRD)
  vectors = map(ad.instantiate_zeros, cotangents)
  out = _hvp.bind(*at.x, *at.cotangents, *vectors, **params)
  return [None] * len(at.x + at.cotangents) + out


def _primitive(name):
  primitive = Primitive(f'host_{name}_callback')
  primitive.multiple_results = True

  def bound(function, *args):
    return lambda *operands, **params: function(*args, *operands, **params)

  primitive.def_impl(bound(_directly, primitive))
  primitive.def_abstract_eval(
    lambda *operands, **params: [
      jax.core.ShapedArray(*result)
      for result in _results(primitive, operands, **params)
    ]
  )
  mlir.register_lowering(primitive, _lowered(primitive, on_cpu=False))
  mlir.register_lowering(
    primitive, _lowered(primitive, on_cpu=True), platform='cpu'
  )
  batching.primitive_batchers[primitive] = lambda operands, dims, **params: (
    _batched(primitive, operands, dims, **params)
  )
  return primitive


_value, _vjp = _primitive('value'), _primitive('vjp')
_jvp, _hvp = _primitive('jvp'), _primitive('hvp')
# What each is of the host, and what it reads beside the example.
_NAMES = {_value: 'predict', _vjp: 'gradient', _jvp: 'jvp', _hvp: 'hvp'}
_READS = {_value: '', _vjp: 'u', _jvp: 'v', _hvp: 'uv'}
ad.primitive_jvps[_value] = _value_jvp
ad.primitive_jvps[_vjp] = _vjp_jvp
ad.primitive_jvps[_jvp] = _jvp_jvp
ad.primitive_jvps[_hvp] = _hvp_jvp
ad.primitive_transposes[_vjp] = _vjp_transpose
ad.primitive_transposes[_jvp] = _jvp_transpose
ad.primitive_transposes[_hvp] = _hvp_transpose
