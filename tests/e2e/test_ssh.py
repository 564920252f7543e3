"""Real copies over ssh: rsync and sftp in a Pod, OpenSSH's sshd, and a line that is cut half-way.

The scripts are the examples of `dtp-jobs/dtp-ssh`, with the test's own server in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import servers, stores
from tests.e2e.servers import HOME, Address, Line, Login, known_hosts
from tests.e2e.site import Row, Site, Watch

REF = "dtp-ssh/run-7"
SERVER = "sshd of OpenSSH 9.2"
SIZE = 96 * 2**20
HALF = SIZE // 2
SLACK = 8 * 2**20  # what is under way when the line is cut, and what the protocols add


@pytest.fixture
def login(cluster_facts: dict[str, str], tmp_path: Path) -> Iterator[Login]:
    """Yield a server that Pods can reach."""
    with servers.sshd(cluster_facts, tmp_path) as running:
        yield running


@pytest.mark.transfer(protocol="ssh", tool="rsync 3.5, download", server=SERVER)
def test_a_pull_that_is_cut_half_way_goes_on_at_its_second_start(
    site: Site, login: Login, watch: Watch
) -> None:
    login.write("run-7/genome", SIZE)
    login.write("run-7/notes of the lab", 2**20)
    with servers.line_to(login.address, HALF) as line:
        script = _made("pull", line.address, ("/data/run-7/", f"{HOME}/run-7/"))

        ended = _run(site, script, _secret(login, line.address))

    watch.told("rsync pulls, cut half-way, retries=3", ended)
    _went_on(site, ended, line)
    assert stores.digests(site.place(REF) / "run-7") == stores.digests(login.folder / "run-7")


@pytest.mark.transfer(protocol="ssh", tool="rsync 3.5, upload", server=SERVER)
def test_a_push_that_is_cut_half_way_goes_on_at_its_second_start(
    site: Site, login: Login, watch: Watch
) -> None:
    stores.write_random(site.claim / "run-7/genome", SIZE)
    stores.write_random(site.claim / "run-7/notes", 2**20)
    files = stores.digests(site.claim / "run-7")
    stores.write_random(site.claim / "run-7/.dtp/owner", 2**20)  # dtp's own, which stays here
    with servers.line_to(login.address, HALF) as line:
        here, there = "/workspace/dtp-jobs/dtp-aws/sequence-index/", "/data/sequence-index/"
        changes = (here, "/workspace/run-7/"), (there, f"{HOME}/run-7/")
        script = _made("push", line.address, *changes)

        ended = _run(site, script, _secret(login, line.address))

    watch.told("rsync pushes, cut half-way, retries=3", ended)
    _went_on(site, ended, line)
    assert stores.digests(login.folder / "run-7") == files


@pytest.mark.transfer(protocol="ssh", tool="sftp of OpenSSH 9.2, both ways", server=SERVER)
def test_sftp_that_is_cut_half_way_goes_on_at_its_second_start_and_sends_the_file_back(
    site: Site, login: Login, watch: Watch
) -> None:
    digest = login.write("run-7/genome.fa.gz", SIZE)
    (login.folder / "run-7/genome.fa.gz.sha256").write_text(f"{digest}  genome.fa.gz\n")
    last = f"get {HOME}/run-7/genome.fa.gz.sha256\n"
    with servers.line_to(login.address, HALF) as line:
        changes = ("/data/", f"{HOME}/run-7/"), (last, f"{last}put genome.fa.gz {HOME}/sent\n")
        script = _made("sftp", line.address, *changes)

        ended = _run(site, script, _secret(login, line.address))

    watch.told("sftp gets, cut half-way, and puts", ended)
    _went_on(site, ended, line, sent=SIZE)
    assert "genome.fa.gz: OK" in site.logs(REF)
    assert stores.digests(site.place(REF))["genome.fa.gz"] == digest
    assert stores.digests(login.folder)["sent"] == digest


# Each has a row of its own, and so a Secret of its own: an example, and what the log must say.
REFUSED = {
    "stranger": ("pull", "Permission denied (publickey)"),
    "sftp-stranger": ("sftp", "Permission denied (publickey)"),
    "changed-server": ("pull", "REMOTE HOST IDENTIFICATION HAS CHANGED"),
    "unknown-server": ("pull", "Host key verification failed"),
}


@pytest.mark.transfer(protocol="ssh", tool="rsync 3.5 and sftp, refused", server=SERVER)
def test_a_login_that_is_refused_is_told_in_plain_words_and_not_tried_again(
    site: Site, login: Login
) -> None:
    login.write("run-7/genome", 2**20)
    other = login.other_key()
    right = _secret(login, login.address)
    secrets = {
        "stranger": right | {"id_ed25519": other.private},
        "sftp-stranger": right | {"id_ed25519": other.private},
        "changed-server": right | {"known_hosts": known_hosts(login.address, other.public)},
        "unknown-server": right | {"known_hosts": ""},
    }
    site.write_catalog(**{name: servers.row(site, like="ssh") for name in REFUSED})
    for name, (tool, _) in REFUSED.items():
        _give(site, f"dtp-{name}", secrets[name])
        site.write(f"dtp-{name}/run-7", _made(tool, login.address, ("/data/", f"{HOME}/")))
    site.commit()

    rows = site.dispatch(wait=True).rows

    for name, (_, words) in REFUSED.items():
        ended, log = rows[f"dtp-{name}/run-7"], site.logs(f"dtp-{name}/run-7")
        assert ended["reason"].startswith("your script failed (exit 77): the login was refused")
        assert words in log
        assert site.starts(ended["name"]) == ["1"]
        assert not list(site.place(f"dtp-{name}/run-7").rglob("genome*"))


def _made(name: str, address: Address, *changes: tuple[str, str]) -> str:
    """Return an example with this server in it."""
    host, port = address
    own = (" 22 ", f" {port} "), ("lab@data.example.org", f"user@{host}")
    return servers.example(f"dtp-ssh/{name}", *own, *changes)


def _secret(login: Login, address: Address) -> dict[str, str]:
    """Return what the Secret holds, for a server that is reached at this address."""
    return {"id_ed25519": login.key, "known_hosts": known_hosts(address, login.host_key)}


def _give(site: Site, name: str, secret: dict[str, str]) -> None:
    """Make a Secret, as a cluster's admin does."""
    site.admin.create("Secret", name, site.namespace.name, stringData=secret)


def _run(site: Site, script: str, secret: dict[str, str]) -> Row:
    """Have the script run to its end."""
    _give(site, "dtp-ssh", secret)
    site.write_catalog(ssh=servers.row(site))
    site.write(REF, script)
    site.commit()
    ended = site.dispatch(wait=True).rows[REF]
    assert secret["id_ed25519"].split("\n")[1] not in site.logs(REF)
    return ended


def _went_on(site: Site, ended: Row, line: Line, sent: int = 0) -> None:
    """Check that the cut was survived by a second start, which moved the other half alone.

    `sent`: what the second start moved on top.
    """
    log = (site.place(REF) / "run-7.log").read_text()  # of both starts
    assert ended["phase"] == "SUCCEEDED", (line.passed, log)
    assert site.starts(ended["name"]) == ["1", "2"]
    (code,) = re.findall(r"start 1, .*, exit (\d+)", log)
    assert code in ("10", "12", "141", "255"), log
    first, second = line.passed
    assert HALF <= first < HALF + SLACK
    assert SIZE - HALF - SLACK < second - sent < SIZE - HALF + SLACK
