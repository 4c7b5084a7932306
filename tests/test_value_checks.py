"""The internals of JAX that value checks stand on, as `jaxloss/_kit/checks.py` says; on the oldest and newest JAX."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

import jaxloss
from jaxloss import kit

X = np.array([0.5, 7.0])
MESSAGE = r"^binary_cross_entropy: probs must be in \[0, 1\], got 7\.0"

loss = functools.partial(jaxloss.binary_cross_entropy, targets=np.ones(2))
TRANSFORMED: dict[str, Callable[[Any], Any]] = {
    "jit": jax.jit(loss),
    "grad": jax.grad(loss),
    "jvp": lambda x: jax.jvp(loss, (x,), (x,)),
    "grad of grad": lambda x: jax.grad(lambda x: jnp.sum(jax.grad(loss)(x)))(x),
    "checkpoint": jax.grad(jax.checkpoint(loss)),
    "vmap": lambda x: jax.vmap(loss)(jnp.stack([x / 10, x])),
    "vmap of grad": lambda x: jax.vmap(jax.grad(loss))(jnp.stack([x / 10, x])),
    "scan": lambda x: jax.lax.scan(lambda carry, x: (carry + loss(x), None), 0.0, jnp.stack([x / 10, x])),
    "cond": lambda x: jax.lax.cond(x[0] > 0, loss, jnp.sum, x),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_checkify_finds_the_check_inside_of(name: str) -> None:
    checked = jax.jit(checkify.checkify(TRANSFORMED[name], errors=checkify.user_checks))
    with pytest.raises(checkify.JaxRuntimeError, match=MESSAGE):
        checked(X)[0].throw()
    checked(X / 10)[0].throw()


@pytest.mark.parametrize("name", TRANSFORMED)
def test_elsewhere_a_check_is_no_effect(name: str) -> None:
    assert not jax.make_jaxpr(TRANSFORMED[name])(X).effects


def test_elsewhere_a_check_leaves_nothing_in_the_program() -> None:
    unchecked = kit.loss_function(recomputed=True)(inspect.unwrap(jaxloss.binary_cross_entropy))
    programs = [
        jax.jit(jax.grad(function)).lower(X, X / 10).compile().as_text() or ""
        for function in (jaxloss.binary_cross_entropy, unchecked)
    ]
    operations = [re.findall(r" = \S+ ([\w-]+)\(", program) for program in programs]
    assert operations[0] == operations[1]
    assert operations[0]


# --- log-probabilities ------------------------------------------------------------------------------------------------

ROWS = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, -3.0]])
MISTAKES = {
    "probabilities": np.asarray(jax.nn.softmax(ROWS)),
    "logits": ROWS,
    "negative logits": ROWS - 5.0,
}
OF_LOGS: dict[str, Callable[..., Any]] = {
    "nll_loss: log_probs": lambda logs, **o: jaxloss.nll_loss(logs, np.array([0, 1]), **o),
    "kl_div: log_predictions": lambda logs, **o: jaxloss.kl_div(logs, np.full((2, 3), 1 / 3), **o),
    "kl_div: targets": lambda logs, **o: jaxloss.kl_div(np.log(np.full((2, 3), 1 / 3)), logs, log_target=True, **o),
    "js_div: log_predictions": lambda logs, **o: jaxloss.js_div(logs, np.full((2, 3), 1 / 3), **o),
    "js_div: targets": lambda logs, **o: jaxloss.js_div(np.log(np.full((2, 3), 1 / 3)), logs, log_target=True, **o),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("argument", OF_LOGS)
def test_what_is_no_log_probability_is_found(argument: str, mistake: str) -> None:
    call = OF_LOGS[argument]
    run = jax.jit(checkify.checkify(call, errors=checkify.user_checks))
    with pytest.raises(checkify.JaxRuntimeError, match=f"^{argument} must be log-probabilities of a distribution"):
        run(MISTAKES[mistake])[0].throw()
    masked = jax.jit(checkify.checkify(lambda logs: call(logs, where=np.array(False)), errors=checkify.user_checks))
    masked(MISTAKES[mistake])[0].throw()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("argument", OF_LOGS)
def test_log_probabilities_in_half_precision_are_some(argument: str, dtype: str) -> None:
    logs = jax.nn.log_softmax(jnp.asarray(3 * np.random.default_rng(0).normal(size=(2, 3)), dtype))
    jax.jit(checkify.checkify(OF_LOGS[argument], errors=checkify.user_checks))(logs)[0].throw()
