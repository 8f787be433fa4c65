"""Maps that no small perturbation of the input can change much, with proof.

`smoothed_maps` makes them, `several` makes many of the same draws, in the ways
of the module `draws`, and each carries its terms; `confidence` bounds what
was sampled, and `top_k_overlap`, `overlap_radius`, `entry_radii` and
`certified_rank` say what is certain; `certify` is all of it in one call, and
`certify_until` draws until it is good. `percentile_map` is for maps without a
range, and has bounds and a certificate of its own.
Certificates are numbers for a report: they are computed on the host, in double
precision.
"""

from saliency_jax.certificates import draws as draws
from saliency_jax.certificates import noises as noises
from saliency_jax.certificates.confidence import best_of
from saliency_jax.certificates.confidence import clopper_pearson
from saliency_jax.certificates.confidence import closest
from saliency_jax.certificates.confidence import empirical_bernstein
from saliency_jax.certificates.confidence import hoeffding
from saliency_jax.certificates.confidence import population
from saliency_jax.certificates.exchange import exchange_overlap
from saliency_jax.certificates.exchange import exchange_radius
from saliency_jax.certificates.overlap import gaussian_shift
from saliency_jax.certificates.overlap import guaranteed
from saliency_jax.certificates.overlap import privacy_shift
from saliency_jax.certificates.overlap import top_k_overlap
from saliency_jax.certificates.percentiles import percentile_bounds
from saliency_jax.certificates.percentiles import percentile_map
from saliency_jax.certificates.percentiles import percentile_overlap
from saliency_jax.certificates.percentiles import stated_percentiles
from saliency_jax.certificates.radii import entry_radii
from saliency_jax.certificates.radii import overlap_radius
from saliency_jax.certificates.rank import certified_rank
from saliency_jax.certificates.rounds import certify_until
from saliency_jax.certificates.rounds import in_rounds
from saliency_jax.certificates.shared_draws import merged
from saliency_jax.certificates.shared_draws import several
from saliency_jax.certificates.smoothed_maps import median_rank
from saliency_jax.certificates.smoothed_maps import quadratic_map
from saliency_jax.certificates.smoothed_maps import relaxed_map
from saliency_jax.certificates.smoothed_maps import scaled_map
from saliency_jax.certificates.smoothed_maps import sparsified_map
from saliency_jax.certificates.split_draws import split_map
from saliency_jax.certificates.split_draws import stated_split
from saliency_jax.certificates.summary import certify
from saliency_jax.certificates.summary import certify_map
from saliency_jax.certificates.tails import cdf_exact
from saliency_jax.certificates.tails import cdf_floor
from saliency_jax.certificates.tails import stated_tails
from saliency_jax.certificates.tails import with_tails
from saliency_jax.certificates.terms import stated_map

__all__ = [
  'best_of',
  'cdf_exact',
  'cdf_floor',
  'certified_rank',
  'certify',
  'certify_map',
  'certify_until',
  'closest',
  'clopper_pearson',
  'empirical_bernstein',
  'draws',
  'entry_radii',
  'exchange_overlap',
  'exchange_radius',
  'gaussian_shift',
  'guaranteed',
  'hoeffding',
  'in_rounds',
  'median_rank',
  'merged',
  'noises',
  'overlap_radius',
  'percentile_bounds',
  'percentile_map',
  'percentile_overlap',
  'population',
  'privacy_shift',
  'quadratic_map',
  'relaxed_map',
  'scaled_map',
  'several',
  'sparsified_map',
  'split_map',
  'stated_map',
  'stated_percentiles',
  'stated_split',
  'stated_tails',
  'top_k_overlap',
  'with_tails',
]
