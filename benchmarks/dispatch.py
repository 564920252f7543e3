"""Dispatch of many new scripts against three ways to write the same objects to the same server.

kubectl from one file, plain HTTP over 16 connections, and one kubectl per Job as the original did.
Jobs need no Pod here: the controller manager sleeps meanwhile, so that writing is what is measured.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import signal
import ssl
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
import yaml

from benchmarks.common import Bench, bench, machine, tell
from dtp_action.core import ledger

CONNECTIONS = 16
Wire = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scripts", type=int, default=1000)
    parser.add_argument("--singly", type=int, default=30, help="Jobs made one kubectl each")
    given = parser.parse_args()
    with bench() as source, bench() as other, asleep(source):
        scripts = {f"dtp-local/job-{n}": f"#!/bin/sh\necho {n}\n" for n in range(given.scripts)}
        source.write(scripts)
        options = ["--source", "bench#main", "--max-new", str(given.scripts)]
        dtp = given.scripts / source.dtp("dispatch", *options).seconds
        objects = written(source)
        http = given.scripts / by_http(other, named(objects, other, "h"))
        kubectl = given.scripts / by_kubectl(other, named(objects, other, "k"))
        singly = by_one_kubectl_each(other, named(objects, other, "s"), given.singly)
    tell("Attempts a second", machine=machine(), scripts=str(given.scripts), dtp=dtp,
         kubectl_from_one_file=kubectl, plain_http=http, one_kubectl_each=singly,
         dtp_to_kubectl=dtp / kubectl, dtp_to_plain_http=dtp / http,
         dtp_to_one_kubectl_each=dtp / singly)  # fmt: skip


@contextmanager
def asleep(site: Bench) -> Iterator[None]:
    """Stop the controller manager of the native test cluster for a while."""
    pid = int((Path(site.facts["CLUSTER_DIR"]) / "run/pids/kube-controller-manager").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def written(site: Bench) -> list[tuple[Wire, Wire]]:
    """Return what dispatch wrote: each attempt's entry and Job, as one would create them."""
    entries = listed(site, "configmaps", f"{ledger.KIND}=entry")
    jobs = {job["metadata"]["name"]: job for job in listed(site, "jobs", f"{ledger.KIND}=attempt")}
    return [(entry, jobs[entry["metadata"]["name"]]) for entry in entries]


def listed(site: Bench, kind: str, selector: str) -> list[Wire]:
    output = site.kubectl("get", kind, "-l", selector, "-o", "json").output
    return [as_new(item) for item in json.loads(output)["items"]]


def as_new(item: Wire) -> Wire:
    """Strip what the server added."""
    metadata = item["metadata"]
    for key in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"):
        metadata.pop(key, None)
    item.pop("status", None)
    if item["kind"] == "Job":
        item["spec"].pop("selector", None)
        labels = item["spec"]["template"]["metadata"]["labels"]
        for key in [key for key in labels if "controller-uid" in key or "job-name" in key]:
            del labels[key]
            metadata["labels"].pop(key, None)
    return item


def named(objects: list[tuple[Wire, Wire]], site: Bench, prefix: str) -> list[tuple[Wire, Wire]]:
    """Return the same objects for another namespace, under names of their own."""
    made = copy.deepcopy(objects)
    for one in (item for pair in made for item in pair):
        one["metadata"]["name"] = prefix + one["metadata"]["name"]
        one["metadata"]["namespace"] = site.namespace.name
    return made


def by_http(site: Bench, objects: list[tuple[Wire, Wire]]) -> float:
    """Return the seconds that plain HTTP takes: the same writes, entry before Job."""
    config = yaml.safe_load(site.kubeconfig.read_text())
    server = config["clusters"][0]["cluster"]
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=decoded(server["certificate-authority-data"]))
    pool = urllib3.PoolManager(maxsize=CONNECTIONS, ssl_context=context)
    headers = {
        "Authorization": f"Bearer {config['users'][0]['user']['token']}",
        "Content-Type": "application/json",
    }
    base = f"{server['server']}/{{}}/namespaces/{site.namespace.name}/{{}}"
    configmaps = base.format("api/v1", "configmaps")
    jobs = base.format("apis/batch/v1", "jobs")

    def create(pair: tuple[Wire, Wire]) -> None:
        for url, item in zip((configmaps, jobs), pair, strict=True):
            answer = pool.request("POST", url, body=json.dumps(item).encode(), headers=headers)
            assert answer.status == 201, answer.data

    began = time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(create, objects))
    return time.monotonic() - began


def decoded(text: str) -> str:
    import base64

    return base64.b64decode(text).decode()


def by_kubectl(site: Bench, objects: list[tuple[Wire, Wire]]) -> float:
    """Return the seconds of one `kubectl create -f`."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        items = [item for pair in objects for item in pair]
        json.dump({"apiVersion": "v1", "kind": "List", "items": items}, file)
        file.flush()
        return site.kubectl("create", "-f", file.name).seconds


def by_one_kubectl_each(site: Bench, objects: list[tuple[Wire, Wire]], count: int) -> float:
    """Return Jobs a second, made by one kubectl each."""
    began = time.monotonic()
    for _, job in objects[:count]:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(job, file)
            file.flush()
            site.kubectl("create", "-f", file.name)
    return count / (time.monotonic() - began)


if __name__ == "__main__":
    main()
