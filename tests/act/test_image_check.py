"""The weekly look at the catalog's images, by the workflow that a requests repository has."""

from __future__ import annotations

from pathlib import Path

import yaml

from dtp_action.core import catalog
from tests import registry
from tests.act import events
from tests.act.hub import EXAMPLES, Hub, Run
from tests.registry import registry_program  # noqa: F401 (a fixture)


def check(hub: Hub) -> Run:
    return hub.run("image-check", "schedule", events.schedule(), actor="lab")


def test_the_weekly_check_keeps_one_issue(
    bare_hub: Hub,
    registry_program: str,  # noqa: F811 (the fixture)
    tmp_path: Path,
) -> None:
    bare_hub.lay_workflows(EXAMPLES / "one-cluster", {})
    with registry.serve(registry_program, tmp_path / "registry") as there:
        old = there.push("group/tool", "1.9.0")
        place = f"{there.host}/group/tool"
        lay_catalog(bare_hub, f"{place}:1.9.0@{old}")
        bare_hub.variables.clear()
        assert (check(bare_hub).code, bare_hub.github.asked) == (0, [])

        bare_hub.variables["DTP_ENABLED"] = "true"
        quiet = check(bare_hub)
        assert (quiet.code, quiet.outputs["result"]) == (0, "done"), quiet.log
        assert not bare_hub.github.issues

        new = there.push("group/tool", "1.10.0", marked="new")
        told = check(bare_hub)

        assert (told.code, told.outputs["result"]) == (0, "done"), told.log
        (issue,) = bare_hub.github.issues
        line = f"image: {place}:1.10.0@{new}"
        assert line in issue.body
        assert line in told.summary

        lay_catalog(bare_hub, f"{place}:1.10.0@{new}")
        assert check(bare_hub).code == 0

    assert issue.closed
    (farewell,) = bare_hub.github.on(issue.number)
    assert "/actions/runs/" in farewell


def lay_catalog(hub: Hub, image: str) -> None:
    """Put a catalog on main that names one image alone."""
    rows = {name: {"off": "true"} for name in catalog.builtin().rows} | {"own": {"image": image}}
    text = yaml.safe_dump({"version": "1", "protocols": rows})
    hub.branches.commit({catalog.SITE_FILE: text}, "the site's own rows")
