"""The same losses in optax, torch and Keras, unreduced, where they have them.

A call takes the inputs and those of the options that the library has, or that are a matter of another line; with others
it does not take part. Where a library has a safeguard of its own instead of the formula, such as a clip, that stays: it
is what its users get. A loss of the same name that is defined otherwise is left out.
"""

import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from awkward import Array

from ..peers import keras, optax, present, torch
from .outcomes import VALUE, Outcome, jax_outcome, over_cases
from .subjects import Inputs, Subject

Call = Callable[..., Any]
LIBRARIES = ("optax", "torch", "Keras")
HOW = {"chunk_size", "precision", "space"}
"""The options that say how to compute, not what."""


def outcomes(subject: Subject, inputs: Inputs) -> dict[str, Outcome]:
    """What the libraries compute that have the loss with these options."""
    found = {}
    for library, loss in losses(subject).items():
        outcome = _torch_outcome if library == "torch" else jax_outcome
        # torch has not all losses in half precision, and in optax some raise there.
        with suppress(NotImplementedError, TypeError):
            found[library] = outcome(subject, loss, inputs)
    return found


def losses(subject: Subject) -> dict[str, Call]:
    """The losses of the libraries that have it with these options."""
    options = {name: value for name, value in subject.options.items() if name not in HOW}
    calls = {library: PEERS.get(subject.call.loss.__name__, {}).get(library) for library in LIBRARIES}
    return {
        library: partial(call, **options)
        for library, call in calls.items()
        if call is not None and present(library) and options.keys() <= inspect.signature(call).parameters.keys()
    }


def _f() -> Any:
    return torch.nn.functional


def _one_hot(logits: jax.Array, labels: jax.Array) -> jax.Array:
    if jnp.issubdtype(labels.dtype, jnp.floating):
        return labels
    return jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)


def _optax_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    class_weights: Any = None,
    label_smoothing: float = 0.0,
    z_loss_weight: float = 0.0,
) -> Any:
    if class_weights is None and label_smoothing == 0 and jnp.issubdtype(labels.dtype, jnp.integer):
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    targets = _one_hot(logits, labels)
    targets = optax.losses.smooth_labels(targets, label_smoothing) if label_smoothing else targets
    targets = targets if class_weights is None else jnp.asarray(class_weights, logits.dtype) * targets
    # The one of two that takes a logit of -inf.
    values = optax.losses.safe_softmax_cross_entropy(logits, targets)
    return values + z_loss_weight * jax.nn.logsumexp(logits, axis=-1) ** 2 if z_loss_weight else values


def _torch_cross_entropy(
    logits: Any, labels: Any, class_weights: Any = None, label_smoothing: float = 0.0, z_loss_weight: float = 0.0
) -> Any:
    values = _f().cross_entropy(logits, labels, _like(class_weights, logits), None, -100, None, "none", label_smoothing)
    return values + z_loss_weight * logits.logsumexp(-1) ** 2 if z_loss_weight else values


def _like(option: Any, tensor: Any) -> Any:
    return None if option is None else torch.as_tensor(option).to(tensor)


def _keras_cross_entropy(logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0) -> Any:
    if label_smoothing == 0 and jnp.issubdtype(labels.dtype, jnp.integer):
        return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    targets = _one_hot(logits, labels)
    return keras.losses.categorical_crossentropy(targets, logits, from_logits=True, label_smoothing=label_smoothing)


def _torch_binary_cross_entropy_with_logits(
    logits: Any, targets: Any, pos_weight: Any = None, label_smoothing: float = 0.0
) -> Any:
    weight, targets = _like(pos_weight, logits), (1 - label_smoothing) * targets + label_smoothing / 2
    return _f().binary_cross_entropy_with_logits(logits, targets, pos_weight=weight, reduction="none")


def _entrywise(loss: Call) -> Call:
    """A loss of Keras, which takes means over the last axis, with one entry there."""

    def call(predictions: jax.Array, targets: jax.Array) -> Any:
        return loss(targets[..., None], predictions[..., None])

    return call


def _torch_adaptive(hidden: Any, labels: Any, head: Any, tails: Any, cutoffs: Any) -> Any:
    kernels = [kernel for pair in tails for kernel in pair]
    classes = cutoffs[-1] + kernels[-1].shape[-1]
    module = torch.nn.AdaptiveLogSoftmaxWithLoss(hidden.shape[-1], classes, cutoffs, div_value=1).to(hidden.dtype)
    names = [f"tail.{index // 2}.{index % 2}.weight" for index in range(len(kernels))]
    parameters = {"head.weight": head.T} | {name: kernel.T for name, kernel in zip(names, kernels, strict=True)}
    return -torch.func.functional_call(module, parameters, (hidden, labels))[0]


