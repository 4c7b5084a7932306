"""Losses of regions that are empty, matched exactly or tiny, and of every layout of images."""

import re
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

import jaxloss

RANDOM = np.random.default_rng(0)
LOSSES = [jaxloss.dice_loss, jaxloss.generalized_dice_loss, jaxloss.tversky_loss]
PICTURES: dict[str, Any] = {"space": (-3, -2)}
UNSMOOTHED: dict[str, Any] = {"smooth_nr": 0.0, "smooth_dr": 0.0}
PROBS = RANDOM.uniform(0.1, 0.9, (2, 3, 4, 5))
LABELS = RANDOM.integers(0, 5, (2, 3, 4))

over_losses = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


@over_losses
@pytest.mark.parametrize("options", [{}, UNSMOOTHED], ids=["smoothed", "unsmoothed"])
def test_nothing_there_and_nothing_predicted_costs_nothing(loss: Any, options: dict[str, float]) -> None:
    value, slopes = jax.value_and_grad(loss, argnums=(0, 1))(np.zeros((1, 6, 3)), np.zeros((1, 6, 3)), **options)
    assert value == 0
    assert np.isfinite(slopes).all()


@over_losses
def test_an_exact_match_costs_nothing(loss: Any) -> None:
    value, slopes = jax.value_and_grad(loss)(np.eye(5)[LABELS], LABELS, **PICTURES)
    assert value == 0
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("miss", [1e-4, 1e-7, 1e-12, 1e-30])
def test_near_matches_keep_their_digits(miss: float) -> None:
    probs, labels = np.array([[[1.0], [miss]]], np.float32), np.array([[1, 0]])
    value = jaxloss.dice_loss(probs, labels, **UNSMOOTHED)
    np.testing.assert_allclose(value, miss / (2 + miss), rtol=1e-6)


@pytest.mark.parametrize("size", [1e-36, 1e-25, 1e-10])
def test_overlap_of_faint_regions(size: float) -> None:
    probs = (size * np.array([[[1.0], [3.0]]])).astype(np.float32)
    labels = (size * np.array([[[0.0], [1.0]]])).astype(np.float32)
    loss = partial(jaxloss.tversky_loss, alpha=0.0, beta=1.0, **UNSMOOTHED)
    value, slopes = jax.value_and_grad(loss)(probs, labels)
    np.testing.assert_allclose(value, 1 - 3 * size, rtol=1e-6)  # TP = 3 size², FN = size (1 - 3 size)
    np.testing.assert_allclose(slopes[0, :, 0], [0, -1], rtol=1e-6)


@over_losses
@pytest.mark.parametrize("faint", [1e-3, 1e-10, 1e-30])
def test_the_gradient_outside_a_region_that_is_hardly_met(loss: Any, faint: float) -> None:
    probs, labels = np.array([[[faint], [1.0]]], np.float32), np.array([[1, 0]])
    slopes = jax.grad(loss)(probs, labels, **UNSMOOTHED)
    np.testing.assert_allclose(slopes[0, 1, 0], 2 * faint / (2 + faint) ** 2, rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 0.75, 1.0, 2.0])
def test_focal_tversky_is_a_power_of_the_classes_losses(gamma: float) -> None:
    classes = [
        jaxloss.tversky_loss(PROBS[..., [k]], np.equal(LABELS, k).astype(int), **PICTURES, reduction="none")
        for k in range(5)
    ]
    value = jaxloss.tversky_loss(PROBS, LABELS, gamma=gamma, **PICTURES, reduction="none")
    np.testing.assert_allclose(value, np.mean(np.array(classes) ** gamma, axis=0), rtol=1e-12)
    slopes = jax.grad(partial(jaxloss.tversky_loss, gamma=gamma, **PICTURES))(np.eye(5)[LABELS], LABELS)
    assert np.isfinite(slopes).all()
    assert slopes.any() == (gamma == 1)


