# The public names, and where each is defined: the one list of them, which type
# checkers read, and `__init__.py` at run time.
from . import attacks as attacks
from . import certificates as certificates
from . import explainer as explainer
from . import maskers as maskers
from . import metrics as metrics
from . import scores as scores
from . import solvers as solvers
from . import taps as taps
from . import training as training
from . import transforms as transforms
from .core.describing import describe as describe
from .gradients.expected import expected_gradients as expected_gradients
from .gradients.grad_cam import grad_cam as grad_cam
from .gradients.grad_cam import grad_cam_pp as grad_cam_pp
from .gradients.gradient import gradient as gradient
from .gradients.integrated import (
  adaptive_integrated_gradients as adaptive_integrated_gradients,
)
from .gradients.integrated import integrated_gradients as integrated_gradients
from .gradients.smoothgrad import smooth_grad as smooth_grad
from .gradients.smoothgrad import smooth_grad_squared as smooth_grad_squared
from .gradients.smoothgrad import var_grad as var_grad
from .optimization.caso import cafo as cafo
from .optimization.caso import caso as caso
from .optimization.certified_box import certified_box as certified_box
from .optimization.igos import igos as igos
from .optimization.igos_pp import igos_pp as igos_pp
from .optimization.invariant import (
  invariant_perturbation as invariant_perturbation,
)
from .optimization.leg_tv import leg_tv as leg_tv
from .optimization.linear_invariant import linear_invariant as linear_invariant
from .optimization.mask import mask as mask
from .optimization.smooth_caso import smooth_cafo as smooth_cafo
from .optimization.smooth_caso import smooth_caso as smooth_caso
from .perturbations.ablation import ablation as ablation
from .perturbations.banzhaf import banzhaf as banzhaf
from .perturbations.graph_shapley import ball_regression as ball_regression
from .perturbations.graph_shapley import c_shapley as c_shapley
from .perturbations.graph_shapley import l_shapley as l_shapley
from .perturbations.kernel_shap import kernel_shap as kernel_shap
from .perturbations.leg import leg as leg
from .perturbations.lime import lime as lime
from .perturbations.occlusion import occlusion as occlusion
from .perturbations.rise import rise as rise
from .perturbations.shapley import shapley as shapley
from .propagation.deeplift import deeplift as deeplift
from .propagation.excitation import excitation_backprop as excitation_backprop
from .propagation.guided import deconvnet as deconvnet
from .propagation.guided import guided_backprop as guided_backprop
from .propagation.lrp import lrp as lrp

__version__: str
