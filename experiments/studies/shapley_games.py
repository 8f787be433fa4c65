"""Games whose every coalition is known: photos, a forest, an MLP, tokens.

Each game is a score and a masker of the library, of 10 to 12 players; what its
`2^p` coalitions are worth is kept in a folder, so that a study of estimators
calls no network twice.
"""

from collections.abc import Callable, Mapping
import functools
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from experiments.core import files
from experiments.core import inputs
from saliency_jax import maskers
from saliency_jax import models
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.perturbations import games

Worths = Float[np.ndarray, 'sets']


def worths(
  names: Mapping[str, Mapping[str, Any]], folder: pathlib.Path
) -> dict[str, Worths]:
  """Returns what the coalitions of games are worth: player `i` is bit `i`.

  Args:
    names: of the games, each with a `kind` of `KINDS` and its settings.
    folder: in which they are kept.
  """
  found = {}
  for name, settings in names.items():
    path = folder / f'game {name}.npz'
    if not path.exists():
      build = KINDS[settings['kind']]
      rest = {k: v for k, v in settings.items() if k != 'kind'}
      files.write_npz(path, {'worths': build(**rest)})
    with np.load(path) as kept:
      found[name] = kept['worths'].astype(np.float64)
  return found


def shapley(worths: Worths) -> Float[np.ndarray, 'p']:
  """Returns the Shapley values of a game, in float64."""
  num = len(worths).bit_length() - 1
  sets = np.arange(len(worths))
  sizes = np.bitwise_count(sets)
  values = []
  for i in range(num):
    without = sets[sets >> i & 1 == 0]
    weights = [1 / (num * math.comb(num - 1, s)) for s in sizes[without]]
    values.append(
      np.sum(weights * (worths[without | 1 << i] - worths[without]))
    )
  return np.array(values)


def photo(model: str, index: int, num_players: int) -> Worths:
  """Plays superpixels of a photo; absent ones show its mean colour.

  Players are as many as `num_players` or a few less: slic decides.
  """
  network = models.load(model)
  image = jnp.asarray(inputs.photos(network.spec, num=index + 1)[index])
  label = int(jnp.argmax(jax.jit(network.apply)(network.params, image)))
  masker = functools.partial(
    maskers.segments,
    labels=superpixels(np.asarray(image), num_players),
    baseline=baselines.mean,
  )
  fn = scores.prob(network.apply, network.params, label)
  return _played(fn, image, masker, 16)


def superpixels(image: Float[np.ndarray, 'h w c'], most: int) -> np.ndarray:
  """Returns the labels of as many superpixels as there are up to `most`."""
  from skimage import segmentation  # Imports scipy's whole tree.

  best = np.zeros(image.shape[:2], int)
  for num in range(2, 3 * most):
    labels = segmentation.slic(image, n_segments=num, start_label=0)
    # Without gaps in the numbers.
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    if best.max() < labels.max() < most:
      best = labels
  return best


def forest(row: int, num_background: int) -> Worths:
  """Plays the ten columns of the diabetes data, absent ones from other rows."""
  from sklearn import datasets
  from sklearn import ensemble

  data = datasets.load_diabetes()
  model = ensemble.RandomForestRegressor(100, random_state=0)
  model.fit(data.data[100:], data.target[100:])
  background = baselines.Background(
    data.data[100 : 100 + num_background].astype(np.float32)
  )
  masker = functools.partial(maskers.entries, baseline=background)
  fn = scores.from_host(lambda rows: model.predict(np.asarray(rows)))
  return _played(fn, jnp.asarray(data.data[row], jnp.float32), masker, 256)


def mlp(row: int) -> Worths:
  """Plays ten groups of three columns of the breast-cancer data."""
  from sklearn import datasets
  from sklearn import neural_network
  from sklearn import preprocessing

  data = datasets.load_breast_cancer()
  columns = preprocessing.StandardScaler().fit_transform(data.data)
  model = neural_network.MLPClassifier((32, 32), max_iter=400, random_state=0)
  model.fit(columns[100:], data.target[100:])
  masker = functools.partial(maskers.groups, labels=np.arange(30) % 10)
  fn = scores.from_host(
    lambda rows: model.predict_proba(np.asarray(rows))[:, 1]
  )
  return _played(fn, jnp.asarray(columns[row], jnp.float32), masker, 256)


def tokens(num_players: int) -> Worths:
  """Plays tokens that matter by themselves, in twos and in threes."""
  rng = np.random.default_rng(0)
  alone, turned = (jnp.asarray(rng.normal(size=num_players)) for _ in range(2))
  third = jnp.asarray(rng.normal(size=num_players - 2))

  def fn(ids):
    here = (ids > 0).astype(jnp.float32)
    score = jnp.sum(0.6 * alone * here)
    score += jnp.sum((turned * here)[1:] * here[:-1])
    score += jnp.sum(0.5 * third * here[2:] * here[1:-1] * here[:-2])
    return jax.nn.sigmoid(score)

  return _played(fn, jnp.arange(1, num_players + 1), maskers.tokens, 1024)


def random(num_players: int) -> Worths:
  """Draws what each coalition is worth."""
  return np.random.default_rng(0).normal(size=2**num_players)


KINDS: dict[str, Callable[..., Worths]] = {
  'photo': photo,
  'forest': forest,
  'mlp': mlp,
  'tokens': tokens,
  'random': random,
}


def _played(fn, x, masker, batch_size):
  game = games.of(fn, x, masker, None)
  bits = jnp.arange(game.num)
  coalition = lambda i: (i + 1) >> bits & 1 == 1
  found = jax.jit(
    lambda: games.worths(
      game, coalition, 2**game.num - 2, batch_size=batch_size
    )
  )()
  return np.concatenate([[found.nobody], found.of, [found.everyone]])
