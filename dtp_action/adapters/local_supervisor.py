"""One detached process per Job of the embedded cluster: slot, run limit, TERM then KILL, outcome.

`python -m dtp_action.adapters.local_supervisor FOLDER`: what is to be done stands in its run.json;
what it did it writes there too, each file whole. Decides nothing about attempts: like a Kubernetes'
Job controller it starts again only after an exit code that counts as transient.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

PAUSE = 0.1  # seconds between looks
GRACE = 30.0  # seconds from TERM to KILL, as in a Pod
BACKOFF = 1.0  # seconds before a start after a transient exit code


def main(folder: Path) -> None:
    """Run the Job of a folder, unless somebody does already or did."""
    with (folder / "alive").open("a") as alive:
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if (folder / "end.json").exists() or list(folder.glob("pod-*.json")):
            return
        os.set_inheritable(alive.fileno(), True)  # the runner holds it on, should we be killed
        _run(folder, json.loads((folder / "run.json").read_text()), alive.fileno())


def _run(folder: Path, told: dict[str, Any], alive: int) -> None:
    slot = _slot(folder, Path(told["slots"]), told["slot_count"])
    if slot is None:
        _end(folder, reason="DeadlineExceeded", message="ended before it started")
        return
    with slot:
        for start in range(1, told["retries"] + 2):
            pod = _pod(folder, start)
            code, late = _once(folder, told, pod, alive)
            stopped = (folder / "stop").exists()
            if code == 0 and not late:
                _end(folder, succeeded=True, reason="CompletionsReached", message="")
                return
            if stopped or late or code not in told["transient"]:
                break
            time.sleep(BACKOFF)
    reason = "DeadlineExceeded" if stopped else "PodFailurePolicy"
    _end(folder, reason=reason, message=f"the script ended with {code}")


def _slot(folder: Path, slots: Path, count: int) -> IO[str] | None:
    """Wait for one of the slots and hold it; None when the Job is stopped before."""
    while not (folder / "stop").exists():
        for number in range(count):
            slot = (slots / str(number)).open("a")
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                slot.close()
            else:
                return slot
        time.sleep(PAUSE)
    return None


def _pod(folder: Path, start: int) -> dict[str, Any]:
    """Return a Pod's form: the fields of core.model.PodView, `job` those of ContainerView."""
    name = f"{folder.name}-pod-{start}"
    created = _now()
    return {"name": name, "uid": str(uuid.uuid4()), "job_name": folder.name, "created": created}


def _once(folder: Path, told: dict[str, Any], pod: dict[str, Any], alive: int) -> tuple[int, bool]:
    """Start the runner once; return its exit code and whether it ran over its limit."""
    environment = os.environ | told["environment"] | {"DTP_UID": pod["uid"]}
    number = pod["name"].rpartition("-")[2]
    for path in ("DTP_DIRECTORY", "DTP_STATE"):
        Path(environment[path]).mkdir(parents=True, exist_ok=True)
    job: dict[str, Any] = {"state": "running", "started": _now()}
    _write(folder / f"pod-{number}.json", pod | {"phase": "Running", "job": job})
    with (folder / f"pod-{number}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 our runner
            ["/bin/sh", told["runner"]],
            env=environment,
            cwd=environment["DTP_DIRECTORY"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[alive],
        )
        late = _watch(folder, process, told["time"])
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    job |= {"state": "terminated", "exit_code": code, "finished": _now()}
    job["reason"] = "Error" if code else "Completed"
    job["message"] = _message(Path(environment["DTP_TERMINATION"]))
    reason = {"reason": "DeadlineExceeded"} if late else {}
    phase = "Succeeded" if code == 0 and not late else "Failed"
    _write(folder / f"pod-{number}.json", pod | reason | {"phase": phase, "job": job})
    return code, late


def _watch(folder: Path, process: subprocess.Popen[bytes], limit: float) -> bool:
    """Wait for the end; TERM at the limit or when stopped, KILL after the grace."""
    end = time.monotonic() + limit
    killed_at: float | None = None
    late = False
    while process.poll() is None:
        now = time.monotonic()
        if killed_at is None and (now > end or (folder / "stop").exists()):
            late = now > end
            process.send_signal(signal.SIGTERM)
            killed_at = now + GRACE
        elif killed_at is not None and now > killed_at:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(PAUSE)
    return late


def _message(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:4096]
    except OSError:
        return ""


def _end(folder: Path, *, succeeded: bool = False, reason: str, message: str) -> None:
    end = {"succeeded": succeeded, "reason": reason, "message": message, "at": _now()}
    _write(folder / "end.json", end)


def _write(path: Path, value: dict[str, Any]) -> None:
    """Write a file whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(value))
    new.replace(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
