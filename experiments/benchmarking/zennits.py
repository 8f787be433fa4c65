"""zennit, where it is installed: `pip install --no-deps zennit`.

It imports torchvision, whose build must be torch's own, for three names. Where
there is none they are stood in for.
"""

import importlib.util
import sys
import types
from typing import Any

_NAMES = {
  'torchvision': {},
  'torchvision.models': {},
  'torchvision.models.resnet': {'Bottleneck': None, 'BasicBlock': None},
}


def load() -> Any:
  """Returns the package, or `None` where it is not installed."""
  if importlib.util.find_spec('zennit') is None:
    return None
  if importlib.util.find_spec('torchvision') is None:
    absent = type('Absent', (), {})
    for name, inside in _NAMES.items():
      sys.modules[name] = types.ModuleType(name)
      vars(sys.modules[name]).update(dict.fromkeys(inside, absent))
    operations = types.SimpleNamespace(FrozenBatchNorm2d=absent)
    sys.modules['torchvision'].ops = operations
  import zennit
  import zennit.attribution
  import zennit.composites

  for name in _NAMES:
    # To others torchvision is what it was: not there.
    if getattr(sys.modules.get(name), '__spec__', None) is None:
      sys.modules.pop(name, None)
  return zennit
