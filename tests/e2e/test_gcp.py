"""Real copies both ways with gsutil in a Pod; Google Cloud Storage itself is a stand-in.

The catalog's image has `gcloud storage`, which no registry of packages gives: gsutil speaks to the
same service by the same interface, and keeps tracker files too. What the emulator lacks: an upload
outlives no restart of it, and only whole parts are kept, not what came of the one that broke off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.admin import wait_for
from tests.e2e.emulator import PART, Cloud, Moved, standing_in
from tests.e2e.site import ROOM, Row, Site

TOOL = "gsutil 5.38 (catalog: gcloud storage 587)"
STAND_IN = (
    "fake-gcs-server, whose front, the tests' own, breaks off and tells how far an upload came"
)
REF = "dtp-gcp/genome"
SIZE = 8 * PART
# What gsutil remembers of a transfer lies on the claim: the next start is another Pod. That one
# waits until the test has mended the line.
SCRIPT = """\
#!/bin/bash
#DTP time=10m retries=1
set -euo pipefail
export BOTO_CONFIG=$DTP_SECRETS/boto
if [ "$DTP_START" -gt 1 ]; then until [ -e mended ]; do sleep 0.2; done; fi
{copy}
gsutil hash -m genome
"""
FETCH = 'gsutil -o "GSUtil:state_dir=$PWD/.gsutil" cp gs://lab/in/genome genome'
SEND = f"""\
[ -e genome ] || head -c {SIZE} /dev/urandom >genome
gsutil -o "GSUtil:state_dir=$PWD/.gsutil" cp genome gs://lab/out/genome"""

pytestmark = pytest.mark.transfer(protocol="gcp", tool=TOOL, stand_in=STAND_IN)


@pytest.fixture
def cloud(cluster_facts: dict[str, str], tmp_path: Path) -> Iterator[Cloud]:
    """Yield the stand-in, which Pods can reach."""
    with standing_in(cluster_facts, tmp_path) as made:
        yield made


def test_a_download_that_broke_off_goes_on_in_the_next_start(site: Site, cloud: Cloud) -> None:
    content = os.urandom(SIZE)
    cloud.put("in/genome", content)
    cloud.left = SIZE // 2

    ended = _run(site, cloud, FETCH)

    log = site.logs(REF)
    assert ended["phase"] == "SUCCEEDED", log
    assert "Resuming download" in log
    (rest,) = cloud.moved
    assert rest.first + rest.size == SIZE
    assert 0 < rest.size <= SIZE // 2 + PART
    assert (site.place(REF) / "genome").read_bytes() == content
    assert cloud.md5("in/genome") in log


def test_an_upload_that_broke_off_goes_on_in_the_next_start(site: Site, cloud: Cloud) -> None:
    cloud.left = SIZE // 2 + PART // 2

    ended = _run(site, cloud, SEND)

    log = site.logs(REF)
    assert ended["phase"] == "SUCCEEDED", log
    assert "Resuming upload" in log
    assert cloud.moved == [Moved("PUT", first, PART) for first in range(0, SIZE, PART)]
    assert cloud.get("out/genome") == (site.place(REF) / "genome").read_bytes()
    assert cloud.md5("out/genome") in log


def _run(site: Site, cloud: Cloud, copy: str) -> Row:
    """Run the script to its end: in its first start the line breaks, in its second it is mended."""
    own = ROOM | {"image": site.namespace.images["gsutil"], "memory": "256Mi"}
    site.write_catalog(gcp={**own, "transient": {1: "gsutil failed"}})
    site.admin.create("Secret", "dtp-gcp", site.namespace.name, stringData=cloud.secret)
    site.write(REF, SCRIPT.format(copy=copy))
    site.commit("a genome of the cloud's")
    name = site.dispatch().rows[REF]["name"]
    wait_for(cloud.down.is_set, "the line to break")
    wait_for(lambda: len(site.starts(name)) == 2, "the next start")
    cloud.mend()
    (site.place(REF) / "mended").touch()
    return site.dispatch(wait=True).rows[REF]
