"""Train a network to tell ten kinds of clothes apart: the five parts of a training pipeline, from data to prediction.

    python examples/fashion_mnist.py             # train for ten epochs, then look into runs/fashion_mnist
    python examples/fashion_mnist.py --resume    # go on after Ctrl-C
    python examples/fashion_mnist.py --predict   # classify the test images with the best network so far

It runs unchanged on CPU, GPU and TPU.
"""

import argparse
import json
import math
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from fashion_mnist_data import MIRROR, DataError, Dataset, Split, load
from flax import nnx
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from tqdm import tqdm

import jaxloss

INTERRUPTED = 128 + signal.SIGINT  # the exit status that shells expect


@dataclass(frozen=True)
class Setup:
    """What the numbers of a run depend on."""

    dataset: str
    training_images: int
    pixels: int
    classes: int
    epochs: int
    batch_size: int
    learning_rate: float
    hidden: int
    seed: int


class EpochLog(TypedDict):
    """What is measured in an epoch."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


class Log(TypedDict):
    """A run so far. It is saved in every checkpoint, so the two always agree."""

    setup: dict[str, Any]
    epochs: list[EpochLog]


class UsageError(Exception):
    """What was asked for cannot be done; the message says why."""


# --- 1. dataset: `fashion_mnist_data` reads it, this part batches it --------------------------------------------------


class Batch(NamedTuple):
    """Images, labels, and which of them count."""

    images: jax.Array
    labels: jax.Array
    where: jax.Array


def epoch_order(seed: int, epoch: int, count: int) -> jax.Array:
    """Shuffles the images. Seed and epoch alone decide how, so a resumed run sees what an uninterrupted one sees."""
    return jax.random.permutation(jax.random.fold_in(jax.random.key(seed), epoch), count)


def take_batch(split: Split, order: jax.Array, step: int | jax.Array, size: int) -> Batch:
    """Gathers one batch. To compile once, all have the same size: the last is filled up, and `where` is False there."""
    position = step * size + jnp.arange(size)
    index = jnp.take(order, position, mode="clip")
    return Batch(split.images[index], split.labels[index], where=position < len(order))


def batch_count(images: int, size: int) -> int:
    """Batches in an epoch, the partial one included."""
    return math.ceil(images / size)


# --- 2. network -------------------------------------------------------------------------------------------------------


Params = nnx.State[Any, Any]


class Classifier(nnx.Module):
    """A perceptron with two hidden layers."""

    def __init__(self, pixels: int, hidden: int, classes: int, *, rngs: nnx.Rngs) -> None:
        """Draws the first weights."""
        self.layers = nnx.Sequential(
            nnx.Linear(pixels, hidden, rngs=rngs),
            nnx.relu,
            nnx.Linear(hidden, hidden, rngs=rngs),
            nnx.relu,
            nnx.Linear(hidden, classes, rngs=rngs),
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        """Turns images (n, height, width) of 0 to 255 into logits (n, classes)."""
        logits: jax.Array = self.layers(images.reshape(len(images), -1).astype(jnp.float32) / 255)
        return logits


# --- 3. training ------------------------------------------------------------------------------------------------------


class TrainState(NamedTuple):
    """What a training step changes."""

    params: Params
    moments: optax.OptState


def make_optimizer(setup: Setup) -> optax.GradientTransformation:
    """Makes an Adam whose rate falls to zero along a cosine: worth one percent of accuracy here."""
    steps = setup.epochs * batch_count(setup.training_images, setup.batch_size)
    return optax.adam(optax.cosine_decay_schedule(setup.learning_rate, steps))


def start(setup: Setup) -> tuple[nnx.GraphDef[Classifier], TrainState]:
    """Makes the network, split into what is compiled and what is trained."""
    model = Classifier(setup.pixels, setup.hidden, setup.classes, rngs=nnx.Rngs(setup.seed))
    graphdef, params = nnx.split(model)
    return graphdef, TrainState(params, make_optimizer(setup).init(params))


@partial(jax.jit, static_argnames=("setup", "graphdef"), donate_argnames=("state", "running"))
def train_step(
    setup: Setup,
    graphdef: nnx.GraphDef[Classifier],
    state: TrainState,
    running: jaxloss.PartialMean,
    split: Split,
    order: jax.Array,
    step: int,
) -> tuple[TrainState, jaxloss.PartialMean]:
    """Updates the state with one batch, and the running loss of the epoch with that batch's."""
    batch = take_batch(split, order, step, setup.batch_size)

    def batch_loss(params: Params) -> tuple[jax.Array, jaxloss.PartialMean]:
        logits = nnx.merge(graphdef, params)(batch.images)
        loss = jaxloss.partial_mean(jaxloss.cross_entropy)(logits, batch.labels, where=batch.where)
        return loss.value, loss

    gradients, loss = jax.grad(batch_loss, has_aux=True)(state.params)
    updates, moments = make_optimizer(setup).update(gradients, state.moments, state.params)
    return TrainState(optax.apply_updates(state.params, updates), moments), running + loss


