"""Maps onto the simplex and their losses: at kinks and edges, near their minimum, and beside optax and softmax."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from exact import MP
from jax.experimental import checkify

import jaxloss

INF = math.inf
RANDOM = np.random.default_rng(0)
ALPHAS = [1.0, 1 + 2**-20, 1.001, 1.2, 1.5, 1.9, 2.0, 2.5, 3.0, 4.0, 10.0, 20.0]
over_alphas = pytest.mark.parametrize("alpha", [1.0, 1.2, 1.5, 2.0, 3.0, 10.0])


def entmax(row: np.ndarray, alpha: float) -> list[Any]:
    """The definition with 60 digits, by bisection for the threshold."""
    with MP.workdps(60):
        power = MP.mpf(float(alpha)) - 1
        scores = [MP.mpf(float(score)) - MP.mpf(float(row.max())) for score in row]
        if power == 0:
            weights = [MP.exp(score) for score in scores]
            return [weight / sum(weights) for weight in weights]
        low, high = -1 / power, -((1 / MP.mpf(len(row))) ** power) / power
        for _ in range(200):
            middle = (low + high) / 2
            above = [score for score in scores if score > middle]
            more = sum((power * (score - middle)) ** (1 / power) for score in above) > 1
            low, high = (middle, high) if more else (low, middle)
        return [(power * (score - low)) ** (1 / power) if score > low else MP.zero for score in scores]


def entropy(probs: list[Any], alpha: Any) -> Any:
    """The regulariser of the definition, with 60 digits."""
    with MP.workdps(60):
        power = MP.mpf(alpha) - 1
        if power == 0:
            return -sum(p * MP.ln(p) for p in probs if p)
        return sum(p - p**alpha for p in probs) / (alpha * power)


def entmax_loss(row: np.ndarray, targets: np.ndarray, alpha: float) -> tuple[Any, Any]:
    """The definition, and its derivative by alpha: a maximum moves as it does where the maximiser stays."""
    with MP.workdps(60):
        probs, labels = entmax(row, alpha), [MP.mpf(float(target)) for target in targets]
        linear = sum((p - y) * MP.mpf(float(s)) for p, y, s in zip(probs, labels, row, strict=True))
        alpha, step = MP.mpf(float(alpha)), MP.mpf("1e-20")
        value = linear + entropy(probs, alpha) - entropy(labels, alpha)
        above, below = (entropy(probs, at) - entropy(labels, at) for at in (alpha + step, alpha - step))
        return value, (above - below) / (2 * step)


@jax.jit
def loss_of(logits: Any, labels: Any, alpha: Any) -> Any:
    """The loss and its slopes by the logits, compiled once for all values of alpha."""
    return jax.value_and_grad(lambda logits: jaxloss.entmax_loss(logits, labels, alpha=alpha))(logits)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("classes", [1, 20])
def test_entmax_is_its_definition(classes: int, alpha: float) -> None:
    scales = [0.01, 0.1, 1.0, 3.0, 100.0]
    rows = np.random.default_rng(0).normal(size=(5, classes)) * np.array(scales)[:, None]
    for dtype, tolerance in ((np.float64, 1e-13), (np.float32, 1e-6), (np.float16, 1e-6)):
        logits = rows.astype(dtype)
        probs = jaxloss.entmax(logits.T, alpha=alpha, axis=0).T
        assert probs.dtype == (np.float64 if dtype is np.float64 else np.float32)
        exponent = alpha if dtype is np.float64 else float(np.float32(alpha))
        expected = [[float(p) for p in entmax(row, exponent)] for row in logits]
        np.testing.assert_allclose(probs, expected, rtol=0, atol=tolerance)


def test_a_class_that_is_about_to_vanish() -> None:
    gaps: np.ndarray = np.array([0.05, 0.1, 0.111, 0.1111, 0.11111, 0.2], np.float32)
    probs = jaxloss.entmax(np.stack([gaps, 0 * gaps], axis=-1), alpha=10.0)
    np.testing.assert_allclose(probs[:3, 0], [0.915099, 0.988362, 0.999889], atol=1e-6)
    expected = [[float(p) for p in entmax(np.array([gap, 0]), 10)] for gap in gaps]
    np.testing.assert_allclose(probs, expected, atol=1e-6)
    # With p the least probability, that moves by 1/(1 + p⁸/(1 - p)⁸) of what it would by itself.
    slopes = jax.vmap(jax.grad(lambda gap: jaxloss.entmax(jnp.stack([gap, 0 * gap]), alpha=10.0)[0]))(gaps)
    least = np.array([row[1] for row in expected])
    np.testing.assert_allclose(slopes, (least > 0) / ((1 - least) ** 8 + least**8), rtol=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 1 + 2**-20, 1.001, 1.5, 2.0, 3.0, 10.0])
def test_alpha_may_be_learned(alpha: float) -> None:
    rows = RANDOM.normal(size=(3, 6)) * np.array([[0.03], [1.0], [100.0]])
    hard, soft = np.array([5, 0, 2]), RANDOM.dirichlet(np.ones(6), size=3)
    soft[1] = [0, 0.5, 0.25, 0, 0.25, 0]
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 3e-6)):
        logits, exponent = rows.astype(dtype), float(dtype(alpha))
        for labels, targets in ((hard, np.eye(6)[hard]), (soft, soft)):
            labels = labels.astype(dtype) if labels is soft else labels
            loss = jax.vmap(jax.value_and_grad(lambda a, s, y: jaxloss.entmax_loss(s, y, alpha=a)), (None, 0, 0))
            found = np.stack(loss(exponent, logits, labels), axis=-1)
            expected = [entmax_loss(row, y, exponent) for row, y in zip(logits, targets.astype(dtype), strict=True)]
            if labels is soft:  # their sum is rounded, and times a logit of 100 that shows
                found, expected = found[:2], expected[:2]
            np.testing.assert_allclose(found, np.array(expected, float), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("alpha", [1.0, 1 + 2**-20, 1.3, 1.5, 2.0, 3.0, 10.0])
def test_the_map_has_a_derivative_by_alpha(alpha: float) -> None:
    row, step = np.array([0.05, -0.03, 0.1, 0.02, 0, -3.0]), 2.0**-40
    above, below = entmax(row, alpha + step), entmax(row, max(1, alpha - step))
    width = alpha + step - max(1, alpha - step)
    expected = [float((high - low) / width) for high, low in zip(above, below, strict=True)]
    forward, reverse, curvature = derivatives_by_alpha(row, alpha)
    for slopes in (forward, reverse):
        np.testing.assert_allclose(slopes, expected, rtol=1e-9, atol=1e-11)
    h = 1e-5
    if alpha > 1 + h:
        above, below = (derivatives_by_alpha(row, at)[0] for at in (alpha + h, alpha - h))
        np.testing.assert_allclose(curvature, (above - below) / (2 * h), rtol=1e-6, atol=1e-7)
    assert np.isfinite(curvature).all()


@jax.jit
def derivatives_by_alpha(row: Any, alpha: Any) -> Any:
    def project(alpha: Any) -> Any:
        return jaxloss.entmax(row, alpha=alpha)

    reverse = jax.jacrev(project)
    return jax.jacfwd(project)(alpha), reverse(alpha), jax.jacfwd(reverse)(alpha)


def test_many_alphas_at_once() -> None:
    logits, labels = RANDOM.normal(size=(3, 6)), np.array([0, 5, 2])
    alphas = np.array(ALPHAS)
    found = jax.vmap(lambda alpha: jaxloss.entmax(logits, alpha=alpha))(alphas)
    np.testing.assert_allclose(found, [jaxloss.entmax(logits, alpha=alpha) for alpha in ALPHAS], rtol=1e-13)
    losses = jax.vmap(lambda alpha: jaxloss.entmax_loss(logits, labels, alpha=alpha))(alphas)
    np.testing.assert_allclose(
        losses, [jaxloss.entmax_loss(logits, labels, alpha=alpha) for alpha in ALPHAS], rtol=1e-13
    )


def test_the_default_is_the_value_of_any_other_alpha() -> None:
    logits, labels = RANDOM.normal(size=(3, 40)), np.array([0, 5, 2])
    for alpha, project, loss in (
        (1.5, jaxloss.entmax, jaxloss.entmax_loss),
        (2, jaxloss.sparsemax, jaxloss.sparsemax_loss),
    ):
        np.testing.assert_allclose(jaxloss.entmax(logits, alpha=alpha), project(logits), rtol=0, atol=1e-15)
        np.testing.assert_allclose(jaxloss.entmax_loss(logits, labels, alpha=alpha), loss(logits, labels), rtol=1e-14)


@pytest.mark.parametrize(
    "loss",
    [jaxloss.entmax_loss, *(functools.partial(jaxloss.entmax_loss, alpha=alpha) for alpha in (1.0, 1.2, 3.0))],
    ids=["default", "1.0", "1.2", "3.0"],
)
def test_checkify_takes_a_mapped_loss(loss: Callable[..., jax.Array]) -> None:
    logits, labels = RANDOM.normal(size=(3, 6)), np.array([0, 5, 2])
    for function in (loss, jax.grad(loss)):
        mapped = jax.vmap(function)
        error, found = jax.jit(checkify.checkify(mapped, errors=checkify.user_checks))(logits, labels)
        error.throw()
        np.testing.assert_allclose(found, mapped(logits, labels), rtol=1e-13, atol=1e-15)
    error, _ = checkify.checkify(jax.vmap(loss), errors=checkify.user_checks)(logits, labels + 3)
    with pytest.raises(checkify.JaxRuntimeError, match="labels must be"):
        error.throw()


def test_an_alpha_below_one_is_named() -> None:
    check = checkify.checkify(functools.partial(jaxloss.entmax, alpha=0.5), errors=checkify.user_checks)
    with pytest.raises(checkify.JaxRuntimeError, match=r"^entmax: alpha must be at least 1, got 0\.5"):
        check(np.zeros(3))[0].throw()


def test_sparsemax_is_a_projection() -> None:
    rows = RANDOM.normal(size=(2, 3, 7))
    with jax.numpy_dtype_promotion("standard"):
        expected = jax.vmap(jax.vmap(optax.projections.projection_simplex))(rows)
    np.testing.assert_allclose(jaxloss.sparsemax(rows), expected, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(jax.vmap(jaxloss.sparsemax)(rows), expected, rtol=1e-14, atol=1e-15)


@over_alphas
def test_derivatives_of_entmax_are_those_of_the_value(alpha: float) -> None:
    row, direction, step = RANDOM.normal(size=6), RANDOM.normal(size=6), 1e-6
    _, forward, reverse, *curvatures = derivatives(row, alpha)
    above, below = derivatives(row + step * direction, alpha), derivatives(row - step * direction, alpha)
    value, slope = ((above[order] - below[order]) / (2 * step) for order in (0, 1))
    np.testing.assert_allclose(forward @ direction, value, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(reverse, forward, rtol=1e-12, atol=1e-14)
    for curvature in curvatures:
        np.testing.assert_allclose(curvature @ direction, slope, rtol=1e-6, atol=1e-7)


@jax.jit
def derivatives(row: Any, alpha: Any) -> Any:
    project = functools.partial(jaxloss.entmax, alpha=alpha)
    forward, reverse = jax.jacfwd(project), jax.jacrev(project)
    return project(row), forward(row), reverse(row), jax.jacfwd(reverse)(row), jax.jacrev(reverse)(row)


def test_the_derivative_of_sparsemax_is_that_of_its_support() -> None:
    support = np.array([1.0, 1.0, 0.0, 0.0])
    expected = np.diag(support) - np.outer(support, support) / 2
    np.testing.assert_array_equal(jax.jacrev(jaxloss.sparsemax)(np.array([1.0, 0.5, -0.25, -3.0])), expected)
    np.testing.assert_array_equal(jaxloss.sparsemax(np.array([1.0, 0.5, -0.25, -3.0])), [0.75, 0.25, 0, 0])


@over_alphas
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_entmax_at_the_edges(dtype: type, alpha: float) -> None:
    rows: np.ndarray = np.array(
        [[0, 0, 0, 0], [1e30, 1e30, 0, -1e30], [3e38, -3e38, 0, 0], [-INF, 1, 1, -INF], [-INF] * 4, [1e-30, 0, 0, 0]]
    ).astype(dtype)
    expected = np.array([[0.25] * 4, [0.5, 0.5, 0, 0], [1, 0, 0, 0], [0, 0.5, 0.5, 0], [0] * 4, [0.25] * 4])
    np.testing.assert_allclose(jaxloss.entmax(rows, alpha=alpha), expected, rtol=1e-6)
    assert np.isfinite(slopes_of_the_first_class(rows, alpha)).all()
    assert np.isnan(jaxloss.entmax(np.array([0, np.nan, 1], dtype), alpha=alpha)).all()


@jax.jit
def slopes_of_the_first_class(rows: Any, alpha: Any) -> Any:
    return jax.grad(lambda rows: jnp.sum(jaxloss.entmax(rows, alpha=alpha)[:, 0]))(rows)


# --- the losses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0, 1])
def test_binary_sparsemax_is_that_of_two_classes(target: int) -> None:
    scores = np.array([-2.0, -1.0, -0.3, 0.0, 0.6, 1.0, 5.0])
    labels = np.full(7, target)
    logits = np.stack([np.zeros(7), scores], axis=-1)
    expected = optax.losses.sparsemax_loss(scores, labels)
    np.testing.assert_allclose(jaxloss.sparsemax_loss(logits, labels, reduction="none"), expected, atol=1e-15)


def test_alpha_makes_the_losses_one() -> None:
    logits, labels, soft = RANDOM.normal(size=(4, 5)), RANDOM.integers(5, size=4), RANDOM.dirichlet(np.ones(5), size=4)
    entropy = -np.mean(np.sum(soft * np.log(soft), axis=-1))

    @jax.jit
    def compute(targets: Any) -> Any:
        alphas = (functools.partial(jaxloss.entmax_loss, alpha=alpha) for alpha in (1, 1 + 1e-7, 2 - 1e-7, 2))
        losses: list[Callable[..., jax.Array]] = [jaxloss.cross_entropy, *alphas, jaxloss.sparsemax_loss]
        return [jax.value_and_grad(loss)(logits, targets) for loss in losses]

    for targets, surplus in ((labels, 0.0), (soft, entropy)):
        (value, slopes), one, above_one, below_two, two, sparse = compute(targets)
        jax.tree.map(np.testing.assert_allclose, one, (value - surplus, slopes))
        jax.tree.map(np.testing.assert_allclose, two, sparse)
        near = functools.partial(np.testing.assert_allclose, atol=1e-6)
        jax.tree.map(near, (above_one, below_two), (one, two))  # the special cases are no special values


@over_alphas
def test_the_loss_is_zero_where_the_map_gives_the_labels(alpha: float) -> None:
    logits = RANDOM.normal(size=6)
    loss = functools.partial(loss_of, alpha=alpha)
    value, slopes = loss(logits, jaxloss.entmax(logits, alpha=alpha))
    np.testing.assert_allclose(value, 0, atol=1e-30)  # the map's last digit may be another one in another program
    np.testing.assert_allclose(slopes, 0, atol=1e-15)


@pytest.mark.parametrize("alpha", [1.2, 1.5, 2.0, 3.0])
def test_the_loss_ends_at_its_margin(alpha: float) -> None:
    loss = functools.partial(loss_of, alpha=alpha)
    margin = 1 / (alpha - 1)
    value, slopes = loss(np.array([margin + 1e-9, 0.0]), np.array(0))
    assert value == 0
    assert not slopes.any()
    assert loss(np.array([margin - 1e-2, 0.0]), np.array(0))[0] > 0


def test_nothing_cancels_near_alpha_one() -> None:
    logits: np.ndarray = np.array([0.2, -0.3, 0.8, 0], np.float32)
    for exponent in range(10, 24):
        alpha = 1 + 2.0**-exponent
        expected = [float(number) for number in entmax_loss(logits, np.eye(4)[0], alpha)]
        found = jax.value_and_grad(lambda alpha: jaxloss.entmax_loss(logits, np.array(0), alpha=alpha))(alpha)
        assert found[0].dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=5e-7)


@pytest.mark.parametrize("alpha", [1.0, 1.01, 1.2, 1.5, 3.0, 10.0])
def test_a_loss_near_its_minimum_has_its_digits(alpha: float) -> None:
    row = np.array([0.03, 0, 0.05, -0.01])
    for difference in (1e-1, 1e-2, 1e-4, 1e-6):
        # A target is the map of other logits, so that the loss is about the square of what they differ by.
        target = np.array([float(p) for p in entmax(row + difference * np.array([0.1, 0, -0.1, 0.05]), alpha)])
        value = jaxloss.entmax_loss(row, target, alpha=alpha)
        np.testing.assert_allclose(
            value, float(entmax_loss(row, target, alpha)[0]), rtol=1e-8 / difference, atol=1e-300
        )


def test_a_small_loss_has_all_its_digits() -> None:
    gap = 2.0**-10
    for soft in (np.array([1.0, 0.0], np.float32), np.array(0)):
        value = jaxloss.sparsemax_loss(np.array([1 - gap, 0], np.float32), soft)
        np.testing.assert_allclose(value, gap**2 / 4, rtol=1e-6)


@over_alphas
@pytest.mark.parametrize("labels", [np.array(1), np.array([0.25, 0.75, 0.0])], ids=["integer", "soft"])
def test_a_shift_of_all_logits_changes_nothing(labels: np.ndarray, alpha: float) -> None:
    labels = labels if labels.ndim == 0 else (1.004 * labels).astype(np.float32)  # as bfloat16 may sum up to
    loss = functools.partial(loss_of, alpha=alpha)
    value, slopes = loss(np.array([0.5, 0, 1], np.float32), labels)
    shifted, shifted_slopes = loss(np.array([1024.5, 1024, 1025], np.float32), labels)
    np.testing.assert_allclose(shifted, value, rtol=1e-6)
    np.testing.assert_allclose(shifted_slopes, slopes, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(np.sum(slopes), 0, atol=1e-6)


@over_alphas
@pytest.mark.parametrize("labels", [np.array(1), np.array([0.5, 0.5, 0.0])], ids=["integer", "soft"])
def test_a_label_on_a_ruled_out_class(labels: np.ndarray, alpha: float) -> None:
    loss = functools.partial(loss_of, alpha=alpha)
    for others in (0.0, -INF):
        value, slopes = loss(np.array([others, -INF, others]), labels)
        assert value == INF
        assert np.isfinite(slopes).all()
        assert slopes[1] == 0


@over_alphas
def test_a_class_ruled_out_does_not_exist(alpha: float) -> None:
    loss = functools.partial(loss_of, alpha=alpha)
    value, slopes = loss(np.array([0.3, -INF, 1.0]), np.array([0.5, 0.0, 0.5]))
    expected, without = loss(np.array([0.3, 1.0]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(slopes, np.insert(without, 1, 0), rtol=1e-14)


# --- of any maximum ---------------------------------------------------------------------------------------------------


def test_the_loss_of_logsumexp_is_cross_entropy() -> None:
    loss = jaxloss.make_fenchel_young_loss(jax.nn.logsumexp)
    logits, targets = RANDOM.normal(size=(2, 5, 3)), RANDOM.dirichlet(np.ones(5), size=(2, 3)).swapaxes(1, 2)
    for found, expected in (
        (loss(logits, targets, axis=1), jaxloss.cross_entropy(logits, targets, axis=1)),
        (
            loss(logits, targets, reduction="none"),
            optax.losses.make_fenchel_young_loss(jax.nn.logsumexp)(jnp.asarray(logits), jnp.asarray(targets)),
        ),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_maximum_may_close_over_parameters() -> None:
    logits, targets = RANDOM.normal(size=(4, 3)), RANDOM.dirichlet(np.ones(3), size=4)

    def loss(temperature: Any) -> jax.Array:
        fenchel_young_loss: Callable[..., jax.Array] = jaxloss.make_fenchel_young_loss(
            lambda row: temperature * jax.nn.logsumexp(row / temperature)
        )
        return fenchel_young_loss(logits, targets)

    slope, step = jax.jit(jax.grad(loss))(0.7), 1e-6
    np.testing.assert_allclose(slope, (loss(0.7 + step) - loss(0.7 - step)) / (2 * step), rtol=1e-7)


def test_a_target_of_zero_on_a_ruled_out_logit_counts_nothing() -> None:
    loss = jax.value_and_grad(jaxloss.make_fenchel_young_loss(jax.nn.logsumexp), argnums=(0, 1))
    logits = np.array([0.0, -INF, 0.0])
    value, slopes = loss(logits, np.array([1.0, 0.0, 0.0]))
    np.testing.assert_allclose(value, math.log(2), rtol=1e-14)
    np.testing.assert_allclose(slopes[0], [-0.5, 0, 0.5], rtol=1e-14)
    value, slopes = loss(logits, np.array([0.0, 1.0, 0.0]))
    assert value == INF
    assert np.isfinite(slopes).all()
