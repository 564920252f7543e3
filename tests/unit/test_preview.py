"""What a pull request is told before it is merged, with and without a status document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from dtp_action import dispatch
from dtp_action.core import beside, comment, markdown, planner, preview, scripts, status_document
from dtp_action.core import catalog as catalogs
from dtp_action.core.cluster_settings import Caps
from dtp_action.core.model import (
    Desired,
    Entry,
    Finding,
    Observed,
    Open,
    Outcome,
    Phase,
    Ref,
    Severity,
    Why,
    subject,
)
from dtp_action.core.preview import Change, Foreseen, Merge, Preview, Will
from dtp_action.core.quantities import LARGEST
from dtp_action.core.scripts import File
from dtp_action.core.status_document import StatusDocument
from dtp_action.errors import ConflictError, UsageError
from tests import builders as b
from tests.fakes import FakeCluster, World

REF = "dtp-aws/genome"
PATH = f"dtp-jobs/{REF}.sh"
OTHER = b"#!/bin/sh\necho better\n"
BUILTIN = catalogs.parse(
    f"version: 1\nprotocols: {{rclone: {{serviceImage: 'example.org/x@{b.DIGEST}'}}}}",
    "a row with services",
    catalogs.builtin(),
)
Branch = dict[str, bytes]  # content by path


@pytest.fixture(autouse=True, scope="module")
def read_once() -> Iterator[None]:
    """Reading the built-in rows takes longer than a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogs, "builtin", lambda: BUILTIN)
        yield


def a_file(path: str, content: bytes = b.CONTENT, mode: int = 0o100644) -> File:
    return File(path=path, mode=mode, blob=b.a_blob(content), content=content, size=len(content))


def a_merge(before: Iterable[File], after: Iterable[File]) -> Merge:
    return Merge(commit=b.COMMIT, before=tuple(before), after=tuple(after))


def of(branch: Branch) -> list[File]:
    return [a_file(path, content) for path, content in branch.items()]


def wanted(merge: Merge, document: StatusDocument | None = None) -> Desired:
    settings = document.settings if document else None
    _, rows, remarks = preview.rows_of(merge)
    desired = scripts.discover(merge.after, commit=merge.commit, catalog=rows, settings=settings)
    return scripts.reject(desired, remarks)


def foresee(before: Branch, after: Branch, *entries: Entry, **how: Any) -> Preview:
    """Return the preview of a change, conditional unless entries or a look are given."""
    look = how.pop("look", b.observed(entries, now=600) if entries else None)
    document = read_back(look, **how.pop("settings", {})) if look else None
    if document and "max_new" in how:
        document = replace(document, max_new=how.pop("max_new"))
    return judged(a_merge(of(before), of(after)), document, **how)


def judged(merge: Merge, document: StatusDocument | None = None, **how: Any) -> Preview:
    before, rows, _ = preview.rows_of(merge)
    desired = wanted(merge, document)
    return preview.foresee(merge, desired, catalog=rows, before=before, document=document, **how)


def read_back(look: Observed, **settings: Any) -> StatusDocument:
    """Return what a document of this look tells."""
    written = status_document.dump(look, b.settings(**settings), source=b.SOURCE, branch="main")
    return status_document.load(json.dumps(written).encode())


def only(seen: Preview) -> Foreseen:
    (row,) = seen.rows
    return row


def ended(phase: Phase = Phase.SUCCEEDED, ref: str = REF, **changes: Any) -> Entry:
    return b.an_entry(ref, **{"outcome": b.an_outcome(phase)} | changes)


# --- whatever the ledger, whatever the change ----------------------------------------------------

REFS = [b.a_ref("dtp-aws/a"), b.a_ref("dtp-rclone/b")]
CONTENTS = [
    b"#!/bin/sh\necho 1\n",
    b"#!/bin/sh\necho 2\n",
    b"#!/bin/sh\n#DTP attempt=2\necho 2\n",
    b"#!/bin/sh\n#DTP attempt=3\necho 1\n",
    b"#!/bin/sh\n#DTP attempt=zero\n",  # rejected
    b"#!/bin/sh\n#DTP kind=service\n",  # of REFS the second alone has an image for services
]
NEVER = {"stuck_limit": LARGEST, "queue_allowance": LARGEST}  # limits are not foreseen
Step = tuple[str, int]