def train_epoch(
    setup: Setup, graphdef: nnx.GraphDef[Classifier], state: TrainState, split: Split, epoch: int, *, title: str = ""
) -> tuple[TrainState, float]:
    """Takes one step per batch, and returns the mean loss of all images, each as it was at its step.

    With a title it shows a progress bar.
    """
    order = epoch_order(setup.seed, epoch, len(split.labels))
    running = jaxloss.PartialMean(jnp.zeros(()), jnp.zeros(()))
    batches = range(batch_count(len(order), setup.batch_size))
    with tqdm(batches, title, unit="batch", leave=False, disable=not title) as bar:
        for step in bar:
            state, running = train_step(setup, graphdef, state, running, split, order, step)
            if step % 20 == 0:  # reading the loss waits for the device: not at every step
                bar.set_postfix(loss=f"{running.value:.4f}")
    return state, float(running.value)


def train(setup: Setup, data: Dataset, checkpoints: ocp.CheckpointManager, log: Log) -> None:
    """Trains from where the log ends, and saves a checkpoint after every epoch."""
    graphdef, state = start(setup)
    if log["epochs"]:
        state = restore_state(checkpoints, state)
    for epoch in range(len(log["epochs"]) + 1, setup.epochs + 1):
        began = time.perf_counter()
        title = f"epoch {epoch:2}/{setup.epochs}"
        state, train_loss = train_epoch(setup, graphdef, state, data.train, epoch, title=title)
        scores = evaluate(graphdef, state.params, data.validation, setup.batch_size)
        loss, accuracy = float(scores.loss.value), float(scores.accuracy.value)
        seconds = time.perf_counter() - began
        print(f"{title}  train loss {train_loss:.4f}  validation loss {loss:.4f}  ", end="")
        print(f"accuracy {accuracy:.2%}  {seconds:.1f} s", flush=True)
        if not math.isfinite(train_loss + loss):
            raise UsageError(f"the loss diverged in epoch {epoch}: --learning-rate {setup.learning_rate} is too high")
        entry = EpochLog(
            epoch=epoch,
            train_loss=train_loss,
            validation_loss=loss,
            validation_accuracy=accuracy,
            seconds=seconds,
        )
        log["epochs"].append(entry)
        save(checkpoints, state, log)


# --- 4. validation and its visualisation ------------------------------------------------------------------------------


class Scores(NamedTuple):
    """Means over a split. Any mean can be kept as a `PartialMean`, so that its parts add up."""

    loss: jaxloss.PartialMean
    accuracy: jaxloss.PartialMean


@partial(jax.jit, static_argnames=("graphdef", "batch_size"))
def evaluate(graphdef: nnx.GraphDef[Classifier], params: Params, split: Split, batch_size: int) -> Scores:
    """Scores the network on a whole split: exactly, however the batches divide it."""
    model = nnx.merge(graphdef, params)
    order = jnp.arange(len(split.labels))

    def score(step: jax.Array) -> Scores:
        images, labels, where = take_batch(split, order, step, batch_size)
        logits = model(images)
        correct = where & (logits.argmax(-1) == labels)
        return Scores(
            loss=jaxloss.partial_mean(jaxloss.cross_entropy)(logits, labels, where=where),
            accuracy=jaxloss.PartialMean(correct.sum(dtype=jnp.float32), where.sum(dtype=jnp.float32)),
        )

    scores = jax.lax.map(score, jnp.arange(batch_count(len(order), batch_size)))
    total: Scores = jax.tree.map(jnp.sum, scores)
    return total


