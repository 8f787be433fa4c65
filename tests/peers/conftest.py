"""Lets torchvision be imported beside any build of torch.

It describes operators of its own, which its wheel brings for one build of torch
alone; its networks need none of them. That part of it is stood in for, since
other peers import torchvision where they find it.
"""

import importlib.util
import sys
import types

_PART = 'torchvision._meta_registrations'

if importlib.util.find_spec('torchvision'):
  sys.modules.setdefault(_PART, types.ModuleType(_PART))