class Story:
    """A branch and a cluster to which things happen."""

    def __init__(self) -> None:
        self.world = World()
        self.branch: Branch = {}

    def take(self, step: Step) -> None:
        name, number = step
        getattr(self, name)(number)
        self.world.pass_time(1)  # a deadline of one second has passed

    def write(self, number: int) -> None:
        self.branch[REFS[number % 2].path] = CONTENTS[number // 2 % len(CONTENTS)]

    def remove(self, number: int) -> None:
        self.branch.pop(REFS[number % 2].path, None)

    def write_list(self, number: int) -> None:
        """Write a file beside the script, or take it away."""
        path = f"{beside.folder(REFS[number % 2].path)}/list"
        self.branch.pop(path, None)
        if text := b"ab"[: number // 2 % 3]:
            self.branch[path] = text

    def run(self, number: int = 0) -> None:
        dispatch.run(
            FakeCluster(self.world),
            self.desired(),
            b.a_policy(**NEVER),
            line=b.LINE,
            patience=dispatch.Patience(seconds=0, monotonic=lambda: 0.0, sleep=lambda _: None),
            source=lambda observed: b.SOURCE,
        )

    def desired(self) -> Desired:
        files = of(self.branch)
        return scripts.discover(files, commit=b.COMMIT, catalog=BUILTIN, settings=None)

    def start(self, number: int) -> None:
        for name in self._pick(self._active() - self._running(), number):
            self.world.run(name)

    def finish(self, number: int) -> None:
        for name in self._pick(self._running(), number // 2):
            self.world.finish(name, number % 2)

    def drain(self, number: int) -> None:
        for name in self._pick(self._running(), number):
            self.world.drain(name)

    def lose(self, number: int) -> None:
        for name in self._pick(set(self.world.jobs), number):
            self.world.lose_job(name)

    def cancel(self, number: int) -> None:
        cluster = FakeCluster(self.world)
        look = dispatch.look(cluster)
        try:
            action = planner.cancel(REFS[number % 2], look, by="ada", request="")
        except (ConflictError, UsageError):
            return
        if action:
            dispatch.apply(cluster, action, look)

    def pass_time(self, number: int) -> None:
        self.world.pass_time(61)

    def rest(self, code: int) -> None:
        """Let all that is active end with this exit code, and dispatchers do all there is to do."""
        for _ in range(6):
            self.run()
            self.world.pass_time(61)
            self.run()
            for name in self._active() - self._running():
                self.world.run(name)
            for name in self._running():
                self.world.finish(name, code)

    def _pick(self, names: set[str], number: int) -> list[str]:
        return [sorted(names)[number % len(names)]] if names else []

    def _active(self) -> set[str]:
        return {name for name, job in self.world.jobs.items() if job.end is None}

    def _running(self) -> set[str]:
        return {name for name, pods in self.world.pods.items() if any(p.running for p in pods)}

    def attempts(self, ref: Ref) -> dict[int, Entry]:
        return {e.attempt: e for e in self.world.entries.values() if e.ref == ref}


OFTEN = ["run", "start", "finish"]
KINDS = ["write", "remove", "write_list", "drain", "lose", "cancel", "pass_time", *(3 * OFTEN)]
steps = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 19)), max_size=20)
changes = st.lists(
    st.tuples(st.sampled_from(["write", "write", "write_list", "remove"]), st.integers(0, 19)),
    min_size=1,
    max_size=3,
)


SERVES: list[Step] = [("remove", 1), ("run", 0), ("run", 0), ("pass_time", 0), ("run", 0),
                      ("write", 11), ("run", 0), ("start", 1)]  # fmt: skip
GONE: list[Step] = [*SERVES, ("remove", 1), ("run", 0), ("run", 0), ("pass_time", 0), ("run", 0)]


@hypothesis(max_examples=3 * hypothesis().max_examples)
@given(history=steps, change=changes, code=st.integers(0, 1))
@example(history=SERVES, change=[("remove", 1)], code=1)
@example(history=GONE, change=[("write", 11)], code=0)
def test_what_is_foreseen_is_what_the_dispatcher_does_after_the_merge(
    history: list[Step], change: list[Step], code: int
) -> None:
    story = Story()
    for step in [("write", 0), ("write", 1), ("run", 0), *history]:
        story.take(step)
    look = dispatch.look(FakeCluster(story.world))
    before, known = dict(story.branch), {ref: story.attempts(ref) for ref in REFS}
    for name, number in change:
        getattr(story, name)(number)
    merge = a_merge(of(before), of(story.branch))
    seen = preview.foresee(merge, story.desired(), catalog=BUILTIN, document=read_back(look))
    planned = planner.plan(story.desired(), look, b.a_policy(**NEVER)).actions
    opened = {subject(action) for action in planned if isinstance(action, Open)}
    story.rest(code)

    changed = {row.ref for row in seen.rows}
    scripts_of = {beside.owner(path) for path in merge.changes()}
    assert {ref.path for ref in changed} == scripts_of & (before.keys() | story.branch.keys())
    run = {(row.ref, row.attempt) for row in seen.rows if row.will is Will.RUN}
    open_ended = {row.ref for row in seen.rows if row.will is Will.DEPENDS}
    assert {key for key in opened if key[0] in changed and key[0] not in open_ended} <= run
    for row in seen.rows:
        check(row, known[row.ref], story, code)


