"""The examples run, keep their promises, and fail in one clear line."""

import functools
import gzip
import hashlib
import http.server
import importlib.util
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
CHECKSUM_LENGTH = 8  # of the end of a gzip file
OFFLINE = "http://127.0.0.1:9"  # nothing listens on the discard port


def load_example(name: str) -> ModuleType:
    """Imports an example from its file: they are scripts, not a package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


source = load_example("fashion_mnist_data")  # first: the next imports it by this name
example = load_example("fashion_mnist")


@pytest.fixture(autouse=True)
def strict() -> None:
    """Examples run as their users run them: this takes the place of the strict settings in `conftest.py`."""


@pytest.fixture(autouse=True)
def keyboard() -> Iterator[None]:
    """Ctrl-C interrupts, also where the shell that started the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def write_idx(path: Path, array: np.ndarray[Any, Any], magic: bytes | None = None) -> None:
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    content = (magic or bytes([0, 0, 8, array.ndim])) + shape + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content, mtime=0))


@pytest.fixture(scope="session")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Fashion-MNIST: noisy images of 6x5 pixels, whose class is the brightest of ten pixels."""
    folder = tmp_path_factory.mktemp("clothes")
    generator = np.random.default_rng(0)
    for part, count in (("train", 120), ("t10k", 40)):
        labels = generator.integers(0, 10, count)
        images = generator.integers(0, 100, (count, 6, 5))
        images.reshape(count, -1)[np.arange(count), 3 * labels] = 255
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


@pytest.fixture
def fresh_machine(tmp_path: Path, clothes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No data on the machine; the small files are what is expected from the web. Returns the cache's folder."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(source, "DEBIAN_FOLDER", tmp_path / "missing")
    monkeypatch.setattr(source, "CACHE", cache)
    digests = {name: hashlib.sha256((clothes / name).read_bytes()).hexdigest() for name in source.SHA256}
    monkeypatch.setattr(source, "SHA256", digests)
    return cache


def options(folder: Path, data: Path, *more: str) -> list[str]:
    network = ["--epochs", "4", "--batch-size", "32", "--hidden", "16", "--learning-rate", "0.01"]
    return ["--out", str(folder), "--data", str(data), *network, *more]


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics without the times, which no two runs share."""
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    for entry in metrics["epochs"]:
        assert entry.pop("seconds") > 0
    return metrics


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n")


# --- training and prediction ------------------------------------------------------------------------------------------


