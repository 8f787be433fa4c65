"""What each bound certifies of each map, from the same draws.

Of each network and example: the draws of the gradient's size at noisy
neighbours, the maps that are made of the first q of them, and of each map the
certified overlap of the top K within rho by every bound that holds of it. The
bound by exchange selects its own top, by the first draws.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from experiments.core import app
from experiments.core import examples
from experiments.core import statistics
from experiments.studies import findings
from saliency_jax import certificates
from saliency_jax import scores
from saliency_jax.certificates import draws
from saliency_jax.certificates import shared_draws
from saliency_jax.core import sampling
from saliency_jax.core import selection

_PAPER = 'hoeffding'
# By the kind of map: the bounds of its entries.
_BINARY = ('clopper_pearson',)
_SIZES = ('empirical_bernstein', 'cdf_floor', 'cdf_exact')
_CHUNK = 256


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Certifies every example of every network."""
  del folder  # It is a matter of minutes.
  kinds = {
    'sparsified': draws.sparsified(config['tau']),
    'relaxed': draws.relaxed(config['tau'], config['gamma']),
    'scaled': draws.scaled(),
  }
  found = []
  for network, settings in config['networks'].items():
    chosen = {**config, **settings}
    model = examples.load_model(chosen)
    source = examples.load_source(
      {**chosen, 'num_examples': config['first'] + config['num_examples']}
    )
    program = jax.jit(functools.partial(_values, model.apply, config, kinds))
    indices = range(config['first'], config['first'] + config['num_examples'])
    for index in app.progress(indices, what=f'{network}, examples'):
      (batch,) = examples.batches(
        {**chosen, 'batch_size': 1}, source, model.spec, [index], 1
      )
      values = [
        program(model.params, batch.images[0], batch.keys[0], start)
        for start in range(0, max(config['num_samples']), _CHUNK)
      ]
      values = {
        name: np.concatenate([np.asarray(part[name]) for part in values])
        for name in kinds
      }
      for name, kind in kinds.items():
        for q in config['num_samples']:
          overlaps = _certified(values[name][:q], kind.binary, config)
          found.append(
            {
              'network': network,
              'index': index,
              'map': name,
              'q': q,
              'overlaps': overlaps,
            }
          )
  return _findings(found, config, kinds)


def _values(apply, config, kinds, params, x, key, start):
  """Returns the values of some draws, `[chunk, n]`, by kind."""
  fn = scores.max_logit(apply, params, jnp.argmax(apply(params, x)))
  at = shared_draws.values_at(fn, shared_draws.magnitude, kinds, x.dtype)

  def average(at, num, *, batch_size):
    del num, batch_size
    return jax.vmap(at)(start + jnp.arange(_CHUNK))

  values, _, _ = sampling.over_neighbours(
    lambda neighbour, _: at(neighbour),
    x,
    key=key,
    sigma=config['sigma'],
    num_samples=_CHUNK,
    average=average,
  )
  return {name: v.reshape(_CHUNK, -1) for name, v in values.items()}


def _certified(values, binary, config):
  """Returns the certified overlap of one map, by bound."""
  k = selection.count(config['k'], values.shape[1])
  shared = {'rho': config['rho'], 'confidence': config['confidence']}
  smoothed = certificates.stated_tails(
    values, sigma=config['sigma'], binary=binary
  )
  names = (_PAPER, *(_BINARY if binary else _SIZES))
  bounds = {name: getattr(certificates, name) for name in names}
  bounds['best of them'] = certificates.best_of(*bounds.values())
  found = {
    name: certificates.top_k_overlap(smoothed, k, bound=bound, **shared)
    for name, bound in bounds.items()
  }
  found['exchange'] = certificates.exchange_overlap(
    certificates.stated_split(values, sigma=config['sigma'], binary=binary),
    k,
    **shared,
  )
  return {name: float(one.overlap[0, 0]) for name, one in found.items()}


