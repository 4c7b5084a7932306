"""Fashion-MNIST from a folder, the Debian package or the web; without any of them, scikit-learn's digits.

Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747) is 70,000 photographs of clothes, 28x28 pixels in
ten classes, as four gzipped files of the IDX format: a magic number, the shape, then one byte per pixel or label.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pooch
import requests
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Bytes = NDArray[np.uint8]
Pair = tuple[Bytes, Bytes]

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
MIRROR = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
CACHE = Path(pooch.os_cache("jaxloss")) / "fashion-mnist"

# Of 70,000 images 10,000 are for testing, and of the other 60,000 we keep 5,000 for validation.
TEST_SHARE, VALIDATION_SHARE = 7, 12


class DataError(Exception):
    """The data cannot be used; the message says which file, and what is wrong with it."""


class Split(NamedTuple):
    """Images (n, height, width) with values 0 to 255, and their n labels. All of it is on the device: it is small."""

    images: jax.Array
    labels: jax.Array


class Dataset(NamedTuple):
    """Three disjoint splits. `origin` says where they come from."""

    name: str
    origin: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split

    @property
    def summary(self) -> str:
        """One line for the screen."""
        train, validation, test = (f"{len(split.labels):,}" for split in (self.train, self.validation, self.test))
        size = "x".join(map(str, self.train.images.shape[1:]))
        return f"{self.name} {self.origin}: {train} images of {size} to train, {validation} to validate, {test} to test"


def load(folder: Path | None = None, *, limit: int | None = None, mirror: str = MIRROR) -> Dataset:
    """Loads Fashion-MNIST from the first place that has it, or else the digits.

    Args:
        folder: Where the four files are. If None: Debian's folder, else the cache, filled from the web if need be.
        limit: Use only so many images for training and validation together, and at most as many for testing.
        mirror: The address that the files are downloaded from.

    Raises:
        DataError: A file is missing in `folder`, broken, or not what its checksum promises.
    """
    if folder is None and DEBIAN_FOLDER.is_dir():
        folder = DEBIAN_FOLDER
    try:
        folder = folder or download(mirror)
        name, origin, classes = "Fashion-MNIST", f"from {folder}", CLASSES
        (images, labels), (test_images, test_labels) = read_folder(folder)
    except ConnectionError as error:
        origin = f"of scikit-learn, because Fashion-MNIST is not on this machine and {error}"
        name, classes = "digits", DIGITS
        (images, labels), (test_images, test_labels) = read_digits()

    train, validation = _split(len(images[:limit]), VALIDATION_SHARE)
    return Dataset(
        name,
        origin,
        classes,
        train=_on_device(images[train], labels[train]),
        validation=_on_device(images[validation], labels[validation]),
        test=_on_device(test_images[:limit], test_labels[:limit]),
    )


def download(mirror: str = MIRROR) -> Path:
    """Downloads what is not in the cache yet, and returns its folder. Only whole, verified files ever get there.

    Raises:
        ConnectionError: The mirror cannot be reached or does not have the files.
        DataError: What it sent is truncated or has the wrong checksum.
    """
    for name, digest in sorted(SHA256.items(), key=lambda item: "images" in item[0]):  # fail early: small files first
        url = f"{mirror}/{name}"
        try:
            pooch.retrieve(url, known_hash=f"sha256:{digest}", fname=name, path=CACHE)
        except (requests.ConnectionError, requests.Timeout, requests.HTTPError) as error:
            raise ConnectionError(f"{url} is out of reach ({type(error).__name__})") from error
        except (requests.RequestException, ValueError) as error:  # pooch raises ValueError for a wrong checksum
            raise DataError(f"{url}: expected a whole file with SHA-256 {digest}: {error}") from error
    return CACHE


def read_folder(folder: Path) -> tuple[Pair, Pair]:
    """Reads images and labels for training, and those for testing.

    Raises:
        DataError: A file is missing, broken, or does not fit the others.
    """
    train, test = (_read_pair(folder, part) for part in ("train", "t10k"))
    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(f"{folder}: expected images of one size, got {train[0].shape[1:]} and {test[0].shape[1:]}")
    return train, test


def _read_pair(folder: Path, part: str) -> Pair:
    images_path, labels_path = folder / f"{part}-images-idx3-ubyte.gz", folder / f"{part}-labels-idx1-ubyte.gz"
    images, labels = read_idx(images_path, rank=3), read_idx(labels_path, rank=1)
    if len(images) != len(labels):
        raise DataError(f"{labels_path}: expected {len(images)} labels, as {images_path.name}, got {len(labels)}")
    if labels.max() >= len(CLASSES):
        raise DataError(f"{labels_path}: expected labels 0 to {len(CLASSES) - 1}, got {labels.max()}")
    return images, labels


def read_idx(path: Path, rank: int) -> Bytes:
    """Reads a gzipped IDX file of bytes, and accepts nothing but a whole one.

    Raises:
        DataError: It is missing, no gzip file, truncated, or not an array of this rank.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected {', '.join(SHA256)}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: expected a whole gzip file: {error}") from error
    magic = bytes([0, 0, 8, rank])  # 8: unsigned bytes
    if content[:4] != magic:
        raise DataError(f"{path}: expected the IDX magic number {magic.hex()}, got {content[:4].hex()}")
    header = 4 + 4 * rank
    shape = [int.from_bytes(content[start : start + 4], "big") for start in range(4, header, 4)]
    size = len(content) - header
    if size != math.prod(shape) or size == 0:
        raise DataError(f"{path}: expected a byte for each entry of shape {shape}, and at least one, got {size}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_digits() -> tuple[Pair, Pair]:
    """Splits scikit-learn's 1,797 digits of 8x8 pixels into those for training and those for testing."""
    images, labels = load_digits(return_X_y=True)
    images = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = labels.astype(np.uint8)
    train, test = _split(len(images), TEST_SHARE)
    return (images[train], labels[train]), (images[test], labels[test])


def _split(count: int, share: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of a random split, the same in every run: all but one `share`-th, and the rest."""
    order = np.random.default_rng(0).permutation(count)
    return order[count // share :], order[: count // share]


def _on_device(images: Bytes, labels: Bytes) -> Split:
    return Split(jnp.asarray(images), jnp.asarray(labels))