def test_even_tversky_is_dice() -> None:
    for labels in (LABELS, RANDOM.uniform(0, 1, PROBS.shape)):
        dice = jaxloss.dice_loss(PROBS, labels, smooth_nr=0.2, smooth_dr=0.6, **PICTURES)
        tversky = jaxloss.tversky_loss(PROBS, labels, smooth_nr=0.1, smooth_dr=0.3, **PICTURES)
        np.testing.assert_allclose(tversky, dice, rtol=1e-14)


@over_losses
def test_integers_are_one_hot_rows(loss: Any) -> None:
    options = {"class_weights": np.arange(5.0), "valid": PROBS[..., 0] > 0.3}
    evaluate = jax.value_and_grad(partial(loss, **options, **PICTURES))
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-12), evaluate(PROBS, LABELS), evaluate(PROBS, np.eye(5)[LABELS])
    )


@over_losses
def test_a_single_region_has_labels_zero_and_one(loss: Any) -> None:
    inside = (LABELS == 2).astype(int)
    value = loss(PROBS[..., :1], inside, **PICTURES)
    np.testing.assert_allclose(value, loss(PROBS[..., :1], inside[..., None].astype(float), **PICTURES), rtol=1e-14)
    assert np.isnan(loss(PROBS[..., :1], LABELS, **PICTURES))


@over_losses
def test_layouts(loss: Any) -> None:
    expected = loss(PROBS, LABELS, **PICTURES, reduction="none")
    assert expected.shape == (2,)
    for axis in range(4):
        moved = np.moveaxis(PROBS, -1, axis)
        space = {0: (2, 3), 1: (2, 3), 2: (-3, -1), 3: (1, 2)}[axis]
        np.testing.assert_allclose(loss(moved, LABELS, axis=axis, space=space, reduction="none"), expected, rtol=1e-14)
    single = [loss(probs, labels, space=(0, 1)) for probs, labels in zip(PROBS, LABELS, strict=True)]
    np.testing.assert_allclose(single, expected, rtol=1e-14)
    assert loss(PROBS, LABELS, space=2, reduction="none").shape == (2, 3)
    # By default the pixels are the one axis before the classes, with or without a batch.
    flat, labels = PROBS.reshape(2, 12, 5), LABELS.reshape(2, 12)
    np.testing.assert_allclose(loss(flat, labels, reduction="none"), expected, rtol=1e-14)
    np.testing.assert_allclose(loss(flat[0], labels[0]), expected[0], rtol=1e-14)
    np.testing.assert_allclose(loss(np.moveaxis(flat, -1, 1), labels, axis=1, reduction="none"), expected, rtol=1e-14)


@over_losses
@pytest.mark.parametrize("memberships", [False, True])
def test_a_mapped_loss_is_that_of_a_batch(loss: Any, memberships: bool) -> None:
    labels = np.eye(5)[LABELS] if memberships else LABELS
    for probs, truth, space in (
        (PROBS, labels, (-3, -2)),
        (PROBS.reshape(2, 12, 5), labels.reshape(2, 12, *labels.shape[3:]), None),
    ):
        batch = loss(probs, truth, space=space, reduction="none")
        np.testing.assert_allclose(jax.vmap(partial(loss, space=space))(probs, truth), batch, rtol=1e-12)


@over_losses
def test_pictures_have_to_say_which_axes_are_pixels(loss: Any) -> None:
    message = f"{loss.__name__}: labels have 3 axes: say which are pixels, as by space=(-3, -2)"
    for labels in (LABELS, np.eye(5)[LABELS]):
        with pytest.raises(ValueError, match=re.escape(message)):
            loss(PROBS, labels)


@over_losses
def test_a_batch_may_be_one_region(loss: Any) -> None:
    whole = loss(PROBS, LABELS, space=(0, 1, 2), reduction="none")
    np.testing.assert_allclose(whole, loss(PROBS.reshape(1, 24, 5), LABELS.reshape(1, 24)), rtol=1e-14)
    for where, expected in ((True, whole), (False, 0)):
        np.testing.assert_allclose(loss(PROBS, LABELS, space=(0, 1, 2), where=np.array(where)), expected, rtol=1e-14)


