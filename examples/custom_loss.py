"""A loss of your own: embeddings of similar things should lie together, those of different things a margin apart.

    python examples/custom_loss.py

With the kit it takes masks, weights and reductions, checks shapes, and is compiled, as every loss of the library is.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxloss import kit


@kit.loss_function(domains={"targets": kit.SIGN})
def contrastive_loss(
    x1: Float[ArrayLike, "*batch features"],
    x2: Float[ArrayLike, "*batch features"],
    targets: kit.Castable,
    *,
    margin: kit.Scalar = 1.0,
    where: kit.Mask | None = None,
    weights: kit.Weights | None = None,
    reduction: kit.Reduction = "mean",
) -> Float[Array, "..."]:
    """Squared distance of similar pairs (targets 1); for others (-1) the square of what it falls short of the margin.

    Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, 2006.
    """
    x1, x2, targets = kit.rowwise_inputs(where, -1, x1=x1, x2=x2, per_row={"targets": targets})
    squares = jnp.sum(jnp.square(x1 - x2), axis=-1)
    # The root has no slope at 0: there we take the slope 0, and keep infinity out of the gradient.
    coincide = squares == 0
    distances = jnp.where(coincide, 0, jnp.sqrt(jnp.where(coincide, 1, squares)))
    shortfalls = jnp.maximum(0, margin - distances)
    values = jnp.where(targets == 1, squares, jnp.square(shortfalls))
    return kit.reduce(values, where=where, weights=weights, reduction=reduction)


def main(steps: int = 200) -> tuple[float, float]:
    """Learns a map from ten numbers to the plane, and returns how far apart similar and different things end up."""
    # Things of three kinds: noise around three centres.
    kinds = jax.random.randint(jax.random.key(0), (60,), 0, 3)
    centres = jax.random.normal(jax.random.key(1), (3, 10))
    things = centres[kinds] + 0.5 * jax.random.normal(jax.random.key(2), (60, 10))

    # All pairs of two different things.
    first, second = np.triu_indices(60, k=1)
    similar = kinds[first] == kinds[second]
    targets = jnp.where(similar, 1, -1)

    def pair_loss(matrix: jax.Array) -> jax.Array:
        embeddings = things @ matrix
        return contrastive_loss(embeddings[first], embeddings[second], targets, margin=2.0)

    optimizer = optax.adam(0.05)

    @jax.jit
    def train_step(matrix: jax.Array, moments: optax.OptState) -> tuple[jax.Array, optax.OptState, jax.Array]:
        loss, gradient = jax.value_and_grad(pair_loss)(matrix)
        updates, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(matrix, updates), moments, loss

    matrix = 0.1 * jax.random.normal(jax.random.key(3), (10, 2))
    moments = optimizer.init(matrix)
    for step in range(steps):
        matrix, moments, loss = train_step(matrix, moments)
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:3}  loss {loss:.4f}")

    embeddings = things @ matrix
    distances = jnp.linalg.norm(embeddings[first] - embeddings[second], axis=-1)
    near, far = float(jnp.mean(distances, where=similar)), float(jnp.mean(distances, where=~similar))
    print(f"mean distance: {near:.2f} between similar things, {far:.2f} between different ones")
    return near, far


if __name__ == "__main__":
    main()