def check(row: Foreseen, known: dict[int, Entry], story: Story, code: int) -> None:
    """Hold a row against how things stand once all is at rest."""
    attempts = story.attempts(row.ref)
    new = sorted(attempts.keys() - known.keys())
    last = attempts[max(known)] if known else None
    match row.will:
        case Will.RUN:
            assert new == [row.attempt]
            made = attempts[new[0]]
            assert made.blob == story.desired().wanted[row.ref].blob
            assert story.world.runs[made.name] == 1
        case Will.DEPENDS:
            assert len(new) <= 1
            if "If it fails" in row.why:
                assert bool(new) == bool(code)
        case _:
            assert not new
    if row.will is Will.END:
        assert last
        assert last.service
        assert last.outcome
    if row.will is Will.CANCEL:
        assert last
        assert last.outcome
        assert last.outcome.phase is Phase.CANCELLED
    if row.will is Will.GO_ON and "being ended" not in row.why:
        assert last
        assert last.outcome
        assert last.outcome.phase is not Phase.CANCELLED


# --- a job at a time, with a status document -----------------------------------------------------


def seen(*entries: Entry, after: bytes | None = OTHER, **look: Any) -> Foreseen:
    """Return what changing the script (None: removing it) does, with the ledger so."""
    branch = {} if after is None else {PATH: after}
    how = b.observed(entries, now=600, **look)
    return only(foresee({PATH: b.CONTENT}, branch, look=how, author="ada"))


def asking(attempt: int) -> bytes:
    return b"#!/bin/sh\n#DTP attempt=%d\necho better\n" % attempt


def test_what_is_not_in_the_ledger_runs_once() -> None:
    row = seen()
    assert (row.will, row.attempt) == (Will.RUN, 1)
    assert row.why == "A new job: it runs once when this is merged."


FIXED = [
    b.an_outcome(Phase.FAILED),
    b.an_outcome(Phase.ERRORED, before_start=True),
    b.an_outcome(Phase.CANCELLED, before_start=True, why=Why.REMOVED),
    b.an_outcome(Phase.CANCELLED, before_start=True, why=Why.REPLACED),
]
KEPT = [
    b.an_outcome(),
    b.an_outcome(Phase.ERRORED),
    b.an_outcome(Phase.CANCELLED, why=Why.CANCEL),
    b.an_outcome(Phase.LOST),
]


@pytest.mark.parametrize("outcome", FIXED, ids=lambda outcome: f"{outcome.phase} {outcome.why}")
def test_a_change_runs_after_what_it_can_mend(outcome: Outcome) -> None:
    row = seen(ended(outcome=outcome))
    assert (row.will, row.attempt) == (Will.RUN, 2)
    assert row.why.endswith(": this runs as attempt 2.")


@pytest.mark.parametrize("outcome", KEPT, ids=lambda outcome: str(outcome.phase))
def test_a_change_after_any_other_end_does_not_run_and_is_told_how_to(outcome: Outcome) -> None:
    row = seen(ended(outcome=outcome))
    assert (row.will, row.attempt) == (Will.HOLD, None)
    assert "comment `/dtp retry dtp-aws/genome` after the merge" in row.why
    assert "add the line `#DTP attempt=2`" in row.why


def test_an_attempt_asked_for_by_number_runs_after_any_end() -> None:
    row = seen(ended(), after=asking(2))
    assert (row.will, row.attempt) == (Will.RUN, 2)
    assert row.why == "`#DTP attempt=2` asks for it: this runs as attempt 2."


def test_a_number_that_has_run_asks_for_nothing() -> None:
    row = seen(ended(attempt=2), after=asking(2))
    assert row.will is Will.HOLD
    assert "`#DTP attempt=3`" in row.why


def test_bytes_that_ran_do_not_run_again_when_a_change_is_reverted() -> None:
    row = only(foresee({PATH: OTHER}, {PATH: b.CONTENT}, ended()))
    assert row.will is Will.NOTHING
    assert row.why.startswith("Attempt 1 is done, with the same bytes. To run it: comment `/dtp")


def test_a_script_added_again_after_its_removal_does_not_run_by_itself() -> None:
    again = only(foresee({}, {PATH: b.CONTENT}, ended()))
    assert (again.change, again.will) == (Change.ADDED, Will.NOTHING)
    changed = only(foresee({}, {PATH: OTHER}, ended()))
    assert (changed.change, changed.will) == (Change.ADDED, Will.HOLD)


def test_what_waits_is_replaced_by_a_change() -> None:
    row = seen(b.an_entry(waiting="the namespace's quota is full"))
    assert (row.will, row.attempt) == (Will.RUN, 2)
    assert row.why == "Attempt 1 has not started: it is cancelled, and this runs as attempt 2."


def test_what_waits_is_cancelled_by_a_removal() -> None:
    row = seen(b.an_entry(), after=None)
    assert (row.change, row.will) == (Change.REMOVED, Will.CANCEL)


def a_running(**changes: Any) -> tuple[Entry, dict[str, Any]]:
    entry = b.an_entry(job_uid=b.a_job(b.an_entry()).uid, **changes)
    return entry, {"jobs": [b.a_job(entry)], "pods": [b.a_pod(entry, job=b.running())]}


