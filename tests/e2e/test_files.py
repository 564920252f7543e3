"""Files beside a script, in real Pods: mounted by a kubelet, whatever their names and bytes."""

from __future__ import annotations

from dtp_action.core import beside
from tests.e2e.site import Site

REF = "dtp-local/list"
SCRIPT = """\
#!/bin/sh
set -eu
cp "$DTP_FILES/acc.txt" "$DTP_FILES/empty" .
sh "$DTP_FILES/a b/ü 'x'.sh"
test -x "$DTP_FILES/a b/ü 'x'.sh"
echo "$(find "$DTP_FILES" -type f | wc -l) files"
if touch "$DTP_FILES/new" || echo more >>"$DTP_FILES/acc.txt"; then echo written; fi
while read -r run; do
  echo "fetched $run"
  [ "$run" != wrong ]
done <"$DTP_FILES/acc.txt"
"""
BYTES = bytes(range(256)) * 1024


def put(site: Site, name: str, content: bytes) -> None:
    path = site.directory / beside.folder(f"dtp-jobs/{REF}.sh") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_job_reads_its_files_and_runs_again_when_a_list_that_failed_is_corrected(
    site: Site,
) -> None:
    put(site, "acc.txt", b"SRR1\nwrong\n")
    put(site, "a b/ü 'x'.sh", b"#!/bin/sh\necho helped\n")
    put(site, "empty", b"")
    put(site, ".bytes", BYTES)
    site.merge(list=SCRIPT)
    first = site.dispatch_until(REF, "FAILED")
    log = site.logs(REF)
    assert "helped\n4 files\n" in log
    assert "fetched SRR1\nfetched wrong\n" in log
    assert "written" not in log
    assert first["files"] == 4

    put(site, "acc.txt", b"SRR1\nSRR2\n")
    site.commit()
    second = site.dispatch_until(REF, "SUCCEEDED")
    assert (second["attempt"], second["reason"]) == (2, "done")
    assert second["blob"] != first["blob"]
    assert site.has_come_to_rest()
    place = site.place(REF)
    assert (place / "acc.txt").read_bytes() == b"SRR1\nSRR2\n"
    assert (place / "empty").read_bytes() == b""


def test_as_much_as_there_may_be_reaches_the_job(site: Site) -> None:
    script = b'#!/bin/sh\ncd "$DTP_FILES" && cat */*/* | wc -c\n'
    size = (beside.MOST_BYTES - len(script)) // beside.MOST_FILES
    for number in range(beside.MOST_FILES):
        put(site, f"{number}/{'ü' * 60}/x", b"\xff" * size)
    site.write(REF, script)
    site.commit()
    site.dispatch_until(REF, "SUCCEEDED")
    assert f"\n{size * beside.MOST_FILES}\n" in site.logs(REF)


def test_without_files_their_directory_is_there_and_empty(site: Site) -> None:
    site.merge(list='#!/bin/sh\nset -eu\nls -A "$DTP_FILES"\necho "that is all"\n')
    site.dispatch_until(REF, "SUCCEEDED")
    assert "\nthat is all\n" in site.logs(REF)
