"""Adebayo's cascade: maps of a network that forgets, layer by layer.

Paper: Adebayo et al., Sanity checks for saliency maps, 2018,
  https://arxiv.org/abs/1810.03292; and Luo, Barut, Jin, Statistically
  consistent saliency estimation, ICCV 2021, Figure 5.
Claim: maps of gradients change with the network; LEG-TV is zero after the first
  layer that is made random.
Here: digits and LeNet; or :squeezenet on photos. LEG-TV twice: with `L` a share
  of the largest, which makes the map free of scale, so that it is zero on no
  network that is not constant; and with an absolute `L`, where the norm tells.
Seen on 50 digits, the top layer random, then all: the rank correlation of the
  gradient is .50, then .32; of SmoothGrad .50, .28; CASO .44, .23; I-GOS .18,
  .34; Grad-CAM .02, .03; RISE -.01, .58. Integrated gradients and gradient x
  input stay as they were, .99 and .99: on black ground they show the image.
  Guided backpropagation hardly knows the top layer, .87 and .36, where the
  gradient loses half; deconvnet .29, .20; LRP and DeepLIFT .99 and .99,
  gradient x input again; contrastive excitation backpropagation .63, .08. Mask
  gives no map on 35 of the trained network's digits. LEG-TV .22, .12, zero on
  no network. With an absolute L it is constant on 12 digits of the trained
  network; of the other 38 it becomes constant on 18 with the top layer random,
  on 37 with all: its order is lost in part, then whole, and what is left is its
  mean, .02 of the trained network's norm (median). The paper's claim holds in
  part: after one layer, on half. CASO's norm grows by 1e5 and more, as the loss
  of a sure network has next to no gradient. 5 minutes on two cores.
Command: python -m experiments.study --workdir=out/sanity_cascade \\
  --config=experiments/configs/sanity_cascade.py
"""

from experiments.configs import common


def get_config(which: str = 'digits'):
  """Returns the config for 'digits', 'vit', or for a network of photos."""
  leg = {'cells': 7, 'num_samples': 392}
  window = {}
  if which == 'digits':
    chosen = {
      **common.LENET,
      'num_examples': 50,
      'batch_size': 10,
    }
    leg['sigma'] = 0.2
    window = {'window': 5, 'stride': 2}
  elif which == 'vit':
    chosen = {
      **common.VIT,
      'num_examples': 20,
      'batch_size': 10,
    }
    leg['sigma'] = 0.2
    window = {'window': 5, 'stride': 2}
  else:
    chosen = {
      'model': which,
      'data': 'photos',
      'num_examples': 4,
      'batch_size': 1,
    }
  methods = {
    'gradient': common.use('gradient'),
    'smooth_grad': common.use('smooth_grad', num_samples=16),
    'integrated_gradients': common.use('integrated_gradients', num_steps=16),
    'gradient_x_input': common.use('gradient_x_input'),
    'guided_backprop': common.use('guided_backprop'),
    'deconvnet': common.use('deconvnet'),
    'lrp': common.use('lrp'),
    'deeplift': common.use('deeplift'),
    'excitation_backprop': common.use('excitation_backprop'),
    'grad_cam': common.use('grad_cam'),
    'occlusion': common.use('occlusion', **window),
    'rise': common.use('rise', num_masks=500),
    'mask': common.use('mask', num_steps=100),
    'igos': common.use('igos'),
    'caso': common.use('caso'),
    'leg': common.use('leg', **leg),
    'leg_tv': common.use('leg_tv', num_steps=400, **leg),
    'leg_tv, absolute L': common.use(
      'leg_tv', num_steps=400, radius='absolute', level=1e-3, **leg
    ),
  }
  if which == 'vit':
    for name in ('guided_backprop', 'deconvnet'):
      del methods[name]
    methods['cp_lrp'] = common.use('lrp', composite='cp_lrp')
  return common.study(
    'sanity_cascade', about=__doc__, methods=methods, **chosen
  )
