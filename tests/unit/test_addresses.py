"""What names a machine or a store is for nobody in a public repository."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import addresses


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("mount.nfs: mounting 10.20.30.40:/export/lab failed", "mount.nfs: mounting … failed"),
        ("mounting nas01:/export failed: denied", "mounting … failed: denied"),
        ("mounting nas:/export failed", "mounting … failed"),
        ("mount -t nfs NAS-B:/vol1/home /var/lib/x", "mount -t nfs … /var/lib/x"),
        ("mount -t nfs [fd00::12]:/export /x", "mount -t nfs … /x"),
        ("mount error: //fileserver/share$ is away", "mount error: … is away"),
        (r"cannot open \\fileserver\share\data: denied", "cannot open …: denied"),
        (r"unc=\\fileserver\share,user", "unc=…,user"),
        ("mount -t ceph ceph-a,ceph-b:6789:/vol /x", "mount -t ceph … /x"),
        ("mount 10.20.1.1@tcp:10.20.1.2@tcp:/scratch failed", "mount … failed"),
        ("mgs01@tcp0:/lustre: no route", "…: no route"),
        ("ssh: ada@login: Permission denied", "ssh: … Permission denied"),
        ("dial tcp: lookup minio on 10.20.0.1:53: no such host",
         "dial tcp: lookup … on …: no such host"),
        ('Get "https://minio:9000/x?y=z": EOF', 'Get "…": EOF'),
        ("Get http://vega/data: refused", "Get …: refused"),
        ("dial tcp fd00::1: refused", "dial tcp … refused"),
        ("connect to nas01 port 2049 failed", "connect to … port 2049 failed"),
        ("connect to nas01:2049: refused", "connect to …: refused"),
        ("rpc to minio:9000 failed", "rpc to … failed"),
        ("Node worker-3 is not ready", "Node … is not ready"),
        ("waits for Pod x on node vega, which", "waits for Pod x on node …, which"),
        ("Preempted on worker-3 by another", "Preempted on … by another"),
        ('node "vega" is gone', 'node "…" is gone'),
        ("server=vega,ro", "server=…,ro"),
        ("could not resolve host: minio.lab", "could not resolve host: …"),
        ("Could not resolve host: vega", "Could not resolve host: …"),
        ("ssh: Could not resolve hostname vega: unknown",
         "ssh: Could not resolve hostname …: unknown"),
        ("ssh: connect to host vega port 22: refused", "ssh: connect to host … port 22: refused"),
        ("Failed to connect to vega port 443", "Failed to connect to … port 443"),
        ("Connecting to vega (10.20.0.1): refused", "Connecting to … (…): refused"),
        ("NAS01.Lab.Example.ORG is away", "… is away"),
        ("from nas.local to nas.internal", "from … to …"),
        ("copied vega:archive/2024 so far", "copied … so far"),
        ("from data.example.org/x of 10.20.0.1", "from … of …"),
    ],
)  # fmt: skip
def test_each_way_in_which_a_machine_or_store_is_named_is_hidden(said: str, shown: str) -> None:
    assert addresses.hide(said).replace("……", "…") == shown


@pytest.mark.parametrize(
    "said",
    [
        "no node has enough free memory now: 0/3 nodes are available: 3 Insufficient memory.",
        "1 node(s) had untolerated taint {dedicated: gpu}, 2 didn't match Pod's node affinity",
        "its node is being drained or does not answer",
        "its node was drained or lost",
        "no node takes it",
        "its image cannot be pulled: amazon/aws-cli:2 not found",
        "image@sha256:0123456789abcdef is not there",
        "cancelled by ada-2",
        "attempt 2 of dtp-aws/genome-2 is running; to run it: dtp retry dtp-aws/genome-2",
        "used more than 10Gi of scratch: raise disk=20Gi",
        "your script failed (exit 3); started 2 times",
        "it waits since 12:30:05, as of 2030-01-02T12:30:05Z",
        "a job with an attempt on hold; add #DTP attempt=2, or raise it to 8Gi",
        "12/40 files, chr1.vcf next",
        "version 1.2.3 of 2024/05",
        "ratio 1:20; note: 3 files; /workspace/dtp-jobs/dtp-aws/a/a.log",
        "the server returned an error; the host is away; the peer closed it",
        "cannot connect to the server; no route to host; connected to it",
        "exit 1 (which of the AWS CLI means: some transfers failed)",
    ],
)
def test_what_names_none_stays_as_it_is(said: str) -> None:
    assert addresses.hide(said) == said


HOSTS = st.from_regex(r"[a-z]{2,8}[0-9]{1,3}", fullmatch=True)
WRITTEN = st.sampled_from(
    ["{}:/export/x", r"\\{}\share", "//{}/share", "on node {}", "https://{}/x", "{}:2049", "to {}",
     "me@{}:x", "{}.lan", "server {}", "{}.x.example"]
)  # fmt: skip


@given(
    HOSTS, WRITTEN, st.sampled_from(["", "mount failed: ", "("]), st.sampled_from(["", " x", ")"])
)
def test_no_name_is_left_however_it_is_written(host: str, how: str, before: str, end: str) -> None:
    assert host not in addresses.hide(before + how.format(host) + end)


@given(st.text(max_size=300))
def test_any_text_is_read_in_no_time(text: str) -> None:
    assert addresses.hide(addresses.hide(text)) is not None


def test_a_long_line_is_read_in_no_time() -> None:
    for part in ("a.", "a:", "a-", "1.", "a,", "::", "a@", "//a", "ab1 "):
        addresses.hide(part * 2_000)
