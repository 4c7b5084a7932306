"""Counts what each test compiles, and its CPU seconds: `PYTHONPATH=tests pytest -p compilations tests/test_laws.py`.

Tests that were not run are counted by whether they are slow: with `--collect-only` that lists what each law is held to.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import jax
import pytest

PROGRAMS = "/jax/core/compile/backend_compile_duration"
programs = Counter[str]()
totals: defaultdict[str, Counter[str]] = defaultdict(Counter)


def pytest_configure() -> None:
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: programs.update([event]))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        totals[test(item.nodeid)]["slow" if "slow" in item.keywords else "fast"] += 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    before, started = programs[PROGRAMS], time.process_time()
    try:
        yield
    finally:
        item.user_properties.append(("programs", programs[PROGRAMS] - before))
        item.user_properties.append(("milliseconds", round(1000 * (time.process_time() - started))))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        totals[test(report.nodeid)].update(dict(report.user_properties))  # which come from the workers too


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    from catalogue import CATALOGUE

    total = sum(totals.values(), Counter[str]())
    rows = sorted(totals.items(), key=lambda row: -row[1]["milliseconds"])
    rows.append((f"in all, with {total['programs'] / len(CATALOGUE):.1f} programs per line of the catalogue", total))
    terminalreporter.section("compilations")
    terminalreporter.line(f"{'CPU s':>8} {'programs':>9} {'fast':>6} {'slow':>6}")
    for name, row in rows:
        seconds = row["milliseconds"] / 1000
        terminalreporter.line(f"{seconds:8.1f} {row['programs']:9} {row['fast']:6} {row['slow']:6}  {name}")


def test(nodeid: str) -> str:
    return nodeid.partition("[")[0]
