"""Job controller and node of the embedded cluster, as a detached process for each Job.

`python -m dtp_action.adapters.local_supervisor DIRECTORY JOB SLOTS`: waits for a slot, runs the
script with the Job's limits, TERM then KILL, and tells it in the Job's status and its Pods', as
Kubernetes would. Decides nothing about attempts.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from dtp_action.adapters import local_store, sandbox
from dtp_action.adapters.local_store import Wire

PAUSE = 0.1  # seconds between looks
GRACE = 30.0  # seconds from TERM to KILL, as in a Pod
BACKOFF = 1.0  # seconds before a start after a transient exit code
TERMINATED, KILLED = 128 + signal.SIGTERM, 128 + signal.SIGKILL  # exit codes
PREPARED = {"terminated": {"exitCode": 0, "reason": "Completed"}}
RUNNER = Path(__file__).parents[1] / "runner"


def main(root: Path, name: str, slots: int) -> None:
    """Run a Job to its end, unless somebody does already or did."""
    for _ in range(2):  # who looks whether the lock is taken has it for an instant
        if alive := local_store.take(root / "runs" / name / "alive"):
            break
        time.sleep(PAUSE)
    job = local_store.read(root / "jobs" / f"{name}.json")
    if alive and job and "status" not in job:
        os.set_inheritable(alive.fileno(), True)  # the runner holds it on, should we be killed
        Supervisor(root, job, alive).run(slots)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a container ended: its state in the Pod, the exit code for the Job, the Pod's reason."""

    state: Wire
    code: int
    reason: str


