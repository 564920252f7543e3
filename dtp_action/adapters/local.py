"""The embedded cluster: an API server in a directory, for demos and tries on one machine.

Satisfies `kube_api.Api`: the same adapter, objects, phases and runner as with a Kubernetes, but
Jobs run as processes, confined as `sandbox` can. Memory and CPU are not limited.

    configmaps/ jobs/ pods/ namespaces/   objects: <name>.json; the settings are in dtp-cluster
    runs/<job>/                           entry/, <pod>.log, alive (the lock of its supervisor),
                                          scratch/ (home and scratch of the start that runs)
    workspace/                            stands for the claim
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dtp_action.adapters import kube_views, local_store, sandbox
from dtp_action.adapters.kube import KubeCluster
from dtp_action.adapters.kube_api import AnswerError, Request, Wire
from dtp_action.core import ledger
from dtp_action.errors import UsageError

FOLDERS = ("configmaps", "jobs", "pods", "namespaces", "runs", "slots", "workspace")
SETTINGS = "version: 1\nclaim: workspace\nrunnerImage: localhost/none:1\n"
TAIL = 1024 * 1024  # bytes; the last lines of a log are looked for in these
CHUNK = 64 * 1024
PAUSE = 0.1  # seconds between looks at a log


def connect(directory: Path, *, slots: int = 4) -> KubeCluster:
    """Return the cluster of a directory, where so many Jobs run at once. Raises UsageError."""
    root = directory.resolve()
    settings = {
        "metadata": {"name": ledger.SETTINGS_NAME},
        "data": {ledger.SETTINGS_KEY: SETTINGS},
    }
    try:
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)
        local_store.create(root / "namespaces" / "local.json", {"metadata": {"name": "local"}})
        local_store.create(root / "configmaps" / f"{ledger.SETTINGS_NAME}.json", settings)
    except OSError as error:
        hint = "name another directory: --cluster local:DIR"
        raise UsageError(f"{directory} cannot hold a cluster: {error}", hint=hint) from error
    return KubeCluster(LocalApi(root, slots))


class LocalApi:
    """One directory as an API server; any number of processes may be one at once."""

    def __init__(self, root: Path, slots: int) -> None:
        self.namespace = "local"
        self.requests: list[str] = []
        self._root = root
        self._slots = slots

    def now(self) -> datetime:
        return datetime.now(UTC)

    def ask(self, request: Request) -> Wire:
        self.requests.append(str(request))
        path = self._root / request.resource / f"{request.name or self.namespace}.json"
        match request.verb:
            case "list":
                return self._list(request.resource, str(request.query.get("labelSelector", "")))
            case "create" if not local_store.create(path, request.body or {}):
                raise AnswerError(409, "AlreadyExists", f"{request.resource} {request.name} exists")
            case "create" if request.resource == "jobs":
                self._supervise(request.name)
            case "patch":
                try:
                    local_store.amend(path, request.body or {})
                except ValueError as error:
                    raise AnswerError(409, "Conflict", str(error)) from error
        found = _read(path)
        if not found:
            raise AnswerError(404, "NotFound", f"{request.resource} {request.name} not found")
        return found

    def _list(self, resource: str, selector: str) -> Wire:
        kinds = re.findall(r"\w+", selector.removeprefix(ledger.KIND))
        files = (self._root / resource).glob("*.json")
        found = [one for one in map(_read, sorted(files)) if one]
        items = [
            one for one in found if one["metadata"].get("labels", {}).get(ledger.KIND) in kinds
        ]
        if resource == "jobs":
            items = [job for job in items if self._tend(job)]
        return {"kind": "List", "metadata": {}, "items": items}

    # --- Jobs ---

    def _tend(self, job: Wire) -> bool:
        """See that a Job has its supervisor, or is removed when its time is over; False then."""
        view = kube_views.read_job(job)
        if view.unreadable:
            return True
        ended = view.end.at if view.end else None
        if not ended:
            if not local_store.taken(self._root / "runs" / view.name / "alive"):
                self._supervise(view.name)  # the one before died: this one goes on, or tells it
            return True
        if self.now() < ended + timedelta(seconds=view.ttl or 0):
            return True
        for path in (self._root / "pods").glob(f"{view.name}-*.json"):
            path.unlink(missing_ok=True)
        (self._root / "jobs" / f"{view.name}.json").unlink(missing_ok=True)
        sandbox.clear(self._root / "runs" / view.name)
        return False

    def _supervise(self, job: str) -> None:
        """Start a Job's supervisor; one too many leaves by itself."""
        module = "dtp_action.adapters.local_supervisor"
        log, append = str(self._root / "supervisors.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", module, str(self._root), job, str(self._slots)],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, log, append, 0o600),
            ],
            setsid=True,  # it outlives us
            # A shell cannot trap what it was started to ignore, as by `nohup`; in a Pod it can.
            setsigdef=(signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1),
        )

    # --- logs ---

    def stream(self, request: Request, silence: float) -> Iterator[bytes]:  # noqa: ARG002 none here
        """Yield a log; followed, until nobody holds the Job any more."""
        self.requests.append(str(request))
        run = self._root / "runs" / request.name.rpartition("-")[0]
        path = run / f"{request.name}.log"
        if not path.exists():
            raise AnswerError(404, "NotFound", f'pods "{request.name}" not found')
        with path.open("rb") as log:
            if "tailLines" in request.query:
                log.seek(max(0, path.stat().st_size - TAIL))
                yield b"".join(deque(log, maxlen=int(request.query["tailLines"])))
            while True:
                alive = local_store.taken(run / "alive")
                while chunk := log.read(CHUNK):
                    yield chunk
                if request.query.get("follow") != "true" or not alive:
                    return
                time.sleep(PAUSE)


def _read(path: Path) -> Wire | None:
    """Return an object; of a file that holds none, what its name tells: it must not be missed."""
    try:
        found = local_store.read(path)
        whole = found is None or found["metadata"]["name"] == path.stem
    except (ValueError, TypeError, KeyError):
        whole = False
    if whole:
        return found
    ends = path.stem.rpartition("-")[2]
    companion = ends if ends in ("end", "tail", "ledger", "cluster") else "entry"
    kind = companion if path.parent.name == "configmaps" else "attempt"
    return {"metadata": {"name": path.stem, "labels": {ledger.KIND: kind}}}