def test_a_service_is_ended_by_a_removal() -> None:
    entry, look = a_running(service=True)
    row = seen(entry, after=None, **look)
    assert row.will is Will.END
    assert row.why == "Attempt 1 is running: a service is ended with its script, and is done then."


def test_a_service_that_was_removed_runs_again_when_it_is_added_again() -> None:
    entry = ended(outcome=b.an_outcome(why=Why.REMOVED), service=True)
    row = only(foresee({}, {PATH: b.CONTENT}, entry))
    assert (row.will, row.attempt) == (Will.RUN, 2)


def test_what_runs_goes_on_after_a_removal_and_it_is_told_how_to_end_it() -> None:
    entry, look = a_running()
    row = seen(entry, after=None, **look)
    assert row.will is Will.GO_ON
    assert row.why == (
        "Attempt 1 is running and goes on; to end it, comment `/dtp cancel dtp-aws/genome`."
    )


def test_a_change_of_what_runs_is_decided_by_how_that_ends() -> None:
    entry, look = a_running()
    row = seen(entry, **look)
    assert row.will is Will.DEPENDS
    assert "If it fails, this runs as attempt 2; else, to run it: comment `/dtp retry" in row.why


def test_a_change_that_asks_for_a_number_runs_when_that_has_ended() -> None:
    entry, look = a_running()
    row = seen(entry, after=asking(3), **look)
    assert (row.will, row.attempt) == (Will.RUN, 3)


def test_a_removal_leaves_what_has_ended_as_it_is() -> None:
    assert seen(ended(), after=None).will is Will.NOTHING
    assert seen(after=None).why == "It has never run here."


@pytest.mark.parametrize(
    ("after", "will", "words"),
    [
        (None, Will.GO_ON, "already."),
        (OTHER, Will.DEPENDS, "If this does not run after that, to run it: comment `/dtp retry"),
        (asking(2), Will.RUN, "when it has ended, this runs as attempt 2."),
    ],
    ids=["removed", "changed", "asked"],
)
def test_what_is_being_ended_is_waited_for(after: bytes | None, will: Will, words: str) -> None:
    entry, look = a_running()
    row = seen(replace(entry, intent=b.an_intent()), after=after, **look)
    assert row.will is will
    assert row.why.startswith("Attempt 1 is being ended")
    assert words in row.why


def test_what_has_ended_and_is_not_settled_yet_counts_as_ended() -> None:
    entry = b.an_entry(job_uid=b.a_job(b.an_entry()).uid)
    job = b.a_job(entry, end=b.an_end("PodFailurePolicy"))
    row = seen(entry, jobs=[job], pods=[b.a_pod(entry, phase="Failed", job=b.ended(7))])
    assert (row.will, row.attempt) == (Will.RUN, 2)


def test_an_invalid_change_takes_back_what_waits_and_not_what_runs() -> None:
    bad = b"#!/bin/sh\n#DTP tme=2h\n"
    assert "Meanwhile attempt 1 is cancelled." in seen(b.an_entry(), after=bad).why
    entry, look = a_running()
    assert "Meanwhile attempt 1 goes on." in seen(entry, after=bad, **look).why


def test_too_many_new_jobs_are_held_as_dispatch_holds_them() -> None:
    many = {
        f"dtp-jobs/dtp-aws/job-{number}.sh": b"#!/bin/sh\n#%d\n" % number for number in range(26)
    }
    told = foresee({}, many, ended())
    assert {row.will for row in told.rows} == {Will.HOLD}
    assert "26 new jobs at once, with max-new 25" in told.rows[0].why
    assert {row.will for row in foresee({}, many, ended(), max_new=26).rows} == {Will.RUN}


def test_words_of_the_cluster_and_of_scripts_do_not_come_into_the_why() -> None:
    hostile = "`</details>` @org/team"
    for entry in (ended(outcome=b.an_outcome(reason=hostile)), b.an_entry(waiting=hostile)):
        for after in (None, OTHER):
            assert "org" not in seen(entry, after=after).why


def test_it_is_told_of_when_the_document_is() -> None:
    assert foresee({}, {PATH: b.CONTENT}, ended()).as_of == "2030-01-02T12:10:00Z"
    assert foresee({}, {PATH: b.CONTENT}).as_of is None


# --- without a document --------------------------------------------------------------------------


def test_without_a_document_a_new_script_runs_once() -> None:
    row = only(foresee({}, {PATH: b.CONTENT}))
    assert (row.change, row.will, row.attempt) == (Change.ADDED, Will.RUN, None)
    assert row.why == "A new job: it runs once when this is merged."


def test_without_a_document_a_new_script_may_ask_for_its_number() -> None:
    assert only(foresee({}, {PATH: asking(4)})).attempt == 4


def test_without_a_document_a_change_depends_on_the_last_run() -> None:
    row = only(foresee({PATH: b.CONTENT}, {PATH: OTHER}))
    assert (row.change, row.will) == (Change.CHANGED, Will.DEPENDS)
    assert row.why == (
        "If its last attempt failed or is done with doubts, this runs; if it succeeded, it does"
        " not: comment `/dtp retry dtp-aws/genome` after the merge, or add the line"
        " `#DTP attempt=2` (or a higher number)."
    )


