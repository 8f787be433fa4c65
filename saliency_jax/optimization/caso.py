"""CAFO and CASO: the sparse perturbation that a loss is most sensitive to.

    argmax_D g'D + D'HD / 2 - lam1 |D|_1 - lam2 |D|_2^2              (3), (5)

with `g` and `H` the gradient and the Hessian of a loss at the example, the
cross-entropy at the predicted class in the paper (`scores.loss`). CAFO leaves
`H` out, and is `soft(g, lam1) / (2 lam2)`. CASO has `lam2 = L/2 + kappa`, `L`
the largest eigenvalue of `H`, which makes it concave. Both are zero exactly
from `lam1 = |g|_inf` on. `smooth_caso.py` has their smooth forms. The scores
are `D`: positive where more of a feature raises the loss, and so speaks against
the class.

References:
  Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019.
  https://arxiv.org/abs/1902.00407
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import checks
from saliency_jax.core import curvature
from saliency_jax.core import examples
from saliency_jax.core import selection
from saliency_jax.core import types
from saliency_jax.optimization import sparsity_weight
from saliency_jax.solvers import proximal

_HIGHEST = jax.lax.Precision.HIGHEST


class CafoInfo(NamedTuple):
  """The map as a solution.

  Attributes:
    objective: what is maximised, at the map.
    gain: `g'D`, what the linear model says that the map adds to the loss.
    lam1: weight of `|D|_1`.
    lam2: weight of `|D|_2^2`.
    sparsity: share of the entries that are zero.
  """

  objective: Float[Array, '']
  gain: Float[Array, '']
  lam1: Float[Array, '']
  lam2: Float[Array, '']
  sparsity: Float[Array, '']


class CasoInfo(NamedTuple):
  """The map as a solution, and the curvature that it rests on.

  Attributes:
    objective: what is maximised, at the map.
    gain: `g'D + D'HD / 2`, what the quadratic model adds to the loss.
    lam1: weight of `|D|_1`.
    lam2: weight of `|D|_2^2`.
    sparsity: share of the entries that are zero.
    residual: by how much the map misses the condition of optimality, over
      `|g|_2`: see `proximal.FistaInfo`; at `lam1 = 0`, `|2 lam2 D - H D - g|`.
    eigenvalue: `L`, the largest that was found.
    eigenvalue_bound: no eigenvalue is larger, but with probability 0.001 (see
      `curvature.top_eigenvalue`). The objective is concave if it is below
      `2 lam2`.
    steps: that the solver took.
  """

  objective: Float[Array, '']
  gain: Float[Array, '']
  lam1: Float[Array, '']
  lam2: Float[Array, '']
  sparsity: Float[Array, '']
  residual: Float[Array, '']
  eigenvalue: Float[Array, '']
  eigenvalue_bound: Float[Array, '']
  steps: Float[Array, '']


class Curve(NamedTuple):
  """What is known of a Hessian; vectors are flat.

  Attributes:
    product: `v -> H v`.
    eigenvalue: `L`, the largest that was found.
    bound: of the largest.
    least: the least eigenvalue that was found.
    solve: `(g, shift) -> (D, steps)` with `(shift I - H) D = g`.
  """

  product: Callable[[Float[Array, 'd']], Float[Array, 'd']]
  eigenvalue: Float[Array, '']
  bound: Float[Array, '']
  least: Float[Array, '']
  solve: Callable[..., tuple[Array, Array]]


# The paper's solver and its search; the default takes its steps to the end and
# hits a sparsity exactly.
PAPER = {'num_steps': 10, 'lam1': sparsity_weight.search}


def cafo(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  lam1: sparsity_weight.Lam1 = None,
  sparsity: types.Scalar = 0.75,
  lam2: types.Scalar | None = None,
  kappa: types.Scalar = 10.0,
) -> types.Attribution:
  """Finds the sparse perturbation that raises `fn` most, to first order.

  Args:
    fn: the loss, `scores.loss` in the paper.
    x: the example.
    key: not used.
    lam1: weight of `|D|_1`, a rule for it such as
      `sparsity_weight.search`, or `None` for the
      quantile of `|g|` that makes `sparsity` exact.
    sparsity: share of the entries that are zero, in [0, 1).
    lam2: weight of `|D|_2^2`; `None` takes `kappa`.
    kappa: that weight, 10 in the paper.

  Examples:
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> fn = lambda x: x @ jnp.array([1.0, 2.0, 3.0])
    >>> found = saliency_jax.cafo(fn, jnp.ones(3), lam1=2.0, kappa=0.5)
    >>> print(found.scores)
    [0. 0. 1.]
  """
  del key  # Nothing is drawn.
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  out = first_order(
    fn,
    wide,
    jax.grad(fn)(wide),
    lam1=lam1,
    sparsity=sparsity,
    lam2=lam2,
    kappa=kappa,
  )
  return examples.attribution(x, *out)


def caso(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  lam1: sparsity_weight.Lam1 = None,
  sparsity: types.Scalar = 0.75,
  lam2: types.Scalar | None = None,
  kappa: types.Scalar = 10.0,
  num_steps: int = 24,
  eigen_steps: int = 12,
  eigenpairs: curvature.Eigenpairs | None = None,
) -> types.Attribution:
  """Finds the sparse perturbation that raises `fn` most, to second order.

  Every step is one product with the Hessian.

  Args:
    fn: the loss, `scores.loss` in the paper.
    x: the example.
    key: consumed by the search for `L`; not needed with `eigenpairs`.
    lam1: weight of `|D|_1`, a rule for it such as
      `sparsity_weight.search`, or `None` for the
      one that makes `sparsity` exact. The number 0 is solved without FISTA.
    sparsity: share of the entries that are zero, in [0, 1).
    lam2: weight of `|D|_2^2`; `None` takes `L/2 + kappa`.
    kappa: what is added to `L/2`, 10 in the paper.
    num_steps: of FISTA, or of conjugate gradients.
    eigen_steps: products by which `L` is found.
    eigenpairs: of the Hessian, which is then taken to be `sum_i l_i v_i v_i'`:
      from `piecewise_linear.eigenpairs`, or from `curvature.lanczos`.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> maps, info = saliency_jax.caso(
    ...   lambda x: (x**4).sum(), jnp.arange(8.0), key=jax.random.key(0)
    ... )
    >>> maps.shape, float(info.sparsity)
    ((8,), 0.75)
  """
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  if eigenpairs is None:
    gradient, product = curvature.hvp_fn(fn, wide)
    curve = curve_of_product(
      product, wide, key=key, num_steps=num_steps, eigen_steps=eigen_steps
    )
  else:
    gradient, curve = jax.grad(fn)(wide), curve_of_pairs(eigenpairs)
  out = second_order(
    fn,
    wide,
    gradient,
    curve,
    lam1=lam1,
    sparsity=sparsity,
    lam2=lam2,
    kappa=kappa,
    num_steps=num_steps,
  )
  return examples.attribution(x, *out)


def first_order(
  fn: types.ScoreFn,
  x: types.Example,
  gradient: types.Example,
  *,
  lam1: sparsity_weight.Lam1,
  sparsity: types.Scalar,
  lam2: types.Scalar | None,
  kappa: types.Scalar,
) -> types.Attribution:
  """Solves the problem of `cafo` for any gradient."""
  flat, unravel = jax.flatten_util.ravel_pytree(x)
  g = jax.flatten_util.ravel_pytree(gradient)[0]
  lam2 = _lam2(lam2, kappa, jnp.zeros((), g.dtype))
  problem = sparsity_weight.Problem(
    fn=lambda d: fn(unravel(flat + d)),
    gradient=g,
    product=jnp.zeros_like,
    solve=lambda lam1: proximal.shrink(g, lam1) / (2 * lam2),
  )
  lam1 = _lam1(lam1, sparsity, problem)
  if lam1 is None:
    count = selection.count(sparsity, g.size)
    lam1 = proximal.least_threshold(g, count)
  d = problem.solve(lam1)
  gain = _dot(g, d)
  info = CafoInfo(
    objective=_objective(gain, d, lam1, lam2),
    gain=gain,
    lam1=lam1,
    lam2=lam2,
    sparsity=sparsity_weight.share_of_zeros(d),
  )
  return types.Attribution(unravel(d), info)


def second_order(
  fn: types.ScoreFn,
  x: types.Example,
  gradient: types.Example,
  curve: Curve,
  *,
  lam1: sparsity_weight.Lam1,
  sparsity: types.Scalar,
  lam2: types.Scalar | None,
  kappa: types.Scalar,
  num_steps: int,
) -> types.Attribution:
  """Solves the problem of `caso` for any gradient and Hessian."""
  flat, unravel = jax.flatten_util.ravel_pytree(x)
  g = jax.flatten_util.ravel_pytree(gradient)[0]
  lam2 = _lam2(lam2, kappa, curve.eigenvalue)
  if isinstance(lam1, int | float) and lam1 == 0:
    lam1 = jnp.zeros_like(lam2)
    d, steps = curve.solve(g, 2 * lam2)
    hd = curve.product(d)
    miss = jnp.linalg.norm(2 * lam2 * d - hd - g)
  else:
    # A Hessian with a negative eigenvalue makes the gradient steeper.
    step = 1 / (2 * lam2 - jnp.minimum(curve.least, 0))
    minimise = lambda prox: proximal.fista(
      lambda d: 2 * lam2 * d - g - curve.product(d),
      prox,
      jnp.zeros_like(g),
      start_grad=-g,
      step=step,
      num_steps=num_steps,
      affine=True,
    )
    problem = sparsity_weight.Problem(
      fn=lambda d: fn(unravel(flat + d)),
      gradient=g,
      product=curve.product,
      solve=lambda lam1: minimise(proximal.lasso(lam1)).value,
    )
    lam1 = _lam1(lam1, sparsity, problem)
    count = selection.count(sparsity, g.size)
    d, solved = minimise(
      proximal.sparsest(count) if lam1 is None else proximal.lasso(lam1)
    )
    if lam1 is None:
      ahead = d - solved.step * solved.gradient
      lam1 = proximal.least_threshold(ahead, count) / solved.step
    miss, steps = solved.residual, solved.steps.astype(g.dtype)
    hd = 2 * lam2 * d - g - solved.gradient
  gain = _dot(g + hd / 2, d)
  info = CasoInfo(
    objective=_objective(gain, d, lam1, lam2),
    gain=gain,
    lam1=lam1,
    lam2=lam2,
    sparsity=sparsity_weight.share_of_zeros(d),
    residual=miss / jnp.maximum(jnp.linalg.norm(g), jnp.finfo(g.dtype).tiny),
    eigenvalue=curve.eigenvalue,
    eigenvalue_bound=curve.bound,
    steps=steps,
  )
  return types.Attribution(unravel(d), info)


def curve_of_product(
  product: curvature.Product,
  x: types.Example,
  *,
  key: Key[Array, ''] | None,
  num_steps: int,
  eigen_steps: int,
) -> Curve:
  """Returns what is known of a Hessian from products with it."""
  checks.count('num_steps', num_steps)
  checks.count('eigen_steps', eigen_steps)
  unravel = jax.flatten_util.ravel_pytree(x)[1]
  flat = lambda v: jax.flatten_util.ravel_pytree(product(unravel(v)))[0]
  like = jax.flatten_util.ravel_pytree(x)[0]
  (values, _), top = curvature.top_eigenvalue(
    flat, like, key=key, num_steps=eigen_steps
  )

  def solve(g, shift):
    d, info = curvature.shifted_solve(flat, g, shift, num_steps=num_steps)
    return d, info.num_products

  return Curve(flat, values[0], top.bound, top.least, solve)


def curve_of_pairs(eigenpairs: curvature.Eigenpairs) -> Curve:
  """Returns what is known of a Hessian from its eigenpairs."""
  ravel = lambda tree: jax.flatten_util.ravel_pytree(tree)[0]
  values, vectors = examples.wide(tuple(eigenpairs))
  pairs = curvature.Eigenpairs(values, jax.vmap(ravel)(vectors))

  def solve(g, shift):
    return curvature.woodbury(pairs, g, shift), jnp.zeros_like(g[0])

  return Curve(
    product=functools.partial(curvature.low_rank_product, pairs),
    eigenvalue=pairs.values[0],
    bound=pairs.values[0],
    least=pairs.values[-1],
    solve=solve,
  )


def _lam1(lam1, sparsity, problem) -> Float[Array, ''] | None:
  if lam1 is None:
    checks.within('sparsity', sparsity, '[0, 1)')
    return None
  if callable(lam1):
    return lam1(problem)
  checks.within('lam1', lam1, '[0, inf)')
  return jnp.asarray(lam1, problem.gradient.dtype)


def _lam2(lam2, kappa, eigenvalue) -> Float[Array, '']:
  if lam2 is None:
    checks.within('kappa', kappa, '(0, inf)')
    return jnp.maximum(eigenvalue, 0) / 2 + jnp.asarray(kappa, eigenvalue.dtype)
  checks.within('lam2', lam2, '(0, inf)')
  return jnp.asarray(lam2, eigenvalue.dtype)


def _dot(a, b):
  return jnp.vdot(a, b, precision=_HIGHEST)


def _objective(gain, d, lam1, lam2):
  return gain - lam1 * jnp.sum(jnp.abs(d)) - lam2 * jnp.sum(d**2)
