"""Real SRA tools in Pods: a run is fetched, checked and written as FASTQ, or is told why not.

The toolkit's own loader makes the run. Which server has one is what NCBI alone can say: a web
server of the test stands in for it. Runs are only fetched: there is no other direction.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import pytest

from tests.admin import wait_for
from tests.e2e.conftest import Sites
from tests.e2e.site import ROOM, Row, Site

TOOL = "sra-toolkit 3.0.3 (catalog: 3.4.1)"
STAND_IN = "a web server with a run that latf-load made: NCBI's own services were not asked"
RUN = "SRR000001"
SPOTS, LENGTH = 20_000, 150
BLOCK = 2**16
BREAKS = "/breaks"  # below it a download comes to a halt in its middle, once

LOAD = f"""\
#!/bin/sh
set -eu
latf-load --platform ILLUMINA --quality PHRED_33 -o "$TMPDIR/run" /workspace/reads.fastq
kar -c {RUN}.sra -d "$TMPDIR/run"
"""
FETCH = f"""\
#!/bin/sh
#DTP resume=yes
set -eu
vdb-config --prefetch-to-cwd
ls "$HOME/.ncbi"
prefetch {{url}}{BREAKS}/{RUN}.sra
vdb-validate {RUN}
fasterq-dump -e 2 --temp "$TMPDIR" ./{RUN}
"""
FILL = f"""\
#!/bin/sh
#DTP disk=4Mi
set -eu
prefetch {{url}}/{RUN}.sra
fasterq-dump -e 2 --temp "$TMPDIR" -O "$TMPDIR" ./{RUN}
sleep 300
"""
LIMIT = f"""\
#!/bin/sh
set -eu
prefetch {{url}}/{RUN}.sra
fasterq-dump -e 2 --temp "$TMPDIR" --disk-limit-tmp 1M ./{RUN}
"""
MISSING = "#!/bin/sh\nprefetch {url}/missing.sra\n"
SCRIPTS = {
    "dtp-sra-tools/fetch": FETCH,
    "dtp-sra-tools/fill": FILL,
    "dtp-sra-tools/limit": LIMIT,
    "dtp-sra-tools/missing": MISSING,
}

pytestmark = pytest.mark.transfer(protocol="sra-tools", tool=TOOL, stand_in=STAND_IN)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What became of all scripts, and what the server was asked for meanwhile."""

    site: Site
    rows: dict[str, Row]
    reads: dict[str, tuple[str, str]]  # by name: bases and qualities, as they went in
    asked: list[tuple[str, int]]  # path and first byte


@pytest.fixture(scope="module")
def ran(sites: Sites, cluster_facts: dict[str, str]) -> Iterator[Ran]:
    """Make a run, and fetch it with each of the scripts; the first is moved to another Pod."""
    host = cluster_facts.get("HOST_IP")
    if not host:
        pytest.skip("a cluster from outside: it is not known how its Pods reach this machine")
    with sites() as site:
        site.write_catalog(
            **{"sra-tools": {**ROOM, "image": site.namespace.images["sra"], "memory": "512Mi"}}
        )
        reads = _reads()
        fastq = "".join(f"@{name}\n{bases}\n+\n{told}\n" for name, (bases, told) in reads.items())
        (site.claim / "reads.fastq").write_text(fastq)
        site.write("dtp-sra-tools/load", LOAD)
        site.commit("a run")
        assert site.dispatch(wait=True).rows["dtp-sra-tools/load"]["phase"] == "SUCCEEDED"
        run = (site.place("dtp-sra-tools/load") / f"{RUN}.sra").read_bytes()
        with _serving(host, run) as server:
            for ref, script in SCRIPTS.items():
                site.write(ref, script.format(url=server.url))
            site.commit("what to do with it")
            name = site.dispatch().rows["dtp-sra-tools/fetch"]["name"]
            wait_for(server.halted.is_set, "the middle of the run")
            site.evict(name)
            rows = site.dispatch(wait=True).rows
            yield Ran(site=site, rows=rows, reads=reads, asked=server.asked)


