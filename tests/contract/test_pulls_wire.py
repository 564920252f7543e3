"""What the adapter for GitHub sends, and to whom: the stand-in answers at every address here."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dtp_action.adapters.pulls import PUBLIC, GitHubPulls
from dtp_action.core import pulls
from dtp_action.core.pulls import Say
from dtp_action.errors import UnavailableError
from tests.github import fake
from tests.github.fake import GitHub

SAY = Say(number=7, marker=pulls.marker("status", "main"), text="1 done")
NAME = "dtp-status-main"


@pytest.fixture
def reached() -> Iterator[tuple[GitHub, Any]]:
    with fake.in_process() as there:
        there[0].pull(7)
        yield there


def connect(
    api_url: str = PUBLIC,
    clock: Callable[[], float] = lambda: 0.0,
    sleep: Callable[[float], None] = lambda _seconds: None,
) -> GitHubPulls:
    return GitHubPulls(
        repository=fake.REPOSITORY,
        token=fake.TOKEN,
        api_url=api_url,
        between_requests=0,
        clock=clock,
        sleep=sleep,
    )


def test_writes_are_kept_a_second_apart_and_nothing_else_waits(
    reached: tuple[GitHub, Any],
) -> None:
    naps: list[float] = []
    us = connect(clock=lambda: sum(naps), sleep=naps.append)
    us.shown([7], (), "")
    us.write(SAY)
    us.shown([7], (), "")
    assert naps == []
    us.write(SAY)
    assert naps == [1.0]


@pytest.mark.parametrize(
    ("api_url", "rest", "graphql"),
    [
        (PUBLIC, "https://api.github.com", "https://api.github.com/graphql"),
        ("https://api.lab.ghe.com", "https://api.lab.ghe.com", "https://api.lab.ghe.com/graphql"),
        ("https://git.lab/api/v3", "https://git.lab/api/v3", "https://git.lab/api/graphql"),
    ],
)
def test_each_kind_of_github_is_spoken_to_where_it_listens(
    reached: tuple[GitHub, Any], api_url: str, rest: str, graphql: str
) -> None:
    us = connect(api_url)
    us.shown([7], (), "")
    us.write(SAY)
    assert [call.request.url.replace(":443", "") for call in reached[1]] == [
        graphql,
        f"{rest}/repos/{fake.REPOSITORY}/issues/7/comments",
    ]
    assert {call.request.headers["Authorization"] for call in reached[1]} == {f"token {fake.TOKEN}"}
    assert all(call.request.headers["User-Agent"].startswith("dtp-") for call in reached[1])


def test_the_storage_is_shown_neither_the_token_nor_what_stands_in_netrc(
    reached: tuple[GitHub, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine storage.example login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    github, calls = reached
    github.upload(NAME, {"status.json": b"1"})
    (run,) = connect().runs("dispatch.yml")
    assert connect().status_document(run, NAME) == b"1"
    assert calls[-1].request.url.startswith("https://storage.example/")
    assert "Authorization" not in calls[-1].request.headers


def test_a_storage_that_drips_ends_with_patience(reached: tuple[GitHub, Any]) -> None:
    github, calls = reached
    github.upload(NAME, bytes(range(256)) * 2**12)
    (run,) = connect().runs("dispatch.yml")
    seconds = itertools.count(0, 10)  # each look at the clock costs ten
    with pytest.raises(UnavailableError, match=r"storage\.example is too slow"):
        connect(clock=lambda: float(next(seconds))).status_document(run, NAME)
    assert len(calls) == 1 + 3


def test_a_name_of_a_branch_is_never_part_of_a_query(reached: tuple[GitHub, Any]) -> None:
    hostile = '") { number } } viewer { login } #'
    assert connect().open_pulls("a" * 40, hostile) == ()
    sent = json.loads(reached[1][0].request.body)
    assert hostile not in sent["query"]
    assert sent["variables"]["branch"] == hostile