def test_without_a_document_it_is_said_what_a_number_does() -> None:
    row = only(foresee({PATH: b.CONTENT}, {PATH: asking(3)}))
    assert row.will is Will.DEPENDS
    assert row.why.startswith("If its last attempt is below 3, this runs as attempt 3. If its last")
    assert row.why.endswith("`#DTP attempt=4`.")


def test_without_a_document_a_removal_depends_on_the_start() -> None:
    row = only(foresee({PATH: b.CONTENT}, {}))
    assert (row.change, row.will) == (Change.REMOVED, Will.DEPENDS)
    assert row.why == (
        "If it has not started, it is cancelled; a service is ended; what else is running goes on,"
        " and `/dtp cancel dtp-aws/genome` ends it."
    )


def test_without_a_document_too_many_new_scripts_are_held() -> None:
    many = {
        f"dtp-jobs/dtp-aws/job-{number}.sh": b"#!/bin/sh\n#%d\n" % number for number in range(26)
    }
    assert {row.will for row in foresee({}, many).rows} == {Will.HOLD}
    some = dict(list(many.items())[:25])
    assert {row.will for row in foresee({}, some).rows} == {Will.RUN}


def test_the_x_bit_never_matters() -> None:
    for document in (None, read_back(b.observed([ended()], now=600))):
        merge = a_merge([a_file(PATH)], [a_file(PATH, mode=0o100755)])
        row = only(judged(merge, document))
        assert (row.change, row.will) == (Change.MODE, Will.NOTHING)


# --- renamed and copied, just to run again -------------------------------------------------------


def kidney(number: int | str = "") -> str:
    return f"dtp-jobs/dtp-aws/kidney{number}.sh"


def test_a_renamed_script_is_led_to_the_retry_of_its_job() -> None:
    told = foresee({kidney(): b.CONTENT}, {kidney(2): b.CONTENT})
    gone, row = told.rows
    assert (gone.change, gone.copy_of) == (Change.REMOVED, None)
    assert (row.will, str(row.copy_of)) == (Will.RUN, "dtp-aws/kidney")
    assert row.why == (
        "The same bytes as `dtp-aws/kidney`: under another name it is another job, with a directory"
        " of its own. To run `dtp-aws/kidney` again: keep the name `dtp-aws/kidney` and comment"
        " `/dtp retry dtp-aws/kidney` after the merge, or add the line `#DTP attempt=2`."
    )


def test_with_a_document_the_number_is_that_of_the_next_attempt() -> None:
    last = ended(ref="dtp-aws/kidney", attempt=4)
    row = foresee({kidney(): b.CONTENT}, {kidney(2): b.CONTENT}, last).rows[1]
    assert row.why.endswith("`#DTP attempt=5`.")


def test_a_copy_of_a_script_that_stays_is_told_too() -> None:
    row = only(foresee({kidney(): b.CONTENT}, {kidney(): b.CONTENT, kidney(2): b.CONTENT}))
    assert str(row.copy_of) == "dtp-aws/kidney"
    assert "again: comment `/dtp retry dtp-aws/kidney`" in row.why


def test_of_copies_added_together_the_first_is_the_original() -> None:
    told = foresee({}, {kidney(number): b.CONTENT for number in (2, 3, 4, 5)})
    assert [str(row.copy_of) for row in told.rows] == ["None", *["dtp-aws/kidney2"] * 3]


def test_a_copy_of_what_ran_and_left_the_branch_long_ago_is_found_in_the_ledger() -> None:
    row = only(foresee({}, {kidney(2): b.CONTENT}, ended(ref="dtp-aws/kidney")))
    assert str(row.copy_of) == "dtp-aws/kidney"
    assert "keep the name" in row.why


def test_the_same_bytes_under_seven_protocols_are_seven_jobs() -> None:
    names = ("aws", "gcp", "rclone", "local", "minio", "sra-tools", "ndn")
    told = foresee({}, {f"dtp-jobs/dtp-{name}/test.sh": b.CONTENT for name in names})
    assert [row.copy_of for row in told.rows] == [None] * 7
    assert {row.why for row in told.rows} == {"A new job: it runs once when this is merged."}


# --- findings ------------------------------------------------------------------------------------

BAD = b"#!/bin/sh\n#DTP tme=2h\n"
AWKWARD = ["endpoint_setup_reed", "A", "a.b-c_D", "x" * 100]
DANGEROUS = ["-rf", "a b", "génome", "a\nb", "$(reboot)", "x" * 200, "\udcff"]


def test_what_is_rejected_cannot_run_and_says_where() -> None:
    told = foresee({PATH: b.CONTENT}, {PATH: BAD}, ended())
    row = only(told)
    assert (row.will, row.attempt, row.image) == (Will.REJECT, None, "")
    assert [(f.line, f.code, f.fix) for f in row.findings] == [
        (2, "directive-unknown", "#DTP time=2h")
    ]
    assert told.rejected


