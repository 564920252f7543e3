"""The way of a script from the branch to a Pod and back, at its simplest."""

from __future__ import annotations

from tests.e2e.site import Site

HELLO = """\
#!/bin/bash
echo "hello from $DTP_REF"
date > made
"""


def test_merged_scripts_run_once_each_and_their_ends_are_told(site: Site) -> None:
    site.write("dtp-local/hello", HELLO)
    site.write("dtp-local/fail", "#!/bin/bash\necho before the fall\nexit 7\n")
    site.write("dtp-bare/hello", HELLO)
    site.commit("three jobs")

    first = site.dispatch(wait=True)

    assert first.code == 1, "an attempt that was open in this run ended badly"
    told = {ref: (row["phase"], row["reason"]) for ref, row in first.rows.items()}
    assert told == {
        "dtp-bare/hello": ("SUCCEEDED", "done"),
        "dtp-local/fail": ("FAILED", "your script failed (exit 7)"),
        "dtp-local/hello": ("SUCCEEDED", "done"),
    }
    assert site.status() == first.rows
    assert "hello from dtp-bare/hello" in site.logs("dtp-bare/hello")
    assert (site.place("dtp-bare/hello") / "made").is_file()
    assert "before the fall" in (site.place("dtp-local/fail") / "fail.log").read_text()

    second = site.dispatch(wait=True)

    assert (second.code, second.actions) == (0, [])
    assert second.rows == first.rows
