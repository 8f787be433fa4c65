"""Functions of the host as primitives of JAX, closed under differentiation.

Of `y = f(x)` on the host, with `J` its Jacobian and `H_u` the Hessian of `u'y`,
a program can ask for

  `predict`   `y`,      whose derivative is `J v`,
  `gradient`  `J' u`,   whose derivative is `J' du + H_u v`,
  `jvp`       `J v`,    linear in `v`, and its transpose is `J' u`,
  `hvp`       `H_u v`,  linear in `v`, and its own transpose.

JAX's custom rules do not do: `custom_vjp` has no forward derivative, and
`linear_call` has none in what it is not linear in. Where `y` is one number,
`J v` is the product of its gradient with `v`, taken here. `vmap` adds an axis
to the batch of a call: whatever is nested, one call leaves the program.
"""

import collections
from typing import Any

import jax
from jax.experimental import buffer_callback
from jax.extend.core import Primitive
from jax.interpreters import ad
from jax.interpreters import batching
from jax.interpreters import mlir
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import examples
from saliency_jax.core import host_functions
from saliency_jax.core import types

# What black boxes raised of late: of a failure a program hands on the text.
failures: collections.deque[BaseException] = collections.deque(maxlen=8)

_THIRD = 'a black box has no third derivatives: take a method of lower order'


def call(
  functions: host_functions.Functions,
  output_shape: tuple[int, ...],
  x: types.Example,
) -> Any:
  """Returns the host's outputs `[*output_shape]` at one example."""
  x = examples.arrays(x)
  leaves, tree = jax.tree.flatten(x)
  if not leaves:
    raise ValueError(f'expected an example of arrays, got {x!r:.80}')
  dtype = examples.result_dtype(x)
  host = host_functions.Host(functions, output_shape, dtype, tree)
  return _predict.bind(*leaves, host=host, lead=0)[0]


# In a program, and outside of it.


def _primitive(name):
  primitive = Primitive(f'host_{name}_callback')
  primitive.multiple_results = True

  def directly(*operands, host, lead):
    host_functions.require(host, name)
    results = host_functions.run(host, name, operands, lead)
    out = host_functions.results(host, name, operands, lead)
    # Copies: what the host returns is its own to write into again.
    return [jnp.array(r, s.dtype) for r, s in zip(results, out, strict=True)]

  def abstract(*operands, host, lead):
    out = host_functions.results(host, name, operands, lead)
    return [jax.core.ShapedArray(s.shape, s.dtype) for s in out]

  def batched(operands, dims, *, host, lead):
    """Adds an axis to the batch: operands that lack it are repeated."""
    pairs = list(zip(operands, dims, strict=True))
    size = next(a.shape[d] for a, d in pairs if d is not None)
    operands = [
      jnp.broadcast_to(a[None], (size, *a.shape))
      if d is None
      else jnp.moveaxis(a, d, 0)
      for a, d in pairs
    ]
    out = primitive.bind(*operands, host=host, lead=lead + 1)
    return out, [0] * len(out)

  primitive.def_impl(directly)
  primitive.def_abstract_eval(abstract)
  batching.primitive_batchers[primitive] = batched
  for platform in (None, 'cpu'):
    lowering = _lowering(name, on_cpu=platform == 'cpu')
    mlir.register_lowering(primitive, lowering, platform=platform)
  return primitive


def _lowering(name, on_cpu):
  """Returns the lowering of a primitive: a call that JAX knows."""

  def function(*operands, host, lead):
    host_functions.require(host, name)

    def run(operands):
      try:
        operands = [np.asarray(a) for a in operands]
        return host_functions.run(host, name, operands, lead)
      except BaseException as e:
        failures.append(e)
        raise

    out = host_functions.results(host, name, operands, lead)
    return (_buffers if on_cpu else _arrays)(run, out, operands)

  return mlir.lower_fun(function, multiple_results=True)


def _buffers(run, out, operands):
  # On CPUs `pure_callback` waits forever at the size of images, with several
  # devices.
  def callback(ctx, outs, *operands):
    del ctx
    for out, result in zip(outs, run(operands), strict=True):
      np.asarray(out)[...] = result

  return buffer_callback.buffer_callback(callback, out)(*operands)


def _arrays(run, out, operands):
  def callback(*operands):
    results = run(operands)
    return [r.astype(s.dtype) for r, s in zip(results, out, strict=True)]

  return jax.pure_callback(callback, out, *operands)


_predict, _gradient = _primitive('predict'), _primitive('gradient')
_jvp, _hvp = _primitive('jvp'), _primitive('hvp')