def test_what_a_reviewer_does_not_see_is_named_and_not_shown() -> None:
    told = foresee({}, {PATH: "#!/bin/sh\n# \x1b[8m\u202e\u200b\necho\n".encode()})
    assert (only(told).will, told.rejected) == (Will.REJECT, True)
    text = comment.preview(told, cluster="nautilus", run_url="")
    for name in ("U+001B ESCAPE", "U+202E RIGHT-TO-LEFT OVERRIDE", "U+200B ZERO WIDTH SPACE"):
        assert name in text.replace(markdown.GAP, "")
    assert all(char.isprintable() for char in set(text) - {"\n", markdown.GAP})


def test_a_warning_rejects_nothing() -> None:
    told = foresee({}, {PATH: b"echo hello\n"})
    assert [finding.code for finding in only(told).findings] == ["no-shebang"]
    assert (only(told).will, told.rejected) == (Will.RUN, False)


def test_findings_of_what_does_not_change_are_left_out() -> None:
    before = {PATH: BAD, "dtp-jobs/dtp-aws/notes.txt": b"x"}
    told = foresee(before, before | {"dtp-jobs/dtp-aws/new.sh": b.CONTENT})
    assert [str(row.ref) for row in told.rows] == ["dtp-aws/new"]
    assert told.all_findings == ()


def test_changed_files_that_are_no_scripts_are_told_without_a_row() -> None:
    told = foresee({}, {"dtp-jobs/dtp-aws/notes.txt": b"x", "dtp-jobs/dtp-aws/README.md": b"x"})
    assert told.rows == ()
    assert [finding.code for finding in told.findings] == ["not-a-script"]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_valid_name_is_previewed_however_awkward(name: str) -> None:
    assert only(foresee({}, {f"dtp-jobs/dtp-aws/{name}.sh": b.CONTENT})).will is Will.RUN


@pytest.mark.parametrize("name", DANGEROUS)
def test_a_dangerous_name_is_rejected_with_the_reason(name: str) -> None:
    told = foresee({}, {f"dtp-jobs/dtp-aws/{name}.sh": b.CONTENT})
    assert told.rejected
    assert told.rows == ()
    assert [finding.code for finding in told.findings] == ["name"]
    assert told.findings[0].path.isprintable()


def test_two_names_that_slug_alike_are_two_jobs() -> None:
    names = ("a_b", "a-b")
    told = foresee({}, {f"dtp-jobs/dtp-aws/{name}.sh": name.encode() for name in names})
    assert [row.will for row in told.rows] == [Will.RUN, Will.RUN]


def test_a_script_that_becomes_a_link_is_rejected_though_its_bytes_stay() -> None:
    row = only(judged(a_merge([a_file(PATH)], [a_file(PATH, mode=0o120000)])))
    assert (row.change, row.will) == (Change.CHANGED, Will.REJECT)


def test_a_link_that_stays_is_no_change() -> None:
    link = a_file(PATH, mode=0o120000)
    assert judged(a_merge([link], [link])).rows == ()


def test_that_the_syntax_was_not_checked_is_told() -> None:
    note = Finding(path="dtp-jobs", code="syntax-unchecked", message="bash is not installed here")
    merge = a_merge([], [a_file(PATH)])
    desired = scripts.reject(wanted(merge), [replace(note, severity=Severity.WARNING)])
    told = preview.foresee(merge, desired, catalog=BUILTIN)
    assert [finding.code for finding in told.findings] == ["syntax-unchecked"]


# --- what it may use -----------------------------------------------------------------------------

GREEDY = b"#!/bin/sh\n#DTP cpu=500m memory=4Gi time=90m retries=2 resume=yes secret=lab-key\n"
GRANTED = {"lab-key": ("Ada",)}


def test_limits_are_told_in_the_words_of_the_directives() -> None:
    row = only(foresee({}, {PATH: GREEDY}))
    assert row.limits == "500m CPU, 4Gi memory, 10Gi disk, 90m"
    assert row.image == BUILTIN.rows["aws"].image
    assert (row.retries, row.resume) == (2, True)


def test_a_service_that_asks_for_no_time_has_the_clusters_cap_known_or_not() -> None:
    service = {"dtp-jobs/dtp-rclone/serve.sh": b"#!/bin/sh\n#DTP kind=service\n"}
    row = only(foresee({}, service))
    assert row.limits == "1 CPU, 2Gi memory, 10Gi disk, the cluster's cap of time"
    assert row.why == "A new service: it starts when this is merged."
    look = b.observed(now=600)
    row = only(foresee({}, service, look=look, settings={"caps": Caps(time=7200)}))
    assert row.limits == "1 CPU, 2Gi memory, 10Gi disk, 2h"


def test_defaults_give_way_to_the_caps_that_the_document_tells() -> None:
    look = b.observed(now=600)
    row = only(foresee({}, {PATH: b.CONTENT}, look=look, settings={"caps": Caps(memory=2**30)}))
    assert row.limits == "1 CPU, 1Gi memory, 10Gi disk, 1d"


