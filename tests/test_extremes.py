"""At the ends of the range of a dtype no loss is NaN or infinite where the truth fits, and each value is right."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import CATALOGUE, Call
from extremes import checked, compiled, extreme_inputs
from test_laws import over

ROWS = 64


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@over(CATALOGUE)
def test_losses_are_right_at_the_ends_of_the_range(call: Call, dtype: Any) -> None:
    rng, run = np.random.default_rng(0), compiled(call)
    for _ in range(3):
        inputs, where = extreme_inputs(call, rng, ROWS, dtype), rng.random(ROWS) < 0.9
        checked(call, inputs, where, *run(inputs, where))