class Trained(NamedTuple):
    """An uninterrupted run: its folder, and what it showed on the screen."""

    folder: Path
    screen: str
    progress: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, clothes: Path) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    with redirect_stdout(io.StringIO()) as screen, redirect_stderr(io.StringIO()) as progress:
        assert example.main(options(folder, clothes)) == 0
    return Trained(folder, screen.getvalue(), progress.getvalue())


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves the seconds that pictures take."""
    monkeypatch.setattr(example, "write_figure", lambda figure, path: None)
    for name in ("draw_loss_curves", "draw_confusion_matrix", "draw_predictions"):
        monkeypatch.setattr(example, name, lambda *arguments: None)


def test_training_tells_and_writes_what_it_promises(trained: Trained, clothes: Path) -> None:
    assert f"device: {jax.devices()[0].platform}" in trained.screen
    images = "110 images of 6x5 to train, 10 to validate, 40 to test"
    assert f"data: Fashion-MNIST from {clothes}: {images}" in trained.screen
    assert "epoch  4/4  train loss" in trained.screen
    assert "loss=" in trained.progress
    metrics = read_metrics(trained.folder)
    assert [entry["epoch"] for entry in metrics["epochs"]] == [1, 2, 3, 4]
    assert metrics["epochs"][-1]["train_loss"] < metrics["epochs"][0]["train_loss"]
    assert metrics["test"]["epoch"] == 1 + np.argmin([entry["validation_loss"] for entry in metrics["epochs"]])
    pictures = {"loss_curves.png", "predictions.png", "confusion_matrix.png"}
    assert {path.name for path in trained.folder.iterdir()} == {"metrics.json", "checkpoints", *pictures}
    assert all(is_png(trained.folder / name) for name in pictures)


@pytest.mark.parametrize("batch_size", [32, 1000])
def test_losses_are_exact_whatever_the_batches(clothes: Path, batch_size: int) -> None:
    split = source.load(clothes).train
    setup = example.Setup("clothes", 110, 30, 10, 1, batch_size, learning_rate=0.0, hidden=16, seed=0)
    graphdef, state = example.start(setup)
    logits = np.asarray(example.nnx.merge(graphdef, state.params)(split.images), np.float64)
    labels = np.asarray(split.labels)
    log_probs = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    loss = -np.mean(log_probs[np.arange(110), labels])

    scores = example.evaluate(graphdef, state.params, split, batch_size)
    assert float(scores.loss.value) == pytest.approx(loss, rel=1e-6)
    assert float(scores.accuracy.value) == pytest.approx(np.mean(logits.argmax(-1) == labels), rel=1e-6)
    _, train_loss = example.train_epoch(setup, graphdef, state, split, 1)  # at a rate of 0 nothing moves
    assert train_loss == pytest.approx(loss, rel=1e-6)


def test_every_epoch_sees_every_image_in_its_own_order() -> None:
    first, again, second = (np.asarray(example.epoch_order(3, epoch, 50)) for epoch in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(np.sort(first), np.arange(50))
    assert not np.array_equal(first, second)


def test_prediction_needs_no_training(trained: Trained, clothes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = (trained.folder / "metrics.json").read_bytes()
    (trained.folder / "predictions.png").unlink()
    # The width of the network is read from the checkpoint, so it need not be given again.
    assert example.main(["--predict", "--out", str(trained.folder), "--data", str(clothes)]) == 0
    test = json.loads(metrics)["test"]
    result = (
        f"test, with the network of epoch {test['epoch']}: loss {test['loss']:.4f}  accuracy {test['accuracy']:.2%}"
    )
    assert result in capsys.readouterr().out
    assert is_png(trained.folder / "predictions.png")
    assert (trained.folder / "metrics.json").read_bytes() == metrics


# --- Ctrl-C and going on ----------------------------------------------------------------------------------------------


def interrupting(function: Any, call: int) -> Any:
    """The function, but in its `call`-th call somebody presses Ctrl-C."""
    calls = 0

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGINT)
        return function(*args, **kwargs)

    return wrapped


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("function", "call", "kept"),
    [("train_step", 10, 2), ("restore_log", 1, 4)],
    ids=["in a step", "after the last epoch"],
)
def test_resuming_ends_where_an_uninterrupted_run_ends(
    tmp_path: Path,
    clothes: Path,
    trained: Trained,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    call: int,
    kept: int,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(example, function, interrupting(getattr(example, function), call))
        assert example.main(options(tmp_path, clothes)) == 130
    uninterrupted = read_metrics(trained.folder)
    if kept < 4:
        assert read_metrics(tmp_path)["epochs"] == uninterrupted["epochs"][:kept]
    assert example.main(options(tmp_path, clothes, "--resume")) == 0
    assert read_metrics(tmp_path) == uninterrupted


@pytest.mark.usefixtures("no_pictures")
def test_a_checkpoint_is_saved_whole_before_ctrl_c_counts(
    tmp_path: Path, clothes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manager = example.ocp.CheckpointManager
    monkeypatch.setattr(manager, "save", interrupting(manager.save, 2))
    assert example.main(options(tmp_path, clothes)) == 130
    assert "interrupted: all is kept up to epoch 2" in capsys.readouterr().out
    assert len(read_metrics(tmp_path)["epochs"]) == 2


def test_ctrl_c_in_the_first_epoch_keeps_nothing(
    tmp_path: Path, clothes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(example, "train_step", interrupting(example.train_step, 2))
    assert example.main(options(tmp_path, clothes)) == 130
    assert "nothing to keep" in capsys.readouterr().out
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.slow
def test_ctrl_c_stops_the_script(tmp_path: Path, clothes: Path) -> None:
    script = [sys.executable, "-W", "error", "-u", str(ROOT / "examples" / "fashion_mnist.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    arguments = [*script, *options(tmp_path, clothes, "--epochs", "1000")]
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("epoch  2/1000") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        screen, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume goes on" in screen
    assert "Traceback" not in errors
    assert len(read_metrics(tmp_path)["epochs"]) < 1000


# --- errors -----------------------------------------------------------------------------------------------------------


def assert_refused(arguments: list[str], capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    """It ends with status 2 and one line that has these parts."""
    capsys.readouterr()
    assert example.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    for part in parts:
        assert part in message


@pytest.mark.parametrize("mode", ["--predict", "--resume"])
def test_without_a_checkpoint_there_is_nothing_to_go_on_from(
    tmp_path: Path, clothes: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(options(tmp_path / "run", clothes, mode), capsys, str(tmp_path / "run"), "train first")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "message"), [(["--seed", "1"], "seed 0, not 1"), (["--limit", "60"], "training_images 110, not 55")]
)
def test_a_run_goes_on_only_as_it_began(
    trained: Trained, clothes: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(options(trained.folder, clothes, "--resume", *more), capsys, message)


def test_other_data_is_refused(trained: Trained, fresh_machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--predict", "--out", str(trained.folder), "--mirror", OFFLINE]
    assert_refused(arguments, capsys, "dataset Fashion-MNIST, not digits")


def test_a_diverging_loss_is_an_error(tmp_path: Path, clothes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = options(tmp_path, clothes, "--learning-rate", "1e38")
    capsys.readouterr()
    assert example.main(arguments) == 2
    assert "the loss diverged in epoch 1: --learning-rate 1e+38 is too high" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--limit", "11"], ["--resume", "--predict"]])
def test_wrong_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        example.main(arguments)
    assert stop.value.code == 2


# --- data -------------------------------------------------------------------------------------------------------------

LABELS, IMAGES = "train-labels-idx1-ubyte.gz", "train-images-idx3-ubyte.gz"
ZEROS = np.zeros((120, 6, 5), np.uint8)


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    match how:
        case "missing":
            path.unlink()
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "not gzip":
            path.write_bytes(b"<html>not found</html>")
        case "flipped bit":
            path.write_bytes(
                content[:-CHECKSUM_LENGTH] + bytes([content[-CHECKSUM_LENGTH] ^ 1]) + content[1 - CHECKSUM_LENGTH :]
            )
        case "wrong magic":
            write_idx(path, ZEROS, magic=bytes([0, 0, 13, 3]))
        case "too short":
            path.write_bytes(gzip.compress(gzip.decompress(content)[:-1]))
        case "empty":
            path.write_bytes(gzip.compress(b""))
        case "wrong count":
            write_idx(path, ZEROS[:119])
        case "wrong size":
            write_idx(path, np.zeros((120, 7, 5), np.uint8))
        case "wrong labels":
            write_idx(path, np.full(120, 10))


@pytest.mark.parametrize(
    ("how", "name", "expected"),
    [
        ("missing", IMAGES, "no such file"),
        ("truncated", IMAGES, "expected a whole gzip file"),
        ("not gzip", IMAGES, "expected a whole gzip file"),
        ("flipped bit", IMAGES, "expected a whole gzip file"),
        ("wrong magic", IMAGES, "expected the IDX magic number 00000803, got 00000d03"),
        ("too short", IMAGES, "expected a byte for each entry of shape [120, 6, 5]"),
        ("empty", IMAGES, "expected the IDX magic number 00000803"),
        ("wrong count", IMAGES, "expected 119 labels"),
        ("wrong size", IMAGES, "expected images of one size, got (7, 5) and (6, 5)"),
        ("wrong labels", LABELS, "expected labels 0 to 9, got 10"),
    ],
)
def test_a_broken_file_is_named_and_not_used(
    tmp_path: Path, clothes: Path, how: str, name: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in clothes.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    spoil(data / name, how)
    assert_refused(options(tmp_path / "run", data), capsys, str(data), expected)
    assert not (tmp_path / "run").exists()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and of the file named `cut` only the first half."""

    cut = ""

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the screen quiet."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Sends a file after its headers, which tell its whole length."""
        content = source.read()
        outputfile.write(content[: len(content) // 2] if self.path.endswith(self.cut or "\0") else content)


@pytest.fixture
def mirror(tmp_path: Path, clothes: Path) -> Iterator[tuple[str, Path, type[Handler]]]:
    """A web server on this machine: its address, its folder, and its handler."""
    folder = tmp_path / "web"
    folder.mkdir()
    for path in clothes.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    handler = type("FolderHandler", (Handler,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", folder, handler
        finally:
            server.shutdown()
            thread.join()


def test_files_are_downloaded_once(fresh_machine: Path, clothes: Path, mirror: tuple[str, Path, type[Handler]]) -> None:
    address, _, _ = mirror
    downloaded = source.load(mirror=address)
    assert downloaded.origin == f"from {fresh_machine}"
    cached = source.load(mirror=OFFLINE)
    for ours, theirs in zip(jax.tree.leaves(downloaded[3:]), jax.tree.leaves(source.load(clothes)[3:]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    jax.tree.map(np.testing.assert_array_equal, downloaded[3:], cached[3:])


@pytest.mark.parametrize("name", [LABELS, IMAGES])
@pytest.mark.parametrize("how", ["truncated download", "wrong checksum"])
def test_a_broken_download_is_named_and_not_kept(
    fresh_machine: Path,
    tmp_path: Path,
    mirror: tuple[str, Path, type[Handler]],
    name: str,
    how: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, folder, handler = mirror
    if how == "wrong checksum":
        spoil(folder / name, "wrong labels")
    else:
        handler.cut = name
    arguments = ["--out", str(tmp_path / "run"), "--mirror", address]
    capsys.readouterr()
    assert example.main(arguments) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"{address}/{name}" in message
    assert source.SHA256[name] in message
    kept = {path.name for path in fresh_machine.iterdir()}
    assert name not in kept
    assert kept <= set(source.SHA256)
    assert not (tmp_path / "run").exists()


def test_a_spoiled_cache_is_replaced(fresh_machine: Path, mirror: tuple[str, Path, type[Handler]]) -> None:
    address, folder, _ = mirror
    source.load(mirror=address)
    spoil(fresh_machine / IMAGES, "truncated")
    source.load(mirror=address)
    assert (fresh_machine / IMAGES).read_bytes() == (folder / IMAGES).read_bytes()


@pytest.mark.usefixtures("no_pictures")
def test_offline_the_digits_take_over_and_it_says_so(
    fresh_machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--out", str(tmp_path), "--mirror", OFFLINE, "--epochs", "2", "--hidden", "16", "--limit", "240"]
    assert example.main(arguments) == 0
    screen = capsys.readouterr().out
    assert f"data: digits of scikit-learn, because Fashion-MNIST is not on this machine and {OFFLINE}" in screen
    assert "220 images of 8x8 to train, 20 to validate, 240 to test" in screen


def test_the_splits_share_no_image(clothes: Path) -> None:
    data = source.load(clothes)
    both = jnp.concatenate([data.train.images, data.validation.images])
    assert len(both) == len(np.unique(both, axis=0)) == 120


# --- the real data ----------------------------------------------------------------------------------------------------


@pytest.fixture
def debian_folder() -> Path:
    """The whole Fashion-MNIST. In CI it has to be there: `apt-get install dataset-fashion-mnist`."""
    folder: Path = source.DEBIAN_FOLDER
    if not folder.is_dir() and not os.environ.get("CI"):
        pytest.skip(f"{folder} is not installed")
    return folder


@pytest.mark.slow
def test_ten_epochs_reach_89_percent(tmp_path: Path, debian_folder: Path) -> None:
    assert example.main(["--out", str(tmp_path), "--data", str(debian_folder)]) == 0
    metrics = read_metrics(tmp_path)
    assert metrics["setup"]["training_images"] == 55_000
    assert len(metrics["epochs"]) == 10
    assert metrics["test"]["accuracy"] >= 0.89


@pytest.mark.slow
def test_the_checksums_are_those_of_the_published_files(debian_folder: Path) -> None:
    # Debian took name and time out of the gzip header. With both put back, these are the published files.
    minted = {"train": 1504176606, "t10k": 1504176627}
    for name, digest in source.SHA256.items():
        content = (debian_folder / name).read_bytes()
        header = struct.pack("<4sI", b"\x1f\x8b\x08\x08", minted[name.partition("-")[0]]) + content[8:10]
        published = header + name.removesuffix(".gz").encode() + b"\0" + content[10:]
        assert hashlib.sha256(published).hexdigest() == digest


# --- the other examples -----------------------------------------------------------------------------------------------


def test_pytorch_to_jax(capsys: pytest.CaptureFixture[str]) -> None:
    tutorial = load_example("pytorch_to_jax")
    losses = tutorial.train_classifier()
    assert len(losses) == 10
    assert losses[-1] < 0.2 * losses[0]
    assert "epoch 10  loss" in capsys.readouterr().out
    classes_last, classes_first = tutorial.classify_pixels()
    assert classes_first == pytest.approx(classes_last, rel=1e-6)


def test_custom_loss_learns() -> None:
    near, far = load_example("custom_loss").main()
    assert near < 1 < far


def test_custom_loss_is_what_it_says() -> None:
    contrastive_loss = load_example("custom_loss").contrastive_loss
    x1, x2 = jnp.zeros((4, 2)), jnp.array([[3.0, 4.0], [0.0, 0.5], [6.0, 8.0], [0.0, 0.0]])
    targets = jnp.array([1, -1, -1, -1])
    values = contrastive_loss(x1, x2, targets, margin=2.0, reduction="none")
    np.testing.assert_allclose(values, [25, 1.5**2, 0, 4], rtol=1e-6)
    where = jnp.array([True, True, False, True])
    np.testing.assert_allclose(contrastive_loss(x1, x2, targets, margin=2.0, where=where), (25 + 2.25 + 4) / 3)
    gradient = jax.grad(contrastive_loss, argnums=1)(x1, x2, targets, margin=2.0, reduction="sum")
    np.testing.assert_allclose(gradient, [[6, 8], [0, -3], [0, 0], [0, 0]], rtol=1e-6)
    with pytest.raises(ValueError, match="contrastive_loss"):
        contrastive_loss(x1, x2[:, :1], targets)
