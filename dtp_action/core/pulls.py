"""Which pull request brought a script, and what to write on which: decided here, done elsewhere.

Knows git's first-parent line and GitHub's facts as values, neither git nor GitHub. A wrong pull
request is worse than none: nothing here guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Protocol
from urllib.parse import quote

from dtp_action.core.model import Origin, Place

# --- which pull request? -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Step:
    """One commit of a branch's first-parent line. Times are in seconds since 1970.

    Merging by rebase keeps when it was authored; `committed` is when it came to be as it is.
    """

    sha: str
    parents: tuple[str, ...]
    authored: int
    committed: int = 0


@dataclass(frozen=True, kw_only=True)
class History:
    """How some paths came to the branch.

    `commits` holds, for each path that is there, the commit of the line that brought its present
    bytes, None where a shallow clone does not reach back to it. `line` is the first-parent line,
    newest first, down to the oldest of these.
    """

    commits: Mapping[str, str | None]
    line: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A pull request that GitHub links with a commit.

    `authored` are the author times of its commits, oldest first: merging by rebase keeps them, and
    leaves out commits that are merges or have become empty. A login is None where the account is
    gone; a bot's ends with `[bot]`.
    """

    number: int
    author: str | None
    merged_by: str | None
    merged: bool
    base: str  # the branch it was merged into
    head: str  # its last commit
    merge_commit: str | None
    authored: tuple[int, ...] = ()


# GitHub links a merge commit with its pull request some seconds after the merge, in bad hours some
# minutes. A schedule of 15 minutes asks once before this, at the most, and once after.
BELIEVED = timedelta(minutes=10)
YOUNG = timedelta()


def origin(
    commit: str,
    branch: str,
    candidates: Iterable[Candidate],
    line: Sequence[Step],
    age: timedelta = YOUNG,
) -> Origin:
    """Return where the commit came from: the one pull request that brought it, or none.

    `age`: for how long, at least, the commit had been on the branch when GitHub was asked. None is
    believed only of an old one, and where the line shows that no rebase brought it.
    """
    merged = [pull for pull in candidates if pull.merged and pull.base == branch]
    found = [pull for pull in merged if pull.merge_commit == commit]
    if len(found) > 1:  # one merge commit closes stacked pull requests: its other parent says which
        parents = {parent for step in line if step.sha == commit for parent in step.parents}
        found = [pull for pull in found if pull.head in parents]
    found = found or [pull for pull in merged if commit in _rebased(pull, line)]
    if len(found) != 1:
        whole = not merged or any(step.sha == commit for step in line)
        return Origin(commit=commit, asked=whole and age >= BELIEVED)
    return Origin(
        commit=commit,
        pull_request=found[0].number,
        author=found[0].author,
        merged_by=found[0].merged_by,
        asked=True,
    )


def _rebased(pull: Candidate, line: Sequence[Step]) -> set[str]:
    """Return the commits that merging by rebase put on the line: the last is the merge commit.

    A squashed one has an author time of its own, so that nothing below it is taken for a part.
    """
    shas = [step.sha for step in line]
    start = shas.index(pull.merge_commit) if pull.merge_commit in shas else len(shas)
    left, found = list(pull.authored), set()
    for step in line[start:]:
        if step.authored not in left or len(step.parents) > 1:
            break
        found.add(step.sha)
        while left.pop() != step.authored:  # those left out
            pass
    return found


# --- whose word is taken for how jobs stand? -----------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class WorkflowRun:
    """A run of a workflow. Of a pushed tag `branch` is the tag's name, None where it is gone."""

    id: int
    event: str
    branch: str | None
    commit: str
    here: bool  # for this repository's own commit, not a fork's


# What runs what a branch has; others (a pull request, the end of its run) may run anybody's code.
OF_A_BRANCH = ("push", "schedule", "workflow_dispatch", "repository_dispatch")


def dispatches(
    runs: Iterable[WorkflowRun], branches: Collection[str], holds: Callable[[str, str], bool]
) -> Iterator[WorkflowRun]:
    """Yield the runs that one of these branches' own workflow file made.

    `holds` tells whether a branch has a commit: a tag may be called like a branch.
    """
    for run in runs:
        named = run.branch in branches and run.event in OF_A_BRANCH
        if run.here and named and holds(run.branch or "", run.commit):
            yield run


ACTIVE = "active"


@dataclass(frozen=True, kw_only=True)
class Disabled:
    """A workflow that GitHub does not run now; `state` is GitHub's word for why."""

    workflow: str  # its file
    state: str
    starts: bool  # a merge starts this one; another only records results


# --- what to write -------------------------------------------------------------------------------


def marker(*names: str) -> str:
    """Return the hidden first line by which a comment of ours is found again.

    The names (what it is for, the cluster, what else makes it the only one) may be any text.
    """
    quoted = (quote(name, safe="").replace("-", "%2D") for name in names)
    return f"<!-- dtp-requests {' '.join(quoted)} -->"


@dataclass(frozen=True, kw_only=True)
class Comment:
    """A comment that our own account wrote."""

    id: int
    number: int  # of the pull request
    body: str
    url: str


class State(StrEnum):
    """What a commit status can say."""

    ERROR = "error"
    FAILURE = "failure"
    PENDING = "pending"
    SUCCESS = "success"