def _torch_ctc(
    logits: Any, labels: Any, logit_lengths: Any, label_lengths: Any, blank: int = 0, zero_infinity: bool = False
) -> Any:
    log_probs = logits.log_softmax(-1).movedim(0, 1)
    return _f().ctc_loss(log_probs, labels, logit_lengths, label_lengths, blank, "none", zero_infinity)


def _optax_ctc(logits: jax.Array, labels: jax.Array, logit_lengths: jax.Array, label_lengths: jax.Array) -> Any:
    logit_paddings = jnp.arange(logits.shape[1]) >= logit_lengths[:, None]
    label_paddings = jnp.arange(labels.shape[1]) >= label_lengths[:, None]
    return optax.losses.ctc_loss(logits, logit_paddings.astype(jnp.float32), labels, label_paddings.astype(jnp.float32))


def _torch_triplet(
    anchors: Any, positives: Any, negatives: Any, margin: Any = 1.0, p: Any = 2.0, eps: Any = 1e-6, swap: bool = False
) -> Any:
    return _f().triplet_margin_loss(
        anchors, positives, negatives, margin=margin, p=p, eps=eps, swap=swap, reduction="none"
    )


def _manhattan(x: Any, y: Any) -> Any:
    return (x - y).abs().sum(-1)


def _torch_triplet_with_distance(
    anchors: Any, positives: Any, negatives: Any, distance_function: Any, margin: Any = 1.0, swap: bool = False
) -> Any:
    return _f().triplet_margin_with_distance_loss(
        anchors, positives, negatives, distance_function=_manhattan, margin=margin, swap=swap, reduction="none"
    )


def _torch_multi_margin(logits: Any, labels: Any, p: Any = 1, margin: Any = 1.0, class_weights: Any = None) -> Any:
    weight = _like(class_weights, logits)
    return _f().multi_margin_loss(logits, labels, p=p, margin=margin, weight=weight, reduction="none")


def _torch_distribution(name: str, *parameters: Any) -> Any:
    return getattr(torch.distributions, name)(*parameters, validate_args=False)


def _torch_negative_binomial(means: Any, targets: Any, dispersions: Any) -> Any:
    count = 1 / dispersions
    return -_torch_distribution("NegativeBinomial", count, means / (count + means)).log_prob(targets)


def _torch_gaussian_mixture(means: Any, targets: Any, scales: Any, logits: Any) -> Any:
    weights = torch.distributions.Categorical(logits=logits, validate_args=False)
    components = _torch_distribution("Normal", means, scales)
    return -_torch_distribution("MixtureSameFamily", weights, components).log_prob(targets)


def _torch_gaussian_kl(means: Any, log_variances: Any) -> Any:
    codes = _torch_distribution("Normal", means, (log_variances / 2).exp())
    prior = _torch_distribution("Normal", torch.zeros_like(means), torch.ones_like(means))
    return torch.distributions.kl_divergence(codes, prior).sum(-1)


def _keras_sigmoid_focal(logits: jax.Array, targets: jax.Array, alpha: Any = None, gamma: float = 2.0) -> Any:
    balanced = {} if alpha is None else {"apply_class_balancing": True, "alpha": alpha}
    return keras.losses.binary_focal_crossentropy(
        targets[..., None], logits[..., None], gamma=gamma, from_logits=True, **balanced
    )