def test_what_is_over_a_cap_of_the_document_cannot_run() -> None:
    look, tight = b.observed(now=600), {"caps": Caps(memory=2**30), "grants": GRANTED}
    row = only(foresee({}, {PATH: GREEDY}, look=look, settings=tight, author="ada"))
    assert row.will is Will.REJECT
    assert "cap of 1Gi" in row.findings[0].message


def test_an_image_that_the_cluster_does_not_allow_cannot_run() -> None:
    look = b.observed(now=600)
    told = foresee({}, {PATH: b.CONTENT}, look=look, settings={"images": ("ghcr.io/",)})
    assert [finding.code for finding in only(told).findings] == ["image"]


def test_a_secret_is_listed_where_it_is_granted_to_the_author() -> None:
    look = b.observed(now=600)
    row = only(foresee({}, {PATH: GREEDY}, look=look, settings={"grants": GRANTED}, author="ada"))
    assert (row.will, row.secrets) == (Will.RUN, ("dtp-aws", "dtp-aws-lab-key"))
    assert "granted" not in row.why


def test_a_secret_that_is_not_granted_to_the_author_keeps_it_from_running() -> None:
    look = b.observed(now=600)
    told = foresee({}, {PATH: GREEDY}, look=look, settings={"grants": GRANTED}, author="eve")
    assert only(told).will is Will.REJECT
    assert [finding.code for finding in only(told).findings] == ["secret-grant"]


def test_a_grant_that_cannot_be_judged_is_told_as_a_condition() -> None:
    told = [
        foresee({}, {PATH: GREEDY}, author="eve"),
        foresee({}, {PATH: GREEDY}, look=b.observed(), settings={"grants": GRANTED}),
    ]
    for one in told:
        assert (only(one).will, only(one).secrets) == (Will.RUN, ("dtp-aws", "dtp-aws-lab-key"))
        assert only(one).why.endswith(
            " The cluster's admin has to have granted `lab-key` to the author."
        )


# --- the branch's own rows -----------------------------------------------------------------------

SITE = "dtp-jobs/catalog.yaml"
ROWS = b"version: 1\nprotocols:\n  aws: {memory: 3Gi}\n"


def test_the_rows_of_the_pull_request_count_and_their_change_is_told() -> None:
    told = foresee({}, {SITE: ROWS, PATH: b.CONTENT})
    assert "3Gi memory" in only(told).limits
    assert [(f.code, f.severity) for f in told.findings] == [("catalog", Severity.WARNING)]
    assert told.findings[0].message == ("changes aws: that counts for attempts yet to be recorded")
    assert foresee({SITE: ROWS}, {SITE: ROWS, PATH: b.CONTENT}).findings == ()


def test_rows_that_cannot_be_read_are_an_error_and_those_of_before_count() -> None:
    told = foresee({SITE: ROWS}, {SITE: b"version: 1\nprotocls:\n", PATH: b.CONTENT})
    assert "3Gi memory" in only(told).limits
    assert told.rejected
    assert told.nothing_starts
    assert told.findings[0].message == (
        "unknown key `protocls`; did you mean `protocols`?: no job starts until that is corrected"
    )


@pytest.mark.parametrize(
    "file",
    [
        File(path=SITE, mode=0o120000, blob="1", size=4),
        File(path=SITE, mode=0o160000, blob="1"),
        File(path=SITE, mode=0o100644, blob="1", size=300 * 1024),
    ],
    ids=["link", "submodule", "large"],
)
def test_rows_that_are_no_plain_file_are_an_error(file: File) -> None:
    told = judged(a_merge([], [file]))
    assert "is not a plain file of at most 256 KiB" in told.findings[0].message
    assert told.rejected


def test_rows_removed_or_broken_before_are_told_as_a_change() -> None:
    (finding,) = foresee({SITE: ROWS}, {}).findings
    assert finding.message.startswith("changes aws:")
    assert not foresee({SITE: b"?"}, {}).rejected


def rows(text: str) -> bytes:
    return f"version: 1\nprotocols:\n{text}".encode()


def catalog_change(before: str, after: str, *refs: str) -> dict[str, Any]:
    """Return what is told of a change of the rows, by protocol: settings and jobs."""
    branch = {f"dtp-jobs/{ref}.sh": b.CONTENT for ref in refs}
    told = foresee(branch | {SITE: rows(before)}, branch | {SITE: rows(after)})
    return {
        one.protocol: (
            {setting.key: (setting.before, setting.after) for setting in one.settings},
            [str(ref) for ref in one.jobs],
        )
        for one in told.catalog
    }


AWS, HTTP = f"example.org/aws@{b.DIGEST}", f"example.org/http@{b.DIGEST}"
OF_AWS = BUILTIN.rows["aws"].image


