"""The adapter for GitHub against the stand-in, which holds every word to GitHub's description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dtp_action.adapters.pulls import GitHubPulls
from dtp_action.core import issues, pulls
from dtp_action.core.pulls import (
    CommitStatus,
    Edit,
    Mark,
    Permission,
    Remove,
    Say,
    State,
    Write,
)
from dtp_action.errors import DtpError, Exit, GitHubRefusedError, UnavailableError
from tests.github import description, fake
from tests.github.fake import REPOSITORY, US, GitHub, a_sha

MARKER = pulls.marker("status", "main")
MERGE = a_sha("merge")
DONE = CommitStatus(context="dtp / main", state=State.SUCCESS, description="2 done")
CREATE, EDIT = "POST .*/comments$", "PATCH"


@dataclass
class Time:
    """A clock that moves only while somebody sleeps."""

    now: float = 0.0
    naps: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps.append(seconds)


@pytest.fixture
def github() -> Iterator[GitHub]:
    with fake.serve() as there:
        yield there


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def us(github: GitHub, time: Time) -> GitHubPulls:
    return connect(github, time)


def connect(
    github: GitHub, time: Time, *, token: str = fake.TOKEN, path: str = "", timeout: int = 20
) -> GitHubPulls:
    return GitHubPulls(
        repository=REPOSITORY,
        token=token,
        api_url=github.url + path,
        timeout=timeout,
        between_requests=0,
        between_writes=0,
        clock=lambda: time.now,
        sleep=time.sleep,
    )


def say(text: str = "1 done", number: int = 7) -> Say:
    return Say(number=number, marker=MARKER, text=text)


def tell(us: GitHubPulls, what: Say) -> list[Write]:
    """Look, decide and write, as a run does; return what was written."""
    steps = pulls.sticky(what, us.shown([what.number], (), ""))
    for step in steps:
        us.write(step)
    return steps


def refused(us: GitHubPulls, step: Write) -> DtpError:
    with pytest.raises(GitHubRefusedError) as caught:
        us.write(step)
    assert caught.value.exit_code == Exit.GITHUB_REFUSED
    assert caught.value.hint
    return caught.value


# --- the one comment -----------------------------------------------------------------------------


def test_the_comment_is_written_then_edited_and_left_alone_while_it_says_the_same(
    github: GitHub, us: GitHubPulls
) -> None:
    github.pull(7)
    tell(us, say("1 running"))
    tell(us, say("1 done"))
    assert github.on(7) == [f"{MARKER}\n1 done"]
    before = len(github.asked)
    assert tell(us, say("1 done")) == []
    assert github.asked[before:] == ["POST /graphql"]  # no write at all


def test_writing_returns_the_address_of_the_comment(github: GitHub, us: GitHubPulls) -> None:
    github.pull(7)
    address = us.write(say())
    comment = us.shown([7], (), "").comments[7][0]
    assert address == comment.url
    assert us.write(Edit(comment=comment, say=say("more"))) == address


def test_ours_is_found_beyond_the_first_page(github: GitHub, us: GitHubPulls) -> None:
    github.pull(7)
    for i in range(230):
        github.comment(7, f"what about sample {i}?")
    tell(us, say("1 running"))
    tell(us, say("1 done"))
    assert github.on(7) == [f"{MARKER}\n1 done"]


def test_of_two_comments_of_ours_the_first_is_kept_and_the_other_deleted(
    github: GitHub, us: GitHubPulls
) -> None:
    github.pull(7)
    first = github.comment(7, f"{MARKER}\nold", US)
    github.comment(7, f"{MARKER}\nold too", US)
    tell(us, say("1 done"))
    assert [c.id for c in github.comments] == [first.id]
    assert github.on(7) == [f"{MARKER}\n1 done"]


@pytest.mark.parametrize("author", ["mallory", "other-token[bot]", None])
def test_our_marker_in_the_comment_of_somebody_else_is_not_ours(
    github: GitHub, us: GitHubPulls, author: str | None
) -> None:
    github.pull(7)
    theirs = github.comment(7, f"{MARKER}\nall is well, trust me", author)
    tell(us, say())
    assert theirs.body.endswith("trust me")
    assert github.on(7) == [f"{MARKER}\n1 done"]


def test_a_marker_that_we_quote_further_down_is_not_the_comment(
    github: GitHub, us: GitHubPulls
) -> None:
    github.pull(7)
    github.comment(7, f"a log that says\n{MARKER}", US)
    tell(us, say())
    assert len(github.on(7)) == 2


def test_comments_of_two_clusters_stand_side_by_side(github: GitHub, us: GitHubPulls) -> None:
    github.pull(7)
    other = Say(number=7, marker=pulls.marker("status", "main-2"), text="2 done")
    for _ in range(2):
        tell(us, say())
        tell(us, other)
    assert github.on(7) == [say().body, other.body]


def test_a_deleted_comment_is_written_anew(github: GitHub, us: GitHubPulls) -> None:
    github.pull(7)
    tell(us, say("1 running"))
    github.comments.clear()
    tell(us, say("1 done"))
    assert github.on(7) == [f"{MARKER}\n1 done"]


def test_one_deleted_between_look_and_edit_is_written_anew(github: GitHub, us: GitHubPulls) -> None:
    github.pull(7)
    tell(us, say("1 running"))
    seen = us.shown([7], (), "")
    github.comments.clear()
    for step in pulls.sticky(say("1 done"), seen):
        us.write(step)
    assert github.on(7) == [f"{MARKER}\n1 done"]


def test_deleting_what_is_gone_is_done(github: GitHub, us: GitHubPulls) -> None:
    github.pull(7)
    tell(us, say())
    comment = us.shown([7], (), "").comments[7][0]
    us.write(Remove(comment=comment))
    us.write(Remove(comment=comment))
    assert github.comments == []


def test_a_mention_is_written_once_however_often_the_run_is_repeated(
    github: GitHub, us: GitHubPulls
) -> None:
    github.pull(7)
    mention = Say(number=7, marker=pulls.marker("mention", "main", "dtp-aws-a-1"), text="@ada done")
    for _ in range(3):
        for step in pulls.once(mention, us.shown([7], (), "")):
            us.write(step)
    assert github.on(7) == [mention.body]


def test_a_pull_request_that_is_not_there_hinders_no_other(github: GitHub, us: GitHubPulls) -> None:
    github.pull(7)
    shown = us.shown([7, 4711], (), "")
    assert shown.comments == {7: ()}
    assert pulls.sticky(say(number=4711), shown) == []


def test_the_longest_comment_fits_and_a_longer_one_is_refused_with_githubs_words(
    github: GitHub, us: GitHubPulls
) -> None:
    github.pull(7)
    room = fake.BODY_LIMIT - len(MARKER) - 1
    us.write(say("é" * room))
    assert "Body is too long" in refused(us, say("é" * (room + 1))).message


# --- lost answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", [True, False], ids=["after the effect", "before it"])
@pytest.mark.parametrize("lost", [fake.bad_gateway, fake.silence], ids=["502", "time-out"])
def test_a_comment_whose_answer_is_lost_is_there_once(
    github: GitHub, time: Time, lost: type[fake.Trouble], effect: bool
) -> None:
    github.pull(7)
    github.troubles = [lost(on=CREATE, effect=effect)]
    us = connect(github, time, timeout=1)
    address = us.write(say())
    assert github.on(7) == [say().body]
    assert address == us.shown([7], (), "").comments[7][0].url


@pytest.mark.parametrize("effect", [True, False], ids=["after the effect", "before it"])
def test_an_edit_whose_answer_is_lost_is_made_again(
    github: GitHub, us: GitHubPulls, effect: bool
) -> None:
    github.pull(7)
    tell(us, say("1 running"))
    github.troubles = [fake.bad_gateway(EDIT, effect=effect)]
    tell(us, say("1 done"))
    assert github.on(7) == [f"{MARKER}\n1 done"]


def test_a_github_that_stays_away_ends_in_time_and_the_next_run_heals(
    github: GitHub, us: GitHubPulls, time: Time
) -> None:
    github.pull(7)
    github.troubles = [fake.bad_gateway(CREATE, effect=False, times=50)]
    with pytest.raises(UnavailableError, match="comment on pull request #7") as caught:
        us.write(say())
    assert "next run" in caught.value.hint
    assert time.now <= 120
    github.troubles = []
    tell(connect(github, time), say())
    assert github.on(7) == [say().body]


def test_a_slow_github_is_asked_no_more_when_patience_has_run_out(
    github: GitHub, us: GitHubPulls, time: Time
) -> None:
    github.pull(7)
    us.shown([7], (), "")
    us._left -= 200  # as answers do that take their time
    with pytest.raises(UnavailableError, match="used up"):
        us.shown([7], (), "")
    assert github.count() == {"queries": 1}


def test_patience_is_one_for_the_whole_run(github: GitHub, us: GitHubPulls, time: Time) -> None:
    github.troubles = [fake.secondary_limit("POST", retry_after=None, times=50)]
    for _ in range(3):
        with pytest.raises(UnavailableError):
            us.shown([7], (), "")
    assert time.now <= 120


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "pause"),
    [
        (fake.secondary_limit(CREATE, retry_after=30), 30),
        (fake.secondary_limit(CREATE, retry_after=None), 60),
        (
            fake.secondary_limit(CREATE, retry_after=30, message="You triggered abuse detection."),
            30,
        ),
        (fake.secondary_limit(CREATE, retry_after=None, status=429, message="Slow down."), 60),
    ],
    ids=["with its time", "without", "in other words", "as 429"],
)
def test_a_secondary_limit_is_waited_for_and_the_comment_written_once(
    github: GitHub, us: GitHubPulls, time: Time, limit: fake.Trouble, pause: int
) -> None:
    github.pull(7)
    github.troubles = [replace(limit)]
    us.write(say())
    assert time.naps == [pause]
    assert github.on(7) == [say().body]
    assert "POST /graphql" not in github.asked  # it had no effect: nothing to look for


def test_a_limit_that_asks_for_too_much_is_told_with_its_time(
    github: GitHub, us: GitHubPulls, time: Time
) -> None:
    github.pull(7)
    github.troubles = [fake.secondary_limit(CREATE, retry_after=900)]
    with pytest.raises(UnavailableError, match="wait 900 s"):
        us.write(say())
    assert time.naps == []


@pytest.mark.parametrize("seconds", [20, 3000])
def test_a_used_up_hour_is_waited_for_only_where_it_ends_soon(
    github: GitHub, us: GitHubPulls, time: Time, seconds: int
) -> None:
    github.pull(7)
    github.troubles = [fake.primary_limit("/graphql", resets_in=seconds)]
    if seconds == 20:
        assert us.shown([7], (), "").comments == {7: ()}
        assert time.naps == [20]
        return
    with pytest.raises(UnavailableError, match=f"wait {seconds} s"):
        us.shown([7], (), "")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("API rate limit already exceeded for installation ID 1.", "RATE_LIMITED"),
        ("Something went wrong while executing your query.", None),
    ],
)
def test_a_query_that_fails_for_now_under_http_200_is_made_again(
    github: GitHub, us: GitHubPulls, message: str, kind: str | None
) -> None:
    github.pull(7)
    github.troubles = [fake.query_error(message, kind)]
    assert us.shown([7], (), "").comments == {7: ()}


# --- refusals say what, why, what next -----------------------------------------------------------


def test_a_missing_permission_is_named(github: GitHub, us: GitHubPulls) -> None:
    github.pull(7)
    github.denied = {"pull-requests", "statuses"}
    error = refused(us, say())
    assert "comment on pull request #7 in lab/requests (403)" in error.message
    assert "`permissions: pull-requests: write`" in error.hint
    assert "statuses: write" in refused(us, Mark(commit=MERGE, status=DONE)).hint


def test_a_missing_permission_to_read_statuses_is_named(github: GitHub, us: GitHubPulls) -> None:
    github.merge(github.pull(7), MERGE)
    github.denied = {"statuses"}
    with pytest.raises(GitHubRefusedError) as caught:
        us.shown([7], [MERGE], "dtp")
    assert "statuses: read" in caught.value.hint


def test_a_locked_pull_request_is_told_and_not_tried_again(
    github: GitHub, us: GitHubPulls, time: Time
) -> None:
    github.pull(7, locked=True)
    assert "Unlock" in refused(us, say()).hint
    assert github.asked == [f"POST /repos/{REPOSITORY}/issues/7/comments"]
    assert time.naps == []


def test_a_token_that_is_not_accepted_is_told(github: GitHub, time: Time) -> None:
    error = refused(connect(github, time, token="token-of-yesterday"), say())
    assert "(401)" in error.message
    assert "github-token" in error.hint


def test_a_repository_that_cannot_be_seen_is_told(github: GitHub, us: GitHubPulls) -> None:
    us.repository = "lab/elsewhere"
    with pytest.raises(GitHubRefusedError, match=r"lab/elsewhere.*NOT_FOUND|\(404\)"):
        us.shown([7], (), "")
    assert "(404)" in refused(us, say()).message


def test_a_repository_that_was_renamed_is_told_and_nothing_taken_for_done(
    github: GitHub, us: GitHubPulls
) -> None:
    us.repository = fake.FORMER
    for step in (say(), Mark(commit=MERGE, status=DONE)):
        assert "correct the repository's name" in refused(us, step).hint
    with pytest.raises(GitHubRefusedError, match="Could not resolve"):
        us.candidates([MERGE])


def test_an_address_that_is_no_api_is_told(github: GitHub, us: GitHubPulls) -> None:
    github.troubles = [fake.Trouble(on="POST", body="<html>Sign in</html>", times=9)]
    for ask in (lambda: us.shown([7], (), ""), lambda: us.write(say())):
        with pytest.raises(GitHubRefusedError, match="did not answer as GitHub's API") as caught:
            ask()
        assert "/api/v3" in caught.value.hint


def test_an_enterprise_server_is_spoken_to_at_its_own_paths(github: GitHub, time: Time) -> None:
    github.pull(7)
    tell(connect(github, time, path="/api/v3"), say())
    assert github.on(7) == [say().body]


def test_no_message_holds_the_token(github: GitHub, us: GitHubPulls) -> None:
    github.troubles = [fake.bad_gateway("POST", effect=False, times=50)]
    with pytest.raises(UnavailableError) as caught:
        us.write(say())
    assert fake.TOKEN not in caught.value.message + caught.value.hint


# --- who reads it ---


@pytest.mark.parametrize(
    ("visibility", "public"), [("public", True), ("private", False), ("internal", False)]
)
def test_what_is_shown_tells_whether_anybody_may_read_it(
    github: GitHub, us: GitHubPulls, visibility: str, public: bool
) -> None:
    github.visibility = visibility
    github.pull(7)
    assert us.shown([7], (), "").public is public
    assert us.shown((), (), "").public  # nobody asked: the careful answer
    assert github.count() == {"queries": 1}


# --- commit statuses -----------------------------------------------------------------------------


def test_a_status_is_set_and_left_alone_while_it_says_the_same(
    github: GitHub, us: GitHubPulls
) -> None:
    github.merge(github.pull(7), MERGE)
    run = "https://github.com/lab/requests/actions/runs/{}"
    for number in (1, 2):
        shown = us.shown((), [MERGE], DONE.context)
        for step in pulls.mark(MERGE, DONE, shown, run.format(number)):
            us.write(step)
    assert [one["target_url"] for one in github.statuses[MERGE]] == [run.format(1)]


def test_a_status_comes_to_lead_to_the_comment(github: GitHub, us: GitHubPulls) -> None:
    github.merge(github.pull(7), MERGE)
    comment = "https://github.com/lab/requests/pull/7#issuecomment-1"
    for url in ("", comment, comment, ""):
        shown = us.shown((), [MERGE], DONE.context)
        for step in pulls.mark(MERGE, replace(DONE, url=url), shown, "https://example.org/run"):
            us.write(step)
    told = [one["target_url"] for one in github.statuses[MERGE]]
    assert told == ["https://example.org/run", comment]


def test_a_changed_status_is_set(github: GitHub, us: GitHubPulls) -> None:
    github.merge(github.pull(7), MERGE)
    for state in (State.PENDING, State.FAILURE):
        status = replace(DONE, state=state)
        for step in pulls.mark(MERGE, status, us.shown((), [MERGE], DONE.context)):
            us.write(step)
    assert github.said(MERGE) == [("dtp / main", "pending"), ("dtp / main", "failure")]


def test_a_context_may_be_any_text(github: GitHub, us: GitHubPulls) -> None:
    github.merge(github.pull(7), MERGE)
    status = replace(DONE, context='dtp "é" \\ 🚀')
    us.write(Mark(commit=MERGE, status=status))
    assert us.shown((), [MERGE], status.context).statuses == {MERGE: status}


# --- which pull request? -------------------------------------------------------------------------


def test_candidates_carry_what_decides(github: GitHub, us: GitHubPulls) -> None:
    authored = (100, 200, 300)
    pull = github.pull(7, author="ada", base="cluster", head=a_sha("head"), authored=authored)
    github.merge(pull, MERGE)
    assert us.candidates([MERGE]) == {
        MERGE: (
            pulls.Candidate(
                number=7,
                author="ada",
                merged_by="grace",
                merged=True,
                base="cluster",
                head=a_sha("head"),
                merge_commit=MERGE,
                authored=(100, 200, 300),
            ),
        )
    }


def test_a_commit_that_github_does_not_know_has_no_candidates(
    github: GitHub, us: GitHubPulls
) -> None:
    assert us.candidates([MERGE]) == {MERGE: ()}


def test_a_pull_request_of_a_fork_that_shares_the_commit_is_not_ours(
    github: GitHub, us: GitHubPulls
) -> None:
    github.merge(github.pull(7, repository="ada/requests"), MERGE)
    assert us.candidates([MERGE]) == {MERGE: ()}


def test_an_author_whose_account_is_gone_is_nobody(github: GitHub, us: GitHubPulls) -> None:
    github.merge(github.pull(7, author=None), MERGE)
    assert us.candidates([MERGE])[MERGE][0].author is None


def test_a_bot_keeps_the_brackets_of_its_name(github: GitHub, us: GitHubPulls) -> None:
    github.merge(github.pull(7, author="renovate[bot]"), MERGE, by="github-merge-queue[bot]")
    (found,) = us.candidates([MERGE])[MERGE]
    assert (found.author, found.merged_by) == ("renovate[bot]", "github-merge-queue[bot]")


# --- which open pull request? --------------------------------------------------------------------

HEAD, BRANCH = a_sha("head"), 'patch-1") { x } #'


def test_the_open_pull_request_is_found_by_its_last_commit(github: GitHub, us: GitHubPulls) -> None:
    github.pull(6, head=a_sha("other"), branch=BRANCH, fork="ada/requests")
    github.pull(7, head=HEAD, branch=BRANCH, fork="mallory/requests", author="mallory", base="b")
    assert us.open_pulls(HEAD, BRANCH) == (pulls.OpenPull(number=7, base="b", author="mallory"),)
    assert github.count() == {"queries": 1}


@pytest.mark.parametrize(
    "facts", [{"closed": True}, {"merged": True}, {"branch": "patch-2"}, {"head": a_sha("newer")}]
)
def test_one_that_is_not_open_or_went_on_is_not_found(
    github: GitHub, us: GitHubPulls, facts: dict[str, Any]
) -> None:
    github.pull(7, **{"head": HEAD, "branch": BRANCH} | facts)
    assert us.open_pulls(HEAD, BRANCH) == ()


def test_one_branch_may_be_proposed_to_two(github: GitHub, us: GitHubPulls) -> None:
    for number in (7, 8):
        github.pull(number, head=HEAD, branch=BRANCH, base=f"cluster-{number}")
    bases = {pull.base for pull in us.open_pulls(HEAD, BRANCH)}
    assert bases == {"cluster-7", "cluster-8"}


def test_it_is_found_among_hundreds_of_branches_with_the_usual_name(
    github: GitHub, us: GitHubPulls
) -> None:
    for number in range(1, 250):
        github.pull(number, branch="patch-1", head=a_sha(number), fork=f"ada-{number}/requests")
    (found,) = us.open_pulls(a_sha(249), "patch-1")
    assert found.number == 249


# --- the last dispatch's status document ---------------------------------------------------------

NAME = "dtp-status-main"


def left(us: GitHubPulls) -> bytes | None:
    """Return what the newest run of the dispatching workflow left."""
    return us.status_document(us.runs("dispatch.yml")[0], NAME)


def test_the_status_document_of_the_newest_run_is_read(github: GitHub, us: GitHubPulls) -> None:
    github.upload(NAME, {"status.json": b'"old"'})
    run = github.ran(event="schedule", branch="main", commit=a_sha("x"))
    github.upload(NAME, {"status.json": b'"overwritten"'}, run)
    github.upload(NAME, {"status.json": b'"new"'}, run)
    github.upload("dtp-status-main-2", {"status.json": b'"of another cluster"'}, run)
    newest = us.runs("dispatch.yml")[0]
    assert (newest.id, newest.event, newest.commit) == (run.id, "schedule", a_sha("x"))
    assert (newest.branch, newest.here) == ("main", True)
    assert us.status_document(newest, NAME) == b'"new"'
    assert github.count() == {"reads": 3}


def test_what_others_uploaded_under_that_name_is_not_seen(github: GitHub, us: GitHubPulls) -> None:
    github.upload(NAME, {"status.json": b'"ours"'})
    github.upload(NAME, {"status.json": b'"forged"'}, github.ran(workflow="ci.yml"))
    assert left(us) == b'"ours"'
    assert len(us.runs("dispatch.yml")) == 1


def test_a_run_for_a_fork_is_told_from_our_own(github: GitHub, us: GitHubPulls) -> None:
    github.ran(event="pull_request", branch=None, fork="mallory/requests")
    (run,) = us.runs("dispatch.yml")
    assert (run.here, run.branch, run.event) == (False, None, "pull_request")


def test_a_workflow_that_is_not_there_is_named(github: GitHub, us: GitHubPulls) -> None:
    assert us.runs("dispatch.yml") == ()
    with pytest.raises(GitHubRefusedError, match=r"would not list the runs of other\.yml"):
        us.runs("other.yml")


def test_the_state_of_a_workflow_is_githubs_word(github: GitHub, us: GitHubPulls) -> None:
    assert us.workflow_state("dispatch.yml") == "active"
    github.disabled["dispatch.yml"] = "disabled_inactivity"
    assert us.workflow_state("dispatch.yml") == "disabled_inactivity"
    assert us.workflow_state("schedule.yml") is None
    github.denied.add("actions")
    with pytest.raises(GitHubRefusedError, match="look for the workflow"):
        us.workflow_state("dispatch.yml")


def test_an_expired_status_document_is_none(github: GitHub, us: GitHubPulls) -> None:
    github.upload(NAME, {"status.json": b"1"}).expired = True
    assert left(us) is None


def test_without_an_artifact_there_is_no_status_document(github: GitHub, us: GitHubPulls) -> None:
    github.ran()
    assert us.status_document(us.runs("dispatch.yml")[0], "any name & more") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zip",
        fake.zipped({"other.json": b"1"}),
        fake.zipped({"status.json": b"1" * 5000})[:-40],
    ],
    ids=["nothing", "no zip", "without it", "cut off"],
)
def test_a_broken_status_document_is_told(github: GitHub, us: GitHubPulls, content: bytes) -> None:
    github.upload(NAME, content)
    with pytest.raises(UnavailableError, match="artifact"):
        left(us)


@pytest.mark.parametrize("packed", [True, False], ids=["a bomb", "a long download"])
def test_a_status_document_without_bound_is_told(
    github: GitHub, us: GitHubPulls, packed: bool
) -> None:
    bomb = {"status.json": bytes(64 * 2**20 + 1)}
    github.upload(NAME, bomb if packed else bytes(16 * 2**20 + 1))
    with pytest.raises(UnavailableError, match="too large"):
        left(us)


def test_a_storage_that_fails_is_tried_again_and_never_named_with_what_opens_it(
    github: GitHub, us: GitHubPulls
) -> None:
    github.upload(NAME, {"status.json": b"1"})
    github.troubles = [fake.bad_gateway("GET /storage", effect=False)]
    assert left(us) == b"1"
    github.troubles = [fake.bad_gateway("GET /storage", effect=False, times=50)]
    with pytest.raises(UnavailableError, match="answered HTTP 502") as caught:
        left(us)
    assert "opens-it" not in caught.value.message


@pytest.mark.parametrize("silent", [True, False], ids=["closes", "hangs"])
def test_a_storage_without_a_word_costs_bounded_time(
    github: GitHub, time: Time, silent: bool
) -> None:
    github.upload(NAME, {"status.json": b"1"})
    github.troubles = [fake.silence("GET /storage", effect=False, seconds=1.5 - silent)]
    assert left(connect(github, time, timeout=1)) == b"1"


def test_a_missing_permission_to_read_artifacts_is_named(github: GitHub, us: GitHubPulls) -> None:
    github.denied = {"actions"}
    with pytest.raises(GitHubRefusedError) as caught:
        left(us)
    assert "`permissions: actions: read`" in caught.value.hint


# --- commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "writes"), [("admin", True), ("write", True), ("read", False), ("none", False)]
)
def test_who_may_push_is_told_apart(
    github: GitHub, us: GitHubPulls, level: str, writes: bool
) -> None:
    github.permissions = {"dependabot[bot]": level}
    assert us.permission("dependabot[bot]") == Permission(level)
    assert us.permission("dependabot[bot]").writes is writes


def test_somebody_unknown_may_do_nothing(github: GitHub, us: GitHubPulls) -> None:
    assert us.permission("nobody/../admin") == Permission.NONE


def test_a_comment_is_read_with_what_a_command_must_know(github: GitHub, us: GitHubPulls) -> None:
    github.merge(github.pull(7, author="ada"), MERGE)
    comment = github.comment(7, "/dtp retry dtp-aws/genome", "ada")
    assert us.asked(comment.node) == pulls.Asked(
        id=comment.id,
        author="ada",
        human=True,
        edited=False,
        body="/dtp retry dtp-aws/genome",
        number=7,
        pull_author="ada",
        base="main",
        merged=True,
    )


def test_an_edited_comment_a_bots_and_one_outside_a_pull_request_are_told_apart(
    github: GitHub, us: GitHubPulls
) -> None:
    github.pull(7)
    edited, bot, issue = (
        github.comment(7, "/dtp status", "ada"),
        github.comment(7, "/dtp status", "helper[bot]"),
        github.comment(99, "/dtp status", None),
    )
    edited.edited = True
    seen = [us.asked(comment.node) for comment in (edited, bot, issue)]
    assert [(a.edited, a.human, a.number) for a in seen if a] == [
        (True, True, 7),
        (False, False, 7),
        (False, False, None),
    ]


def test_a_comment_that_is_gone_or_in_another_repository_is_none(
    github: GitHub, us: GitHubPulls
) -> None:
    comment = github.comment(7, "/dtp retry dtp-aws/genome", "mallory")
    comment.repository = "mallory/requests"
    assert us.asked(comment.node) is None
    assert us.asked("IC_1") is None


def test_a_comment_is_acknowledged_with_eyes_once(github: GitHub, us: GitHubPulls) -> None:
    github.pull(7)
    comment = github.comment(7, "/dtp status", "ada")
    asked = us.asked(comment.node)
    assert asked
    us.acknowledge(asked)
    us.acknowledge(asked)
    assert github.reactions == [(comment.id, "eyes")]


# --- the one issue -------------------------------------------------------------------------------

KEPT = pulls.marker("images", "main")


def keep(us: GitHubPulls, text: str) -> None:
    """Look, decide and write, as a run does; without text all is well."""
    there = us.issues(KEPT)
    for step in (
        issues.alarm("Look", f"{KEPT}\n{text}", there)
        if text
        else issues.all_is_well("All is well.", there)
    ):
        us.keep(step)


def ours(github: GitHub) -> list[tuple[str, bool]]:
    """Return what our issues say, and whether they are closed."""
    return [(one.body, one.closed) for one in github.issues if one.author == US]


def test_an_issue_is_opened_rewritten_closed_with_a_comment_and_opened_again(
    github: GitHub, us: GitHubPulls
) -> None:
    github.pull(7)
    keep(us, "one is gone")
    keep(us, "two are gone")
    assert ours(github) == [(f"{KEPT}\ntwo are gone", False)]
    keep(us, "")
    assert ours(github) == [(f"{KEPT}\ntwo are gone", True)]
    assert github.on(8) == ["All is well."]
    keep(us, "one is gone")
    assert ours(github) == [(f"{KEPT}\none is gone", False)]
    before = len(github.asked)
    keep(us, "one is gone")
    assert github.asked[before:] == ["POST /graphql"]


def test_our_issue_is_found_among_hundreds_and_no_copy_of_it_is_touched(
    github: GitHub, us: GitHubPulls
) -> None:
    github.issue(f"{KEPT}\nI copied this", author="mallory")
    for number in range(120):
        github.issue(f"question {number}")
    keep(us, "one is gone")
    for number in range(120):
        github.issue(f"question {number}")
    keep(us, "two are gone")
    assert ours(github) == [(f"{KEPT}\ntwo are gone", False)]
    assert github.issues[0].body == f"{KEPT}\nI copied this"


@pytest.mark.parametrize("trouble", [fake.bad_gateway, fake.silence])
@pytest.mark.parametrize("effect", [True, False])
def test_an_issue_and_its_comment_are_written_once_where_an_answer_is_lost(
    github: GitHub, time: Time, trouble: Any, effect: bool
) -> None:
    us = connect(github, time, timeout=1)
    github.troubles = [trouble("POST .*/issues$", effect=effect)]
    keep(us, "one is gone")
    github.troubles = [trouble(CREATE, effect=effect), trouble(EDIT, effect=effect)]
    keep(us, "")
    assert ours(github) == [(f"{KEPT}\none is gone", True)]
    assert github.on(1) == ["All is well."]


def test_a_missing_permission_to_write_issues_is_named(github: GitHub, us: GitHubPulls) -> None:
    github.denied = {"issues"}
    with pytest.raises(GitHubRefusedError) as caught:
        keep(us, "one is gone")
    assert "`permissions: issues: write`" in caught.value.hint


def test_a_repository_without_issues_is_told(github: GitHub, us: GitHubPulls) -> None:
    github.has_issues = False
    with pytest.raises(GitHubRefusedError, match="disabled") as caught:
        keep(us, "one is gone")
    assert "Switch issues on" in caught.value.hint


# --- the budget ----------------------------------------------------------------------------------


def test_fifty_new_scripts_of_ten_pull_requests_cost_two_queries_and_two_writes_each(
    github: GitHub, us: GitHubPulls
) -> None:
    merges = [a_sha(n) for n in range(50)]
    for number in range(1, 11):
        pull = github.pull(number)
        for sha in merges[5 * (number - 1) : 5 * number]:
            github.merge(pull, sha)
    found = us.candidates(merges)
    assert len({c.number for candidates in found.values() for c in candidates}) == 10
    shown = us.shown(range(1, 11), merges, DONE.context)
    for number in range(1, 11):
        for step in pulls.sticky(say(number=number), shown):
            us.write(step)
        for step in pulls.mark(merges[5 * number - 1], DONE, shown):
            us.write(step)
    assert github.count() == {"queries": 2, "writes": 20}
    assert github.points <= 10  # of the 1,000 that a workflow's token has each hour


def test_more_than_one_query_can_hold_are_asked_for_in_turn(
    github: GitHub, us: GitHubPulls
) -> None:
    merges = [a_sha(number) for number in range(1, 52)]
    for number, sha in enumerate(merges, 1):
        github.merge(github.pull(number), sha)
        us.write(Mark(commit=sha, status=DONE))
    github.asked.clear()
    found = us.candidates(merges)
    assert [found[sha][0].number for sha in merges] == list(range(1, 52))
    assert github.count() == {"queries": 2}
    shown = us.shown(range(1, 52), merges, DONE.context)
    assert (len(shown.comments), len(shown.statuses)) == (51, 51)
    assert github.count() == {"queries": 4}


def test_a_run_that_changes_nothing_costs_one_query(github: GitHub, us: GitHubPulls) -> None:
    github.merge(github.pull(7), MERGE)
    tell(us, say())
    us.write(Mark(commit=MERGE, status=DONE))
    github.asked.clear()
    shown = us.shown([7], [MERGE], DONE.context)
    assert pulls.sticky(say(), shown) + pulls.mark(MERGE, DONE, shown) == []
    assert github.count() == {"queries": 1}


def test_nothing_asked_costs_nothing(github: GitHub, us: GitHubPulls) -> None:
    assert us.candidates([]) == {}
    assert us.shown([], [], "") == pulls.Shown()
    assert github.asked == []


# --- the stand-in itself -------------------------------------------------------------------------


def test_a_request_that_breaks_githubs_description_is_told(github: GitHub, us: GitHubPulls) -> None:
    github.pull(7)
    with pytest.raises(DtpError):
        us._rest("break it", "POST", "/issues/7/comments", {"body": 42})
    assert "/issues/7/comments" in github.wrong[0]
    github.wrong.clear()  # what stands here when the test ends fails it


def test_a_query_that_github_would_not_understand_is_told(github: GitHub, us: GitHubPulls) -> None:
    with pytest.raises(DtpError):
        us._read("break it", ["pullRequest(number: 7) { colour }"])
    assert "colour" in github.wrong[0]
    github.wrong.clear()


def test_an_answer_that_breaks_githubs_description_is_told() -> None:
    path = "/repos/lab/requests/issues/7/comments"
    request = description.check_request("POST", path, {}, b'{"body": "hello"}')
    with pytest.raises(AssertionError, match="201"):
        description.check_answer(request, 201, {"id": 1, "body": "hello"})


@pytest.mark.parametrize(("key", "broken"), [("created_at", "noon"), ("html_url", "a b")])
def test_a_date_or_an_address_that_is_none_breaks_githubs_description(
    github: GitHub, key: str, broken: str
) -> None:
    path = "/repos/lab/requests/issues/7/comments"
    github.pull(7)
    sent = github.answer("POST", path, f"token {fake.TOKEN}", b'{"body": "hello"}')
    comment = json.loads(sent.content)
    request = description.check_request("POST", path, {}, b'{"body": "hello"}')
    description.check_answer(request, 201, comment)
    with pytest.raises(AssertionError, match=broken):
        description.check_answer(request, 201, comment | {key: broken})
