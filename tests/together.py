"""Which test files go to one worker of pytest-xdist, since their tests share what is dear to make.

`--dist=loadgroup` means to do this by marks, and does not with this release of pytest.
"""

from __future__ import annotations

from typing import Any

import pytest

WHOLE_FILES = ("tests/e2e/test_outcomes.py",)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return a scheduler that deals out tests one by one, and some files whole."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Together(LoadScopeScheduling):  # type: ignore[misc]  # of a base that has no types
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file in WHOLE_FILES else nodeid

    return Together(config, log)
