"""Which tests go to one worker of pytest-xdist, since they share what is dear to make.

`--dist=loadgroup` means to do this by marks, and does not with this release of pytest.
"""

from __future__ import annotations

from typing import Any

import pytest

WHOLE_FILES = ("tests/e2e/test_outcomes.py", "tests/e2e/test_sra.py")
BY_PARAMETER = ("tests/e2e/test_attacks.py",)  # those of one parameter go to one worker


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return a scheduler that deals out tests one by one, and some together.

    Only where asked for groups: quick tests are dealt out faster by the handful.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Together(LoadScopeScheduling):  # type: ignore[misc]  # of a base that has no types
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            if file in BY_PARAMETER:
                return file + test.partition("[")[2]
            return file if file in WHOLE_FILES else nodeid

    return Together(config, log)
