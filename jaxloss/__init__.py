"""Loss functions for JAX: exact under masks, micro-batches and every transformation.

Every loss is `loss(inputs, ..., *, options, where=None, weights=None, reduction="mean")`. `jaxloss.reduce` says what
the last three mean, and `jaxloss.kit` has what a loss of one's own is written with.
"""

from . import kit as kit
from ._kit import PartialMean as PartialMean
from ._kit import partial_mean as partial_mean
from ._kit import reduce as reduce
from ._kit.contents import contents as _contents

# Regression.
from ._losses.regression import l1_loss as l1_loss
from ._losses.regression import mse_loss as mse_loss
from ._losses.regression import huber_loss as huber_loss
from ._losses.regression import smooth_l1_loss as smooth_l1_loss
from ._losses.regression import log_cosh_loss as log_cosh_loss
from ._losses.regression import charbonnier_loss as charbonnier_loss
from ._losses.regression import mape_loss as mape_loss
from ._losses.regression import msle_loss as msle_loss

# Robust regression.
from ._losses.robust import general_robust_loss as general_robust_loss
from ._losses.robust import tukey_biweight_loss as tukey_biweight_loss

# Likelihood.
from ._losses.likelihood import gaussian_nll_loss as gaussian_nll_loss
from ._losses.likelihood import laplace_nll_loss as laplace_nll_loss
from ._losses.likelihood import student_t_nll_loss as student_t_nll_loss
from ._losses.likelihood import gaussian_mixture_nll_loss as gaussian_mixture_nll_loss

# Counts and amounts.
from ._losses.counts import poisson_nll_loss as poisson_nll_loss
from ._losses.counts import negative_binomial_nll_loss as negative_binomial_nll_loss
from ._losses.counts import tweedie_loss as tweedie_loss

# Forecast.
from ._losses.forecast import quantile_loss as quantile_loss
from ._losses.forecast import expectile_loss as expectile_loss
from ._losses.forecast import quantile_huber_loss as quantile_huber_loss
from ._losses.forecast import crps_gaussian as crps_gaussian
from ._losses.forecast import crps_ensemble as crps_ensemble

# Classification.
from ._losses.classification import cross_entropy as cross_entropy
from ._losses.classification import nll_loss as nll_loss
from ._losses.classification import logit_adjusted_cross_entropy as logit_adjusted_cross_entropy
from ._losses.classification import softmax_focal_loss as softmax_focal_loss
from ._losses.classification import poly_cross_entropy as poly_cross_entropy
from ._losses.classification import generalized_cross_entropy as generalized_cross_entropy

# Binary and multi-label classification.
from ._losses.binary import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from ._losses.binary import multilabel_soft_margin_loss as multilabel_soft_margin_loss
from ._losses.binary import binary_cross_entropy as binary_cross_entropy
from ._losses.binary import soft_margin_loss as soft_margin_loss
from ._losses.binary import sigmoid_focal_loss as sigmoid_focal_loss
from ._losses.binary import asymmetric_loss as asymmetric_loss

# Large vocabularies.
from ._losses.vocabulary import linear_cross_entropy as linear_cross_entropy
from ._losses.vocabulary import adaptive_log_softmax_with_loss as adaptive_log_softmax_with_loss

# Fenchel-Young.
from ._losses.fenchel_young import sparsemax as sparsemax
from ._losses.fenchel_young import entmax as entmax
from ._losses.fenchel_young import sparsemax_loss as sparsemax_loss
from ._losses.fenchel_young import entmax_loss as entmax_loss
from ._losses.fenchel_young import make_fenchel_young_loss as make_fenchel_young_loss

# Hinge.
from ._losses.hinge import hinge_loss as hinge_loss
from ._losses.hinge import squared_hinge_loss as squared_hinge_loss
from ._losses.hinge import perceptron_loss as perceptron_loss
from ._losses.hinge import multiclass_hinge_loss as multiclass_hinge_loss
from ._losses.hinge import multiclass_perceptron_loss as multiclass_perceptron_loss
from ._losses.hinge import multi_margin_loss as multi_margin_loss
from ._losses.hinge import multilabel_margin_loss as multilabel_margin_loss

# Metric learning.
from ._losses.metric import cosine_distance as cosine_distance
from ._losses.metric import cosine_similarity as cosine_similarity
from ._losses.metric import cosine_embedding_loss as cosine_embedding_loss
from ._losses.metric import hinge_embedding_loss as hinge_embedding_loss
from ._losses.metric import triplet_margin_loss as triplet_margin_loss
from ._losses.metric import triplet_margin_with_distance_loss as triplet_margin_with_distance_loss

# Contrastive learning.
from ._losses.contrastive import nt_xent_loss as nt_xent_loss
from ._losses.contrastive import circle_loss as circle_loss

# Ranking.
from ._losses.ranking import margin_ranking_loss as margin_ranking_loss
from ._losses.ranking import ranking_softmax_loss as ranking_softmax_loss

# Divergence.
from ._losses.divergence import kl_div as kl_div
from ._losses.divergence import generalized_kl_div as generalized_kl_div
from ._losses.divergence import js_div as js_div
from ._losses.divergence import gaussian_kl as gaussian_kl

# Segmentation.
from ._losses.segmentation import dice_loss as dice_loss
from ._losses.segmentation import generalized_dice_loss as generalized_dice_loss
from ._losses.segmentation import tversky_loss as tversky_loss

# Sequence.
from ._losses.sequence import ctc_loss as ctc_loss

# Targets.
from ._losses.targets import smooth_labels as smooth_labels
from ._losses.targets import two_hot as two_hot
from ._losses.targets import hl_gauss_targets as hl_gauss_targets

__version__ = "0.1.0"

__doc__ = f"{__doc__}\n{_contents(globals())}\n"
