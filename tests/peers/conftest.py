"""Keeps Keras out of the home folder, and lets torchvision be imported.

Keras writes its settings into a folder when it is imported, here one of its own
for as long as the tests run.

torchvision describes operators of its own, which its wheel brings for one build
of torch alone; its networks need none of them. That part of it is stood in for,
since other peers import torchvision where they find it.
"""

import importlib.util
import os
import sys
import tempfile
import types

# Removed where the process ends.
_KERAS = tempfile.TemporaryDirectory(prefix='keras')
os.environ.setdefault('KERAS_HOME', _KERAS.name)

_PART = 'torchvision._meta_registrations'

if importlib.util.find_spec('torchvision'):
  sys.modules.setdefault(_PART, types.ModuleType(_PART))
