"""Run one peer's tests with its losses replaced: `python -m benchmarks.peer_tests.suite ADAPTER FOLDER`.

It is a process of its own, as an adapter changes its peer for good. Prints one line of JSON.
"""

import contextlib
import importlib
import io
import json
import os
import sys
from collections import Counter
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from .adapting import LOSSES

Results = dict[str, Any]


class Tally:
    """A plugin of pytest that tells what each test says about jaxloss.

    "pass", "by design", "not applicable", or a "defect": what fails and should not.
    """

    def __init__(self, adapter: ModuleType) -> None:
        """No test has run."""
        self.adapter = adapter
        self.outcomes: dict[str, tuple[str, str]] = {}

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Counts calls anew, and seeds: some tests draw masks that, once in a while, choose nothing."""
        LOSSES.calls = 0
        np.random.seed(1)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Judges a test, or one of its subtests: the worst of these counts."""
        if report.when != "call" and report.passed:
            return
        name = report.nodeid.split("::", 1)[1]
        if self.outcomes.get(name, ("pass",))[0] in ("pass", "not applicable"):
            self.outcomes[name] = self._judged(name, report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tests that cannot be read are a defect."""
        if report.failed:
            self.outcomes[report.nodeid] = "defect", f"not collected: {report.longreprtext[-900:]}"

    def _judged(self, name: str, report: pytest.TestReport) -> tuple[str, str]:
        if report.skipped:
            return "not applicable", report.longreprtext[-200:]
        if report.passed:
            # What is compiled already is not called again.
            used = LOSSES.calls or getattr(self.adapter, "COMPILES", False)
            return ("pass", "") if used else ("not applicable", "calls no loss of jaxloss")
        for part, why in getattr(self.adapter, "NOT_APPLICABLE", {}).items():
            if part in name:
                return "not applicable", why
        for difference in self.adapter.BY_DESIGN:
            if difference.tests in name:
                return "by design", difference.tests
        return "defect", report.longreprtext[-900:]


def run(adapter_name: str, folder: str) -> Results:
    """The tests of an adapter's peer, whose sources lie in a folder."""
    sys.path.insert(0, folder)
    adapter = importlib.import_module(f".{adapter_name}", __package__)
    tally = Tally(adapter)
    os.chdir(folder)
    # Modules by themselves, in a session that reads no configuration of the peer's.
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "--noconftest", "-c", os.devnull]
    options += ["--rootdir", folder, "-o", "python_files=*.py", "-W", "ignore"]
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*options, *adapter.TESTS], plugins=[tally, *getattr(adapter, "PLUGINS", [])])
    counts = Counter(kind for kind, _ in tally.outcomes.values())
    reasons = Counter(why for kind, why in tally.outcomes.values() if kind == "by design")
    return {
        "counts": counts,
        "by design": [[d.tests, reasons[d.tests], d.why, d.page] for d in adapter.BY_DESIGN],
        "defects": {name: why for name, (kind, why) in tally.outcomes.items() if kind == "defect"},
        "not applicable": {name: why for name, (kind, why) in tally.outcomes.items() if kind == "not applicable"},
    }


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