def _findings(found, config, kinds):
  numbers = {'examples': found, 'mean': {}}
  rows, curves = [], {}
  for network in config['networks']:
    for name in kinds:
      mine = [r for r in found if (r['network'], r['map']) == (network, name)]
      for bound in mine[0]['overlaps']:
        told = []
        for q in config['num_samples']:
          values = [r['overlaps'][bound] for r in mine if r['q'] == q]
          told.append(statistics.mean_interval(np.array(values)))
        curves[network, name, bound] = told
        numbers['mean'][f'{network}, {name}, {bound}'] = [
          one._asdict() for one in told
        ]
        rows.append(
          (
            network,
            name,
            bound,
            *(f'{v.mean:.3f} ({v.low:.3f} to {v.high:.3f})' for v in told),
          )
        )
  most = max(config['num_samples'])
  least = min(config['num_samples'])
  numbers['claims'] = {}
  for network in config['networks']:
    mean = lambda name, bound, q, network=network: (
      curves[network, name, bound][config['num_samples'].index(q)].mean
    )
    numbers['claims'][network] = {
      f'sparsified: exchange at {least}, hoeffding at {most}': (
        mean('sparsified', 'exchange', least),
        mean('sparsified', _PAPER, most),
      ),
      **{
        f'scaled at {q}: exchange, hoeffding': (
          mean('scaled', 'exchange', q),
          mean('scaled', _PAPER, q),
        )
        for q in config['num_samples']
      },
    }
  header = (
    'network',
    'map',
    'bound',
    *(f'q {q}' for q in config['num_samples']),
  )
  columns = {name: _column(found, name) for name in kinds}
  clusters = {
    name: [r['index'] for r in found if (r['map'], r['q']) == (name, least)]
    for name in kinds
  }
  return findings.Findings(
    header,
    rows,
    numbers,
    {'bounds': _figure(curves, config, kinds)},
    columns,
    clusters,
  )


def _column(found, name):
  """Returns the overlaps of a map by bound and draws, networks in turn."""
  columns = {}
  for r in found:
    if r['map'] == name:
      for bound, overlap in r['overlaps'].items():
        columns.setdefault(f'{bound}, {r["q"]}', []).append(overlap)
  return {label: np.array(values) for label, values in columns.items()}


def _figure(curves, config, kinds):
  networks = list(config['networks'])
  fig = figure.Figure(
    figsize=(3.1 * len(kinds) + 1.8, 2.7 * len(networks)),
    layout='constrained',
  )
  axes = fig.subplots(
    len(networks), len(kinds), sharex=True, sharey=True, squeeze=False
  )
  names = list(dict.fromkeys(bound for *_, bound in curves))
  drawn = {}
  for row, network in zip(axes, networks, strict=True):
    for ax, name in zip(row, kinds, strict=True):
      for i, bound in enumerate(names):
        told = curves.get((network, name, bound))
        if told is None:
          continue
        mean = np.array([v.mean for v in told])
        ends = np.array([(v.low, v.high) for v in told]).T
        drawn[bound] = ax.errorbar(
          config['num_samples'],
          mean,
          yerr=np.abs(ends - mean),
          color='black' if bound == _PAPER else f'C{i}',
          ls='--' if bound == _PAPER else '-',
          lw=2 if bound == 'exchange' else 1.2,
          marker='.',
          capsize=2,
        )
      ax.set_xscale('log', base=2)
      ax.set_xticks(config['num_samples'], labels=config['num_samples'])
      ax.minorticks_off()
      ax.set_ylim(0, 1)
      ax.grid(color='#e6e6e6', lw=0.6)
      ax.set_title(f'{name}, {network}', fontsize=9)
  for row in axes:
    row[0].set_ylabel(f'certified top {config["k"]:.0%}', fontsize=9)
  for ax in axes[-1]:
    ax.set_xlabel('draws', fontsize=9)
  fig.legend(
    drawn.values(),
    [name.replace('_', ' ') for name in drawn],
    loc='outside right center',
    frameon=False,
    fontsize=9,
  )
  return fig
