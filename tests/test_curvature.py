"""Second derivatives: finite at every edge where the true ones are, and right on both sides of every logit."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import (
    BIT,
    BITS,
    CATALOGUE,
    CLASSES,
    DISTRIBUTION,
    LABEL,
    LOGIT,
    LOGITS,
    PROB,
    SIGN,
    WEIGHTED_LOGITS,
    Call,
)
from definitions import Part
from exact import MP, Exact, gradient
from test_laws import law, rounded, split
from truth import definition, exact_options, lifted

import jaxloss

STEP = MP.mpf(10) ** -80


# --- a grid of ordinary logits ----------------------------------------------------------------------------------------

SIDES = np.array([-87.0, -50.0, -44.0, -20.0, -10.0, -3.0, -0.5, 0.0, 1.0, 5.0, 15.0, 30.0, 50.0, 87.0])
TARGETS = {id(BIT): [0.0, 1.0], id(PROB): [0.0, 1.0, 0.25], id(SIGN): [-1.0, 1.0]}
KINKED = ("hinge", "perceptron", "entmax", "sparsemax")


def is_smooth(call: Call) -> bool:
    """Whether a call is of logits and targets, without a kink."""
    logits, targets = id(call.kinds[0]), id(call.kinds[1])
    known = {id(kind) for kind in (LOGIT, LOGITS, WEIGHTED_LOGITS)}, {id(LABEL), id(BITS), id(DISTRIBUTION), *TARGETS}
    return logits in known[0] and targets in known[1] and not any(name in call.name for name in KINKED)


SMOOTH = [call for call in CATALOGUE if len(call.kinds) > 1 and is_smooth(call)]


def points(call: Call) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, targets, and the direction along which to differentiate twice."""
    logits, targets = call.kinds[:2]
    if logits is LOGIT:
        pairs = np.array([(x, y) for x in SIDES for y in TARGETS[id(targets)]])
        return pairs[:, 0], pairs[:, 1], np.ones(len(pairs))
    rows = np.zeros((2 * len(SIDES), CLASSES))
    rows[:, 0], rows[len(SIDES) :, 1] = np.tile(SIDES, 2), 1.0
    along = np.broadcast_to(np.eye(CLASSES)[0], rows.shape)
    if targets is LABEL:
        return rows, np.arange(len(rows)) % 2, along
    one_hot = np.eye(CLASSES)[np.arange(len(rows)) % 2]
    return rows, one_hot, along


def true_curvature(call: Call, logits: np.ndarray, targets: np.ndarray, along: np.ndarray) -> float:
    """The second derivative of a row, from exact gradients on both sides of it."""
    options = exact_options(call, np.float32)
    stretched = {n for n, x in call.options.items() if isinstance(x, np.ndarray) and np.ndim(x) > np.ndim(logits)}
    options = {name: option[0] if name in stretched else option for name, option in options.items()}

    def slope(step: Any) -> Any:
        moved = [Exact(MP.mpf(x) + step * MP.mpf(a)) for x, a in zip(np.ravel(logits), np.ravel(along), strict=True)]
        value = definition(call)(moved if np.ndim(logits) else moved[0], lifted(targets), **options)
        slopes = gradient(value.value if isinstance(value, Part) else value, moved)
        return sum(MP.mpf(a) * s for a, s in zip(np.ravel(along), slopes, strict=True))

    return float((slope(STEP) - slope(-STEP)) / (2 * STEP))


@pytest.mark.parametrize("call", SMOOTH, ids=lambda call: call.name)
def test_second_derivatives_are_right_on_both_sides(call: Call) -> None:
    logits, targets, along = points(call)

    @jax.jit
    def curvatures(logits: Any, targets: Any, along: Any) -> Any:
        def loss(logits: Any) -> Any:
            return call.loss(logits, targets, **call.options, reduction="sum")

        rows = jax.jvp(jax.grad(loss), (logits,), (along,))[1] * along
        return rows.reshape(len(rows), -1).sum(axis=-1)

    found = np.asarray(curvatures(*rounded((logits, targets, along), np.float32)))
    for row, curvature in zip(zip(logits, targets, along, strict=True), found, strict=True):
        # Terms of an option such as smoothing or a shift may cancel.
        noise = 1e-7 if call.options else 0
        np.testing.assert_allclose(
            curvature, true_curvature(call, *row), rtol=2e-5, atol=noise + 1e-36, err_msg=str(row)
        )


# --- edges ------------------------------------------------------------------------------------------------------------


# The true ones are beyond float32: about a vector of length 1e-25 that of a cosine is 1e50, and at 1e-30 that of a
# logarithm or of a region's inverse size is 1e60.
BEYOND_FLOAT32 = {
    "cosine_distance",
    "cosine_embedding_loss",
    "nt_xent_loss",
    "circle_loss",
    "binary_cross_entropy",
    "generalized_dice_loss",
}


