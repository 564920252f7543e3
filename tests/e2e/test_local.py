"""Real copies within the claim: rsync and tar in a Pod whose node is drained half-way.

The scripts are the examples of `dtp-jobs/dtp-local`, with the test's own paths in them, and slowed
down in their first start, so that there is a half-way.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from pathlib import Path

import pytest

from tests.admin import wait_for
from tests.e2e import servers, stores
from tests.e2e.conftest import Sites
from tests.e2e.site import Row, Site, Watch

REF = "dtp-local/copy"
SERVER = "a claim on ext4"
SIZE = 64 * 2**20
SHARED = "shared/results"


@pytest.mark.transfer(protocol="local", tool="rsync 3.5, to the job's directory", server=SERVER)
def test_a_copy_that_is_drained_half_way_goes_on_within_its_file(site: Site, watch: Watch) -> None:
    _copies(site, to="copy/", at=f"dtp-jobs/{REF}/copy", watch=watch)


@pytest.mark.transfer(protocol="local", tool="rsync 3.5, to a writable path", server=SERVER)
def test_a_copy_to_a_path_that_is_writable_to_all_goes_on_as_well(
    sites: Sites, watch: Watch
) -> None:
    with sites(writable=[SHARED]) as site:
        (site.claim / SHARED).mkdir(parents=True)
        (site.claim / SHARED).chmod(0o777)
        _copies(site, to=f"/workspace/{SHARED}/run-7/", at=f"{SHARED}/run-7", watch=watch)


def _copies(site: Site, *, to: str, at: str, watch: Watch) -> None:
    """Have a folder copied, drain the node half-way, and look at what is there in the end."""
    source, there = site.claim / "run-7", site.claim / at
    stores.write_random(source / "genome", SIZE)
    stores.write_random(source / "more/notes of the lab", 2**20)
    files = stores.digests(source)
    stores.write_random(source / ".dtp/owner", 2**20)  # dtp's own, which stays there
    from_run_7 = "/workspace/dtp-jobs/dtp-aws/sequence-index/", "/workspace/run-7/"
    slowly = "rsync -a --append", 'rsync -a --bwlimit="$limit" --append'
    limit = '[ "$DTP_START" -gt 1 ] && limit=0 || limit=4m'
    script = _slowed("copy", limit, from_run_7, ("to=copy/", f"to={to}"), slowly)

    name = _begin(site, script)
    genome = there / "genome"
    wait_for(lambda: genome.exists() and genome.stat().st_size > SIZE // 4, "half of it")
    site.evict(name)

    ended = site.dispatch_until(REF, "SUCCEEDED")
    watch.told(f"rsync within the claim, drained half-way, to {to}", ended)
    assert stores.digests(there) == files
    assert site.starts(name) == ["1", "2"]
    (sent,) = re.findall(r"^sent ([\d,]+) bytes", _log(site), re.MULTILINE)
    assert int(sent.replace(",", "")) < SIZE * 3 // 4 + 2 * 2**20


@pytest.mark.transfer(protocol="local", tool="tar 1.34", server=SERVER)
def test_an_archive_that_is_drained_half_way_begins_anew_and_half_of_it_never_has_its_name(
    site: Site, watch: Watch
) -> None:
    source = site.claim / "in/sequence-index"
    stores.write_random(source / "genome", SIZE)
    stores.write_random(source / "notes", 2**20)
    files = stores.digests(source)
    stores.write_random(source / ".dtp/owner", 2**20)  # dtp's own, which stays there
    slowly = "export TAR_OPTIONS='--checkpoint=400 --checkpoint-action=sleep=1'"  # 4 MB a second
    limit = f'[ "$DTP_START" -gt 1 ] || {slowly}'
    script = _slowed("archive", limit, ("/workspace/dtp-jobs/dtp-aws", "/workspace/in"))
    place = site.place(REF)

    name = _begin(site, script)
    half = place / "run-7.tar.part"
    wait_for(lambda: half.exists() and half.stat().st_size > SIZE // 4, "half of it")
    site.evict(name)
    wait_for(lambda: "start 1, " in _log(site), "the end of the first start")
    assert not (place / "run-7.tar").exists()

    ended = site.dispatch_until(REF, "SUCCEEDED")
    watch.told("tar within the claim, drained half-way", ended)
    assert site.starts(name) == ["1", "2"]
    assert not half.exists()
    assert _unpacked(place / "run-7.tar") == files
    digest = stores.digests(place)["run-7.tar"]
    assert (place / "run-7.tar.sha256").read_text() == f"{digest}  run-7.tar\n"


def _slowed(name: str, limit: str, *changes: tuple[str, str]) -> str:
    """Return an example with a line before its first command."""
    return servers.example(f"dtp-local/{name}", ("set -eu\n", f"set -eu\n{limit}\n"), *changes)


def _begin(site: Site, script: str) -> str:
    """Have the script started; return the attempt's name."""
    site.write_catalog(local=servers.row(site))
    site.write(REF, script)
    site.commit()
    row: Row = site.dispatch().rows[REF]
    return str(row["name"])


def _log(site: Site) -> str:
    """Return what all starts printed."""
    path = site.place(REF) / "copy.log"
    return path.read_text() if path.exists() else ""


def _unpacked(archive: Path) -> dict[str, str]:
    """Return the digest of each file in an archive, by its path below the one folder."""
    found = {}
    with tarfile.open(archive) as members:
        for member in members:
            if file := members.extractfile(member):
                found[member.name.partition("/")[2]] = hashlib.sha256(file.read()).hexdigest()
    return found
