"""The embedded cluster: entries and Jobs as files of one directory, scripts as processes.

Satisfies `dispatch.Cluster` with the same objects, phases and runner as a Kubernetes, for demos and
tries on one machine. Memory and CPU are not limited here, and scripts see what their user sees.

    objects/<name>.json         the ledger's ConfigMaps     settings.yaml  the admin's, optional
    jobs/<name>/                a Job: job.json, script, pod-<n>.json and .log, end.json, stop, ttl
    workspace/                  stands for the claim        secrets/<name>/<key>
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

from dtp_action.core import cluster_settings, ledger, manifests, naming
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import (
    ContainerView,
    Draft,
    Entry,
    Identity,
    Intent,
    JobEnd,
    JobView,
    Ledger,
    Outcome,
    PodView,
    Recorded,
    Refused,
    Started,
    Taken,
)
from dtp_action.errors import StaleError, UsageError

Wire = dict[str, Any]
DEFAULTS = "version: 1\nclaim: workspace\nrunnerImage: localhost/none:1\n"
LOG_LIMIT = 64 * 1024
CHUNK = 64 * 1024
PAUSE = 0.1
STARTING = 5.0  # seconds that a supervisor may take to begin


class LocalCluster:
    """One directory as a cluster; any number of processes may use it at once."""

    def __init__(self, directory: Path, *, slots: int = 4) -> None:
        self._root = directory.resolve()
        self._slots = slots
        try:
            for part in ("objects", "jobs", "workspace", "slots"):
                (self._root / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            hint = "name another directory: --cluster local:DIR"
            raise UsageError(f"{directory} cannot hold a cluster: {error}", hint=hint) from error

    # --- reading ---

    def settings(self) -> ClusterSettings:
        path = self._root / "settings.yaml"
        text = path.read_text() if path.exists() else DEFAULTS
        return cluster_settings.parse(text, str(path))

    def namespace_uid(self) -> str:
        return str(
            self._create("namespace", {"metadata": {"name": "namespace"}})["metadata"]["uid"]
        )

    def now(self) -> datetime:
        return datetime.now(UTC)

    def ledger(self) -> Ledger:
        files = (self._root / "objects").glob("*.json")
        listed = [json.loads(path.read_text())["metadata"] for path in files]
        entries = [one for one in listed if one.get("labels", {}).get(ledger.KIND) == "entry"]
        card = self._get(ledger.LEDGER_NAME)
        identity = ledger.load_identity(card["metadata"]) if card else None
        return Ledger(identity=identity, entries=tuple(map(ledger.load_entry, entries)))

    def jobs(self) -> tuple[JobView, ...]:
        folders = sorted(path.parent for path in (self._root / "jobs").glob("*/job.json"))
        views = [self._job_view(folder) for folder in folders]
        return tuple(view for view in views if view.entry_uid and not self._expired(view))

    def job(self, name: str) -> JobView | None:
        folder = self._root / "jobs" / name
        return self._job_view(folder) if folder.is_dir() else None

    def pods(self) -> tuple[PodView, ...]:
        files = sorted((self._root / "jobs").glob("*/pod-*.json"))
        pods = [_pod_view(json.loads(path.read_text()), _alive(path.parent)) for path in files]
        started = {pod.job_name for pod in pods}
        waiting = [job for job in self.jobs() if job.name not in started and not job.end]
        full = (
            ""
            if self._free_slot()
            else f"0/1 nodes are available: Insufficient slots, {self._slots} in use"
        )
        return (*pods, *(_queued(job, full) for job in waiting))

    def events(self, uid: str) -> tuple[str, ...]:  # noqa: ARG002 nothing happens unseen here
        return ()

    def read(self, name: str) -> Recorded | None:
        found = self._get(name)
        if not found:
            return None
        data = found["data"]
        spec = ledger.load_spec(data[ledger.ATTEMPT_KEY])
        script = data[ledger.SCRIPT_KEY].encode()
        return Recorded(entry=ledger.load_entry(found["metadata"]), script=script, spec=spec)

    def pod_log(self, pod: PodView, *, lines: int) -> str | None:
        path = self._log(pod)
        if not path.exists():
            return None
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - LOG_LIMIT))
            text = log.read().decode(errors="replace")
        return "".join(text.splitlines(keepends=True)[-lines:])

    def log(self, pod: PodView, *, lines: int | None, follow: bool) -> Iterator[bytes]:
        path = self._log(pod)
        if not path.exists():
            return
        with path.open("rb") as log:
            if lines is not None:
                yield (self.pod_log(pod, lines=lines) or "").encode() if lines else b""
                log.seek(0, os.SEEK_END)
            while True:
                alive = _alive(path.parent)
                while chunk := log.read(CHUNK):
                    yield chunk
                if not follow or not alive:
                    return
                time.sleep(PAUSE)

    def kept_tail(self, name: str) -> str | None:
        for kind in ("end", "tail"):
            found = self._get(f"{name}-{kind}")
            if found and (tail := found["data"].get(ledger.TAIL_KEY)):
                return str(tail)
        return None

    # --- writing ---

    def identify(self, identity: Identity) -> Identity:
        made = self._create(ledger.LEDGER_NAME, ledger.identity_manifest(identity))
        return ledger.load_identity(made["metadata"])

    def rename(self, source: str) -> None:
        self._amend(ledger.LEDGER_NAME, None, {"annotations": {ledger.SOURCE: source}})

    def record(self, draft: Draft) -> Entry:
        name = naming.attempt_name(draft.ref, draft.attempt)
        return ledger.load_entry(self._create(name, ledger.entry_manifest(draft))["metadata"])

    def start(self, entry: Entry, known: Recorded | None = None) -> Started | Refused | Taken:
        recorded = known or self.read(entry.name)
        if not recorded or recorded.entry.uid != entry.uid:
            raise StaleError(f"{entry.name} is not the entry that was read")
        if recorded.entry.outcome or recorded.entry.intent:
            raise StaleError(f"{entry.name} was ended since it was read")
        job = self._make_job(recorded)
        if job["entry_uid"] != entry.uid:
            return Taken(reason=f"a Job named {entry.name} is there that is not of this ledger")
        self._supervise(self._root / "jobs" / entry.name)
        return Started(job_uid=job["uid"])

    def confirm(self, entry: Entry, job_uid: str) -> Entry:
        return self._amend_entry(entry, {"annotations": {ledger.JOB_UID: job_uid}})

    def intend(self, entry: Entry, intent: Intent, tail: str) -> Entry:
        if tail:
            self._create(
                f"{entry.name}-tail", ledger.companion(entry, "tail", {ledger.TAIL_KEY: tail})
            )
        return self._amend_entry(
            entry, {"annotations": {ledger.INTENT: ledger.dump_intent(intent)}}
        )

    def stop(self, entry: Entry) -> None:
        if folder := self._folder(entry):
            (folder / "stop").touch()

    def settle(self, entry: Entry, outcome: Outcome, tail: str) -> Entry:
        data = {ledger.OUTCOME_KEY: ledger.dump_outcome(outcome), ledger.TAIL_KEY: tail}
        end = self._create(f"{entry.name}-end", ledger.companion(entry, "end", data))
        counts = ledger.load_outcome(end["data"][ledger.OUTCOME_KEY])
        return self._amend_entry(entry, ledger.settled_metadata(counts))

    def retire(self, entry: Entry, ttl: int) -> None:
        if folder := self._folder(entry):
            _write(folder / "ttl", str(ttl))

    # --- objects ---

    def _path(self, name: str) -> Path:
        return self._root / "objects" / f"{name}.json"

    def _get(self, name: str) -> Wire | None:
        path = self._path(name)
        return dict(json.loads(path.read_text())) if path.exists() else None

    def _create(self, name: str, manifest: Wire) -> Wire:
        """Make an object; return it, or the one of that name that is there."""
        born = {"uid": str(uuid.uuid4()), "resourceVersion": "1"}
        made = manifest | {"metadata": manifest["metadata"] | born}
        with tempfile.NamedTemporaryFile("w", dir=self._root, suffix=".new") as new:
            json.dump(made, new)
            new.flush()
            try:
                os.link(new.name, self._path(name))
            except FileExistsError:
                return dict(json.loads(self._path(name).read_text()))
        return made

    def _amend_entry(self, entry: Entry, metadata: Wire) -> Entry:
        return ledger.load_entry(self._amend(entry.name, entry.version, metadata))

    def _amend(self, name: str, version: str | None, change: Wire) -> Wire:
        """Change an object's metadata, unless it changed since."""
        with _locked(self._root / "lock"):
            found = self._get(name)
            if not found or version not in (None, found["metadata"]["resourceVersion"]):
                raise StaleError(f"{name} changed since it was read")
            metadata = found["metadata"]
            for key, values in change.items():
                metadata[key] = metadata.get(key, {}) | values
            metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
            _write(self._path(name), json.dumps(found))
        return dict(metadata)

    # --- jobs ---

    def _folder(self, entry: Entry) -> Path | None:
        """Return the folder of the entry's own Job, if there is one."""
        folder = self._root / "jobs" / entry.name
        job = json.loads((folder / "job.json").read_text()) if folder.is_dir() else {}
        ours = job.get("entry_uid") == entry.uid and entry.job_uid in (None, job.get("uid"))
        return folder if ours else None

    def _make_job(self, recorded: Recorded) -> Wire:
        """Make the Job's folder, whole or not at all; return the Job that is there."""
        entry, folder = recorded.entry, self._root / "jobs" / recorded.entry.name
        job = {
            "uid": str(uuid.uuid4()),
            "entry_uid": entry.uid,
            "created": ledger.stamp(self.now()),
            "deadline": manifests.deadline(recorded.spec),
        }
        new = Path(tempfile.mkdtemp(dir=self._root / "jobs", prefix="."))
        (new / "script").write_bytes(recorded.script)
        _write(new / "run.json", json.dumps(self._run(recorded, folder)))
        _write(new / "job.json", json.dumps(job))
        try:
            new.rename(folder)
        except OSError:
            shutil.rmtree(new)
        return dict(json.loads((folder / "job.json").read_text()))

    def _run(self, recorded: Recorded, folder: Path) -> Wire:
        """Return what the supervisor is told: the runner's environment and the limits."""
        entry, spec = recorded.entry, recorded.spec
        directory = self._root / "workspace" / entry.ref.directory
        state = self._root / "workspace" / ".dtp" / "state" / entry.name
        secrets = self._root / "secrets" / (spec.secrets[0] if spec.secrets else "none")
        environment = manifests.runner_environment(entry, spec) | {
            "DTP_DIRECTORY": str(directory),
            "DTP_STATE": str(state),
            "DTP_SCRIPT": str(folder / "script"),
            "DTP_TOOLS": "",
            "DTP_SECRETS": str(secrets),
            "DTP_TERMINATION": str(folder / "termination"),
            "HOME": os.environ.get("HOME", "/"),
            "TMPDIR": tempfile.gettempdir(),
        }
        return {
            "environment": spec.env | environment,
            "runner": str(resources.files("dtp_action") / "runner" / "run.sh"),
            "slots": str(self._root / "slots"),
            "slot_count": self._slots,
            "time": spec.time,
            "retries": spec.retries,
            "transient": list(spec.transient),
        }

    def _supervise(self, folder: Path) -> None:
        """Start the Job's supervisor; one too many leaves by itself."""
        (folder / "supervisor.log").touch()
        null = os.devnull
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "dtp_action.adapters.local_supervisor", str(folder)],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, null, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, null, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, str(folder / "supervisor.log"), os.O_WRONLY, 0),
            ],
            setsid=True,  # it outlives us
        )

    def _job_view(self, folder: Path) -> JobView:
        job = json.loads((folder / "job.json").read_text())
        end = _job_end(folder)
        if end is None and not _begun(folder):
            self._supervise(folder)  # the one before died before it began
        ttl = folder / "ttl"
        return JobView(
            name=folder.name,
            uid=job["uid"],
            entry_uid=job["entry_uid"],
            created=ledger.instant(job["created"]),
            deadline=1 if (folder / "stop").exists() else job["deadline"],
            ttl=int(ttl.read_text()) if ttl.exists() else manifests.BORN_TTL,
            end=end,
        )

    def _free_slot(self) -> bool:
        return any(not _held(self._root / "slots" / str(n)) for n in range(self._slots))

    def _expired(self, job: JobView) -> bool:
        if not job.end or not job.end.at or job.ttl is None:
            return False
        if self.now() < job.end.at + timedelta(seconds=job.ttl):
            return False
        shutil.rmtree(self._root / "jobs" / job.name, ignore_errors=True)
        return True

    def _log(self, pod: PodView) -> Path:
        return (
            self._root / "jobs" / pod.job_name / f"{pod.name.removeprefix(pod.job_name + '-')}.log"
        )


