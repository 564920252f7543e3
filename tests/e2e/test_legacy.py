"""The main job on real input: a test script as users of 2020 wrote it, under seven protocols."""

from __future__ import annotations

from tests.e2e.site import LEGACY, Site, Watch

TEST = """\
#!/bin/bash

# A test of the data transfer pod
echo "Test job"
whoami || id
hostname
pwd
ls -la
echo "The test ran on $(date)" > test.txt
cat test.txt
"""


def test_the_same_bytes_under_seven_protocols_are_seven_jobs(site: Site, watch: Watch) -> None:
    refs = [f"dtp-{protocol}/test" for protocol in LEGACY]
    for ref in refs:
        site.write(ref, TEST)
    site.commit("Test jobs")
    assert site.dtp("check").code == 0
    watch.start()

    done = site.dispatch(wait=True)

    assert done.code == 0
    for ref in refs:
        watch.told(f"the original's test script: {ref}", done.rows[ref])
    assert [done.rows[ref]["phase"] for ref in refs] == ["SUCCEEDED"] * 7
    assert len({done.rows[ref]["name"] for ref in refs}) == 7
    assert len({done.rows[ref]["blob"] for ref in refs}) == 1
    for ref in refs:
        assert (site.place(ref) / "test.txt").read_text().startswith("The test ran on ")
        log = (site.place(ref) / "test.log").read_text()
        assert f"/workspace/dtp-jobs/{ref}\n" in log
        assert "Test job\n" in log
    assert "Test job" in site.logs(refs[0])
    assert site.dispatch().actions == []
