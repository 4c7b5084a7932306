"""Which tests run on one worker, so that what they share is compiled once.

Marks of pytest-xdist cannot say it: `--dist loadgroup` writes a test's group into `Item._nodeid`, which pytest 9.2 does
not read, so that groups are ignored without a word. A scheduler sees the tests' ids, and these name the calls.
"""

import re

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

CALL = re.compile(r"\b([a-z0-9]+(?:_[a-z0-9]+)+)\(")


class LossScheduling(LoadScopeScheduling):
    """Keeps the tests whose ids have calls of one loss, such as `huber_loss(delta=0.7)`, on one worker; others by file.

    Files come first, since some of their tests take long; then losses, those with most tests first.
    """

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        loss = CALL.search(test)
        return loss[1] if loss else path

    def _assign_work_unit(self, node: WorkerController) -> None:
        path = next((scope for scope in self.workqueue if scope.endswith(".py")), None)
        if path is not None:
            self.workqueue.move_to_end(path, last=False)
        super()._assign_work_unit(node)