@pytest.mark.parametrize(
    ("before", "after", "settings"),
    [
        ("", f"  aws: {{image: '{AWS}'}}", {"image": (OF_AWS, AWS)}),
        ("  aws: {uid: 1000}", "  aws: {uid: 2000}", {"uid": ("1000", "2000")}),
        ("", "  aws: {memory: 8Gi, time: 2d}", {"memory": ("2Gi", "8Gi"), "time": ("1d", "2d")}),
        ("", "  aws: {env: {LANG: C}}", {"env LANG": (None, "C")}),
        (
            "  aws: {env: {A: x, B: '1'}}",
            "  aws: {env: {A: y}}",
            {"env A": ("x", "y"), "env B": ("1", None)},
        ),
        ("  aws: {transient: {7: a}}", "  aws: {transient: {7: b}}", {"transient 7": ("a", "b")}),
        ("", "  aws: {off: true}", {"protocol": ("on", "switched off")}),
        ("", "  aws: {doc: other}", None),
    ],
)
def test_a_change_of_the_catalog_is_told_setting_by_setting_with_the_jobs_it_touches(
    before: str, after: str, settings: dict[str, Any] | None
) -> None:
    told = catalog_change(before, after, "dtp-aws/a", "dtp-aws/b", "dtp-rclone/c")
    assert told == ({"aws": (settings, ["dtp-aws/a", "dtp-aws/b"])} if settings else {})


def test_a_protocol_that_comes_or_goes_is_told() -> None:
    told = catalog_change("", f"  new: {{image: '{AWS}'}}", "dtp-new/a")
    settings, jobs = told["new"]
    assert settings["protocol"] == (None, "on")
    assert settings["image"] == (None, AWS)
    assert jobs == ["dtp-new/a"]
    gone, _ = catalog_change(f"  new: {{image: '{AWS}'}}", "  aws: {uid: 1000}")["new"]
    assert gone["protocol"] == ("on", None)


def test_an_alias_that_moves_takes_its_jobs_along() -> None:
    both = "  one: {{image: '{}', aliases: [{}]}}\n  two: {{image: '{}', aliases: [{}]}}"
    told = catalog_change(
        both.format(AWS, "x", HTTP, "y"), both.format(AWS, "y", HTTP, "x"), "dtp-x/a", "dtp-one/b"
    )
    assert told["one"] == ({"aliases": ("x", "y")}, ["dtp-x/a"])
    assert told["two"] == ({"aliases": ("y", "x")}, ["dtp-x/a"])


def test_scripts_that_the_catalog_lets_run_now_run_when_it_is_merged() -> None:
    off, on = ({SITE: rows(f"  aws: {{off: {how}}}"), PATH: b.CONTENT} for how in ("true", "false"))
    entry = b.an_entry("dtp-rclone/other", outcome=b.an_outcome())
    row = only(foresee(off, on, entry))
    assert (row.change, row.will, row.attempt) == (Change.CATALOG, Will.RUN, 1)
    assert "The changed catalog allows it" in row.why
    row = only(foresee(off, on))
    assert (row.change, row.will) == (Change.CATALOG, Will.DEPENDS)
    row = only(foresee(on, off, ended()))
    assert (row.change, row.will) == (Change.CATALOG, Will.REJECT)
    assert "switched off" in row.findings[0].message


def test_a_change_that_lets_nothing_more_run_has_no_row() -> None:
    told = foresee({PATH: b.CONTENT}, {SITE: rows("  aws: {uid: 7}"), PATH: b.CONTENT})
    assert told.rows == ()
    assert told.catalog


def test_a_merge_with_conflicts_is_rejected_and_names_its_commits() -> None:
    merge = replace(a_merge([], of({PATH: b.CONTENT})), base="b" * 40, conflicts=("README.md",))
    told = judged(merge)
    assert told.rejected
    assert (told.commit, told.base, told.conflicts) == (b.COMMIT, "b" * 40, ("README.md",))


def test_a_secret_in_the_rows_is_not_repeated() -> None:
    key = "AKIA" + "Z" * 16
    told = foresee({}, {SITE: f"version: {key}\n".encode()})
    assert told.rejected
    assert key not in told.findings[0].message


# --- for machines --------------------------------------------------------------------------------


def test_the_json_form_is_plain() -> None:
    told = foresee({kidney(): b.CONTENT}, {kidney(2): b.CONTENT, "dtp-jobs/x.txt": b"x"})
    form = json.loads(json.dumps(preview.dump(told)))
    assert set(form) == {
        "as_of", "commit", "base", "conflicts", "disabled", "jobs", "catalog", "findings",
    }  # fmt: skip
    assert form["jobs"][1] | {"why": ""} == {
        "ref": "dtp-aws/kidney2",
        "change": "added",
        "will": "runs",
        "why": "",
        "blob": b.a_blob(),
        "attempt": None,
        "image": BUILTIN.rows["aws"].image,
        "limits": "1 CPU, 2Gi memory, 10Gi disk, 1d",
        "secrets": ["dtp-aws"],
        "retries": 0,
        "resume": False,
        "service": False,
        "findings": [],
        "copy_of": "dtp-aws/kidney",
        "files": [],
    }
    assert form["findings"][0]["code"] == "not-a-script"
