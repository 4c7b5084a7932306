"""Time an epoch of `examples/fashion_mnist.py` beside the same loop in torch.

    PYTHONPATH=examples python benchmarks/fashion_mnist_epoch.py --json epoch.json

Both train 784-512-512-10 with Adam on the same 60,000 images in the same order, in turns on the same machine. In torch
there are two loops: one that indexes the data set as a tensor, its fastest simple form, and one over a `DataLoader`, as
tutorials write it. Torch keeps a constant learning rate; the example's also follows its schedule.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import fashion_mnist as example
import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from fashion_mnist_data import Split, load
from torch.utils.data import DataLoader, TensorDataset

HIDDEN, LEARNING_RATE, SEED = 512, 1e-3, 0

Epoch = Callable[[int], float]


def jax_epoch(split: Split, batch_size: int, epochs: int) -> Epoch:
    """Makes the example's epoch: from its number, which decides the order of the images, to the mean loss."""
    setup = example.Setup(
        dataset="Fashion-MNIST",
        training_images=len(split.labels),
        pixels=split.images[0].size,
        classes=10,
        epochs=epochs,
        batch_size=batch_size,
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

    def __init__(self, split: Split, batch_size: int) -> None:
        """Puts the whole data set into tensors, the images as they are in the example: bytes."""
        self.images = torch.tensor(np.asarray(split.images))
        self.labels = torch.tensor(np.asarray(split.labels)).long()
        self.batch_size = batch_size
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
        batches = torch.split(self.order(number), self.batch_size)
        total = sum(self.step(self.images[index].float() / 255, self.labels[index]) for index in batches)
        return total / len(self.labels)

    def loader_epoch(self, number: int) -> float:
        """Leaves the batches to a `DataLoader`."""
        dataset = TensorDataset(self.images.float() / 255, self.labels)
        loader = DataLoader(dataset, self.batch_size, sampler=self.order(number).tolist())
        return sum(self.step(images, labels) for images, labels in loader) / len(self.labels)

    def order(self, number: int) -> torch.Tensor:
        """Shuffles as the example does."""
        return torch.tensor(np.asarray(example.epoch_order(SEED, number, len(self.labels))))


def measure(epochs: dict[str, Epoch], rounds: int) -> dict[str, list[float]]:
    """Seconds per epoch of each, in strict alternation, after a round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for number in range(rounds + 1):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            loss = epoch(number)
            elapsed = time.perf_counter() - start
            print(f"round {number}  {name:16}  {elapsed:6.2f} s  loss {loss:.4f}", flush=True)
            if number > 0:
                seconds[name].append(elapsed)
    return seconds


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="epochs of each that count (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--data", type=Path, help="folder of Fashion-MNIST")
    parser.add_argument("--json", type=Path, help="file to write the result to")
    options = parser.parse_args()

    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    data = load(options.data)
    split = Split(*map(jnp.concatenate, zip(data.train, data.validation, strict=True)))
    indexing, loading = TorchLoop(split, options.batch_size), TorchLoop(split, options.batch_size)
    epochs = {
        "jaxloss": jax_epoch(split, options.batch_size, options.rounds + 1),
        "torch indexing": indexing.indexing_epoch,
        "torch DataLoader": loading.loader_epoch,
    }
    seconds = measure(epochs, options.rounds)

    ours = statistics.median(seconds["jaxloss"])
    print(f"\n{data.name}, {len(split.labels):,} images, batches of {options.batch_size}, {cores} cores")
    print(f"{'':16}  median s   min    max   jaxloss / this")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:16}  {median:8.2f}  {min(times):5.2f}  {max(times):5.2f}  {ours / median:8.2f}")
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": processor(), "cores": cores, "device": jax.devices()[0].device_kind},
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (jax, flax, optax, torch)},
        },
        "data": data.name,
        "images": len(split.labels),
        "batch_size": options.batch_size,
        "seconds": seconds,
        "ratio_to_torch": {name: ours / statistics.median(seconds[name]) for name in list(epochs)[1:]},
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


if __name__ == "__main__":
    main()
