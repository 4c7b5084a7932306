"""Which tests run on one worker, so that what they share is compiled once.

Marks of pytest-xdist cannot say it: `--dist loadgroup` writes a test's group into `Item._nodeid`, which pytest 9.2 does
not read, so that groups are ignored without a word. A scheduler sees the tests' ids, and these name the calls.
"""

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

CALL = re.compile(r"\b([a-z0-9]+(?:_[a-z0-9]+)+)\(")


def scope(nodeid: str) -> str:
    """The loss that a test's id calls, as in `nan-huber_loss(delta=0.7)`; if it calls none, the test's file."""
    path, _, test = nodeid.partition("::")
    loss = CALL.search(test)
    return loss[1] if loss else path


def scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives out whole scopes: first files, since some of their tests take long, then the losses with most tests."""
    scheduling = LoadScopeScheduling(config, log)
    assign = scheduling._assign_work_unit

    def assign_files_first(node: Any) -> None:
        path = next((scope for scope in scheduling.workqueue if scope.endswith(".py")), None)
        if path is not None:
            scheduling.workqueue.move_to_end(path, last=False)
        assign(node)

    scheduling._split_scope, scheduling._assign_work_unit = scope, assign_files_first
    return scheduling
