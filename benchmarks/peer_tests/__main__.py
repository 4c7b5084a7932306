"""Run the peers' own tests on jaxloss: `python -m benchmarks.peer_tests [PEER ...]`.

The sources of the installed versions, with their tests, come from the package index and go to runs/peer_tests. An
adapter for each peer replaces its functions, in its modules, by calls of jaxloss. What was found goes to
runs/peer_tests.json, and into docs/accuracy.md where all were run. Fails where a test does that should not.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from ..pages import DOCS, ROOT, RUNS, fill, table, written
from .suite import Results

ADAPTERS = {
    "optax": "of_optax",
    "keras": "of_keras",
    "rax": "of_rax",
    "entmax": "of_entmax",
    "scoringrules": "of_scoringrules",
}
KINDS = ("pass", "by design", "defect", "not applicable")


def main() -> None:
    """Runs, reports, and exits with 1 where there are defects."""
    peers = sys.argv[1:] or list(ADAPTERS)
    results = {}
    for peer in peers:
        results[peer] = tested(peer)
        counts = ", ".join(f"{results[peer]['counts'].get(kind, 0)} {kind}" for kind in KINDS)
        print(f"{peer}: {counts}", flush=True)
        for test, why in results[peer]["defects"].items():
            print(f"  {test}: {why}", flush=True)
    written(RUNS / "peer_tests.json", json.dumps(results, indent=1) + "\n")
    if peers == list(ADAPTERS):
        fill(DOCS / "accuracy.md", {"peers": report(results)})
    stale = [f"{peer}: {tests}" for peer, result in results.items() for tests, n, *_ in result["by design"] if not n]
    if stale:
        print(f"no longer differ: {'; '.join(stale)}")
    sys.exit(bool(stale or any(result["defects"] for result in results.values())))


def tested(peer: str) -> Results:
    """What a peer's tests say, and of which version they are."""
    command = [sys.executable, "-m", "benchmarks.peer_tests.suite", ADAPTERS[peer], str(sources(peer))]
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    results: Results = json.loads(done.stdout.splitlines()[-1])
    return {"version": importlib.metadata.version(peer), **results}


def sources(peer: str) -> Path:
    """The folder of the installed version's sources."""
    version = importlib.metadata.version(peer)
    folder = RUNS / "peer_tests" / f"{peer}-{version}"
    if not folder.exists():
        downloads = RUNS / "peer_tests" / "downloads"
        # entmax has its tests in its wheel, the others in their source distributions.
        kind = ["--only-binary", peer] if peer == "entmax" else ["--no-binary", peer]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *kind, "--dest", str(downloads)]
        subprocess.run([*pip, f"{peer}=={version}"], check=True)
        unpacked = folder.with_suffix(".part")
        shutil.rmtree(unpacked, ignore_errors=True)
        archive = next(downloads.glob(f"{peer}-{version}*"))
        if archive.suffix == ".whl":
            zipfile.ZipFile(archive).extractall(unpacked)
            unpacked.rename(folder)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="data")
            (unpacked / f"{peer}-{version}").rename(folder)
            unpacked.rmdir()
    return folder


def report(results: dict[str, Results]) -> str:
    """The counts of each peer, and each difference by design with the page that has it."""
    rows = [
        [f"{peer} {r['version']}", *(str(r["counts"].get(kind, 0)) for kind in KINDS)] for peer, r in results.items()
    ]
    sums = [str(sum(r["counts"].get(kind, 0) for r in results.values())) for kind in KINDS]
    differences = [
        [peer, f"`{tests}`", str(number), why, page]
        for peer, result in results.items()
        for tests, number, why, page in result["by design"]
    ]
    return "\n\n".join(
        [
            table(["tests of", *KINDS], [*rows, ["all", *sums]]),
            table(
                ["by design", "tests with this in their names", "how many", "what differs", "where it says so"],
                differences,
            ),
        ]
    )


if __name__ == "__main__":
    main()
