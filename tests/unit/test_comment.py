"""A comment is a view for people who cannot see the cluster; what scripts wrote stays data."""

from __future__ import annotations

from dtp_action.core import comment, report
from dtp_action.core.model import Observed, Phase
from tests import builders


def rows_of(*phases: Phase, **outcome: object) -> list[dict[str, object]]:
    entries = tuple(
        builders.an_entry(ref=f"dtp-aws/job-{n}", outcome=builders.an_outcome(phase, **outcome))
        for n, phase in enumerate(phases)
    )
    seen = Observed(now=builders.NOON, identity=None, entries=entries, jobs={})
    return report.jobs(seen)


def rendered(rows: list[dict[str, object]], tail: str = "") -> str:
    return comment.render(rows, {str(row["name"]): tail for row in rows}, as_of="noon")


def test_first_line_is_a_verdict() -> None:
    text = rendered(rows_of(Phase.SUCCEEDED, Phase.SUCCEEDED, Phase.FAILED))
    assert text.splitlines()[0] == "**2 done, 1 needs you** · as of noon"


def test_every_bad_end_says_what_to_do_next() -> None:
    for phase in (Phase.FAILED, Phase.ERRORED, Phase.LOST, Phase.CANCELLED):
        assert "- `dtp-aws/job-0`: " in rendered(rows_of(phase)), phase


def test_a_log_cannot_leave_its_fence() -> None:
    hostile = "```\n</details>\n# heading\n````\n@org/team"
    text = rendered(rows_of(Phase.FAILED), hostile)
    assert f"`````text\n{hostile}\n`````" in text


def test_a_reason_is_shown_as_it_stands_and_mentions_nobody() -> None:
    text = rendered(rows_of(Phase.ERRORED, reason="<img> @org/team | `x` [a](http://b) #12"))
    (row,) = [line for line in text.splitlines() if "job-0` |" in line]
    assert "<img>" not in row
    assert "@org" not in row
    assert "://b" not in row
    assert row.count("|") - row.count("\\|") == 4


def test_over_the_limit_logs_go_and_rows_stay() -> None:
    text = rendered(rows_of(*[Phase.FAILED] * 200), "ü" * 8000)
    assert len(text) <= comment.LIMIT
    assert all(f"`dtp-aws/job-{n}` |" in text for n in range(200))
    assert text.count("<details>") == text.count("</details>") > 0
