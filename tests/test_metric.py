"""Losses within a batch: what a mask means there, who is compared with whom, and vectors and options at their ends."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxloss

RANDOM = np.random.default_rng(0)
EMBEDDINGS = RANDOM.normal(size=(8, 5))
LABELS = np.array([7, 7, -2, -2, 7, 0, -2, 9])
LOSSES = [
    partial(jaxloss.nt_xent_loss, temperature=0.5),
    partial(jaxloss.circle_loss, gamma=4.0),
]
WHERE = np.array([True, False, True, True, True, False, True, True])

over_losses = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.func.__name__)


@over_losses
def test_a_mask_leaves_rows_out_of_every_role(loss: Any) -> None:
    spoilt = np.where(WHERE[:, None], EMBEDDINGS, np.nan)
    value, slopes = jax.value_and_grad(loss)(spoilt, LABELS, where=WHERE)
    expected, expected_slopes = jax.value_and_grad(loss)(EMBEDDINGS[WHERE], LABELS[WHERE])
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(slopes[WHERE], expected_slopes, rtol=1e-12, atol=1e-15)
    assert not slopes[~WHERE].any()


@over_losses
def test_weights_are_of_anchors(loss: Any) -> None:
    weights = RANDOM.uniform(0, 2, 8)
    values = loss(EMBEDDINGS, LABELS, reduction="none")
    np.testing.assert_allclose(loss(EMBEDDINGS, LABELS, weights=weights, reduction="none"), weights * values)
    counts = (LABELS[:, None] == LABELS).sum(-1) - 1
    counts = counts if loss.func is jaxloss.nt_xent_loss else counts > 0
    np.testing.assert_allclose(loss(EMBEDDINGS, LABELS, weights=weights), weights @ values / (weights @ counts))


@over_losses
def test_the_order_of_rows_and_the_names_of_labels_mean_nothing(loss: Any) -> None:
    order = RANDOM.permutation(8)
    values = loss(EMBEDDINGS, LABELS, reduction="none")
    np.testing.assert_allclose(loss(EMBEDDINGS[order], LABELS[order], reduction="none"), values[order], rtol=1e-12)
    np.testing.assert_array_equal(loss(EMBEDDINGS, 5 - 3 * LABELS, reduction="none"), values)


@over_losses
@pytest.mark.parametrize("offset", [2**31 - 8, 2**40, -(2**62)])
def test_ids_may_be_any_integers(loss: Any, offset: int) -> None:
    np.testing.assert_array_equal(loss(EMBEDDINGS, LABELS + offset), loss(EMBEDDINGS, LABELS))


@over_losses
def test_a_nan_that_counts_surfaces(loss: Any) -> None:
    spoilt = EMBEDDINGS.copy()
    spoilt[5, 1] = np.nan  # without a positive, but everybody's negative
    assert np.isnan(loss(spoilt, LABELS))


@over_losses
def test_only_directions_count(loss: Any) -> None:
    lengths = np.array([1, 1e-25, 1e25, 3, 1, 1e-20, 1e30, 1])[:, None]
    value, slopes = jax.value_and_grad(loss)((lengths * EMBEDDINGS).astype(np.float32), LABELS)
    expected, expected_slopes = jax.value_and_grad(loss)(EMBEDDINGS, LABELS)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(slopes, float) * lengths, expected_slopes, rtol=1e-3, atol=1e-5)


@over_losses
def test_zero_and_coincident_vectors(loss: Any) -> None:
    for embeddings in (np.zeros((8, 5)), np.ones((8, 5)), np.where(LABELS[:, None] == 7, 0, EMBEDDINGS)):
        value, slopes = jax.value_and_grad(loss)(embeddings, LABELS)
        assert np.isfinite(value)
        assert np.isfinite(slopes).all()
        assert not slopes[~embeddings.any(-1)].any()


@over_losses
@pytest.mark.parametrize("labels", [np.arange(8), np.zeros(8, int)], ids=["all others", "all alike"])
def test_without_positives_or_negatives_nothing_is_lost(loss: Any, labels: np.ndarray) -> None:
    value, slopes = jax.value_and_grad(loss)(EMBEDDINGS, labels)
    assert value == 0
    assert not slopes.any()


def test_circle_loss_counts_anchors_that_have_both() -> None:
    values = jaxloss.circle_loss(EMBEDDINGS, LABELS, reduction="none")
    both = np.isin(LABELS, [7, -2])
    assert (np.asarray(values) > 0).tolist() == both.tolist()
    np.testing.assert_allclose(jaxloss.circle_loss(EMBEDDINGS, LABELS), np.mean(values[both]), rtol=1e-13)


def test_the_weights_of_circle_loss_are_held() -> None:
    angles, gamma, margin = np.array([0.0, 0.5, 1.5]), 3.0, 0.25

    def loss(angles: Any) -> Any:
        rows = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
        return jaxloss.circle_loss(rows, np.array([1, 1, 0]), gamma=gamma, margin=margin, reduction="none")[0]

    positive, negative = np.cos(angles[1:])
    pull, push = 1 + margin - positive, negative + margin
    exponent = gamma * (push * (negative - margin) - pull * (positive - 1 + margin))
    np.testing.assert_allclose(loss(angles), np.log1p(np.exp(exponent)), rtol=1e-13)
    slopes = gamma * np.array([-pull, push]) * -np.sin(angles[1:]) / (1 + np.exp(-exponent))
    np.testing.assert_allclose(jax.grad(loss)(angles), [-slopes.sum(), *slopes], rtol=1e-12)


@pytest.mark.parametrize("temperature", [1e-30, 1e-6, 1.0, 1e30])
def test_temperatures_of_any_size(temperature: float) -> None:
    embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 0.5]], np.float32)
    loss = partial(jaxloss.nt_xent_loss, temperature=temperature)
    value, slopes = jax.value_and_grad(loss)(embeddings, np.array([1, 1, 2, 2]))
    np.testing.assert_allclose(value, math.log1p(2 * math.exp(-1 / temperature)), rtol=1e-6)
    assert np.isfinite(slopes).all()
    value, slopes = jax.value_and_grad(loss)(embeddings, np.array([1, 2, 1, 2]))
    np.testing.assert_allclose(value, np.logaddexp(1 / temperature, math.log(2)), rtol=1e-6)
    assert np.isfinite(slopes).all()


@over_losses
@pytest.mark.parametrize("axes", [("devices", None), (None, "devices")], ids=str)
def test_embeddings_may_be_sharded(loss: Any, axes: tuple[str | None, ...]) -> None:
    embeddings = RANDOM.normal(size=(8, 8))
    expected = jax.value_and_grad(loss)(embeddings, LABELS, where=WHERE)
    for axis_type in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((8,), ("devices",), axis_types=(axis_type,))
        with jax.set_mesh(mesh):
            rows = jax.device_put(embeddings, NamedSharding(mesh, PartitionSpec(*axes)))
            ids, where = (jax.device_put(x, NamedSharding(mesh, PartitionSpec(axes[0]))) for x in (LABELS, WHERE))
            outcome = jax.jit(jax.value_and_grad(loss))(rows, ids, where=where)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-15), outcome, expected)


@over_losses
def test_a_batch_has_one_axis(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"the number of axes of embeddings must be one of \(2,\), got 3"):
        loss(EMBEDDINGS[None], LABELS[None])
