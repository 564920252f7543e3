"""A real copy both ways: the AWS CLI in a Pod, and an S3 server (versitygw) in its own process."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.admin import wait_for
from tests.e2e.site import Site, Watch

SIZE = 2**30
PART = 8 * 2**20  # the AWS CLI's own default
COPY = """\
#!/bin/bash
#DTP memory=1Gi time=20m
set -euo pipefail
aws s3 cp --only-show-errors s3://lab/in/genome .
sha256sum genome
aws s3 cp --only-show-errors genome s3://lab/out/genome
rm genome
"""


@dataclass(frozen=True, kw_only=True)
class Store:
    """A running S3 server with one bucket, `lab`."""

    url: str
    folder: Path  # an object is a file there
    log: Path  # a line per request
    keys: dict[str, str]

    def requests(self, pattern: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if re.search(pattern, line)]


@pytest.fixture
def store(cluster_facts: dict[str, str], tmp_path: Path) -> Iterator[Store]:
    """Yield a server that Pods can reach, on the cluster's own network link."""
    server, host = cluster_facts.get("S3_SERVER"), cluster_facts.get("HOST_IP")
    if not server or not host:
        pytest.skip("a cluster from outside: it is not known how its Pods reach this machine")
    with socket.create_server((host, 0)) as probe:
        port = probe.getsockname()[1]
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16)}
    folder, log = tmp_path / "buckets", tmp_path / "access.log"
    (folder / "lab").mkdir(parents=True)
    own = {"ROOT_ACCESS_KEY": keys["AWS_ACCESS_KEY_ID"]}
    own["ROOT_SECRET_KEY"] = keys["AWS_SECRET_ACCESS_KEY"]
    argv = [server, "--port", f"{host}:{port}", "--access-log", str(log), "posix", str(folder)]
    with (tmp_path / "server.log").open("wb") as output:
        process = subprocess.Popen(argv, env=os.environ | own, stdout=output, stderr=output)
    try:
        wait_for(lambda: _answers(host, port), "the S3 server")
        yield Store(url=f"http://{host}:{port}", folder=folder, log=log, keys=keys)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_gigabyte_comes_and_goes_in_parts_and_stays_the_same(
    site: Site, store: Store, watch: Watch
) -> None:
    there = store.folder / "lab" / "in" / "genome"
    there.parent.mkdir()
    digest = _write_random(there)
    _give_secret(site, store)
    site.write("dtp-aws/genome", COPY)
    site.commit("fetch the genome, and send it back")
    watch.start()

    ended = site.dispatch(wait=230).rows["dtp-aws/genome"]

    watch.told("1 GiB from S3 and back", ended)
    log = site.logs("dtp-aws/genome")
    assert ended["phase"] == "SUCCEEDED", log
    assert f"{digest}  genome" in log
    assert ended["network_received_bytes"] > SIZE
    assert ended["network_sent_bytes"] > SIZE
    assert store.keys["AWS_SECRET_ACCESS_KEY"] not in log
    with (store.folder / "lab" / "out" / "genome").open("rb") as sent:
        assert hashlib.file_digest(sent, "sha256").hexdigest() == digest
    parts = [
        len(store.requests(f"s3_{what} "))
        for what in ("GetObject in/genome", "UploadPart out/genome")
    ]
    assert parts == [SIZE // PART, SIZE // PART]


def test_wrong_keys_are_the_scripts_failure_and_told_in_the_servers_words(
    site: Site, store: Store
) -> None:
    wrong = {**store.keys, "AWS_SECRET_ACCESS_KEY": "wrong"}
    _give_secret(site, Store(url=store.url, folder=store.folder, log=store.log, keys=wrong))
    site.write("dtp-aws/genome", COPY)
    site.commit()
    ended = site.dispatch(wait=120).rows["dtp-aws/genome"]
    assert (ended["phase"], ended["reason"]) == ("FAILED", "your script failed (exit 1)")
    assert "403" in site.logs("dtp-aws/genome")


def _give_secret(site: Site, store: Store) -> None:
    """Make the Secret that every job of the protocol gets, as a cluster's admin does."""
    data = {**store.keys, "AWS_ENDPOINT_URL": store.url, "AWS_REGION": "us-east-1"}
    site.admin.create("Secret", "dtp-aws", site.namespace.name, stringData=data)


def _write_random(path: Path) -> str:
    """Write a random file; return its digest."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(SIZE // PART):
            part = os.urandom(PART)
            digest.update(part)
            file.write(part)
    return digest.hexdigest()
