"""What each test compiles, and its CPU seconds: `PYTHONPATH=tests pytest -p compilations tests/test_laws.py`."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import jax
import pytest

COMPILED = "/jax/core/compile/backend_compile_duration"
compiled: list[str] = []
totals: defaultdict[str, Counter[str]] = defaultdict(Counter)


def pytest_configure() -> None:
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if event == COMPILED else None
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    compiled_before, seconds_before = len(compiled), time.process_time()
    try:
        yield
    finally:
        item.user_properties.append(("cost", (len(compiled) - compiled_before, time.process_time() - seconds_before)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        for name, (programs, seconds) in (item for item in report.user_properties if item[0] == "cost"):
            totals[report.nodeid.partition("[")[0]].update(
                tests=1, programs=programs, milliseconds=round(1e3 * seconds)
            )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    from catalogue import CATALOGUE

    rows = sorted(totals.items(), key=lambda row: -row[1]["milliseconds"])
    total = sum(totals.values(), Counter[str]())
    terminalreporter.section("compilations")
    terminalreporter.line(f"{'CPU s':>8} {'programs':>9} {'tests':>6}")
    for name, row in [*rows, (f"in all; programs per catalogue line: {total['programs'] / len(CATALOGUE):.1f}", total)]:
        terminalreporter.line(f"{row['milliseconds'] / 1e3:8.1f} {row['programs']:9} {row['tests']:6}  {name}")
