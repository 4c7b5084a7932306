"""Loss functions for JAX: exact under masks, micro-batches and every transformation.

Every loss is `loss(inputs, ..., *, options, where=None, weights=None, reduction="mean")`.
"""

# Classification.
from ._classification import adaptive_log_softmax_with_loss as adaptive_log_softmax_with_loss
from ._classification import binary_cross_entropy as binary_cross_entropy
from ._classification import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from ._classification import cross_entropy as cross_entropy
from ._classification import logit_adjusted_cross_entropy as logit_adjusted_cross_entropy
from ._classification import multilabel_soft_margin_loss as multilabel_soft_margin_loss
from ._classification import nll_loss as nll_loss

# The kit, for losses of your own.
from ._core import AT_LEAST_ONE as AT_LEAST_ONE
from ._core import NON_NEGATIVE as NON_NEGATIVE
from ._core import POSITIVE as POSITIVE
from ._core import PROBABILITY as PROBABILITY
from ._core import SIGN as SIGN
from ._core import Domain as Domain
from ._core import Mask as Mask
from ._core import PartialMean as PartialMean
from ._core import Reduction as Reduction
from ._core import Scalar as Scalar
from ._core import Weights as Weights
from ._core import at_labels as at_labels
from ._core import elementwise_inputs as elementwise_inputs
from ._core import labelled_inputs as labelled_inputs
from ._core import loss_function as loss_function
from ._core import partial_mean as partial_mean
from ._core import per_class as per_class
from ._core import reduce as reduce
from ._core import rowwise_inputs as rowwise_inputs
from ._core import shielded as shielded

# Divergence.
from ._divergence import gaussian_kl as gaussian_kl
from ._divergence import generalized_kl_div as generalized_kl_div
from ._divergence import js_div as js_div
from ._divergence import kl_div as kl_div

# Fenchel-Young.
from ._fenchel import entmax as entmax
from ._fenchel import entmax_loss as entmax_loss
from ._fenchel import make_fenchel_young_loss as make_fenchel_young_loss
from ._fenchel import sparsemax as sparsemax
from ._fenchel import sparsemax_loss as sparsemax_loss

# Focal: cross-entropies that weigh examples by how well they are predicted.
from ._focal import asymmetric_loss as asymmetric_loss
from ._focal import generalized_cross_entropy as generalized_cross_entropy
from ._focal import poly_cross_entropy as poly_cross_entropy
from ._focal import sigmoid_focal_loss as sigmoid_focal_loss
from ._focal import softmax_focal_loss as softmax_focal_loss

# Forecast.
from ._forecast import crps_ensemble as crps_ensemble
from ._forecast import crps_gaussian as crps_gaussian
from ._forecast import expectile_loss as expectile_loss
from ._forecast import quantile_huber_loss as quantile_huber_loss
from ._forecast import quantile_loss as quantile_loss

# Hinge.
from ._hinge import hinge_loss as hinge_loss
from ._hinge import multi_margin_loss as multi_margin_loss
from ._hinge import multiclass_hinge_loss as multiclass_hinge_loss
from ._hinge import multiclass_perceptron_loss as multiclass_perceptron_loss
from ._hinge import multilabel_margin_loss as multilabel_margin_loss
from ._hinge import perceptron_loss as perceptron_loss
from ._hinge import soft_margin_loss as soft_margin_loss
from ._hinge import squared_hinge_loss as squared_hinge_loss

# Likelihood.
from ._likelihood import gaussian_mixture_nll_loss as gaussian_mixture_nll_loss
from ._likelihood import gaussian_nll_loss as gaussian_nll_loss
from ._likelihood import laplace_nll_loss as laplace_nll_loss
from ._likelihood import negative_binomial_nll_loss as negative_binomial_nll_loss
from ._likelihood import poisson_nll_loss as poisson_nll_loss
from ._likelihood import student_t_nll_loss as student_t_nll_loss
from ._likelihood import tweedie_loss as tweedie_loss

# Linear: losses that hold the last layer.
from ._linear import linear_cross_entropy as linear_cross_entropy

# Margin.
from ._margin import cosine_embedding_loss as cosine_embedding_loss
from ._margin import hinge_embedding_loss as hinge_embedding_loss
from ._margin import margin_ranking_loss as margin_ranking_loss
from ._margin import triplet_margin_loss as triplet_margin_loss
from ._margin import triplet_margin_with_distance_loss as triplet_margin_with_distance_loss

# Metric: losses on the distances within a batch.
from ._metric import circle_loss as circle_loss
from ._metric import nt_xent_loss as nt_xent_loss

# Ranking.
from ._ranking import ranking_softmax_loss as ranking_softmax_loss

# Regression.
from ._regression import charbonnier_loss as charbonnier_loss
from ._regression import cosine_distance as cosine_distance
from ._regression import cosine_similarity as cosine_similarity
from ._regression import general_robust_loss as general_robust_loss
from ._regression import huber_loss as huber_loss
from ._regression import l1_loss as l1_loss
from ._regression import log_cosh_loss as log_cosh_loss
from ._regression import mape_loss as mape_loss
from ._regression import mse_loss as mse_loss
from ._regression import msle_loss as msle_loss
from ._regression import smooth_l1_loss as smooth_l1_loss

# Segmentation.
from ._segmentation import dice_loss as dice_loss
from ._segmentation import generalized_dice_loss as generalized_dice_loss
from ._segmentation import tversky_loss as tversky_loss

# Sequence.
from ._sequence import ctc_loss as ctc_loss

# Targets: labels made into distributions.
from ._targets import hl_gauss_targets as hl_gauss_targets
from ._targets import smooth_labels as smooth_labels
from ._targets import two_hot as two_hot

__version__ = "0.1.0"
