"""Judges where an attempt stands from what the cluster shows, and says so in plain words.

Evidence, first that exists wins: the script's container, the recorded intent to end it, the
preparing container, the Pod, the Job, the ledger. A zero is never invented. Decides nothing about
what to do (planner does).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dtp_action.core import brief
from dtp_action.core.model import (
    ContainerView,
    Entry,
    Intent,
    JobEnd,
    JobView,
    Meanings,
    Observed,
    Outcome,
    Phase,
    PodView,
    Status,
    Unreadable,
    Why,
)

REFUSED_AGAIN = 191
TIMED_OUT = 196
TOO_LONG = "ran longer than time=: raise it, or transfer less at a time"
RUNNER_REFUSALS = {
    190: (Phase.ERRORED, "the claim or the job's directory cannot be used"),
    REFUSED_AGAIN: (Phase.ERRORED, "a second start of this attempt was refused, to keep it from"
                                   " running twice; if dtp files shows that its data is not"
                                   " complete, or shows nothing, retry"),
    192: (Phase.ERRORED, "the job's directory belongs to another job"),
    193: (Phase.FAILED, "the image has no such interpreter: write the script for sh or bash"),
    194: (Phase.ERRORED, "a file or a symbolic link stands where the job's directory should be"),
    195: (Phase.ERRORED, "the claim has a record of this attempt's name from another ledger or"
                         " script, so nothing was run; retry, or ask the cluster's admin"
                         " what is in the job's directory"),
    TIMED_OUT: (Phase.FAILED, TOO_LONG),
}  # fmt: skip
# Stands for the end of a Job that was deleted while its Pods went on.
DELETED = JobEnd(succeeded=False, reason="", message="its Job was deleted", at=None)
NOT_STARTED = RUNNER_REFUSALS.keys() - {REFUSED_AGAIN, TIMED_OUT}
NOT_RETRIED = 189  # the runner's, where the script's own code is not to be taken as it is
RUNNERS_OWN = range(190, 200)
TOLD_AGAIN = "this is the result of an earlier start: the script did not run a second time"
TOO_LATE = "could not start in time: the cluster took too long to prepare its container"
AGAIN = "starting again after an interruption"
NOBODY_KNOWS = (
    "retry, or ask the cluster's admin whether the data in the job's directory is complete"
)
SIGNALS = {128 + 9: "killed", 128 + 15: "terminated"}
MAX_REASON = 300


@dataclass(frozen=True, kw_only=True)
class Note:
    """What the runner left as its termination message: useful, and never proof of anything."""

    received: int | None = None
    sent: int | None = None
    starts: int | None = None
    oom_kills: int | None = None
    new_files: int | None = None
    new_bytes: int | None = None
    at_least: bool = False
    manifest: str = ""
    replayed: bool = False
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    script_exit: int | None = None
    cause: str = ""  # which command ended it, as far as the shell says
    program: str = ""  # what that command ran
    error: str = ""


def judge(entry: Entry, observed: Observed) -> Status:
    """Return where the attempt stands, from the ledger where it is settled, else from evidence."""
    if entry.outcome:
        return entry.outcome
    job, pods = observed.jobs.get(entry.name), observed.pods.get(entry.name, ())
    if job is None or job.entry_uid != entry.uid or job.tombstone:
        return without_job(entry, pods)
    gone = _is_gone(job, pods)
    if job.end:
        return _as_asked(entry, _ended(entry.intent, job.end, pods, gone))
    events = observed.events.get(entry.name, ())
    return _active(entry, pods, events, gone)


def told(entry: Entry, observed: Observed) -> Status:
    """Return where the attempt stands; where something of it cannot be read, that it is held."""
    status, why = judge(entry, observed), held(entry, observed)
    if not why:
        return status
    phase = Phase.WAITING if status.phase is Phase.WAITING and not entry.job_uid else Phase.RUNNING
    return Status(phase=phase, reason=_short(f"held: {why}"), started=status.started)


def held(entry: Entry, observed: Observed) -> str:
    """Return what of an open attempt cannot be read, or '' where it goes on.

    What was needed once and could not be read is no matter while its Job is active.
    """
    if entry.outcome:
        return ""
    if found := next((one for one in observed.unreadable if one.of == entry.name), None):
        return unreadable(found)
    job = observed.jobs.get(entry.name)
    return "" if job and not job.end else entry.held


def unreadable(found: Unreadable) -> str:
    """Return which object cannot be read, and what to do."""
    return (
        f"{found.kind} {found.name} cannot be read ({found.why}): ask the cluster's admin to"
        " restore it; this job is on hold until then"
    )


def lost() -> Outcome:
    """Return the outcome of an attempt whose Job vanished before anyone read how it ended."""
    return Outcome(
        phase=Phase.LOST,
        reason=f"its job was deleted before its result was recorded: {NOBODY_KNOWS}",
    )


def suspects(observed: Observed, most: int = 20) -> dict[str, str]:
    """Return {Job's name: UID of the object whose events may say why it waits}, oldest first."""
    found: dict[str, str] = {}
    for entry in sorted(observed.entries, key=lambda entry: entry.created):
        job = observed.jobs.get(entry.name)
        if entry.outcome or not job or job.end or job.entry_uid != entry.uid:
            continue
        pods = observed.pods.get(entry.name, ())
        if not pods:
            found[entry.name] = job.uid
        elif not started(pods) and not _explains(pods[-1]):
            found[entry.name] = pods[-1].uid
    return dict(list(found.items())[:most])


def started(pods: tuple[PodView, ...]) -> datetime | None:
    """Return when the script first started in any of an attempt's Pods."""
    return min(filter(None, map(_start, _allowed(pods) or pods)), default=None)


def _start(pod: PodView) -> datetime | None:
    """Return when a Pod's script started; None where its container or the runner did not get there.

    A container that could not be started says 1970.
    """
    job = pod.job
    never = job is None or job.reason in CONTAINER or job.exit_code in NOT_STARTED
    return None if job is None or never else job.started


def telling(pods: tuple[PodView, ...]) -> PodView | None:
    """Return the Pod to judge by: the newest, but of a second one that was refused the first."""
    return next(reversed(_allowed(pods) or pods), None)


def _allowed(pods: tuple[PodView, ...]) -> tuple[PodView, ...]:
    """Return the Pods that were not refused as a second start."""
    return tuple(pod for pod in pods if not (pod.job and pod.job.exit_code == REFUSED_AGAIN))


def _is_gone(job: JobView, pods: tuple[PodView, ...]) -> bool:
    """Tell whether an earlier Pod, which may have run the script, is not there any more.

    Of a Job that has ended the last one may be gone: how the Job ended tells of it.
    """
    return job.failed > max(len(pods), 1 if job.end else 0)


# --- while it is active --------------------------------------------------------------------------


def without_job(entry: Entry, pods: tuple[PodView, ...]) -> Status:
    """Judge an open attempt by the ledger, and by Pods that its Job has left."""
    if alive := [pod for pod in pods if not pod.over]:
        reason = f"its Job was deleted, but its Pod {alive[-1].name} may still be running"
        since = started(pods)
        phase = Phase.RUNNING if since else Phase.WAITING
        return Status(phase=phase, reason=reason, started=since, starts=len(pods))
    if pods and (pod := telling(pods)) and pod.job and _is_evidence(pod.job):
        return _as_asked(entry, _ended(entry.intent, DELETED, pods, gone=False))
    if entry.job_uid and entry.intent:
        gone = ("the cluster removed it before its end was read",)
        status = replace(ended_by(entry.intent), before_start=False, warnings=gone)
        return _as_asked(entry, status)
    if entry.job_uid:
        return lost()
    reason = entry.waiting or "recorded; not handed to the cluster yet"
    if entry.intent:
        reason = f"{_ending(entry.intent)}; ending it"
    return Status(phase=Phase.WAITING, reason=_short(reason))


def _active(entry: Entry, pods: tuple[PodView, ...], events: tuple[str, ...], gone: bool) -> Status:
    status = _running(pods) if gone or started(pods) else _waiting(entry, pods, events)
    if not entry.intent:
        return status
    reason = f"{_ending(corrected(entry.intent, status.started))}; ending it"
    return replace(status, reason=reason, hopeless=False)


def _running(pods: tuple[PodView, ...]) -> Status:
    return Status(
        phase=Phase.RUNNING,
        reason=_running_reason(telling(pods)),
        started=started(pods),
        starts=sum(_start(pod) is not None for pod in _allowed(pods)) or None,
    )


def _running_reason(pod: PodView | None) -> str:
    if not pod:
        return AGAIN
    if pod.job and pod.job.state == "terminated":
        return f"the script ended with exit code {pod.job.exit_code}; the cluster is closing it"
    if pod.disruption:
        return f"its node is being drained or does not answer ({_short(pod.disruption)})"
    if pod.deleted:
        return "the cluster is removing it"
    if not pod.job or pod.job.state == "waiting":
        return AGAIN
    return "running"


def _waiting(entry: Entry, pods: tuple[PodView, ...], events: tuple[str, ...]) -> Status:
    reason, hopeless = _why_no_pod(events) if not pods else _why_not_started(pods[-1], events)
    prep = pods[-1].prep if pods else None
    if entry.attempt > 1 and prep and prep.state == "running":
        reason = "waiting for an earlier attempt to end, or to show no sign of life for 3 minutes"
    return Status(phase=Phase.WAITING, reason=_short(reason), hopeless=hopeless)


# What an event of the Job says when no Pod can be made: pattern, words, whether it is hopeless.
NO_POD = (
    (r"exceeded quota", "the namespace's quota is full", False),
    (r"violates PodSecurity", "the cluster's Pod Security rules refuse it", True),
    (r"ValidatingAdmissionPolicy|denied the request", "a policy of the cluster refuses it", True),
    (r"serviceaccount .* not found", "the service account for jobs is missing", True),
    (r"FailedCreate", "the cluster cannot make its container", False),
)
UNSCHEDULED = (
    (r"persistentvolumeclaim .* not found", "the shared claim does not exist", True),
    (r"unbound immediate PersistentVolumeClaims|unbound", "the shared claim is not bound", False),
    (r"Insufficient (\w+)", "no node has enough free {0} now", False),
    (r"untolerated taint", "no node accepts it", False),
    (r"node affinity|node selector", "no node matches the cluster settings", False),
)
CONTAINER = {
    "ErrImagePull": "its image cannot be pulled",
    "ImagePullBackOff": "its image cannot be pulled",
    "ErrImageNeverPull": "its image is not on the node",
    "InvalidImageName": "its image's name is not valid",
    "CreateContainerConfigError": "its container cannot be configured",
    "CreateContainerError": "its container cannot be made",
    "RunContainerError": "its container cannot be started",
    "StartError": "its container cannot be started",
    "ContainerCannotRun": "its container cannot be started",
}
NODE_LOST = ("ContainerStatusUnknown", "Unknown")  # an exit code that nobody saw goes with these
MOUNT = re.compile(r"^(FailedMount|FailedAttachVolume): (.*)", re.DOTALL)


def _why_no_pod(events: tuple[str, ...]) -> tuple[str, bool]:
    for event in reversed(events):
        for pattern, words, hopeless in NO_POD:
            if re.search(pattern, event):
                return f"{words}: {event.removeprefix('FailedCreate: ')}", hopeless
    return "handed to the cluster", False


def _why_not_started(pod: PodView, events: tuple[str, ...]) -> tuple[str, bool]:
    if pod.unscheduled:
        return _why_unscheduled(pod.unscheduled)
    for container in (pod.prep, pod.job):
        if container and container.reason in CONTAINER:
            return f"{CONTAINER[container.reason]}: {container.message}", True
    for event in reversed(events):
        if match := MOUNT.match(event):
            return f"a volume cannot be mounted: {match[2]}", False
        if event.startswith("Pulled: "):
            break
        if event.startswith("Pulling: "):
            return "its image is being pulled", False
    return "its container is being prepared", False


def preparing_since(pod: PodView) -> datetime | None:
    """Return since when a node prepares a Pod; None while it waits for a node or for others."""
    waits_for_others = pod.prep and pod.prep.state == "running"
    if not pod.placed or pod.unscheduled or waits_for_others:
        return None
    return (pod.prep and pod.prep.finished) or pod.placed


def _explains(pod: PodView) -> bool:
    """Tell whether a Pod that waits says itself why."""
    reasons = {container.reason for container in (pod.prep, pod.job) if container}
    return bool(pod.unscheduled or reasons & CONTAINER.keys())


def _why_unscheduled(message: str) -> tuple[str, bool]:
    for pattern, words, hopeless in UNSCHEDULED:
        if match := re.search(pattern, message):
            return f"{words.format(*match.groups())}: {message}", hopeless
    return f"no node takes it: {message}", False


# --- when it has ended ---------------------------------------------------------------------------


def _ended(intent: Intent | None, end: JobEnd, pods: tuple[PodView, ...], gone: bool) -> Status:
    """Climb the ladder of evidence: how it ended is read from one Pod, whether it ran from all."""
    pod, first = telling(pods), started(pods)
    if intent:
        intent = corrected(intent, first)
        first = min(filter(None, (first, intent.started)), default=None)
    status = (
        _by_script(intent, end, pod, _note(pod))
        or _by_intent(intent, end)
        or _by_prep(pod)
        or _by_pod(pod, first)
        or _by_job(end)
    )
    before_start = status.before_start and not first and not gone
    note = _note(next((one for one in reversed(_allowed(pods)) if _start(one)), pod))
    return replace(
        status,
        reason=_short(status.reason),
        before_start=before_start,
        started=first,
        finished=status.finished or end.at,
        received=note.received,
        sent=note.sent,
        starts=note.starts,
        new_files=note.new_files,
        new_bytes=note.new_bytes,
        at_least=note.at_least,
        manifest=note.manifest,
        doubts=note.doubts if status.phase is Phase.SUCCEEDED else (),
        warnings=status.warnings + ((TOLD_AGAIN,) if note.replayed else ()) + note.warnings,
    )


def _note(pod: PodView | None) -> Note:
    return read_note(pod.job.message if pod and pod.job else "")


def _as_asked(entry: Entry, status: Status) -> Status:
    """Return how a service ended: with its time, or when it was asked to, all is well."""
    if not entry.service or status.before_start:
        return status
    if status.phase is Phase.CANCELLED:
        asked = "its script left the branch" if status.why is Why.REMOVED else status.reason
        return replace(status, phase=Phase.SUCCEEDED, reason=f"ended as asked: {asked}")
    if status.reason == TOO_LONG:
        return replace(status, phase=Phase.SUCCEEDED, reason="ended as asked: its time= was over")
    return status


def _by_script(
    intent: Intent | None, end: JobEnd, pod: PodView | None, note: Note
) -> Status | None:
    container = pod.job if pod else None
    if not pod or not container or not _is_evidence(container):
        return None
    phase, reason, warnings = _verdict(intent, end, pod, container, note)
    return Status(
        phase=phase,
        reason=reason,
        exit_code=_own_code(container, note),
        program=note.program if phase is Phase.FAILED else "",
        finished=container.finished,
        before_start=container.reason in CONTAINER or container.exit_code in NOT_STARTED,
        why=intent.why if intent and phase is Phase.CANCELLED else None,
        warnings=warnings,
    )


def _is_evidence(container: ContainerView) -> bool:
    """A node that was lost reports a made-up exit code: that is none."""
    return container.state == "terminated" and container.reason not in NODE_LOST


def _verdict(
    intent: Intent | None, end: JobEnd, pod: PodView, container: ContainerView, note: Note
) -> tuple[Phase, str, tuple[str, ...]]:
    code = container.exit_code
    oom = container.reason == "OOMKilled" or bool(note.oom_kills)
    ended_first = not intent or bool(container.finished and container.finished < intent.at)
    by_itself = end.succeeded or (pod.phase == "Succeeded" and not pod.deleted)
    if code == 0 and (by_itself or (intent and ended_first)):
        warnings = ("a process of it was killed: out of memory; raise memory=",) if oom else ()
        late = ("it finished before it could be ended",) if intent else ()
        return Phase.SUCCEEDED, "done", warnings + late
    if container.reason in CONTAINER:
        return Phase.ERRORED, f"{CONTAINER[container.reason]}: {container.message}", ()
    if code == TIMED_OUT:
        return Phase.FAILED, TOO_LONG, ()
    if pod.reason == "DeadlineExceeded":
        return *_past_deadline(pod), ()
    if intent and not ended_first:
        return *intended(intent), ()
    if pod.disruption or pod.reason == "Evicted":
        return *_disrupted(pod), ()
    if pod.deleted and code in SIGNALS:
        return Phase.ERRORED, f"it was removed from the cluster while it ran (exit {code})", ()
    if code == 0:
        return Phase.ERRORED, f"ended by the cluster: {end.message}", ()
    if code in RUNNER_REFUSALS:
        phase, words = RUNNER_REFUSALS[code]
        return phase, note.error or words, ()
    if oom:
        return Phase.FAILED, f"out of memory (exit {code}): raise memory=", ()
    if note.replayed and code in SIGNALS:  # its Pod is gone, and with it who ended it
        words = f"{SIGNALS[code]} in an earlier start (exit {code}), by whom cannot be told"
        return Phase.ERRORED, words, ()
    ended = f" ({SIGNALS[code]})" if code in SIGNALS else ""
    cause = f": {note.cause}" if note.cause else ""
    return Phase.FAILED, f"{_own_failure(_own_code(container, note))}{ended}{cause}", ()


def _own_failure(code: int | None) -> str:
    return f"your script failed (exit {code})"


def _own_code(container: ContainerView, note: Note) -> int | None:
    """Return the script's exit code; the runner ends with 189 where it is not to be tried again."""
    told = note.script_exit
    if container.exit_code == NOT_RETRIED and told in range(1, 256) and told not in RUNNERS_OWN:
        return told
    return container.exit_code


def explained(status: Status, meanings: Meanings) -> Status:
    """Return a script's own failure with what its exit code means, where that is known.

    A program's own codes are sure only where the shell said that this program ended with it.
    """
    own, code = _own_failure(status.exit_code), status.exit_code or 0
    if not status.reason.startswith(own):
        return status
    where = status.reason.removeprefix(own).removeprefix(": ")
    own_meaning = meanings.tools.get(status.program, {}).get(code)
    if meaning := own_meaning or meanings.general.get(code):
        where = where.removesuffix(f" ended with exit code {code}")
        reason = f"{own}: {meaning}" + (f" ({where})" if where else "")
    elif status.program:
        return status
    else:
        reason = status.reason + _perhaps(code, meanings)
    return replace(status, reason=_short(reason))


def _perhaps(code: int, meanings: Meanings) -> str:
    """Return what the tools mean by a code that may not be theirs."""
    found: dict[str, list[str]] = {}
    for name, codes in meanings.tools.items():
        if code in codes:
            found.setdefault(codes[code], []).append(f"`{name}`")
    said = (f"for {', '.join(names)}: {meaning}" for meaning, names in found.items())
    return f", which means {'; '.join(said)}" if found else ""


def _by_intent(intent: Intent | None, end: JobEnd) -> Status | None:
    """Judge by the intent; a Job that ended otherwise had a Pod, which may have started."""
    if not intent:
        return None
    status = ended_by(intent)
    by_us = end.reason == "DeadlineExceeded"
    return replace(status, before_start=status.before_start and by_us)


def ended_by(intent: Intent) -> Status:
    """Return how an attempt ended by intent, where its script's own end cannot be seen."""
    phase, reason = intended(intent)
    start = intent.started
    return Status(phase=phase, reason=reason, why=intent.why, started=start, before_start=not start)


def corrected(intent: Intent, start: datetime | None) -> Intent:
    """Return the intent with the script's start, where it started before it could be ended."""
    return intent if intent.started else replace(intent, started=start)


def intended(intent: Intent) -> tuple[Phase, str]:
    """Return how an attempt ends that was ended by intent."""
    phase = Phase.ERRORED if intent.why in (Why.STUCK, Why.REFUSED) else Phase.CANCELLED
    return phase, _ending(intent)


def _ending(intent: Intent) -> str:
    when = "after" if intent.started else "before"
    match intent.why:
        case Why.CANCEL:
            return _short(f"cancelled by {intent.by}")
        case Why.REPLACED:
            return f"replaced: the script changed {when} it started"
        case Why.REMOVED:
            return f"removed from the branch {when} it started"
        case Why.STUCK:
            return _short(f"could not start in time: {intent.reason}")
        case Why.REFUSED:
            return _short(f"the cluster refused it: {intent.reason}")


def _by_prep(pod: PodView | None) -> Status | None:
    prep = pod.prep if pod else None
    if not prep or not _is_evidence(prep) or not prep.exit_code:
        return None
    words = RUNNER_REFUSALS.get(prep.exit_code, (Phase.ERRORED, "its directory cannot be made"))[1]
    detail = read_note(prep.message).error
    return Status(phase=Phase.ERRORED, reason=detail or words, before_start=True)


def _by_pod(pod: PodView | None, first: datetime | None) -> Status | None:
    if not pod:
        return None
    ran = first is not None
    if pod.disruption or pod.reason in ("Evicted", "NodeLost", "NodeAffinity", "Shutdown"):
        phase, reason = _disrupted(pod)
        return Status(phase=phase, reason=reason, before_start=not ran)
    if pod.reason == "DeadlineExceeded":
        phase, reason = _past_deadline(pod) if ran else (Phase.ERRORED, TOO_LATE)
        return Status(phase=phase, reason=reason, before_start=not ran)
    if any(container and container.reason in NODE_LOST for container in (pod.prep, pod.job)):
        return Status(phase=Phase.ERRORED, reason="its node was lost", before_start=not ran)
    return None


def _past_deadline(pod: PodView) -> tuple[Phase, str]:
    """Say why a Pod that ran went on to its deadline: its script did, or it began too late."""
    began, ended = _start(pod), pod.job.finished if pod.job else None
    ran = (ended - began).total_seconds() if began and ended else None
    if ran is not None and pod.time is not None and ran < pod.time:
        return (
            Phase.ERRORED,
            "it started so late that the cluster ended it before its time= was over",
        )
    return Phase.FAILED, TOO_LONG


SCRATCH_FULL = re.compile(r'EmptyDir volume "scratch" exceeds the limit "(.*?)"')


def _disrupted(pod: PodView) -> tuple[Phase, str]:
    """Say who took the Pod from its node, and whether the author can help it."""
    if match := SCRATCH_FULL.search(pod.message):
        return Phase.FAILED, f"used more than {match[1]} of scratch: raise disk="
    if pod.reason == "Evicted":
        return Phase.ERRORED, _short(f"evicted from its node: {pod.message or pod.disruption}")
    detail = pod.disruption or pod.message or pod.reason
    return Phase.ERRORED, _short(f"its node was drained or lost: {detail}")


EXIT_IN_MESSAGE = re.compile(r"failed with exit code (\d+) matching")


def _by_job(end: JobEnd) -> Status:
    """Judge by the Job alone: its Pod is gone, and with it log, bytes and times."""
    gone = ("it was gone before it could be read: no log, no bytes",)
    if end.succeeded:
        return Status(phase=Phase.SUCCEEDED, reason="done", warnings=gone)
    if match := EXIT_IN_MESSAGE.search(end.message):
        return _by_exit_code(int(match[1]), gone)
    if "DisruptionTarget" in end.message:
        return Status(phase=Phase.ERRORED, reason="its node was drained or lost", warnings=gone)
    if end.reason == "DeadlineExceeded":
        return Status(phase=Phase.ERRORED, reason="waited too long in the cluster", warnings=gone)
    return Status(
        phase=Phase.ERRORED,
        reason=f"it was deleted before it ended, or before its result was recorded: {NOBODY_KNOWS}",
        warnings=gone,
    )


def _by_exit_code(code: int, warnings: tuple[str, ...]) -> Status:
    phase, reason = Phase.FAILED, _own_failure(code)
    if code in RUNNER_REFUSALS:
        phase, reason = RUNNER_REFUSALS[code]
    elif code in SIGNALS:  # out of memory, over its time, or deleted: who knows
        phase, reason = Phase.ERRORED, f"{SIGNALS[code]} (exit {code}), by whom cannot be told"
    return Status(
        phase=phase,
        reason=reason,
        exit_code=code,
        before_start=code in NOT_STARTED,
        warnings=warnings,
    )


# --- what the runner wrote -----------------------------------------------------------------------


def read_note(text: str) -> Note:
    """Read a termination message. What is not of its form is left out: a script can write it."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):  # thousands of brackets fit into a message
        return Note()
    if not isinstance(fields, dict):
        return Note()
    arrived = _count(fields, "files"), _count(fields, "bytes")
    files, size = (None, None) if None in arrived else arrived
    return Note(
        received=_count(fields, "rx"),
        sent=_count(fields, "tx"),
        starts=_count(fields, "start"),
        oom_kills=_count(fields, "oom_kills"),
        new_files=files,
        new_bytes=size,
        at_least=files is not None and fields.get("counted") is not True,
        manifest=_digest(fields.get("manifest")),
        replayed=fields.get("replayed") is True,
        warnings=_sentences(fields, "warnings"),
        doubts=_sentences(fields, "doubts"),
        script_exit=_count(fields, "script_exit"),
        cause=_sentence(fields.get("cause")),
        program=_sentence(fields.get("program")),
        error=_sentence(fields.get("error")),
    )


def _sentences(fields: dict[str, Any], key: str) -> tuple[str, ...]:
    listed = fields.get(key)
    found = listed[:5] if isinstance(listed, list) else []
    return tuple(_short(item) for item in found if isinstance(item, str))


def _sentence(value: object) -> str:
    return _short(value) if isinstance(value, str) else ""


def _count(fields: dict[str, Any], key: str) -> int | None:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        return None
    return value


def _digest(value: object) -> str:
    return value if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else ""


def _short(text: str) -> str:
    """Return one printable line of at most 300 characters, without a colon that leads nowhere."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split()).rstrip(": ")
    return brief.within(brief.once(line), MAX_REASON)
