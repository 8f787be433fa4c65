"""What is certain of the top K of a map: where it is, and how far it holds."""

from matplotlib import cm
from matplotlib import colors
from matplotlib import figure
import numpy as np

from saliency_jax.viz import drawings
from saliency_jax.viz import frames
from saliency_jax.viz import texts

Mask = np.ndarray  # `[h, w, c]`, whether an entry counts.

_WIDTH, _HEIGHT = 8.6, 4.0
# Of entries that are certain, by their radius; and of the rest of the top.
_COLORS = 'plasma'
_TOP = (0.45, 0.68, 0.92)
_LINE, _MARK = '#1f5fa8', '#b3261e'


def certainty(
  image: drawings.Photo,
  top: Mask,
  radii: drawings.Scores,
  *,
  rho: np.ndarray,
  overlap: np.ndarray,
  radius: float | int | None = None,
  share: float | int = 0.5,
  title: str = '',
  caption: str = '',
  warning: str = '',
) -> figure.Figure:
  """Draws which entries are certain over the photo, and the share against rho.

  Args:
    image: `[H, W, 3]` or `[H, W, 1]`, in [0, 1].
    top: which entries are the K largest, `[H, W, c]`: drawn where one of the
      channels is.
    radii: within which an entry is certain to be among them, `[H, W, c]`, 0 for
      none; the largest of the channels is drawn.
    rho: radii of the ball, `[r]`, in units of the example.
    overlap: certified share of the top within each, `[r]`.
    radius: within which `share` of the top stays, marked; `None` for no mark.
    share: see `radius`.
    title: above the figure.
    caption: one line of diagnostics.
    warning: why it is not to be trusted, marked.

  Returns:
    A figure without pyplot state: `figure.savefig(path)`.

  Raises:
    ValueError: shapes that do not go together.
  """
  top, radii = np.asarray(top, bool), np.asarray(radii, np.float64)
  rho, overlap = np.ravel(rho), np.ravel(overlap)
  if top.shape != radii.shape or rho.shape != overlap.shape:
    raise ValueError(
      f'top is {top.shape} and radii {radii.shape}, rho {rho.shape} and '
      f'overlap {overlap.shape}: expected two by two the same'
    )
  fig = frames.start(_WIDTH, _HEIGHT, title=title, warning=warning)
  left, right = fig.subplots(1, 2, width_ratios=(1, 1.15))
  _draw_entries(fig, left, image, top.any(-1), radii.max(-1))
  right.plot(rho, overlap, color=_LINE, marker='.', lw=1.5)
  if radius is not None and 0 < radius < np.inf:
    right.plot([radius], [share], 'D', color=_MARK, ms=5)
    right.annotate(
      f'{share:.0%} stays within {radius:.3g}',
      (radius, share),
      (6, 4),
      textcoords='offset points',
      fontsize=9,
      color=_MARK,
    )
  right.set_ylim(0, 1)
  right.set_xlim(left=0)
  right.locator_params(axis='x', nbins=5)
  right.set_xlabel('radius of the ball, in units of the example', fontsize=9)
  right.set_ylabel('certified share of the top', fontsize=9)
  right.grid(color='#e6e6e6', lw=0.6)
  right.tick_params(labelsize=9)
  for side in ('top', 'right'):
    right.spines[side].set_visible(False)
  frames.caption(right, caption, _WIDTH / 2)
  return fig


def _draw_entries(fig, ax, image, top, radii):
  """Paints the top, and in it what is certain, over the grey photo."""
  largest = radii.max() or 1.0
  base = drawings.overlay(
    image, np.zeros(top.shape), colors='gray', opacity=0.0
  )
  scale = cm.ScalarMappable(colors.Normalize(0, largest), _COLORS)
  certain = radii > 0
  pixels = np.where(top[..., None], 0.25 * base + 0.75 * np.array(_TOP), base)
  pixels = np.where(certain[..., None], scale.to_rgba(radii)[..., :3], pixels)
  ax.imshow(pixels, interpolation='nearest')
  ax.set_xticks([])
  ax.set_yticks([])
  for spine in ax.spines.values():
    spine.set_color('#999999')
  ax.set_title(
    f'blue: the top; colours: certain to stay ({certain.sum()} of '
    f'{top.sum()} pixels)',
    loc='left',
    fontsize=8,
    color=texts.MUTED,
  )
  bar = fig.colorbar(scale, ax=ax, aspect=30, pad=0.02)
  bar.set_label('within this radius', fontsize=9)
  bar.ax.tick_params(labelsize=8, length=0)
  bar.outline.set_visible(False)