@dataclass(frozen=True, kw_only=True)
class CommitStatus:
    """A commit status: `description` holds at most 140 characters."""

    context: str
    state: State
    description: str
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What we show now: our comments by pull request, oldest first, and our status by commit.

    A pull request that is not there is missing. `public` is also true where nobody asked.
    """

    comments: Mapping[int, tuple[Comment, ...]] = field(default_factory=dict)
    statuses: Mapping[str, CommitStatus] = field(default_factory=dict)
    public: bool = True  # anybody may read the repository


@dataclass(frozen=True, kw_only=True)
class Say:
    """Write a new comment; its first line is the marker, which nothing of ours there bears yet."""

    number: int
    marker: str
    text: str

    @property
    def body(self) -> str:
        """The whole comment."""
        return f"{self.marker}\n{self.text}"


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Rewrite a comment of ours."""

    comment: Comment
    say: Say


@dataclass(frozen=True, kw_only=True)
class Remove:
    """Delete a comment of ours that says again what another one says."""

    comment: Comment


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Set a commit status."""

    commit: str
    status: CommitStatus


Write = Say | Edit | Remove | Mark


def sticky(say: Say, shown: Shown) -> list[Write]:
    """Return what makes `say` the one comment with its marker: none where it stands already."""
    there = _marked(say, shown)
    if not there:
        return once(say, shown)
    edits = [] if _same(there[0].body, say.body) else [Edit(comment=there[0], say=say)]
    return [*edits, *(Remove(comment=comment) for comment in there[1:])]


def once(say: Say, shown: Shown) -> list[Write]:
    """Return the comment to write unless one with its marker was ever written; none is edited."""
    return [] if say.number not in shown.comments or _marked(say, shown) else [say]


def mark(commit: str, status: CommitStatus, shown: Shown, url: str = "") -> list[Write]:
    """Return the status to set, unless the commit says so already, and leads to the same comment.

    `url`: where a status leads that has no comment to lead to; any address is as good as that.
    """
    there = shown.statuses.get(commit)
    if there and there == replace(status, url=status.url or there.url):
        return []
    return [Mark(commit=commit, status=replace(status, url=status.url or url))]


def _marked(say: Say, shown: Shown) -> list[Comment]:
    ours = shown.comments.get(say.number, ())
    return [comment for comment in ours if comment.body.startswith(say.marker)]


def _same(there: str, wanted: str) -> bool:
    """Tell whether GitHub shows the same: it may give back other line ends."""
    return there.replace("\r\n", "\n").rstrip() == wanted.rstrip()


# --- what dispatch needs of GitHub ---------------------------------------------------------------


class Permission(StrEnum):
    """What somebody may do in the repository; maintain counts as write, triage as read."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    @property
    def writes(self) -> bool:
        """True where the user may push."""
        return self in (Permission.WRITE, Permission.ADMIN)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A comment that may hold a command, as GitHub has it now. Its text is anybody's.

    `number`, `base` and `pull_author` are None on an issue that is no pull request.
    """

    id: int
    author: str | None
    human: bool
    edited: bool
    body: str
    number: int | None
    pull_author: str | None
    base: str | None  # the branch that the pull request is for
    merged: bool


@dataclass(frozen=True, kw_only=True)
class OpenPull:
    """An open pull request."""

    number: int
    base: str
    author: str | None


class Pulls(Protocol):
    """What is needed of GitHub, in one repository.

    Each call may raise GitHubRefusedError (no use in trying again) or UnavailableError (the next
    run heals it). Nothing is written twice, also where an answer is lost.
    """

    def candidates(self, commits: Iterable[str]) -> Mapping[str, tuple[Candidate, ...]]:
        """Return the pull requests linked with each commit: one request per 50."""

    def shown(self, numbers: Iterable[int], commits: Iterable[str], context: str) -> Shown:
        """Return our comments on these pull requests and our status on these commits.

        One request, but for pull requests of more than 100 comments, or more than 50 of them.
        """

    def write(self, write: Write) -> str:
        """Carry out one step; return the address of the comment or ''."""

    def permission(self, login: str) -> Permission:
        """Return what a user may do."""

    def asked(self, node_id: str) -> Asked | None:
        """Return a comment by its node id; None where it is gone, or in another repository."""

    def acknowledge(self, asked: Asked) -> None:
        """Put 👀 on a comment; a second time changes nothing."""

    def open_pulls(self, head: str, branch: str) -> tuple[OpenPull, ...]:
        """Return the open pull requests whose last commit is `head`, on a branch so named.

        The branch may lie in any fork, and may be proposed to several branches of ours.
        """

    def place(self, commit: str, branch: str) -> Place:
        """Return where a commit is on a branch as that is now."""

    def workflow_state(self, workflow: str) -> str | None:
        """Return the state of the workflow in a file of this name; None where there is none."""

    def runs(self, workflow: str) -> tuple[WorkflowRun, ...]:
        """Return the last runs of the workflow in a file of this name, newest first."""

    def status_document(self, run: WorkflowRun, artifact: str) -> bytes | None:
        """Return `status.json` of a run's newest artifact of this name; None without one."""
