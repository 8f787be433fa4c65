"""The flag `--segments`: superpixels as the players of coalitions."""

from absl import flags

SEGMENTS = flags.DEFINE_integer(
  'segments',
  None,
  'Superpixels of a photo that methods of coalitions (lime, kernel_shap, '
  'shapley, ...) take for players, in the place of square cells.',
  lower_bound=2,
)
