"""Photos, digits and a user's own images, as arrays and as sequences.

`load(name)` opens a dataset or a folder, `read` and `prepare` turn one file
into a classifier's input. Nothing is fetched unless the caller asks.
"""

from saliency_jax.data.images import central_box as central_box
from saliency_jax.data.images import prepare as prepare
from saliency_jax.data.images import read as read
from saliency_jax.data.sources import Source as Source
from saliency_jax.data.sources import arrays as arrays
from saliency_jax.data.sources import load as load
