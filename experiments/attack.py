"""Attacks maps over a data set, as a config says: what of the top K stays.

  python -m experiments.attack --workdir=out/attacks \\
      --config=experiments/configs/attacks.py

Every contender is a map and an attack on it; a map that is piecewise constant
is attacked along another one, its `relaxed`. An example on which one of them
found no neighbour of the same class is left out for all, and counted. A run
that was stopped, or killed, goes on where it was. `--workdir` then holds
`config.json`; `records-0.jsonl`, a line an example; `summary.json`, with the
mean overlaps, the paired differences and the verdicts; and `attacks.png`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.core import app
from experiments.core import claims
from experiments.core import examples
from experiments.core import naming
from experiments.core import records
from experiments.core import subsets
from experiments.core import weights
from experiments.core import workdir
from experiments.robustness import attacked
from experiments.tables import settings
from saliency_jax import attacks
from saliency_jax import certificates
from saliency_jax import metrics
from saliency_jax import models
from saliency_jax import transforms
from saliency_jax.attacks import balls
from saliency_jax.attacks import top_k
from saliency_jax.core import batching
from saliency_jax.core import selection
from saliency_jax.gradients import smoothgrad

MAPS = {
  'gradient': top_k.magnitude,
  'smooth_grad': transforms.absolute(smoothgrad.smooth_grad),
  'scaled_map': certificates.scaled_map,
  'quadratic_map': certificates.quadratic_map,
  'sparsified_map': certificates.sparsified_map,
  'relaxed_map': certificates.relaxed_map,
}
ATTACKS = {
  'top_k': attacks.top_k_attack,
  # Ghorbani et al.'s: signs of the gradient, one descent.
  'sign': functools.partial(
    attacks.top_k_attack, step=top_k.sign_step, num_restarts=1, num_steps=100
  ),
  'random': attacks.random_search,
}
OBJECTIVES = {
  'top_k_share': attacks.top_k_share,
  'mass_centre': attacks.mass_centre,
}
BALLS = {'l2': balls.l2, 'linf': balls.linf}


def main(setup: app.Setup) -> None:
  """Attacks `--config` in `--workdir`."""
  del setup  # The seed is the config's, and devices are taken by process.
  config, folder = workdir.read()
  config = weights.recorded(subsets.restrict(config))
  _check(config)
  found = records.complete(
    folder, config, functools.partial(_attack, config, app.local_mesh())
  )
  if found is not None:
    attacked.report(config, folder, found)


def _attack(config, mesh, missing, append):
  """Adds the records of some examples, a batch at a time."""
  model = examples.load_model(config)
  surrogate = _surrogate(config)
  source = examples.load_source(config)
  programs = {
    label: batching.over_batch(
      functools.partial(_one, model.apply, surrogate, config, chosen), mesh
    )
    for label, chosen in config['methods'].items()
  }
  with app.progress(missing, what='examples') as bar:
    for batch in examples.batches(
      config, source, model.spec, missing, mesh.size
    ):
      rows = [{label: {} for label in programs} for _ in batch.indices]
      for label, program in programs.items():
        for rho in config['rho']:
          bar.set_postfix_str(f'{label}, rho {rho:g}')
          out = program((model.params, rho), batch.images, batch.keys)
          out = jax.tree.map(np.asarray, out)
          for i, row in enumerate(rows):
            one = {k: v[i].item() for k, v in out.items()}
            row[label][f'{rho:g}'] = one
      for i, name, row in zip(batch.indices, batch.names, rows, strict=True):
        append({'index': i, 'name': name, 'maps': row})
      bar.update(len(rows))


def _surrogate(config):
  """Returns what is differentiated in the network's place, or `None`."""
  if config['sharpness'] is None:
    return None
  smooth = models.softplus(config['sharpness'])
  return weights.load(config['model'], activation=smooth).apply


def _one(apply, surrogate, config, chosen, shared, x, key):
  """Attacks one example, and says what is left of its map."""
  params, rho = shared
  logits_fn = functools.partial(apply, params)
  attack, bound = _bound(chosen['attack'], ATTACKS)
  if surrogate is not None and attack is not attacks.random_search:
    bound['surrogate'] = functools.partial(surrogate, params)
  noise = jax.random.fold_in(key, 1)
  method = _fixed(chosen, noise)
  if 'relaxed' in chosen:
    bound['relaxed'] = _fixed(chosen['relaxed'], noise)
  objective = OBJECTIVES[config['objective']]
  if config['objective'] == 'top_k_share':
    objective = functools.partial(
      objective, k=selection.count(config['k'], x.size)
    )
  adversary = attack(
    logits_fn,
    x,
    rho=rho,
    key=jax.random.fold_in(key, 0),
    method=method,
    objective=objective,
    ball=BALLS[config['ball']],
    **bound,
  )
  label = jnp.argmax(logits_fn(x))
  fn = lambda x: logits_fn(x)[label]
  clean, attacked = (method(fn, at, key=None).scores for at in (x, adversary.x))
  k = selection.count(config['k'], clean.size)
  return {
    'feasible': adversary.feasible,
    'overlap': metrics.top_k_overlap(clean, attacked, k),
    'objective': adversary.objective,
    'clean_objective': adversary.clean_objective,
    'norm': adversary.norm,
  }


def _bound(chosen, table):
  """Returns the function that is chosen, and its settings."""
  fn = table[chosen['name']]
  return fn, settings.check(chosen['name'], fn, chosen['settings'])


def _fixed(chosen, noise):
  """Returns the map as a function that draws nothing: its noise is fixed."""
  fn, bound = _bound(chosen, MAPS)
  made = functools.partial(fn, key=noise, **bound)
  return lambda fn, x, *, key: made(fn, x)


def _check(config):
  """Refuses a config in which a word is wrong, before any work."""
  naming.check('config.objective', config['objective'], OBJECTIVES)
  naming.check('config.ball', config['ball'], BALLS)
  for label, chosen in config['methods'].items():
    parts = [('', chosen, MAPS), ('attack.', chosen['attack'], ATTACKS)]
    if 'relaxed' in chosen:
      parts.append(('relaxed.', chosen['relaxed'], MAPS))
    for what, used, table in parts:
      where = f'config.methods.{label}'
      naming.check(f'{where}: {what}name', used['name'], table)
      try:
        _bound(used, table)
      except ValueError as e:
        raise ValueError(f'{where}: {what}{e}') from e
  claims.check(config, [f'overlap at {rho:g}' for rho in config['rho']])
  if config['sharpness'] is not None:
    # The others are smooth, or can be trained to be.
    what = 'config.model, for a sharpness,'
    naming.check(what, config['model'], models.names())


if __name__ == '__main__':
  app.run(main)