@law([call for call in CATALOGUE if call.loss.__name__ not in BEYOND_FLOAT32])
def test_edges_have_finite_curvatures(call: Call) -> None:
    floating, _ = split(rounded(call.edge_inputs(), np.float32))

    @jax.jit
    def curvatures(floating: Any) -> Any:
        def loss(floating: Any) -> Any:
            return call.loss(*split(call.edge_inputs())[1](floating), **call.options, reduction="sum")

        return jax.jvp(jax.grad(loss), (floating,), (jax.tree.map(jnp.ones_like, floating),))[1]

    for found in jax.device_get(curvatures(floating)):
        assert np.isfinite(found).all()


F = np.float32
EXAMPLES: dict[str, tuple[Any, float, float]] = {
    "focal, sure of yes": (lambda x: jaxloss.sigmoid_focal_loss(x, F(1)), 50.0, 0.0),
    "asymmetric without clip": (lambda x: jaxloss.asymmetric_loss(x, F(0), clip=0.0), 50.0, 0.0),
    "a probability of about 0": (lambda p: jaxloss.binary_cross_entropy(p, F(0)), 1e-20, 1.0),
    "a rate of about 0": (lambda r: jaxloss.poisson_nll_loss(r, F(0), log_input=False, eps=0.0), 1e-20, 0.0),
    "a mean of about 0": (lambda r: jaxloss.tweedie_loss(r, F(0), power=1.0), 1e-18, 0.0),
    "a target of about 0": (lambda t: jaxloss.kl_div(jnp.full(1, F(-1)), t[None]), 1e-20, 1e20),
    "no, sure of yes": (lambda x: jaxloss.binary_cross_entropy_with_logits(x, F(0)), 20.0, 2.0611537e-9),
    "yes, sure of yes": (lambda x: jaxloss.binary_cross_entropy_with_logits(x, F(1)), 20.0, 2.0611537e-9),
    "an error beyond all squares": (lambda s: jaxloss.crps_gaussian(F(1e20), F(0), s), 1.0, 0.0),
}


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("second", [lambda f: jax.grad(jax.grad(f)), lambda f: jax.jacfwd(jax.jacfwd(f)), jax.hessian])
def test_examples_of_second_derivatives(example: str, second: Any) -> None:
    loss, at, expected = EXAMPLES[example]
    np.testing.assert_allclose(second(loss)(F(at)), expected, rtol=1e-6, atol=1e-16)


# --- values and slopes that overflow on the way -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "error", "value", "slope"),
    [
        (-np.inf, 1e38, 1.0, 0.0),
        (3.0, 1e13, 3.3333333e38, 1e26),
        (1.5, 1e28, np.inf, 8.408964e13),
        (1e6, 3.0, None, None),
    ],
)
def test_general_robust_loss_beyond_its_powers(alpha: float, error: float, value: float, slope: float) -> None:
    found = jax.value_and_grad(lambda x: jaxloss.general_robust_loss(x, F(0), alpha=alpha))(F(error))
    if value is None:
        exact = MP.mpf(alpha - 2) / alpha * MP.expm1(alpha / MP.mpf(2) * MP.log1p(MP.mpf(error) ** 2 / (alpha - 2)))
        np.testing.assert_allclose(found[0], float(exact), rtol=1e-5)
    else:
        np.testing.assert_allclose(found, (value, slope), rtol=1e-5)


@pytest.mark.parametrize(("mean", "target", "power"), [(5.0, 1e20, 0.0), (1e20, 1.0, -1.0)])
def test_tweedie_loss_beyond_float32_is_infinite(mean: float, target: float, power: float) -> None:
    assert jaxloss.tweedie_loss(F(mean), F(target), power=power) == np.inf


# --- options that are off ---------------------------------------------------------------------------------------------

LABELS = np.array([0])
HUGE = np.array([[3e38, -3e38, 0.0]], F)
NEUTRAL: dict[str, tuple[Any, str]] = {
    "smoothing": (lambda **o: jax.value_and_grad(jaxloss.cross_entropy)(HUGE, LABELS, **o), "label_smoothing"),
    "z-loss": (lambda **o: jax.value_and_grad(jaxloss.cross_entropy)(HUGE, LABELS, **o), "z_loss_weight"),
    "focal smoothing": (
        lambda **o: jax.value_and_grad(jaxloss.softmax_focal_loss)(HUGE, LABELS, **o),
        "label_smoothing",
    ),
    "linear smoothing": (
        lambda **o: jax.value_and_grad(jaxloss.linear_cross_entropy)(HUGE, np.eye(3, dtype=F), LABELS, **o),
        "label_smoothing",
    ),
}


@pytest.mark.parametrize("case", NEUTRAL)
def test_an_option_at_its_neutral_value_is_as_if_left_out(case: str) -> None:
    call, option = NEUTRAL[case]
    expected = call()
    for neutral in (0.0, F(0), jnp.float32(0)):
        jax.tree.map(np.testing.assert_array_equal, call(**{option: neutral}), expected)


def test_the_derivative_by_an_option_that_is_off() -> None:
    logits, labels = np.array([[1.0, 2.0, -1.0]]), np.array([2])

    def loss(smoothing: Any) -> Any:
        return jaxloss.cross_entropy(logits, labels, label_smoothing=smoothing)

    np.testing.assert_allclose(jax.grad(loss)(0.0), (loss(1e-6) - loss(0.0)) / 1e-6, rtol=1e-6)
