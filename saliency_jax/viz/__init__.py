"""Figures of maps, with matplotlib only.

Every function returns what it drew (an array, or a `Figure` that no window and
no pyplot state knows of), whatever backend the caller uses.
"""

from saliency_jax.viz.bars import bars as bars
from saliency_jax.viz.bars import waterfall as waterfall
from saliency_jax.viz.certainty import certainty as certainty
from saliency_jax.viz.drawings import HEAT as HEAT
from saliency_jax.viz.drawings import MAGNITUDE as MAGNITUDE
from saliency_jax.viz.drawings import SIGNED as SIGNED
from saliency_jax.viz.drawings import Drawing as Drawing
from saliency_jax.viz.drawings import diverging as diverging
from saliency_jax.viz.drawings import grayscale as grayscale
from saliency_jax.viz.drawings import overlay as overlay
from saliency_jax.viz.drawings import paint as paint
from saliency_jax.viz.drawings import unit as unit
from saliency_jax.viz.regions import segments as segments
from saliency_jax.viz.sheet import Tile as Tile
from saliency_jax.viz.sheet import contact_sheet as contact_sheet
from saliency_jax.viz.spans import series as series
from saliency_jax.viz.swarms import beeswarm as beeswarm
from saliency_jax.viz.tokens import tokens as tokens
from saliency_jax.viz.tokens_html import tokens_html as tokens_html
