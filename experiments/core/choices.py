"""The flags of the launchers that no config drives: what to explain, and how.

A launcher imports this module to have them; a table imports it never, so that
no launcher takes a flag that it does not read.
"""

from absl import flags

IMAGE = flags.DEFINE_string(
  'image',
  None,
  'Path of an image, or the name of one: imagenet_00_243, the default; or of a '
  'network that reads digits digit_0000 or the like.',
)
FIT = flags.DEFINE_bool(
  'fit',
  False,
  'Show the network the whole image, between grey bars, not its central box.',
)
MODEL = flags.DEFINE_string(
  'model',
  'efficientnet_lite0',
  'Classifier; lenet and vit_digits are trained in a minute; or the path of a '
  'trained one.',
)
SETTINGS = flags.DEFINE_multi_string(
  'set', [], 'method.setting=value; may be given many times.'
)
