"""An epoch of `examples/fashion_mnist.py` beside the same loop in torch.

Both train 784-512-512-10 with Adam on the same 60,000 images in the same order, in turns on the same machine. In torch
there are two loops: one that indexes the data set as a tensor, its fastest simple form, and one over a `DataLoader`, as
tutorials write it. Torch keeps a constant learning rate; the example's also follows its schedule.
"""

import time
from collections.abc import Callable
from typing import Any

import fashion_mnist as example
import jax.numpy as jnp
import numpy as np
import torch
from fashion_mnist_data import Split, load
from torch.utils.data import DataLoader, TensorDataset

from .measure import summary

HIDDEN, LEARNING_RATE, SEED, BATCH_SIZE = 512, 1e-3, 0, 128

Epoch = Callable[[int], float]


def jax_epoch(split: Split, epochs: int) -> Epoch:
    """Makes the example's epoch: from its number, which decides the order of the images, to the mean loss."""
    setup = example.Setup(
        dataset="Fashion-MNIST",
        training_images=len(split.labels),
        pixels=split.images[0].size,
        classes=10,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        hidden=HIDDEN,
        seed=SEED,
    )
    graphdef, state = example.start(setup)

    def epoch(number: int) -> float:
        nonlocal state
        state, loss = example.train_epoch(setup, graphdef, state, split, number)
        return loss

    return epoch


class TorchLoop:
    """The same network, loss and optimizer in torch."""

    def __init__(self, split: Split) -> None:
        """Puts the whole data set into tensors, the images as they are in the example: bytes."""
        self.images = torch.tensor(np.asarray(split.images))
        self.labels = torch.tensor(np.asarray(split.labels)).long()
        self.model = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(self.images[0].numel(), HIDDEN),
            torch.nn.ReLU(),
            torch.nn.Linear(HIDDEN, HIDDEN),
            torch.nn.ReLU(),
            torch.nn.Linear(HIDDEN, 10),
        )
        self.loss = torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), LEARNING_RATE, fused=True)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Takes one step, and returns the total loss of the batch."""
        self.optimizer.zero_grad()
        loss = self.loss(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        total: float = loss.item() * len(labels)
        return total

    def indexing_epoch(self, number: int) -> float:
        """Gathers the batches by index."""
        batches = torch.split(self.order(number), BATCH_SIZE)
        total = sum(self.step(self.images[index].float() / 255, self.labels[index]) for index in batches)
        return total / len(self.labels)

    def loader_epoch(self, number: int) -> float:
        """Leaves the batches to a `DataLoader`."""
        dataset = TensorDataset(self.images.float() / 255, self.labels)
        loader = DataLoader(dataset, BATCH_SIZE, sampler=self.order(number).tolist())
        return sum(self.step(images, labels) for images, labels in loader) / len(self.labels)

    def order(self, number: int) -> torch.Tensor:
        """Shuffles as the example does."""
        return torch.tensor(np.asarray(example.epoch_order(SEED, number, len(self.labels))))


def measured(rounds: int, limit: int | None = None) -> dict[str, Any]:
    """An epoch of each in every round, after one to warm up.

    Args:
        rounds: How many count.
        limit: Use only so many images.
    """
    data = load(limit=limit)
    split = Split(*map(jnp.concatenate, zip(data.train, data.validation, strict=True)))
    epochs = {
        "jaxloss": jax_epoch(split, rounds + 1),
        "torch indexing": TorchLoop(split).indexing_epoch,
        "torch DataLoader": TorchLoop(split).loader_epoch,
    }
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    losses: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            losses[name] = epoch(number)
            if number > 0:
                seconds[name].append(time.perf_counter() - start)
    return {
        "data": data.name,
        "images": len(split.labels),
        "batch_size": BATCH_SIZE,
        "last_loss": losses,
        "times": summary(seconds),
    }
