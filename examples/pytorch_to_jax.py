"""Two programs that PyTorch tutorials begin with, in JAX. Above each step stands, as a comment, what it is in torch.

python examples/pytorch_to_jax.py
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import jaxloss


def train_classifier(epochs: int = 10) -> list[float]:
    """Trains a small network on random data, and returns the loss before each update."""
    # inputs = torch.randn(100, 64)
    # labels = torch.randint(10, (100,))
    inputs = jax.random.normal(jax.random.key(0), (100, 64))
    labels = jax.random.randint(jax.random.key(1), (100,), 0, 10)

    # model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    rngs = nnx.Rngs(2)
    model = nnx.Sequential(nnx.Linear(64, 128, rngs=rngs), nnx.relu, nnx.Linear(128, 10, rngs=rngs))

    # optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    optimizer = nnx.Optimizer(model, optax.adam(0.01), wrt=nnx.Param)

    # loss = F.cross_entropy(model(inputs), labels)
    def batch_loss(model: nnx.Sequential) -> jax.Array:
        return jaxloss.cross_entropy(model(inputs), labels)

    # optimizer.zero_grad()
    # loss.backward()
    # optimizer.step()
    @nnx.jit
    def train_step(model: nnx.Sequential, optimizer: nnx.Optimizer[nnx.Sequential]) -> jax.Array:
        loss: jax.Array
        loss, gradients = nnx.value_and_grad(batch_loss)(model)
        optimizer.update(model, gradients)
        return loss

    # for epoch in range(epochs):
    #     ...
    #     print(f"epoch {epoch + 1:2}  loss {loss.item():.4f}")
    losses = []
    for epoch in range(epochs):
        losses.append(float(train_step(model, optimizer)))
        print(f"epoch {epoch + 1:2}  loss {losses[-1]:.4f}")
    return losses


def classify_pixels() -> tuple[float, float]:
    """Scores one class per pixel of a map: with the classes last, as is usual in JAX, and first, as in torch."""
    # images = torch.randn(5, 16, 10, 10)
    # labels = torch.randint(4, (5, 8, 8))
    images = jax.random.normal(jax.random.key(0), (5, 10, 10, 16))
    labels = jax.random.randint(jax.random.key(1), (5, 8, 8), 0, 4)

    # convolution = nn.Conv2d(16, 4, kernel_size=3)
    convolution = nnx.Conv(16, 4, kernel_size=(3, 3), padding="VALID", rngs=nnx.Rngs(2))

    # log_probs = F.log_softmax(convolution(images), dim=1)  # (5, 4, 8, 8)
    log_probs = jax.nn.log_softmax(convolution(images))  # (5, 8, 8, 4)

    # loss = F.nll_loss(log_probs, labels)
    loss = jaxloss.nll_loss(log_probs, labels)

    # A map from torch keeps its layout: `axis` says where the classes are.
    torch_layout = jnp.moveaxis(log_probs, -1, 1)  # (5, 4, 8, 8)
    same_loss = jaxloss.nll_loss(torch_layout, labels, axis=1)

    print(f"loss per pixel {loss:.4f}, in the layout of torch {same_loss:.4f}")
    return float(loss), float(same_loss)


if __name__ == "__main__":
    train_classifier()
    classify_pixels()