PEERS: dict[str, dict[str, Call]] = {
    # Regression.
    "l1_loss": {
        "torch": lambda x, y: _f().l1_loss(x, y, reduction="none"),
        "Keras": lambda x, y: _entrywise(keras.losses.mean_absolute_error)(x, y),
    },
    "mse_loss": {
        "optax": lambda x, y: optax.losses.squared_error(x, y),
        "torch": lambda x, y: _f().mse_loss(x, y, reduction="none"),
        "Keras": lambda x, y: _entrywise(keras.losses.mean_squared_error)(x, y),
    },
    "huber_loss": {
        "optax": lambda x, y, delta=1.0: optax.losses.huber_loss(x, y, delta=delta),
        "torch": lambda x, y, delta=1.0: _f().huber_loss(x, y, delta=delta, reduction="none"),
        "Keras": lambda x, y, delta=1.0: keras.losses.huber(y[..., None], x[..., None], delta),
    },
    "smooth_l1_loss": {"torch": lambda x, y, beta=1.0: _f().smooth_l1_loss(x, y, beta=beta, reduction="none")},
    "log_cosh_loss": {
        "optax": lambda x, y: optax.losses.log_cosh(x, y),
        "Keras": lambda x, y: _entrywise(keras.losses.log_cosh)(x, y),
    },
    "mape_loss": {"Keras": lambda x, y: _entrywise(keras.losses.mean_absolute_percentage_error)(x, y)},
    "msle_loss": {"Keras": lambda x, y: _entrywise(keras.losses.mean_squared_logarithmic_error)(x, y)},
    "cosine_distance": {
        "optax": lambda x, y: optax.losses.cosine_distance(x, y),
        "torch": lambda x, y: 1 - _f().cosine_similarity(x, y, dim=-1),
        "Keras": lambda x, y: 1 + keras.losses.cosine_similarity(y, x),
    },
    # Likelihood.
    "gaussian_nll_loss": {
        "torch": lambda means, y, variances, full=False, eps=1e-6: _f().gaussian_nll_loss(
            means, y, variances, full=full, eps=eps, reduction="none"
        )
    },
    "poisson_nll_loss": {
        "torch": lambda x, y, log_input=True, full=False, eps=1e-8: _f().poisson_nll_loss(
            x, y, log_input=log_input, full=full, eps=eps, reduction="none"
        ),
    },
    "negative_binomial_nll_loss": {"torch": _torch_negative_binomial},
    "laplace_nll_loss": {"torch": lambda x, y, scales: -_torch_distribution("Laplace", x, scales).log_prob(y)},
    "student_t_nll_loss": {
        "torch": lambda x, y, scales, dfs: -_torch_distribution("StudentT", dfs, x, scales).log_prob(y)
    },
    "gaussian_mixture_nll_loss": {"torch": _torch_gaussian_mixture},
    # Classification.
    "cross_entropy": {
        "optax": _optax_cross_entropy,
        "torch": _torch_cross_entropy,
        "Keras": _keras_cross_entropy,
    },
    "nll_loss": {
        "torch": lambda log_probs, labels, class_weights=None, ignore_index=-100: _f().nll_loss(
            log_probs, labels, _like(class_weights, log_probs), ignore_index=ignore_index, reduction="none"
        )
    },
    "binary_cross_entropy": {
        "torch": lambda probs, y: _f().binary_cross_entropy(probs, y.detach(), reduction="none"),
        "Keras": lambda probs, y: _entrywise(keras.losses.binary_crossentropy)(probs, y),
    },
    "binary_cross_entropy_with_logits": {
        "optax": lambda logits, y: optax.losses.sigmoid_binary_cross_entropy(logits, y),
        "torch": _torch_binary_cross_entropy_with_logits,
        "Keras": lambda logits, y, label_smoothing=0.0: keras.losses.binary_crossentropy(
            y[..., None], logits[..., None], from_logits=True, label_smoothing=label_smoothing
        ),
    },
    "multilabel_soft_margin_loss": {
        "torch": lambda logits, y, class_weights=None: _f().multilabel_soft_margin_loss(
            logits, y, _like(class_weights, logits), reduction="none"
        )
    },
    "sigmoid_focal_loss": {
        "optax": lambda logits, y, alpha=None, gamma=2.0: optax.losses.sigmoid_focal_loss(
            logits, y, alpha=alpha, gamma=gamma
        ),
        "Keras": _keras_sigmoid_focal,
    },
    "softmax_focal_loss": {
        "Keras": lambda logits, labels, gamma=2.0: keras.losses.categorical_focal_crossentropy(
            _one_hot(logits, labels), logits, alpha=1.0, gamma=gamma, from_logits=True
        )
    },
    "poly_cross_entropy": {
        "optax": lambda logits, labels, poly_weight=2.0: optax.losses.poly_loss_cross_entropy(
            logits, _one_hot(logits, labels), epsilon=poly_weight
        )
    },
    "generalized_cross_entropy": {
        "Keras": lambda logits, labels, q=0.7: keras.losses.categorical_generalized_cross_entropy(
            labels, jax.nn.softmax(logits), q
        )
    },
    "sparsemax_loss": {"optax": lambda logits, labels: optax.losses.multiclass_sparsemax_loss(logits, labels)},
    "adaptive_log_softmax_with_loss": {"torch": _torch_adaptive},
    # Linear.
    "linear_cross_entropy": {
        "optax": lambda hidden, kernel, labels: _optax_cross_entropy(hidden @ kernel, labels),
        "torch": lambda hidden, kernel, labels: _f().linear_cross_entropy(hidden, kernel.T, labels, reduction="none"),
        "Keras": lambda hidden, kernel, labels: _keras_cross_entropy(hidden @ kernel, labels),
    },
    # Margin.
    "margin_ranking_loss": {
        "torch": lambda x1, x2, y, margin=0.0: _f().margin_ranking_loss(x1, x2, y, margin=margin, reduction="none")
    },
    "hinge_embedding_loss": {
        "torch": lambda x, y, margin=1.0: _f().hinge_embedding_loss(x, y, margin=margin, reduction="none")
    },
    "soft_margin_loss": {"torch": lambda x, y: _f().soft_margin_loss(x, y, reduction="none")},
    "hinge_loss": {
        "optax": lambda logits, y: optax.losses.hinge_loss(logits, y),
        "Keras": lambda logits, y: _entrywise(keras.losses.hinge)(logits, y),
    },
    "squared_hinge_loss": {"Keras": lambda logits, y: _entrywise(keras.losses.squared_hinge)(logits, y)},
    "perceptron_loss": {"optax": lambda logits, y: optax.losses.perceptron_loss(logits, y)},
    "multiclass_hinge_loss": {"optax": lambda logits, labels: optax.losses.multiclass_hinge_loss(logits, labels)},
    "multiclass_perceptron_loss": {
        "optax": lambda logits, labels: optax.losses.multiclass_perceptron_loss(logits, labels)
    },
    "cosine_embedding_loss": {
        "torch": lambda x1, x2, y, margin=0.0: _f().cosine_embedding_loss(x1, x2, y, margin=margin, reduction="none")
    },
    "triplet_margin_loss": {"torch": _torch_triplet},
    "triplet_margin_with_distance_loss": {"torch": _torch_triplet_with_distance},
    "multi_margin_loss": {"torch": _torch_multi_margin},
    "multilabel_margin_loss": {
        "torch": lambda logits, labels: _f().multilabel_margin_loss(logits, labels, reduction="none")
    },
    # Divergence.
    "kl_div": {
        "optax": lambda p, y, log_target=False: (
            optax.losses.kl_divergence_with_log_targets if log_target else optax.losses.kl_divergence
        )(p, y),
        "torch": lambda p, y, log_target=False: _f().kl_div(p, y, reduction="none", log_target=log_target).sum(-1),
    },
    "generalized_kl_div": {"optax": lambda p, y: optax.losses.generalized_kl_divergence(p, y)},
    "gaussian_kl": {"torch": _torch_gaussian_kl},
    # Metric, ranking.
    "nt_xent_loss": {"optax": lambda embeddings, labels: optax.losses.ntxent(embeddings, labels)},
    "ranking_softmax_loss": {
        "optax": lambda scores, relevance: optax.losses.ranking_softmax_loss(scores, relevance, reduce_fn=None)
    },
    # Sequence.
    "ctc_loss": {"optax": _optax_ctc, "torch": _torch_ctc},
}


# --- in torch ---------------------------------------------------------------------------------------------------------


def _torch_outcome(subject: Subject, call: Call, inputs: Inputs) -> Outcome:
    differentiable: set[str] = set()

    def run(arrays: Inputs) -> Outcome:
        tensors = jax.tree.map(_tensor, arrays)
        named: dict[str, Any] = subject.named(tensors)
        leaves = {name: named[name].requires_grad_() for name in subject.differentiated(arrays)}
        values = call(*tensors)
        slopes = torch.autograd.grad(values.sum(), list(leaves.values()), allow_unused=True)
        found = {name: slope for name, slope in zip(leaves, slopes, strict=True) if slope is not None}
        differentiable.update(found)
        gradients = {name: found.get(name, torch.zeros_like(leaf)) for name, leaf in leaves.items()}
        return {name: result.detach().double().numpy() for name, result in ({VALUE: values} | gradients).items()}

    outcome = over_cases(subject, run, inputs)
    return {name: array for name, array in outcome.items() if name in differentiable | {VALUE}}


def _tensor(array: Array) -> Any:
    if np.issubdtype(array.dtype, np.integer):
        return torch.tensor(array).long()
    return torch.tensor(np.asarray(array, np.float64)).to(getattr(torch, array.dtype.name))
