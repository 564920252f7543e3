"""The words of this project as values: jobs, attempts, what the cluster shows, what to do.

Knows neither Kubernetes' wire format (adapters translate) nor any rule (phases and planner judge).
Times are aware UTC datetimes, durations whole seconds, sizes bytes unless the name says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, order=True)
class Ref:
    """Names a job: `dtp-<protocol>/<job>`, its script's path without `dtp-jobs/` and `.sh`."""

    protocol: str
    job: str

    PATTERN = re.compile(
        r"dtp-([a-z0-9](?:[a-z0-9-]{0,29}[a-z0-9])?)/([A-Za-z0-9][A-Za-z0-9._-]{0,99})"
    )

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read a ref as people type it: `dtp-aws/a`, also as path `dtp-jobs/dtp-aws/a.sh`.

        Raises ValueError when it names no job.
        """
        stem = text.removeprefix("./").removeprefix("dtp-jobs/").removesuffix(".sh")
        match = cls.PATTERN.fullmatch(stem)
        if not match:
            raise ValueError(f"{text!r} is not a job; a job is dtp-<protocol>/<job>")
        return cls(*match.groups())

    def __str__(self) -> str:
        return f"dtp-{self.protocol}/{self.job}"

    @property
    def path(self) -> str:
        """The script's path in the repository."""
        return f"dtp-jobs/{self}.sh"

    @property
    def directory(self) -> str:
        """The job's directory, relative to the root of the workspace."""
        return f"dtp-jobs/{self}"


# --- what the branch asks ------------------------------------------------------------------------


class Severity(StrEnum):
    """An error keeps a script from running, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


AUTHOR_UNKNOWN = "author-unknown"  # code of what keeps a script from running for now


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """One remark on one place of a script: what, why, and the corrected line where there is one."""

    path: str
    line: int = 0  # from 1; 0 where the remark is about the whole file
    column: int = 0
    code: str
    severity: Severity = Severity.ERROR
    message: str
    fix: str = ""


class Notify(StrEnum):
    """When the author is mentioned."""

    END = "end"
    FAIL = "fail"
    NEVER = "never"


@dataclass(frozen=True, kw_only=True)
class Directives:
    """The `#DTP` lines of a script; None where the script leaves it to the protocol's row."""

    cpu_millis: int | None = None
    memory: int | None = None
    disk: int | None = None
    time: int | None = None
    retries: int = 0
    resume: bool = False
    attempt: int | None = None
    secrets: tuple[str, ...] = ()
    notify: Notify = Notify.END
    service: bool = False  # kind=service: it runs until it is asked to end
    manifest: bool = False


@dataclass(frozen=True, kw_only=True, order=True)
class JobFile:
    """A file beside a script: its path below `<job>.d/`, and its bytes, which may be secret."""

    path: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script that may run: checked, with its directives read.

    `blob` is git's id of the bytes; where there are files, that of a tree of script and files.
    """

    ref: Ref
    content: bytes
    blob: str
    directives: Directives
    files: tuple[JobFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One job that the branch asks for. Rejected when `script` is None: the findings say why."""

    ref: Ref
    path: str
    blob: str
    script: Script | None
    findings: tuple[Finding, ...] = ()
    # What a shell can be asked about, also of a rejected script: it may hold a secret, so no repr.
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an attempt's bytes came from. What is None is not known.

    `asked` tells that nothing more is to be learnt: no pull request is then a direct push.
    """

    commit: str
    pull_request: int | None = None
    author: str | None = None
    merged_by: str | None = None
    asked: bool = False


@dataclass(frozen=True, kw_only=True)
class Desired:
    """Everything that one commit of the branch asks for."""

    commit: str
    wanted: dict[Ref, Wanted]
    findings: tuple[Finding, ...] = ()  # about paths that name no job


@dataclass(frozen=True, kw_only=True)
class Note:
    """A job that the branch asks for and that does not run: `state` is "held" or "rejected"."""

    ref: str
    state: str
    reason: str
    path: str = ""
    line: int = 0
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Meanings:
    """What exit codes mean: whichever program ended with them, and by program."""

    general: Mapping[int, str] = field(default_factory=dict)
    tools: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


class Place(StrEnum):
    """Where a commit is on its branch."""

    NEWEST = "newest"
    BEHIND = "behind"
    OFF = "off"  # it is not on the branch any more, or not yet


# --- the ledger ----------------------------------------------------------------------------------


class Phase(StrEnum):
    """Where an attempt stands; each blames the right party."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ERRORED = "ERRORED"
    CANCELLED = "CANCELLED"
    LOST = "LOST"

    @property
    def shown(self) -> str:
        """The word that people read."""
        return "done" if self is Phase.SUCCEEDED else self.lower()

    @property
    def ended(self) -> bool:
        """True when no more is to come."""
        return self not in (Phase.WAITING, Phase.RUNNING)