def draw_loss_curves(log: Log) -> Figure:
    """Train and validation loss per epoch."""
    epochs = [entry["epoch"] for entry in log["epochs"]]
    validation = [entry["validation_loss"] for entry in log["epochs"]]
    best = int(np.argmin(validation))
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(epochs, [entry["train_loss"] for entry in log["epochs"]], "o-", label="train (mean during the epoch)")
    axes.plot(epochs, validation, "s-", label="validation (after the epoch)")
    axes.plot(epochs[best], validation[best], "*k", markersize=13, label=f"best network: epoch {epochs[best]}")
    axes.set(title=f"{log['setup']['dataset']}: cross-entropy", xlabel="epoch", ylabel="loss (nats per image)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def draw_confusion_matrix(data: Dataset, predicted: NDArray[Any]) -> Figure:
    """How many test images of each class were predicted as each class."""
    labels, ticks = np.asarray(data.test.labels), range(len(data.classes))
    counts = np.zeros((len(ticks), len(ticks)), int)
    np.add.at(counts, (labels, predicted), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(7.6, 6.6), layout="constrained")
    axes = figure.subplots()
    figure.colorbar(axes.imshow(shares, cmap="Blues", vmin=0, vmax=1), label="share of the true class", shrink=0.8)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(ticks, data.classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, data.classes)
    accuracy = np.mean(labels == predicted)
    axes.set(title=f"{len(labels):,} test images, {accuracy:.2%} right", xlabel="predicted", ylabel="true")
    return figure


# --- 5. inference -----------------------------------------------------------------------------------------------------


@partial(jax.jit, static_argnames="graphdef")
def predict(graphdef: nnx.GraphDef[Classifier], params: Params, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the likeliest class of each image, and its probability."""
    probabilities = nnx.softmax(nnx.merge(graphdef, params)(images))
    return probabilities.argmax(-1), probabilities.max(-1)


def load_best(checkpoints: ocp.CheckpointManager, log: Log) -> tuple[nnx.GraphDef[Classifier], Params]:
    """Loads the network as it was after the epoch with the lowest validation loss."""
    graphdef, state = start(Setup(**log["setup"]))
    items = ocp.args.Composite(params=ocp.args.StandardRestore(state.params))
    params: Params = checkpoints.restore(checkpoints.best_step(), args=items)["params"]
    return graphdef, params


def draw_predictions(data: Dataset, predicted: NDArray[Any], probabilities: NDArray[Any]) -> Figure:
    """The first test images with predicted and true names, wrong ones in red."""
    figure = Figure(figsize=(11, 8.2), layout="constrained")
    figure.suptitle("Test images: the prediction and its probability above, the truth below")
    for index in range(min(len(predicted), 28)):
        axes = figure.add_subplot(4, 7, index + 1)
        label = int(data.test.labels[index])
        color = "black" if predicted[index] == label else "crimson"
        axes.imshow(data.test.images[index], cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(f"{data.classes[predicted[index]]} {probabilities[index]:.0%}", color=color, fontsize=9)
        axes.set_xlabel(data.classes[label], color=color, fontsize=9)
        axes.set(xticks=[], yticks=[])
    return figure


# --- checkpoints and files --------------------------------------------------------------------------------------------


def open_checkpoints(folder: Path) -> ocp.CheckpointManager:
    """Opens the checkpoints of a run: those of its best and of its latest epoch."""

    def validation_loss(metrics: EpochLog) -> float:
        return metrics["validation_loss"]

    policies = ocp.checkpoint_managers
    best = policies.BestN(get_metric_fn=validation_loss, reverse=True, n=1)
    options = ocp.CheckpointManagerOptions(
        best_fn=validation_loss,
        best_mode="min",
        preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(1), best]),
        create=False,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=False,
    )
    return ocp.CheckpointManager(folder.absolute(), options=options)


def save(checkpoints: ocp.CheckpointManager, state: TrainState, log: Log) -> None:
    """Saves what the last epoch of the log has led to."""
    latest = log["epochs"][-1]
    trees = {name: ocp.args.StandardSave(tree) for name, tree in state._asdict().items()}
    items = ocp.args.Composite(log=ocp.args.JsonSave(log), **trees)
    with interrupts_held_back():
        checkpoints.save(latest["epoch"], args=items, metrics=latest)


def restore_state(checkpoints: ocp.CheckpointManager, like: TrainState) -> TrainState:
    """Loads the state after the latest epoch."""
    trees = {name: ocp.args.StandardRestore(tree) for name, tree in like._asdict().items()}
    return TrainState(**checkpoints.restore(checkpoints.latest_step(), args=ocp.args.Composite(**trees)))


def restore_log(checkpoints: ocp.CheckpointManager, expected: Mapping[str, Any]) -> Log:
    """Loads the log up to the latest epoch, provided that its setup is as expected."""
    if checkpoints.latest_step() is None:
        raise UsageError(f"there is no checkpoint in {checkpoints.directory}: train first")
    items = ocp.args.Composite(log=ocp.args.JsonRestore())
    log: Log = checkpoints.restore(checkpoints.latest_step(), args=items)["log"]
    for name, value in expected.items():
        if log["setup"][name] != value:
            raise UsageError(f"{checkpoints.directory} is of a run with {name} {log['setup'][name]}, not {value}")
    return log


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Lets a Ctrl-C wait until the block is done."""
    interrupts: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if interrupts:
        raise KeyboardInterrupt


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields the path to write to; it takes its final name when the block is done, so no half file ever has it."""
    partial_path = path.with_stem(f".{path.stem}")
    try:
        yield partial_path
        partial_path.replace(path)
    finally:
        partial_path.unlink(missing_ok=True)


def write_figure(figure: Figure, path: Path) -> None:
    """Writes a picture."""
    with written_whole(path) as file:
        figure.savefig(file, dpi=130)


# --- the command ------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains or predicts as the command line says, and returns the exit status."""
    options = parse(arguments)
    try:
        return run(options)
    except (UsageError, DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def run(options: argparse.Namespace) -> int:
    """Does what `main` promises, and lets errors out."""
    device = jax.devices()[0]
    print(f"device: {device.platform} ({device.device_kind})")
    data = load(options.data, limit=options.limit, mirror=options.mirror)
    print(f"data: {data.summary}")
    setup = Setup(
        dataset=data.name,
        training_images=len(data.train.images),
        pixels=math.prod(data.train.images.shape[1:]),
        classes=len(data.classes),
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        hidden=options.hidden,
        seed=options.seed,
    )
    if not (options.predict or options.resume):
        start_afresh(options.out)
    with open_checkpoints(options.out / "checkpoints") as checkpoints:
        if options.predict:
            log = restore_log(checkpoints, {"dataset": setup.dataset, "pixels": setup.pixels})
            infer(options.out, checkpoints, log, data)
            return 0
        log = restore_log(checkpoints, asdict(setup)) if options.resume else Log(setup=asdict(setup), epochs=[])
        try:
            train(setup, data, checkpoints, log)
            status = 0
        except KeyboardInterrupt:
            status = INTERRUPTED
            if checkpoints.latest_step() is None:
                print("interrupted before the end of the first epoch: there is nothing to keep")
                return status
            print(f"interrupted: all is kept up to epoch {checkpoints.latest_step()}, and --resume goes on from there")
        report(options.out, checkpoints, restore_log(checkpoints, asdict(setup)), data)
        return status


def start_afresh(folder: Path) -> None:
    """Makes the folder of a run, and removes what an earlier run has left there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("metrics.json", "loss_curves.png", "predictions.png", "confusion_matrix.png"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / "checkpoints").mkdir()


def infer(folder: Path, checkpoints: ocp.CheckpointManager, log: Log, data: Dataset) -> dict[str, float]:
    """Classifies the test images with the best network, pictures what comes of it, and returns how good it was."""
    graphdef, params = load_best(checkpoints, log)
    scores = evaluate(graphdef, params, data.test, log["setup"]["batch_size"])
    loss, accuracy, epoch = float(scores.loss.value), float(scores.accuracy.value), checkpoints.best_step()
    print(f"test, with the network of epoch {epoch}: loss {loss:.4f}  accuracy {accuracy:.2%}")
    predicted, probabilities = map(np.asarray, predict(graphdef, params, data.test.images))
    write_figure(draw_predictions(data, predicted, probabilities), folder / "predictions.png")
    write_figure(draw_confusion_matrix(data, predicted), folder / "confusion_matrix.png")
    return {"epoch": epoch, "loss": loss, "accuracy": accuracy}


def report(folder: Path, checkpoints: ocp.CheckpointManager, log: Log, data: Dataset) -> None:
    """Tests the best network, and writes down and pictures the run."""
    test = infer(folder, checkpoints, log, data)
    write_figure(draw_loss_curves(log), folder / "loss_curves.png")
    with written_whole(folder / "metrics.json") as file:
        file.write_text(json.dumps({**log, "test": test}, indent=2) + "\n")
    print(f"written to {folder}: metrics.json, loss_curves.png, predictions.png, confusion_matrix.png, checkpoints")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--epochs", type=at_least(1), default=10, metavar="N", help="how often all images are seen (%(default)s)")
    add("--batch-size", type=at_least(1), default=128, metavar="N", help="images per step (%(default)s)")
    add("--learning-rate", type=float, default=1e-3, metavar="RATE", help="Adam's, at the start (%(default)s)")
    add("--hidden", type=at_least(1), default=512, metavar="N", help="width of the hidden layers (%(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="of the first weights and the shuffling (%(default)s)")
    add("--out", type=Path, default=Path("runs/fashion_mnist"), metavar="FOLDER", help="results go here (%(default)s)")
    add("--data", type=Path, metavar="FOLDER", help="where the four files of Fashion-MNIST are")
    add("--mirror", default=MIRROR, metavar="URL", help="where they are downloaded from (%(default)s)")
    add("--limit", type=at_least(12), metavar="N", help="use only the first N images, for a quick look")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--resume", action="store_true", help="go on where an interrupted run has stopped")
    mode.add_argument("--predict", action="store_true", help="do not train: classify with the best network so far")
    return parser.parse_args(arguments)


def at_least(least: int) -> Callable[[str], int]:
    """Makes a parser of whole numbers that are not too small."""

    def integer(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return number

    return integer


if __name__ == "__main__":
    sys.exit(main())
