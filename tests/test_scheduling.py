"""The tests of a loss run on one worker, those of different losses on several."""

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# Tests with the ids of those that compile programs. Each worker writes down whose tests it ran.
NOTE = """
import os
from pathlib import Path

import pytest

def note(whose):
    with Path(__file__).with_name(os.environ["PYTEST_XDIST_WORKER"]).open("a") as file:
        print(whose, file=file)
"""
LOSSES = f"""{NOTE}
from catalogue import CATALOGUE
from test_golden import CASES, of_every_case
from test_laws import over

@over(CATALOGUE)
def test_law(call):
    note(call.loss.__name__)

@over(CATALOGUE)
@pytest.mark.parametrize("junk", [float("-inf"), 1e38])
def test_law_twice(call, junk):
    note(call.loss.__name__)

@of_every_case
def test_golden(name):
    note(CASES[name].loss)
"""
PLAIN = f"""{NOTE}
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_plain(dtype):
    note(Path(__file__).name)
"""


@pytest.mark.slow
def test_each_loss_and_each_file_has_one_worker(tmp_path: Path) -> None:
    for name, content in {"test_losses.py": LOSSES, "test_plain.py": PLAIN, "test_more.py": PLAIN}.items():
        (tmp_path / name).write_text(content)
    options = ["-c", str(TESTS.parent / "pyproject.toml"), "-p", "conftest"]
    options += ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]  # not in the way of others, and sooner
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", *options, "-k", "plain or l1_loss or huber_loss", tmp_path],
        env=inherited | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])},
        check=True,
    )
    seen = [set(path.read_text().split()) for path in tmp_path.glob("gw*")]
    files = {"test_plain.py", "test_more.py"}
    assert set.union(*seen) >= {"l1_loss", "smooth_l1_loss", "huber_loss", *files}
    assert not any(first & second for first, second in combinations(seen, 2))
    assert sum(bool(names - files) for names in seen) == 2  # workers that had losses
