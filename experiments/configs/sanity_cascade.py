"""Adebayo's cascade: maps of a network that forgets, layer by layer.

Paper: Adebayo et al., Sanity checks for saliency maps, 2018,
  https://arxiv.org/abs/1810.03292; and Luo, Barut, Jin, Statistically
  consistent saliency estimation, ICCV 2021, Figure 5.
Claim: maps of gradients change with the network; LEG-TV is zero after the first
  layer that is made random.
Here: digits and LeNet; :vit, digits and a transformer, without guided
  backpropagation and the deconvnet, whose rules are of ReLUs and which have
  none for its GELUs; or :squeezenet on photos. Ranks are compared on the ink
  alone, with their signs and by their sizes: all black pixels of a map that is
  multiplied by the image tie at zero on any network, which made .99 of such a
  map's correlation. Noise, drawn anew for each network, and noise times the
  image are the controls. LEG-TV twice: with `L` a share of the largest, which
  makes the map free of scale, so that it is zero on no network that is not
  constant; and with an absolute `L`, where the norm tells.
Seen on 50 digits, the top layer random, then all. With signs no map but one
  stays: the gradient's correlation is -.06, then -.01; SmoothGrad -.06, .01;
  integrated gradients -.07, .00; gradient x input, LRP and DeepLIFT -.06 to
  -.08, .00 to -.03; excitation .01, -.02; Grad-CAM .04, -.05; CASO -.10, -.01;
  I-GOS .02, .08; LEG -.08, .01; LEG-TV -.10, .00; but guided backpropagation
  has .95, .36, deconvnet .33, .14. RISE has -.08, and .49 of a network that is
  all random. By size gradient x input, integrated gradients, LRP and DeepLIFT
  keep .56 to .59, then .38 to .41, where noise times the image has .36, .38:
  what is left at last is the image. Gradient .30, .01; guided .89, .10;
  excitation .62, .01. Mask has an order on the ink of 14 digits. Of the 40
  digits on which LEG-TV with an absolute L has an order, it is constant on .55
  with the top layer random, on all with all, its norm .04 of the trained
  network's (median). The paper's claim holds in part: after one layer, on half.
  CASO's norm grows by 1e5 and more, as the loss of a sure network has next to
  no gradient. 10 minutes beside other runs. (Other digits, and another network:
  -.19 to -.25 where -.06 to -.10 stands; the same else.)
Seen on 20 digits and the transformer: with signs no map stays. The gradient has
  .12, then .05; LRP by AttnLRP .15, .01, by CP-LRP .12, .00; DeepLIFT .14, .03;
  I-GOS .25, .08; RISE .11, .13; excitation .27, .16 (-.06 to .37). By size LRP,
  CP-LRP, DeepLIFT, integrated gradients and gradient x input have .52 to .59,
  then .35 to .38, where noise times the image has .43, .44: here, too, what is
  left at last is the image. 6 minutes of a processor.
Command: python -m experiments.study --workdir=out/sanity_cascade \\
  --config=experiments/configs/sanity_cascade.py
  and with :vit behind the config, in another folder.
"""

from experiments.configs import common


def get_config(which: str = 'digits'):
  """Returns the config for 'digits', 'vit', or for a network of photos."""
  leg = {'cells': 7, 'num_samples': 392}
  window = {}
  if which == 'digits':
    chosen = {
      **common.LENET,
      # Not the examples of the numbers above.
      'first': 50,
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
    'sanity_cascade',
    about=__doc__,
    methods=methods,
    claims=_claims(methods),
    **chosen,
  )


def _claims(methods):
  """Returns the claims on the network without its top layer."""
  change = [
    common.claim(
      f'maps of {name} change with the top layer',
      'Sanity checks',
      'Figure 2',
      ('rank correlation, top layer', name, 0.5, 'below'),
    )
    for name in (
      'gradient',
      'smooth_grad',
      'gradient_x_input',
      'integrated_gradients',
      'grad_cam',
    )
  ]
  stay = [
    common.claim(
      'guided backpropagation does not change with the top layer',
      'Sanity checks',
      'Figure 2',
      ('rank correlation, top layer', 'guided_backprop', 0.5, 'above'),
    )
  ]
  constant = [
    common.claim(
      f'LEG-TV is flat without {what}',
      'LEG',
      'Figure 5',
      (f'constant, {when}', 'leg_tv, absolute L', 0.9, 'not_below'),
    )
    for what, when in (
      ('the top layer', 'top layer'),
      ('all layers', 'all layers'),
    )
  ]
  return (*change, *(stay if 'guided_backprop' in methods else ()), *constant)