@over_losses
def test_pixels_that_take_no_part(loss: Any) -> None:
    ignored = RANDOM.integers(0, 2, LABELS.shape) > 0
    ignored[1] = True  # an image without a pixel does not count
    probs = np.where(ignored[..., None], np.nan, PROBS)
    kept = PROBS[0][~ignored[0]], LABELS[0][~ignored[0]]
    expected = loss(*kept, space=0)
    for options in ({"valid": ~ignored}, {"ignore_index": 255}):
        labels = np.where(ignored, 255 if "ignore_index" in options else -7, LABELS)
        value, slopes = jax.value_and_grad(loss)(probs, labels, **options, **PICTURES)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        assert not slopes[ignored].any()
        np.testing.assert_allclose(slopes[0][~ignored[0]], jax.grad(loss)(*kept, space=0), rtol=1e-12)


@over_losses
def test_a_bad_label_spoils_all_of_its_image_and_no_other(loss: Any) -> None:
    labels = LABELS.copy()
    labels[1, 0, 0] = 5
    assert np.isnan(loss(PROBS, labels, **PICTURES, reduction="none")).tolist() == [False, True]
    slopes = jax.grad(loss)(PROBS, labels, **PICTURES, reduction="sum")
    assert np.isfinite(slopes[0]).all()
    assert np.isnan(slopes[1]).all()


def test_generalized_dice_of_classes_that_are_absent() -> None:
    probs = np.array([[[0.9, 0.1, 0.2], [0.2, 0.8, 0.0], [0.3, 0.7, 0.1]]])
    labels = np.array([[0, 1, 1]])
    # Sizes 1, 2 and none: weights 1, 1/4 and, as the rarest, 1.
    shared, total = 0.9 + 1.5 / 4, (1.4 + 1) + (1.6 + 2) / 4 + 0.3
    value = jaxloss.generalized_dice_loss(probs, labels, **UNSMOOTHED)
    np.testing.assert_allclose(value, 1 - 2 * shared / total, rtol=1e-14)


@pytest.mark.parametrize("options", [{}, UNSMOOTHED], ids=["smoothed", "unsmoothed"])
def test_generalized_dice_without_any_class_costs_nothing(options: dict[str, Any]) -> None:
    assert jaxloss.generalized_dice_loss(np.full((4, 3), 0.3), np.zeros((4, 3)), **options) == 0


@pytest.mark.parametrize("side", [4, 512])
def test_generalized_dice_is_smoothed_alike_in_images_of_all_sizes(side: int) -> None:
    labels = np.zeros((1, side, side), int)
    labels[:, : side // 4] = 1
    probs = np.where(np.eye(2)[labels] > 0, 0.75, 0.25).astype(np.float32)
    value = jaxloss.generalized_dice_loss(probs, labels, **PICTURES)
    np.testing.assert_allclose(value, 1 - 2 * (0.75 + 0.25) / (2.5 + 5.5 / 9), rtol=1e-5)


@over_losses
@pytest.mark.parametrize("space", [-1, 3, 4, (1, -5)], ids=str)
def test_space_has_to_be_of_pixels(loss: Any, space: int | tuple[int, ...]) -> None:
    message = rf"^{loss.__name__}: space must be one of \[0, 1, 2, -4, -3, -2\], got "
    with pytest.raises(ValueError, match=message):
        loss(PROBS, LABELS, space=space)


def test_masks_have_to_fit() -> None:
    message = "dice_loss: valid must be a scalar or have the rank of the pixels, which is (2, 3, 4), got (3, 4)"
    with pytest.raises(ValueError, match=re.escape(message)):
        jaxloss.dice_loss(PROBS, LABELS, **PICTURES, valid=np.ones((3, 4), bool))
