"""What arrived is counted in the Pod, its list of checksums holds, and progress is seen."""

from __future__ import annotations

import hashlib
import json
import subprocess
from functools import partial

from tests.admin import wait_for
from tests.e2e.site import Site

DOWNLOAD = """#!/bin/bash
#DTP manifest=sha256
mkdir -p 'two
lines'
printf 'ACGT%.0s' $(seq 1000) >'two
lines/back\\slash.fa'
echo small >small; touch -d 2001-01-01 small
ln -s small link
echo 1/2 >"$DTP_PROGRESS_FILE"
until [ -e .dtp/go ]; do sleep 1; done
"""
ENDLESS = """#!/bin/sh
echo half >part
echo connected >"$DTP_PROGRESS_FILE"
sleep 600
"""


def test_what_arrives_is_told_while_it_runs_and_when_it_has_ended(site: Site) -> None:
    site.merge(download=DOWNLOAD, endless=ENDLESS)
    names = {ref: row["name"] for ref, row in site.dispatch().rows.items()}
    said = {"dtp-local/download": "1/2", "dtp-local/endless": "connected"}
    for ref, progress in said.items():
        wait_for(partial(_has_told, site, names[ref], progress), f"{ref} to tell it")
    assert {ref: row["progress"] for ref, row in site.status().items()} == said
    running = site.dtp("status").out
    assert "1/2" in running
    assert "connected" in running

    (site.place("dtp-local/download") / ".dtp/go").touch()
    assert site.dtp("cancel", "dtp-local/endless").code == 0
    done = site.dispatch_until("dtp-local/download", "SUCCEEDED")
    assert (done["new_files"], done["new_bytes"], done["new_at_least"]) == (2, 4006, False)
    assert (done["progress"], done["warnings"]) == (None, [])
    _holds(site, done["manifest_sha256"])

    # A cancelled job's Pod goes with all that it told, but for what it left on the claim.
    cancelled = site.dispatch_until("dtp-local/endless", "CANCELLED")
    assert (cancelled["new_files"], cancelled["manifest_sha256"]) == (None, None)
    kept = site.claim / ".dtp/state" / cancelled["name"] / "result.json"
    wait_for(kept.is_file, "the result on the claim")
    result = json.loads(kept.read_text())
    assert (result["files"], result["bytes"], result["counted"]) == (1, 5, True)

    for text in (site.dtp("status").out, site.dtp("status", "--format", "markdown").out):
        plain = " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())
        assert "2 files, 4.0 kB arrived" in plain
        assert "receipt" in plain
        assert "verified" not in plain


def _has_told(site: Site, name: str, progress: str) -> bool:
    return f'"progress":"{progress}"' in site.printed(name)


def _holds(site: Site, digest: str) -> None:
    """Check the list against the files, and the list itself against what was told of it."""
    place = site.place("dtp-local/download")
    listed = place / ".dtp" / "manifest-1.sha256"
    assert hashlib.sha256(listed.read_bytes()).hexdigest() == digest
    assert len(listed.read_text().splitlines()) == 2
    check = ["sha256sum", "--check", "--strict", str(listed)]
    subprocess.run(check, cwd=place, check=True)