class Supervisor:
    """One Job on its way from its first Pod to its end."""

    def __init__(self, root: Path, job: Wire, alive: IO[str]) -> None:
        self._root = root
        self._name = job["metadata"]["name"]
        self._path = root / "jobs" / f"{self._name}.json"
        self._job = job
        self._spec = job["spec"]["template"]["spec"]
        self._run = root / "runs" / self._name
        self._scratch = self._run / "scratch"  # a start's own: removed when it has ended
        self._alive = alive

    def run(self, slots: int) -> None:
        """Start the script, unless one before us did; write how the Job ended."""
        if self._job["spec"]["completions"] == 0:
            self._end(0)
            return
        pods = sorted((self._root / "pods").glob(f"{self._name}-*.json"))
        begun = [(pod, state) for pod in pods if (state := _state(pod))]
        sandbox.clear(self._scratch)  # of a start whose supervisor was killed
        self._end(self._left(*begun[-1]) if begun else self._start(slots))

    def _start(self, slots: int) -> int | None:
        """Run Pods as often as the Job allows; return the last exit code, None where none ran."""
        rules = self._job["spec"]["podFailurePolicy"]["rules"]
        counted = [rule["onExitCodes"]["values"] for rule in rules if rule["action"] == "Count"]
        slot = self._slot(slots)
        if not slot:
            self._pod(1).unlink(missing_ok=True)  # as the Job's controller does
            return None
        with slot:
            code = self._once(self._pod(1))
            for start in range(2, self._job["spec"]["backoffLimit"] + 2):
                if not any(code in codes for codes in counted) or self._over():
                    break
                time.sleep(BACKOFF)
                code = self._once(self._pod(start))
        return code

    def _slot(self, slots: int) -> IO[str] | None:
        """Wait for a slot and hold it; None when the Job's deadline passes before."""
        full = f"0/1 nodes are available: Insufficient slots, all {slots} in use"
        waits = {"type": "PodScheduled", "status": "False", "message": full}
        _tell(self._pod(1), "Pending", conditions=[waits])
        while not self._over():
            for number in range(slots):
                if slot := local_store.take(self._root / "slots" / str(number)):
                    return slot
            time.sleep(PAUSE)
        return None

    def _over(self) -> bool:
        """Tell whether the Job's deadline passed, or the Job was removed."""
        job = local_store.read(self._path)
        if not job:
            return True
        created = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
        limit = timedelta(seconds=job["spec"]["activeDeadlineSeconds"])
        return datetime.now(UTC) - created > limit

    # --- a Pod ---

    def _pod(self, start: int) -> Path:
        """Make a Pod, unless it is there."""
        path = self._root / "pods" / f"{self._name}-{start}.json"
        labels = self._job["metadata"]["labels"] | {"batch.kubernetes.io/job-name": self._name}
        local_store.create(path, {"metadata": {"name": path.stem, "labels": labels}})
        return path

    def _left(self, pod: Path, state: Wire) -> int:
        """Return the exit code of a Pod that one before us started; one that nobody saw is lost."""
        if began := state.get("running"):
            lost = {"exitCode": KILLED, "reason": "ContainerStatusUnknown"}
            state = {"terminated": began | lost | {"finishedAt": local_store.now()}}
            _tell(pod, "Failed", state)
        return int(state["terminated"]["exitCode"])

    def _once(self, pod: Path) -> int:
        """Run a Pod's two containers; return the exit code, TERM's for one that we had to end."""
        limit = time.monotonic() + self._spec["activeDeadlineSeconds"]
        with sandbox.scratch(self._scratch) as places:
            code = self._prepare(pod, limit)
            return code or self._run_script(pod, limit, places)

    def _prepare(self, pod: Path, limit: float) -> int:
        """Run prep; a Pod whose prep failed never starts its script."""
        began = {"startedAt": local_store.now()}
        _tell(pod, "Pending", prep={"running": began})
        writable = [self._root / "workspace", self._scratch]
        ended = self._contain(pod, "prep.sh", self._prep_environment(), writable, limit)
        if ended.code:
            _tell(pod, "Failed", prep={"terminated": began | ended.state}, reason=ended.reason)
        return ended.code

    def _run_script(self, pod: Path, limit: float, places: dict[str, str]) -> int:
        """Run the script by the runner."""
        environment = self._environment(pod) | places
        self._mount_entry()
        began = {"startedAt": local_store.now()}
        _tell(pod, "Running", {"running": began})
        writable = [*self._writable(), Path(environment["DTP_STATE"]), self._scratch]
        ended = self._contain(pod, "run.sh", environment, writable, limit)
        phase = "Failed" if ended.code else "Succeeded"
        _tell(pod, phase, {"terminated": began | ended.state}, reason=ended.reason)
        return ended.code

    def _mount_entry(self) -> None:
        """Write the entry's keys to where the Pod's volume has them, for reading alone."""
        entry = local_store.read(self._root / "configmaps" / f"{self._name}.json") or {}
        held = {key: text.encode() for key, text in entry["data"].items()}
        held |= {key: base64.b64decode(text) for key, text in entry.get("binaryData", {}).items()}
        (volume,) = (one["configMap"] for one in self._spec["volumes"] if one["name"] == "entry")
        usual = volume["defaultMode"]
        files = {i["path"]: (held[i["key"]], i.get("mode", usual)) for i in volume["items"]}
        sandbox.mount(self._run / "entry", files)

    def _contain(
        self,
        pod: Path,
        program: str,
        environment: dict[str, str],
        writable: list[Path],
        limit: float,
    ) -> Ended:
        """Run the program of one container."""
        message = Path(environment["DTP_TERMINATION"])
        message.unlink(missing_ok=True)
        with (self._run / f"{pod.stem}.log").open("ab") as log:
            process = sandbox.start(
                ["/bin/sh", str(RUNNER / program)],
                writable=writable,
                environment=environment,
                directory=self._run,
                stdout=log,
                stderr=log,
                pass_fds=[self._alive.fileno()],
            )
            forced = self._watch(process, limit)
            sandbox.end_orphans()
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        state = {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "message": message.read_text(errors="replace")[:4096] if message.exists() else "",
            "finishedAt": local_store.now(),
        }
        return Ended(
            state=state,
            code=code or (TERMINATED if forced else 0),
            reason="DeadlineExceeded" if forced and not self._over() else "",
        )

    def _prep_environment(self) -> dict[str, str]:
        """Return what prep is told, with its places on this machine; it brings no tools."""
        told = {one["name"]: one["value"] for one in self._spec["initContainers"][0]["env"]}
        places = {"DTP_CLAIM": str(self._root / "workspace"), "DTP_TOOLS_OUT": ""}
        return sandbox.inherited(os.environ) | told | places | self._message()

    def _message(self) -> dict[str, str]:
        return {"DTP_TERMINATION": str(self._scratch / "termination")}

    def _writable(self) -> list[Path]:
        """Return the directories of the workspace that the script may write to, made if missing."""
        mounts = self._spec["containers"][0]["volumeMounts"]
        places = [
            Path(f"{self._root}{one['mountPath']}")
            for one in mounts
            if one["name"] == "claim" and one["mountPath"].startswith("/workspace/")
            if not one.get("readOnly")
        ]
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        return places

    def _environment(self, pod: Path) -> dict[str, str]:
        """Return what the runner is told, with the places that mounts would give it."""
        uid = (local_store.read(pod) or {})["metadata"]["uid"]
        told = {one["name"]: one.get("value", "") for one in self._spec["containers"][0]["env"]}
        places = {
            "DTP_DIRECTORY": f"{self._root}{told['DTP_DIRECTORY']}",
            "DTP_STATE": str(self._root / "workspace" / ".dtp" / "state" / self._name),
            "DTP_SCRIPT": str(self._run / "entry" / "script"),
            "DTP_FILES": str(self._run / "entry" / "files"),
        } | self._message()
        if "DTP_EXPOSED" in told:
            root, offers = f"{self._root}/", told["DTP_EXPOSED"].split(",")
            places["DTP_EXPOSED"] = ",".join(offer.replace("/", root, 1) for offer in offers)
        nothing = {"DTP_TOOLS": "", "DTP_SECRETS": "", "DTP_UID": uid}
        return sandbox.inherited(os.environ) | told | places | nothing

    def _watch(self, process: subprocess.Popen[bytes], limit: float) -> bool:
        """Wait for the end; TERM at the limit or when stopped, KILL after the grace: True then."""
        kill_at = None
        while process.poll() is None:
            now = time.monotonic()
            if kill_at and now > kill_at:
                os.killpg(process.pid, signal.SIGKILL)
            elif not kill_at and (now > limit or self._over()):
                kill_at = now + GRACE
                process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PAUSE)
        return kill_at is not None

    def _end(self, code: int | None) -> None:
        """Write the Job's end."""
        ended = {
            "type": "Failed" if code or code is None else "Complete",
            "status": "True",
            "reason": "DeadlineExceeded" if self._over() else "PodFailurePolicy",
            "message": f"its last exit code: {code}",
            "lastTransitionTime": local_store.now(),
        }
        local_store.amend(self._path, {"status": {"conditions": [ended]}})


def _tell(
    pod: Path, phase: str, state: Wire | None = None, prep: Wire = PREPARED, **more: object
) -> None:
    """Write a Pod's status; `state` is that of its container, when it has begun."""
    status = {"phase": phase, "conditions": []} | more
    if state or prep is not PREPARED:
        status["initContainerStatuses"] = [{"name": "prep", "state": prep}]
    if state:
        status["containerStatuses"] = [{"name": "job", "state": state}]
    local_store.amend(pod, {"status": status})


def _state(pod: Path) -> Wire | None:
    """Return the state of a Pod's container, None before it began."""
    status = (local_store.read(pod) or {}).get("status", {})
    return status["containerStatuses"][0]["state"] if "containerStatuses" in status else None


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
