"""Real copies both ways: the AWS CLI, mc and rclone in Pods, and versitygw, a real S3 server.

The scripts are the examples of `dtp-jobs`, with the test's own bucket in them.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dtp_action.core import catalog
from tests.admin import wait_for
from tests.e2e import stores
from tests.e2e.servers import Outage, example, failing_line_to
from tests.e2e.site import ROOM, Row, Site, Watch
from tests.e2e.stores import BUCKET, Store

MIB = 2**20
BIG = 128 * MIB
PART = 8 * MIB  # the AWS CLI's own
FILES = 64  # of 1 MiB each, of a folder that breaks off
SERVER = "versitygw, an S3 server"
REFUSED = "The request signature we calculated does not match"

by_aws = pytest.mark.transfer(
    protocol="aws", tool="AWS CLI 1.46 (catalog: 2.37), both ways", server=SERVER
)
by_mc = pytest.mark.transfer(
    protocol="minio", tool="mc of 2025-03 (catalog: 2025-08), both ways", server=SERVER
)
by_rclone = pytest.mark.transfer(
    protocol="rclone", tool="rclone 1.60 (catalog: 1.75), both ways", server=SERVER
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tool:
    """What differs between the three: their images, examples, Secrets and patience."""

    protocol: str
    image: str  # the short name of one
    fetch: str  # the script that fetches the folder `run-7`
    send: str  # the script that sends what another job brought, as the folder `sequence-index`
    secret: Callable[[Store], dict[str, str]]
    broken: int  # exit code of a download that broke off
    absent: tuple[int, str]  # exit code and words of a bucket that is not there
    hasty: dict[str, str] = field(default_factory=dict)  # variables: fail at once
    breaks: int = FILES * MIB // 2  # bytes until the line breaks

    def row(self, site: Site, **more: Any) -> dict[str, Any]:
        """Return the catalog row of a site that uses it."""
        own = {"image": site.namespace.images[self.image], "memory": "512Mi"}
        return ROOM | own | more


def _aws_secret(store: Store) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": store.key,
        "AWS_SECRET_ACCESS_KEY": store.secret,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": store.url,
    }


def _mc_secret(store: Store) -> dict[str, str]:
    return {"MC_HOST_LAB": store.url.replace("://", f"://{store.key}:{store.secret}@")}


def _rclone_secret(store: Store) -> dict[str, str]:
    return {f"RCLONE_CONFIG_LAB_{key.upper()}": value for key, value in _remote(store).items()}


def _remote(store: Store) -> dict[str, str]:
    """Return what rclone wants to know of a remote."""
    return {
        "type": "s3",
        "provider": "Other",
        "endpoint": store.url,
        "region": "us-east-1",
        "access_key_id": store.key,
        "secret_access_key": store.secret,
    }


OURS = ("my-bucket", BUCKET)
BROUGHT = "brought"  # what is sent: a folder of the workspace
PUBLIC = "':s3,provider=AWS,region=us-east-1:1000genomes' ."

AWS = Tool(
    protocol="aws",
    image="aws",
    fetch=example("dtp-aws/folder", OURS),
    send=example("dtp-aws/upload", OURS, ("dtp-jobs/dtp-http/sequence-index", BROUGHT)),
    secret=_aws_secret,
    broken=1,
    absent=(1, "The specified bucket does not exist"),
    hasty={"AWS_MAX_ATTEMPTS": "1"},
)
MC = Tool(
    protocol="minio",
    image="mc",
    fetch=example("dtp-minio/download", OURS),
    send=example("dtp-minio/upload", OURS, ("dtp-jobs/dtp-aws/sequence-index", BROUGHT)),
    secret=_mc_secret,
    broken=1,
    absent=(1, "Bucket `absent` does not exist"),
)
RCLONE = Tool(
    protocol="rclone",
    image="rclone",
    fetch=example(
        "dtp-rclone/copy", (PUBLIC, f"lab:{BUCKET}/run-7 run-7"), (" --include /sequence.index", "")
    ),
    send=example("dtp-rclone/upload", OURS, ("dtp-jobs/dtp-aws/sequence-index", BROUGHT)),
    secret=_rclone_secret,
    broken=5,
    absent=(3, "directory not found"),
    # One file after the other, and the last breaks off: each that follows would take it seconds.
    hasty={"RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1", "RCLONE_TRANSFERS": "1"},
    breaks=FILES * MIB - MIB // 2,
)
ALL = (AWS, MC, RCLONE)
EACH = pytest.mark.parametrize(
    "tool",
    [
        pytest.param(AWS, marks=by_aws, id="aws"),
        pytest.param(MC, marks=by_mc, id="mc"),
        pytest.param(RCLONE, marks=by_rclone, id="rclone"),
    ],
)


@pytest.fixture
def store(cluster_facts: dict[str, str], tmp_path: Path) -> Iterator[Store]:
    """Yield a server that Pods can reach."""
    with stores.serving(cluster_facts, tmp_path) as running:
        yield running


@EACH
def test_a_big_object_comes_and_goes_and_stays_the_same(
    site: Site, store: Store, watch: Watch, tool: Tool
) -> None:
    digest = store.write("run-7/genome", BIG)
    shutil.copytree(store.folder / BUCKET / "run-7", site.claim / BROUGHT)
    stores.write_random(site.claim / BROUGHT / ".dtp/owner", MIB)  # dtp's own, which stays here
    _give(site, tool.protocol, tool.secret(store))
    site.write_catalog(**{tool.protocol: tool.row(site)})
    fetch = _write(site, tool.protocol, "fetch", tool.fetch)
    send = _write(site, tool.protocol, "send", tool.send)
    site.commit("fetch the genome, and send another")
    watch.start()

    rows = site.dispatch(wait=True).rows

    watch.told(f"{tool.protocol}: 128 MiB from S3, and 128 MiB there", rows[fetch])
    assert rows[fetch]["phase"] == "SUCCEEDED", site.logs(fetch)
    assert rows[send]["phase"] == "SUCCEEDED", site.logs(send)
    assert stores.digests(site.place(fetch) / "run-7") == {"genome": digest}
    assert store.digests("sequence-index") == {"genome": digest}
    assert rows[fetch]["network_received_bytes"] > BIG
    assert rows[send]["network_sent_bytes"] > BIG
    _keep_secret(site, store.secret, fetch, send)


@by_rclone
def test_rclone_takes_its_remotes_from_a_file_of_the_secret(site: Site, store: Store) -> None:
    digest = stores.write_random(site.claim / BROUGHT / "genome", MIB)
    remote = "".join(f"{key} = {value}\n" for key, value in _remote(store).items())
    _give(site, "rclone", {"rclone.conf": f"[lab]\n{remote}"})
    site.write_catalog(rclone=RCLONE.row(site))
    send = _write(site, "rclone", "send", RCLONE.send)
    site.commit()

    ended = site.dispatch(wait=True).rows[send]

    assert ended["phase"] == "SUCCEEDED", site.logs(send)
    assert store.digests("sequence-index") == {"genome": digest}
    _keep_secret(site, store.secret, send)


# --- interrupted ---------------------------------------------------------------------------------


@EACH
def test_what_came_whole_before_the_line_broke_is_not_sent_again(
    site: Site, store: Store, watch: Watch, tool: Tool
) -> None:
    for number in range(FILES):
        store.write(f"run-7/{number:02}", MIB)
    files = store.digests("run-7")
    shutil.copytree(store.folder / BUCKET / "run-7", site.claim / BROUGHT)
    with _breaking(store, tool.breaks) as near, _breaking(store, tool.breaks) as far:
        fetch, send = _write_both(site, tool, store, near, far)
        names = {ref: row["name"] for ref, row in site.dispatch().rows.items()}
        _await_first_end(site, names[fetch], near)
        came = stores.digests(site.place(fetch) / "run-7").items() & files.items()
        gets = _gets(store)
        near.mend()  # at once: the next start finds it so
        _await_first_end(site, names[send], far)
        went = store.digests("sequence-index").items() & files.items()
        puts = _puts(store)
        watch.start()
        far.mend()

        rows = site.dispatch(wait=True).rows

    watch.told(f"{tool.protocol}: fetches the rest, once the line is mended", rows[fetch])
    assert rows[fetch]["phase"] == "SUCCEEDED", site.logs(fetch)
    assert rows[send]["phase"] == "SUCCEEDED", site.logs(send)
    assert stores.digests(site.place(fetch) / "run-7") == files
    assert store.digests("sequence-index") == files
    assert f"start 1 exit {tool.broken}" in _ends(site, fetch)
    assert 0 < len(came) < FILES
    assert 0 < len(went) < FILES
    assert sorted(_gets(store)[len(gets) :]) == sorted(files.keys() - dict(came))
    assert sorted(_puts(store)[len(puts) :]) == sorted(files.keys() - dict(went))
    _keep_secret(site, store.secret, fetch, send)


def _write_both(site: Site, tool: Tool, store: Store, near: Outage, far: Outage) -> tuple[str, str]:
    """Write a script for each way, each with a line of its own; return their refs.

    Debian's rclone ends with 1, not 5, after a broken upload, and where no line is up at a start.
    """
    other = f"{tool.protocol}-send"  # with a line of its own
    retried = catalog.builtin().rows[tool.protocol].retried
    transient = dict.fromkeys(retried, "as the row has it") | {1: "often a lost connection"}
    site.write_catalog(
        **{
            protocol: tool.row(site, env=dict(tool.hasty), transient=dict(transient))
            for protocol in (tool.protocol, other)
        }
    )
    _give(site, tool.protocol, tool.secret(_through(near, store)))
    _give(site, other, tool.secret(_through(far, store)))
    refs = _write(site, tool.protocol, "fetch", tool.fetch), _write(site, other, "send", tool.send)
    site.commit("fetch a folder, and send another")
    return refs


def _breaking(store: Store, after: int) -> AbstractContextManager[Outage]:
    return failing_line_to(store.address, after)


def _through(line: Outage, store: Store) -> Store:
    """Return the store as seen through a line."""
    return replace(store, address=line.address)


def _await_first_end(site: Site, name: str, line: Outage) -> None:
    """Wait until the line broke, and the first start of an attempt ended by it."""
    assert line.down.wait(120), f"{name} moved too little for the line to break"
    first = site.claim / ".dtp/state" / name / "starts/1/end"
    wait_for(first.exists, f"the first start of {name} to end")


def _ends(site: Site, ref: str) -> list[str]:
    """Return how each start of a job ended, from its whole log."""
    log = (site.place(ref) / f"{ref.split('/')[1]}.log").read_text()
    return [
        " ".join(end) for end in re.findall(r" (start \d+), .*, (exit \d+)$", log, re.MULTILINE)
    ]


def _gets(store: Store) -> list[str]:
    return store.served("GetObject", "run-7/")


def _puts(store: Store) -> list[str]:
    return store.served("PutObject", "sequence-index/")


@by_aws
def test_a_single_object_that_broke_off_begins_anew(site: Site, store: Store) -> None:
    digest = store.write("sequence.index", 8 * PART)
    script = example(
        "dtp-aws/download", (" --no-sign-request", ""), ("s3://1000genomes", f"s3://{BUCKET}")
    )
    with _breaking(store, 4 * PART) as line:
        site.write_catalog(aws=AWS.row(site, env=AWS.hasty))
        _give(site, "aws", AWS.secret(_through(line, store)))
        ref = _write(site, "aws", "fetch", script)
        site.commit()
        name = site.dispatch().rows[ref]["name"]
        _await_first_end(site, name, line)
        before = store.served("GetObject", "sequence.")
        line.mend()

        ended = site.dispatch(wait=True).rows[ref]

    assert ended["phase"] == "SUCCEEDED", site.logs(ref)
    assert stores.digests(site.place(ref))["sequence.index"] == digest
    assert before
    assert store.served("GetObject", "sequence.")[len(before) :] == ["index"] * 8


# --- refused -------------------------------------------------------------------------------------


@by_aws
@by_mc
@by_rclone
def test_wrong_keys_are_told_in_the_servers_words(site: Site, store: Store) -> None:
    store.write("run-7/genome", MIB)
    wrong = replace(store, secret=secrets.token_hex(16))
    refs = {tool: _write_once(site, tool, "fetch", tool.fetch) for tool in ALL}
    rows = _refused(site, wrong)
    for tool, ref in refs.items():
        _assert_meant(rows[ref], tool, 1)
        assert REFUSED in site.logs(ref)
    _keep_secret(site, wrong.secret, *refs.values())


@by_aws
@by_mc
@by_rclone
def test_a_bucket_that_is_not_there_is_told_and_a_folder_may_be_an_empty_one(
    site: Site, store: Store
) -> None:
    store.write("run-7/genome", MIB)
    buckets = {
        tool: _write_once(site, tool, "bucket", tool.fetch.replace(f"{BUCKET}/", "absent/"))
        for tool in ALL
    }
    folders = {
        tool: _write_once(
            site, tool, "folder", tool.fetch.replace(f"{BUCKET}/run-7", f"{BUCKET}/no")
        )
        for tool in ALL
    }
    rows = _refused(site, store)
    for tool, ref in buckets.items():
        code, words = tool.absent
        _assert_meant(rows[ref], tool, code)
        assert words in site.logs(ref)
    # S3 knows no folders: to all but mc one that is not there is one with nothing in it.
    assert [rows[folders[tool]]["exit_code"] for tool in (AWS, MC, RCLONE)] == [0, 1, 0]
    assert "Object does not exist" in site.logs(folders[MC])


def _write_once(site: Site, tool: Tool, name: str, script: str) -> str:
    """Write a script that is not tried again, since that would take longer and change nothing."""
    return _write(site, tool.protocol, name, re.sub(r"retries=\d", "retries=0", script))


def _refused(site: Site, store: Store) -> dict[str, Row]:
    """Run what was written to its end, with these keys for all the tools."""
    for tool in ALL:
        _give(site, tool.protocol, tool.secret(store))
    site.write_catalog(**{tool.protocol: tool.row(site) for tool in ALL})
    site.commit()
    return site.dispatch(wait=True).rows


def _assert_meant(row: Row, tool: Tool, code: int) -> None:
    """Assert that what the tool means by this code is told, as the catalog has it."""
    (codes,) = catalog.builtin().rows[tool.protocol].tools.values()
    assert row["phase"] == "FAILED"
    assert row["reason"].startswith(f"your script failed (exit {code})")
    assert (codes.transient | codes.exits)[code] in row["reason"]


# --- what all have in common ---------------------------------------------------------------------


def _write(site: Site, protocol: str, name: str, script: str) -> str:
    """Put a script on the branch; return its ref."""
    ref = f"dtp-{protocol}/{name}"
    site.write(ref, script)
    return ref


def _give(site: Site, protocol: str, secret: dict[str, str]) -> None:
    """Make the Secret that every job of the protocol gets, as a cluster's admin does."""
    site.admin.create("Secret", f"dtp-{protocol}", site.namespace.name, stringData=secret)


def _keep_secret(site: Site, secret: str, *refs: str) -> None:
    """Check that jobs tell nobody a secret's value: neither their readers nor the cluster's."""
    comment = site.dtp("status", "--format", "markdown", *refs).out
    logs = [next(site.place(ref).glob("*.log")).read_text() for ref in refs]
    kinds = ("ConfigMap", "Job", "Pod")  # of a Pod, with its termination message
    kept = [json.dumps(site.admin.list(kind, site.namespace.name)) for kind in kinds]
    assert all(ref in comment for ref in refs)
    assert "terminated" in kept[-1]
    assert not [text for text in (comment, *logs, *kept) if secret in text]
