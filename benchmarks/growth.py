"""What a run with nothing open costs as the ledger grows: 100, 1,000, 10,000 settled attempts."""

from __future__ import annotations

import argparse
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from benchmarks.common import Bench, bench, machine, tell
from dtp_action.adapters import kube
from dtp_action.adapters.kube_http import HttpApi
from dtp_action.core.model import Phase, Ref
from tests import builders

SIZES = (100, 1_000, 10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1])
    given = parser.parse_args()
    with bench() as site:
        site.write({"dtp-local/first": "#!/bin/sh\ntrue\n"})
        site.dtp("dispatch", "--source", "bench#main", "--wait", "60")
        there, before = 1, stored(site)
        for size in [size for size in SIZES if size <= given.most]:
            fill(site, there, size)
            there = size
            told(site, size, (stored(site) - before) / size)


def fill(site: Bench, first: int, size: int) -> None:
    """Write settled attempts as dispatch would leave them: the entry and its `-end`."""
    cluster = site.namespace.connect()

    def settled(number: int) -> None:
        draft = builders.a_draft(Ref("local", f"job-{number}"), created=number)
        entry = cluster.record(draft)
        finished = draft.created + timedelta(hours=1)
        outcome = builders.an_outcome(
            Phase.SUCCEEDED, started=draft.created, finished=finished, received=10**12, sent=10**9
        )
        cluster.settle(entry, outcome, f"copied file {number}\n" * 20)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(settled, range(first, size)))


def stored(site: Bench) -> float:
    """Return the bytes of the store, as the API server tells them: old versions included."""
    metrics = site.kubectl("get", "--raw", "/metrics").output
    found = re.search(r"^apiserver_storage_size_bytes\{.*\} (\S+)$", metrics, re.MULTILINE)
    assert found, "the API server tells no size of its store"
    return float(found[1])


def told(site: Bench, size: int, each: float) -> None:
    cost = site.dtp("dispatch", "--source", "bench#main", "--format", "json")
    assert json.loads(cost.output)["actions"] == []
    requests, received = counted(site)
    tell(f"{size} settled attempts", machine=machine(), seconds=cost.seconds, cpu_s=cost.cpu,
         peak_memory_MB=cost.memory / 10**6, requests=str(requests), received_MB=received / 10**6,
         etcd_bytes_each=each)  # fmt: skip


def counted(site: Bench) -> tuple[int, int]:
    """Return requests and bytes of the four reads that such a run makes."""
    cluster = site.namespace.connect()
    received = 0
    api = cluster._api
    assert isinstance(api, HttpApi)
    once = api._once

    def count(request: Any) -> bytes:
        nonlocal received
        body = once(request)
        received += len(body)
        return body

    api._once = count  # type: ignore[method-assign]
    read_all(cluster)
    return len(cluster.requests), received


def read_all(cluster: kube.KubeCluster) -> None:
    cluster.settings()
    assert cluster.ledger().identity
    cluster.jobs()
    cluster.namespace_uid()


if __name__ == "__main__":
    main()