def test_a_run_arrives_whole_when_its_pod_is_evicted_in_the_middle(ran: Ran) -> None:
    row, log = ran.rows["dtp-sra-tools/fetch"], ran.site.logs("dtp-sra-tools/fetch")
    assert row["phase"] == "SUCCEEDED", log
    assert ran.site.starts(row["name"]) == ["1", "2"]
    assert "user-settings.mkfg" in log
    assert "is consistent" in log
    firsts = [first for path, first in ran.asked if path.startswith(BREAKS)]
    assert firsts[0] == 0
    assert min(firsts[1:]) > 0
    written = (ran.site.place("dtp-sra-tools/fetch") / f"{RUN}.fastq").read_text()
    assert _parsed(written) == ran.reads


def test_a_full_scratch_is_told_as_such_and_not_as_the_tools_failure(ran: Ran) -> None:
    row = ran.rows["dtp-sra-tools/fill"]
    assert (row["phase"], row["reason"]) == (
        "FAILED",
        "used more than 4Mi of scratch: raise disk=",
    )


@pytest.mark.parametrize(
    ("job", "said"), [("limit", "disk-limit exeeded"), ("missing", "rcNotFound")]
)
def test_exit_3_is_whatever_went_wrong_and_the_log_says_what(ran: Ran, job: str, said: str) -> None:
    row = ran.rows[f"dtp-sra-tools/{job}"]
    assert (row["phase"], row["exit_code"]) == ("FAILED", 3)
    assert "no such run, no connection, or no space" in row["reason"]
    assert said in ran.site.logs(f"dtp-sra-tools/{job}")


# --- reads ---------------------------------------------------------------------------------------


def _reads() -> dict[str, tuple[str, str]]:
    """Return random reads by name, in the style of a sequencer."""
    random = Random(1)
    bases = random.randbytes(SPOTS * LENGTH).translate(bytes(b"ACGT"[n % 4] for n in range(256)))
    told = random.randbytes(SPOTS * LENGTH).translate(bytes(35 + n % 38 for n in range(256)))
    return {
        f"HWI:1:FC1:1:{n % 99}:{n}:{n}": (bases[at:end].decode(), told[at:end].decode())
        for n in range(SPOTS)
        for at, end in [(n * LENGTH, n * LENGTH + LENGTH)]
    }


def _parsed(fastq: str) -> dict[str, tuple[str, str]]:
    """Return the reads of a FASTQ with headers such as `@SRR000001.1 NAME length=150`."""
    lines = fastq.splitlines()
    heads = (line.split()[1] for line in lines[::4])
    return dict(zip(heads, zip(lines[1::4], lines[3::4], strict=True), strict=True))


# --- the server ----------------------------------------------------------------------------------


@contextmanager
def _serving(host: str, run: bytes) -> Iterator[_Server]:
    with _Server((host, 0), _Handler) as server:
        server.run = run
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.run = b""
        self.asked: list[tuple[str, int]] = []
        self.halted = threading.Event()
        self.closing = threading.Event()
        self.url = f"http://{self.server_name}:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a client that hung up."""


class _Handler(BaseHTTPRequestHandler):
    """Gives the run, or a range of its bytes, under any path that has its name."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._begin()

    def do_GET(self) -> None:
        part = self._begin()
        half = len(self.server.run) // 2
        for at in range(part.start, part.stop, BLOCK):
            if at >= half and self.path.startswith(BREAKS) and not self.server.halted.is_set():
                self.server.halted.set()
                self.server.closing.wait()
            self.wfile.write(self.server.run[at : min(at + BLOCK, part.stop)])

    def _begin(self) -> range:
        """Answer with the head; return the bytes that are to follow."""
        size = len(self.server.run)
        if not self.path.endswith(f"{RUN}.sra"):
            self.send_error(404)
            return range(0)
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2] or size), size - 1) if asked else size - 1
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if self.command == "GET":
            self.server.asked.append((self.path, first))
        return range(first, last + 1)

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""
