"""Real transfers by HTTP: curl and aria2 in a Pod, NGINX, and a line that is cut half-way.

The scripts are the examples of `dtp-jobs/dtp-http`, with the test's own server in them. What goes
up begins anew after a cut: HTTP has no settled way to go on with half an upload.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import servers, stores
from tests.e2e.servers import Address, Web
from tests.e2e.site import Row, Site, Watch

REF = "dtp-http/genome"
SERVER = "NGINX 1.22"
NAME = "genome.fa.gz"
SIZE = 96 * 2**20
HALF = SIZE // 2
WHOLE = 2**40  # a connection that is not cut
SLACK = 16 * 2**20  # what may be under way when the line is cut: sent, and not received


@pytest.fixture
def web(cluster_facts: dict[str, str], tmp_path: Path) -> Iterator[Web]:
    """Yield a server that Pods can reach."""
    with servers.nginx(cluster_facts, tmp_path) as running:
        yield running


@pytest.mark.transfer(protocol="http", tool="curl 7.88, download", server=SERVER)
def test_curl_that_is_cut_half_way_goes_on_at_its_second_start(
    site: Site, web: Web, watch: Watch
) -> None:
    digest = _publish(web)
    with servers.line_to(web.address, WHOLE, HALF) as line:  # the checksum comes first
        ended = _run(site, _made("download", line.address))

    watch.told("curl gets, cut half-way, retries=5", ended)
    assert ended["phase"] == "SUCCEEDED", (line.passed, site.logs(REF))
    assert f"{NAME}: OK" in site.logs(REF)
    assert stores.digests(site.place(REF))[NAME] == digest
    assert _code_of_the_first_of_two_starts(site, ended) in ("18", "56")
    _, first, _, second = line.passed
    assert first >= HALF
    assert second < SIZE - HALF + SLACK
    whole, rest = web.requests(f"/{NAME}")
    assert whole.startswith("GET /genome.fa.gz 200")
    assert re.match(r'GET /genome.fa.gz 206 \d+ "bytes=[1-9]\d+-"', rest)


@pytest.mark.transfer(protocol="http", tool="aria2 1.36, download", server=SERVER)
def test_aria2_goes_on_by_itself_where_its_connections_are_cut(
    site: Site, web: Web, watch: Watch
) -> None:
    digest = _publish(web)
    cuts = WHOLE, SIZE // 16, SIZE // 8, SIZE // 16
    with servers.line_to(web.address, *cuts) as line:
        ended = _run(site, _made("aria2", line.address))

    watch.told("aria2 gets, three of its connections cut", ended)
    assert ended["phase"] == "SUCCEEDED", (line.passed, site.logs(REF))
    assert site.starts(ended["name"]) == ["1"]
    assert stores.digests(site.place(REF))[NAME] == digest
    assert all(passed >= cut for passed, cut in zip(line.passed[1:4], cuts[1:], strict=True))
    assert SIZE <= sum(line.passed) < SIZE + 3 * SLACK


WRONG = {
    "dtp-http/download": (1, f"{NAME}: FAILED"),
    "dtp-http/aria2": (32, "Checksum error"),
}


@pytest.mark.transfer(protocol="http", tool="curl 7.88 and aria2 1.36, wrong sum", server=SERVER)
def test_a_file_that_is_not_what_its_publisher_says_fails_the_job_and_is_not_kept(
    site: Site, web: Web
) -> None:
    _publish(web, size=2**20, digest=64 * "0")
    site.write_catalog(http=servers.row(site))
    for ref in WRONG:
        site.write(ref, _made(ref.removeprefix("dtp-http/"), web.address))
    site.commit()

    rows = site.dispatch(wait=True).rows

    for ref, (code, words) in WRONG.items():
        ended, log = rows[ref], site.logs(ref)
        assert (ended["phase"], ended["exit_code"]) == ("FAILED", code), log
        assert words in log
        assert site.starts(ended["name"]) == ["1"]
        assert not list(site.place(ref).glob(f"{NAME}*[!6]"))  # .sha256 alone is there


@pytest.mark.transfer(protocol="http", tool="curl 7.88, upload by PUT", server=SERVER)
def test_an_upload_that_is_cut_half_way_begins_anew_and_half_of_it_is_never_seen(
    site: Site, web: Web, watch: Watch
) -> None:
    files = site.claim / "run-7"
    digest = stores.write_random(files / "run-7.tar", SIZE)
    (files / "run-7.tar.sha256").write_text(f"{digest}  run-7.tar\n")
    with servers.line_to(web.address, HALF) as line:
        here = "/workspace/dtp-jobs/dtp-local/archive", "/workspace/run-7"
        script = _made("upload", line.address, here)
        host = line.address[0]
        secret = {"netrc": f"machine {host} login lab password {web.password}\n"}
        site.admin.create("Secret", "dtp-http", site.namespace.name, stringData=secret)

        ended = _run(site, script)

    watch.told("curl puts, cut half-way, retries=3", ended)
    assert ended["phase"] == "SUCCEEDED", (line.passed, site.logs(REF))
    assert stores.digests(web.folder / "incoming") == stores.digests(files)
    assert _code_of_the_first_of_two_starts(site, ended) in ("52", "55", "56")
    half, *_ = line.passed
    assert HALF <= half < HALF + SLACK
    tried = [line.split()[2] for line in web.requests("/incoming/run-7.tar")]
    assert tried == ["400", "201"]  # the server's words for: half of it, all of it
    assert web.password not in site.logs(REF)


def _publish(web: Web, size: int = SIZE, digest: str = "") -> str:
    """Put a file and its checksum on the server; return the checksum."""
    found = stores.write_random(web.folder / NAME, size)
    (web.folder / f"{NAME}.sha256").write_text(f"{digest or found}  {NAME}\n")
    return found


def _made(name: str, address: Address, *changes: tuple[str, str]) -> str:
    """Return an example with this server in it."""
    host, port = address
    own = "https://data.example.org", f"http://{host}:{port}"
    return servers.example(f"dtp-http/{name}", own, *changes)


def _run(site: Site, script: str) -> Row:
    """Have the script run to its end."""
    site.write_catalog(http=servers.row(site))
    site.write(REF, script)
    site.commit()
    return site.dispatch(wait=True).rows[REF]


def _code_of_the_first_of_two_starts(site: Site, ended: Row) -> str:
    assert site.starts(ended["name"]) == ["1", "2"]
    log = (site.place(REF) / "genome.log").read_text()  # of both starts
    (code,) = re.findall(r"start 1, .*, exit (\d+)", log)
    return str(code)