class Why(StrEnum):
    """Why an attempt is being ended by us."""

    CANCEL = "cancel"  # somebody asked
    REPLACED = "replaced"  # the script changed before it started
    REMOVED = "removed"  # the script left the branch before it started
    STUCK = "stuck"  # it could not start within its limit
    REFUSED = "refused"  # the cluster would not have its Job


@dataclass(frozen=True, kw_only=True)
class Intent:
    """The recorded decision to end an attempt: written before anything is done about it."""

    why: Why
    by: str
    at: datetime
    reason: str = ""
    request: str = ""
    started: datetime | None = None  # the script's start, where it had started by then


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where an attempt stands, as far as anyone can tell."""

    phase: Phase
    reason: str
    exit_code: int | None = None
    started: datetime | None = None
    finished: datetime | None = None
    before_start: bool = False  # True only where it is certain that the script never started
    why: Why | None = None
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()  # why a script that ended with 0 may not have done its work
    program: str = ""  # whose exit code it is, where the shell said so
    received: int | None = None  # network bytes of the Pod
    sent: int | None = None
    starts: int | None = None  # how often the script was started in this attempt
    new_files: int | None = None  # that appeared or changed in the job's directory
    new_bytes: int | None = None
    at_least: bool = False  # those two were counted for as long as there was time
    manifest: str = ""  # SHA-256 of the list of the new files
    settled: datetime | None = None  # when the outcome was written, which may be long after
    hopeless: bool = False  # it waits for what will not mend itself


Outcome = Status  # of an attempt that has ended: written into its entry once, never changed


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One path of the workspace as a job sees it; '' is its root."""

    path: str
    read_only: bool = True


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The resolved settings of one attempt: beside the script's bytes, all its Job depends on."""

    image: str
    uid: int
    cpu_millis: int
    memory: int
    disk: int
    time: int
    retries: int
    resume: bool
    transient: tuple[int, ...]
    env: dict[str, str]
    secrets: tuple[str, ...]  # names of Kubernetes Secrets; one that is missing is no error
    claim: str
    mounts: tuple[Mount, ...]
    runner_image: str
    service_account: str
    groups: tuple[int, ...]
    queue_allowance: int
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    dns_policy: str = "ClusterFirst"
    queue: str = ""
    service: bool = False
    manifest: bool = False
    offers: tuple[Mount, ...] = ()  # what a service may offer to others
    files: tuple[str, ...] = ()  # paths of the files beside the script, in the entry's order
    tool_transient: tuple[str, ...] = ()  # TOOL:CODE, where only that program's code is transient
    network: bool = True  # False: its transfers stay within the workspace

    @property
    def retried(self) -> tuple[int, ...]:
        """The exit codes after which a Pod may be followed by another."""
        of_tools = (int(one.rpartition(":")[2]) for one in self.tool_transient)
        return tuple(sorted({*self.transient, *of_tools}))


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An attempt about to be recorded, under the name that is its lock."""

    name: str
    ref: Ref
    attempt: int
    blob: str
    origin: Origin
    notify: Notify
    script: bytes
    spec: Spec
    created: datetime
    run: str = ""
    request: str = ""
    adopted: bool = False
    files: tuple[JobFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One attempt as the ledger's index shows it, without script and spec.

    `version` is the store's own mark of the state read: a write that carries an old one is refused.
    """

    name: str
    uid: str
    version: str
    ref: Ref
    attempt: int
    blob: str
    origin: Origin
    notify: Notify
    created: datetime
    run: str = ""  # which run of dtp recorded it: told apart by chance, never decided upon alone
    request: str = ""
    adopted: bool = False
    service: bool = False
    files: int = 0  # how many are recorded with the script
    waiting: str = ""  # why the cluster would not have its Job, when it was last asked
    held: str = ""  # what of it could not be read, when that was last needed
    job_uid: str | None = None  # the Job was seen: from then on, its absence means loss
    intent: Intent | None = None
    outcome: Outcome | None = None  # None: the attempt is open


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """An object of ours that cannot be read. `of` is the attempt that its name says it is of."""

    kind: str  # ConfigMap, Job, Pod
    name: str
    of: str
    why: str
    ref: Ref | None = None  # as it says itself, where that can be read


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The ledger's card: whose it is, where it was made, and which commit of the branch rules.

    `version` is as an entry's: the card is changed only as it was read.
    """

    source: str
    namespace_uid: str
    scheme: int
    created: datetime
    commit: str = ""  # '' in the ledger of a release that had no ruling commit
    version: str = ""


# --- what the cluster shows ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class JobEnd:
    """The terminal condition of a Job."""

    succeeded: bool
    reason: str
    message: str
    at: datetime | None


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A Job as observed. `entry_uid` is the entry it says it belongs to.

    Of one that is `unreadable`, for this reason, nothing but the name counts.
    """

    name: str
    uid: str
    entry_uid: str
    created: datetime
    deadline: int | None = None
    ttl: int | None = None
    failed: int = 0  # Pods of it that failed, gone or not
    end: JobEnd | None = None
    tombstone: bool = False  # it never runs anything: it keeps the name of an attempt taken
    unreadable: str = ""


