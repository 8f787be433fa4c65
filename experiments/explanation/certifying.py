"""What `explain --certify` says of the smoothed maps that it made."""

from collections.abc import Mapping, Sequence
import pathlib

import numpy as np

from experiments.core import app
from experiments.core import files
from experiments.explanation import sheets
from saliency_jax import certificates
from saliency_jax import viz
from saliency_jax.certificates import terms

# The methods whose maps a certificate holds of.
_MAPS = ('sparsified_map', 'relaxed_map', 'scaled_map', 'quadratic_map')
# Points of the curve, up to a multiple of the radius that was asked for.
_POINTS, _TIMES = 25, 4


def with_a_map(names: Sequence[str]) -> list[str]:
  """Returns the methods, and one more where no map of theirs is smoothed."""
  return list(names) if set(names) & set(_MAPS) else [*names, _MAPS[0]]


def report(
  folder: pathlib.Path,
  image: np.ndarray,
  found: Mapping[str, sheets.Map],
  *,
  rho: float,
) -> None:
  """Prints the certificate of each smoothed map, and draws it.

  Args:
    folder: to write to, `METHOD.certified.png` and `.npz` for each.
    image: `[H, W, C]`, in [0, 1].
    found: the maps that were saved, by their methods.
    rho: radius of the L2 ball, in units of the image.
  """
  rows, written = [], []
  rhos = np.append(rho, np.linspace(0, _TIMES * rho, _POINTS))
  for name, made in found.items():
    if not isinstance(made.out.info, terms.SmoothedInfo):
      continue
    known = certificates.certify_map(made.out, rho=rhos)
    draws = known.certificate.num_samples
    stays = int(known.stays[0].sum())
    rows.append(
      (
        name,
        f'{draws}',
        f'{known.overlap[0]:.1%}',
        f'{stays} of {known.top.sum()}',
        f'{known.radius:.3g}',
      )
    )
    figure = viz.certainty(
      np.asarray(image),
      known.top,
      known.inside,
      rho=rhos[1:],
      overlap=known.overlap[1:],
      radius=known.radius,
      title=f'{name.replace("_", " ")}: what no perturbation removes',
      caption=f'{draws} draws, {known.certificate.confidence:.0%} confidence',
    )
    files.write_figure(folder / f'{name}.certified.png', figure)
    files.write_npz(
      folder / f'{name}.certified.npz',
      {
        'top': known.top,
        'inside': known.inside,
        'outside': known.outside,
        'rho': known.certificate.rho,
        'overlap': known.overlap,
        'radius': known.radius,
      },
    )
    written += [f'{name}.certified.png', f'{name}.certified.npz']
  header = (
    'map',
    'draws',
    f'certified top, rho {rho:g}',
    'entries certain',
    'half stays within',
  )
  print(app.table(header, rows))
  print(f'wrote {folder}/: {", ".join(written) or "nothing to certify"}')
