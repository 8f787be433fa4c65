"""JAX-native saliency maps: pure functions, one signature for all.

Every method is `method(fn, x, *, key=None, **settings) -> (scores, info)`, and
all of them stand in this one namespace: `saliency_jax.gradient(fn, x)`. The
names are listed in `__init__.pyi`, and each is imported when it is first used,
so that whoever wants one function pays for JAX and for that function alone.
`models`, `data` and `viz` are imported by those who want them:
`from saliency_jax import models`.
"""

import lazy_loader

__version__ = '0.2.0'

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