@dataclass(frozen=True, kw_only=True)
class ContainerView:
    """A container's state: exactly one of waiting, running, terminated."""

    state: str  # "waiting", "running", "terminated"
    reason: str = ""
    message: str = ""  # terminated: what the runner wrote as its termination message
    exit_code: int | None = None
    started: datetime | None = None
    finished: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PodView:
    """A Pod as observed; of one that is `unreadable`, nothing counts but the names."""

    name: str
    uid: str
    job_name: str
    created: datetime
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    node: str = ""
    placed: datetime | None = None  # since when a node has it
    time: int | None = None  # seconds that its runner gives the script; None: its deadline does
    deleted: bool = False  # being deleted
    unscheduled: str = ""  # the scheduler's message, while it finds no node
    disruption: str = ""  # message of the DisruptionTarget condition
    prep: ContainerView | None = None
    job: ContainerView | None = None
    unreadable: str = ""

    @property
    def running(self) -> bool:
        """True while the script runs."""
        return self.job is not None and self.job.state == "running"

    @property
    def over(self) -> bool:
        """True once nothing of it runs or can start any more."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a running attempt last told of itself: network bytes since its start, its own words."""

    at: datetime
    received: int | None
    sent: int | None
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """What arrived in the job's directory: names below it and bytes, the newest first."""

    files: tuple[tuple[str, int], ...]
    more: int = 0  # that are not listed


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the ledger keeps of an attempt beside its outcome: its log's end, what arrived."""

    log: str = ""
    arrived: Arrived | None = None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One consistent look at the cluster; `now` is the cluster's own time."""

    now: datetime
    identity: Identity | None
    entries: tuple[Entry, ...]
    jobs: dict[str, JobView]
    pods: dict[str, tuple[PodView, ...]] = field(default_factory=dict)  # by Job name, newest last
    all_pods: bool = False  # Pods were asked for: a job that shows none has none
    events: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by Job name, newest last
    progress: dict[str, Progress] = field(default_factory=dict)  # by Job name, while running
    unreadable: tuple[Unreadable, ...] = ()

    def of(self, ref: Ref) -> tuple[Entry, ...]:
        """The attempts of one job, oldest first."""
        return tuple(
            sorted((e for e in self.entries if e.ref == ref), key=lambda entry: entry.attempt)
        )


# --- what a cluster answers ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Started:
    """The Job of the entry is there, made now or before."""

    job_uid: str


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The cluster would not have the Job: for good (policy, invalid), or for now (quota)."""

    reason: str
    for_good: bool


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The Job's name belongs to something that is not ours."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Buried:
    """The name is taken by a tombstone: this attempt never runs."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """An entry with all that its Job is made from."""

    entry: Entry
    script: bytes
    spec: Spec


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ledger's index: the identity card (None before the first entry) and all entries."""

    identity: Identity | None
    entries: tuple[Entry, ...]
    unreadable: tuple[Unreadable, ...] = ()


# --- what to do ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Open:
    """Record a new attempt, then start it."""

    draft: Draft
    reason: str


@dataclass(frozen=True, kw_only=True)
class Adopt:
    """Record a job as done without running it."""

    draft: Draft
    reason: str


@dataclass(frozen=True, kw_only=True)
class Start:
    """Create the Job of a recorded attempt."""

    entry: Entry
    reason: str


@dataclass(frozen=True, kw_only=True)
class Confirm:
    """Write into the entry that its Job has been seen."""

    entry: Entry
    job_uid: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class End:
    """Record the intent (None: it is settled already), then let the Job's deadline end it."""

    entry: Entry
    intent: Intent | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Settle:
    """Write the outcome."""

    entry: Entry
    outcome: Outcome
    reason: str


@dataclass(frozen=True, kw_only=True)
class Retire:
    """Give a settled attempt's Job the time to live that it has left."""

    entry: Entry
    ttl: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Nothing is done for this job now, and why."""

    ref: Ref
    attempt: int
    reason: str


Action = Open | Adopt | Start | Confirm | End | Settle | Retire | Hold


def subject(action: Action) -> tuple[Ref, int]:
    """Return the attempt that an action is about."""
    match action:
        case Open(draft=draft) | Adopt(draft=draft):
            return draft.ref, draft.attempt
        case Hold(ref=ref, attempt=attempt):
            return ref, attempt
        case _:
            return action.entry.ref, action.entry.attempt
