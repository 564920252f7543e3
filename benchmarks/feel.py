"""What users feel: a merge until all Pods are there, a script's end until it is told."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

from benchmarks.common import Bench, bench, machine, tell

SCRIPTS = 50
MOMENT = "#!/bin/sh\nsleep 5; date +%s.%N >ended\n"


def main() -> None:
    with bench() as site:
        site.write({f"dtp-local/job-{n}": "#!/bin/sh\ntrue\n" for n in range(SCRIPTS)})
        began = time.time()
        options = ["--source", "bench#main", "--max-new", str(SCRIPTS)]
        dispatched = site.dtp("dispatch", *options).seconds
        tell("Merge of 50 scripts", machine=machine(), dispatch_s=dispatched,
             all_pods_created_s=last_pod(site) - began)  # fmt: skip
        tell("From a script's end to its telling", seconds=until_told(site))


def last_pod(site: Bench) -> float:
    """Wait until every attempt has a Pod; return when the last one was made."""
    while True:
        listed = json.loads(site.kubectl("get", "pods", "-o", "json").output)["items"]
        if len(listed) >= SCRIPTS:
            return max(made(pod) for pod in listed)
        time.sleep(0.2)


def made(pod: dict[str, Any]) -> float:
    moment = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    return moment.astimezone(UTC).timestamp()


def until_told(site: Bench) -> float:
    """Return the seconds from a script's last command to the end of a status that says it ended."""
    site.write({"dtp-local/moment": MOMENT})
    site.dtp("dispatch", "--source", "bench#main")
    while True:
        rows = json.loads(site.dtp("status", "dtp-local/moment", "--format", "json").output)["jobs"]
        if rows[0]["phase"] == "SUCCEEDED":
            break
    assert site.namespace.claim
    ended = site.namespace.claim / "dtp-jobs" / "dtp-local" / "moment" / "ended"
    return time.time() - float(ended.read_text())


if __name__ == "__main__":
    main()