# Derivatives.


def _moves(tangents):
  return any(type(t) is not ad.Zero for t in tangents)


def _floats(tangents, x):
  """Returns the tangents of the floats, zeros filled in."""
  return [
    ad.instantiate_zeros(t)
    for t, a in zip(tangents, x, strict=True)
    if host_functions.is_float(a)
  ]


def _predict_jvp(primals, tangents, *, host, lead):
  host_functions.require(host, 'gradient')
  out = _predict.bind(*primals, host=host, lead=lead)
  vectors = _floats(tangents, primals)
  if host.shape != ():
    return out, _jvp.bind(*primals, *vectors, host=host, lead=lead)
  gradients = _gradient.bind(*primals, host=host, lead=lead)
  terms = [
    jnp.sum((g * v).astype(host.dtype), tuple(range(lead, g.ndim)))
    for g, v in zip(gradients, vectors, strict=True)
  ]
  return out, [sum(terms[1:], start=terms[0])]


def _gradient_jvp(primals, tangents, *, host, lead):
  at = host_functions.parts(host, 'gradient', primals)
  along = host_functions.parts(host, 'gradient', tangents)
  terms = []
  if _moves(along.cotangents):
    terms.append(_gradient.bind(*at.x, *along.cotangents, host=host, lead=lead))
  if _moves(along.x):
    host_functions.require(host, 'hvp')
    vectors = _floats(along.x, at.x)
    terms.append(
      _hvp.bind(*at.x, *at.cotangents, *vectors, host=host, lead=lead)
    )
  return _gradient.bind(*primals, host=host, lead=lead), _total(terms)


def _hvp_jvp(primals, tangents, *, host, lead):
  at = host_functions.parts(host, 'hvp', primals)
  along = host_functions.parts(host, 'hvp', tangents)
  if _moves(along.x):
    raise ValueError(_THIRD)
  terms = []
  if _moves(along.cotangents):
    terms.append(
      _hvp.bind(*at.x, *along.cotangents, *at.vectors, host=host, lead=lead)
    )
  if _moves(along.vectors):
    vectors = map(ad.instantiate_zeros, along.vectors)
    terms.append(
      _hvp.bind(*at.x, *at.cotangents, *vectors, host=host, lead=lead)
    )
  return _hvp.bind(*primals, host=host, lead=lead), _total(terms)


def _jvp_jvp(primals, tangents, *, host, lead):
  at = host_functions.parts(host, 'jvp', primals)
  along = host_functions.parts(host, 'jvp', tangents)
  if _moves(along.x):
    raise ValueError(
      'a black box of several outputs has no derivative forwards of its '
      'derivative forwards: take the derivative of its gradient'
    )
  vectors = map(ad.instantiate_zeros, along.vectors)
  return (
    _jvp.bind(*primals, host=host, lead=lead),
    _jvp.bind(*at.x, *vectors, host=host, lead=lead),
  )


def _total(terms):
  return [sum(each[1:], start=each[0]) for each in zip(*terms, strict=True)]


def _gradient_transpose(cotangents, *operands, host, lead):
  at = host_functions.parts(host, 'gradient', operands)
  vectors = map(ad.instantiate_zeros, cotangents)
  return [None] * len(at.x) + _jvp.bind(*at.x, *vectors, host=host, lead=lead)


def _jvp_transpose(cotangents, *operands, host, lead):
  at = host_functions.parts(host, 'jvp', operands)
  u = map(ad.instantiate_zeros, cotangents)
  return [None] * len(at.x) + _gradient.bind(*at.x, *u, host=host, lead=lead)


def _hvp_transpose(cotangents, *operands, host, lead):
  at = host_functions.parts(host, 'hvp', operands)
  if any(map(ad.is_undefined_primal, at.cotangents)):
    raise ValueError(_THIRD)
  vectors = map(ad.instantiate_zeros, cotangents)
  out = _hvp.bind(*at.x, *at.cotangents, *vectors, host=host, lead=lead)
  return [None] * len(at.x + at.cotangents) + out


ad.primitive_jvps[_predict] = _predict_jvp
ad.primitive_jvps[_gradient] = _gradient_jvp
ad.primitive_jvps[_jvp] = _jvp_jvp
ad.primitive_jvps[_hvp] = _hvp_jvp
ad.primitive_transposes[_gradient] = _gradient_transpose
ad.primitive_transposes[_jvp] = _jvp_transpose
ad.primitive_transposes[_hvp] = _hvp_transpose