# --- files ---------------------------------------------------------------------------------------


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    new.write_text(text)
    new.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _alive(folder: Path) -> bool:
    """Tell whether somebody holds the Job: its supervisor, or the runner that outlives it."""
    return _held(folder / "alive")


def _held(path: Path) -> bool:
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _begun(folder: Path) -> bool:
    """Tell whether a Job has its supervisor, had it, or is just being given one."""
    log = folder / "supervisor.log"
    new = log.exists() and time.time() - log.stat().st_mtime < STARTING
    return new or _alive(folder) or any(folder.glob("pod-*.json"))


def _job_end(folder: Path) -> JobEnd | None:
    path = folder / "end.json"
    if path.exists():
        end = json.loads(path.read_text())
        return JobEnd(**end | {"at": ledger.instant(end["at"])})
    if _alive(folder) or not (pods := list(folder.glob("pod-*.json"))):
        return None
    at = datetime.fromtimestamp(max(pod.stat().st_mtime for pod in pods), UTC)
    message = "its supervisor was killed"
    return JobEnd(succeeded=False, reason="SupervisorLost", message=message, at=at)


def _pod_view(pod: Wire, alive: bool) -> PodView:
    state = dict(pod.pop("job"))
    if state["state"] == "running" and not alive:
        state |= {"state": "terminated", "reason": "ContainerStatusUnknown", "exit_code": 137}
    times = {key: ledger.instant(state[key]) for key in ("started", "finished") if state.get(key)}
    created = ledger.instant(pod.pop("created"))
    prep = ContainerView(state="terminated", reason="Completed", exit_code=0)
    return PodView(**pod, created=created, prep=prep, job=ContainerView(**state | times))


def _queued(job: JobView, full: str) -> PodView:
    return PodView(
        name=f"{job.name}-pod-0",
        uid=job.uid,
        job_name=job.name,
        created=job.created,
        unscheduled=full,
    )
