"""The chart's values: each is described, held to a schema, and listed in docs/reference/chart.md.

Needs no Helm. `make golden` rewrites the page's table.
"""

from __future__ import annotations

import copy
import functools
import json
import operator
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from dtp_action.core import cluster_settings, doctor
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.errors import UsageError
from tests.chart import CHART, EXISTING, NEW, ROOT, Wire, merged

PAGE = ROOT / "docs" / "reference" / "chart.md"
VALUES: Wire = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Wire = json.loads((CHART / "values.schema.json").read_text())


def admits(values: Wire) -> bool:
    """Tell whether the schema has these values, over the defaults."""
    return bool(Draft7Validator(SCHEMA).is_valid(merged(VALUES, values)))


LINE = re.compile(r"^(?P<indent> *)(?:# (?P<mark>-- )?(?P<comment>.*)|(?P<key>[A-Za-z]+):.*)$")


def described() -> Iterator[tuple[str, str]]:
    """Yield each described value of values.yaml as a dotted path, with what is said of it."""
    path: list[str] = []
    said: list[str] | None = None
    for line in (CHART / "values.yaml").read_text().splitlines():
        match = LINE.match(line)
        if not match:
            said = None
        elif match["mark"]:
            said = [match["comment"]]
        elif match["key"]:
            path[len(match["indent"]) // 2 :] = [match["key"]]
            if said:
                yield ".".join(path), " ".join(said)
            said = None
        elif said:
            said.append(match["comment"])


def default(path: str) -> Any:
    value: Any = VALUES
    for key in path.split("."):
        value = value[key]
    return value


def leaves(schema: Wire, path: str = "") -> Iterator[str]:
    """Yield the dotted paths of all values that the schema knows and no other holds."""
    properties = schema.get("properties")
    if not properties or path == "cron.resources":
        yield path
        return
    for key, one in properties.items():
        if (path, key) != ("", "global"):
            yield from leaves(one, f"{path}.{key}".lstrip("."))


def table() -> str:
    def shown(value: Any) -> str:
        return "–" if value in ("", [], {}) else f"`{json.dumps(value).strip(chr(34))}`"

    rows = [f"| `{path}` | {shown(default(path))} | {text} |" for path, text in described()]
    return "\n".join(["| value | default | meaning |", "| --- | --- | --- |", *rows])


def test_the_page_lists_all_values() -> None:
    block = re.compile(r"(<!-- made from values.yaml -->\n).*?(<!-- end -->)", re.DOTALL)
    page = PAGE.read_text()
    wanted = block.sub(lambda match: f"{match[1]}\n{table()}\n\n{match[2]}", page)
    if os.environ.get("DTP_REFRESH_GOLDEN"):
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted, "run `make golden` and review the diff"
    assert block.search(page)


def test_every_value_is_described_and_known_to_the_schema() -> None:
    assert [path for path, _ in described()] == list(leaves(SCHEMA))


def test_the_schema_admits_no_value_that_the_chart_does_not_know() -> None:
    def objects(schema: Any) -> Iterator[Wire]:
        if isinstance(schema, dict):
            if "properties" in schema:
                yield schema
            for one in schema.values():
                yield from objects(one)

    assert {one["additionalProperties"] for one in objects(SCHEMA)} == {False}
    assert not admits({"settings": {"cap": {}}})


@pytest.mark.parametrize("path", list(leaves(SCHEMA)))
def test_no_value_can_be_taken_away(path: str) -> None:
    """In Helm null removes a default."""
    without = copy.deepcopy(VALUES)
    *parents, key = path.split(".")
    del functools.reduce(operator.getitem, parents, without)[key]
    assert not Draft7Validator(SCHEMA).is_valid(without)


def test_the_defaults_and_both_ways_to_a_claim_are_admitted() -> None:
    assert admits({})
    assert admits(EXISTING)
    assert admits(NEW)


# --- the settings: a value for each key, the same defaults, and the same values admitted ---------

NOT_A_VALUE_OF_ITS_OWN = {"version", "claim", "runnerImage", "serviceAccount", "pinned"}


def settings(changes: Wire | None = None) -> ClusterSettings:
    """Read the settings of values as the chart writes them down."""
    document = VALUES["settings"] | (changes or {})
    head = {"version": 1, "claim": "c", "runnerImage": "r.example.org/r:1"}
    return cluster_settings.parse(json.dumps(head | document), "values")


def test_every_key_of_the_settings_is_a_value() -> None:
    assert set(VALUES["settings"]) == set(cluster_settings.FIELDS) - NOT_A_VALUE_OF_ITS_OWN
    assert set(VALUES["settings"]["caps"]) == set(cluster_settings.CAPS)


def test_the_defaults_are_those_of_the_program_but_for_the_group_of_all_jobs() -> None:
    plain = ClusterSettings(claim="c", runner_image="r.example.org/r:1", groups=(1000,))
    assert settings() == plain


ADMITTED: list[Wire] = [
    {"caps": {"cpu": "500m", "memory": "8G", "disk": "1Ti", "time": "90m", "retries": 0}},
    {"caps": {"cpu": 2}},
    {"caps": {}},
    {"images": ["docker.io/amazon", "r.example.org/x@sha256:" + 64 * "0"]},
    {"grants": {"reed-lab-aws": ["Ada", "grace-h"], "other.secret": []}},
    {"visible": "own"},
    {"writable": ["shared/results", ".other", "a..b", "ünïcode"]},
    {"writable": ["shared", "shared-2", "dtp-jobs-2", "x/dtp-jobs"]},
    {"exposed": ["data", "shared/results", "dtp-jobs/dtp-aws"]},
    {"exposed": ["shared"], "writable": ["shared"], "visible": "own"},
    {"groups": []},
    {"groups": [1, 2**31 - 1]},
    {"nodeSelector": {"kubernetes.io/hostname": "node-1"}},
    {"tolerations": [{"key": "data", "operator": "Equal", "value": "x", "effect": "NoExecute"}]},
    {"tolerations": [{"operator": "Exists"}]},
    {"dnsPolicy": "Default", "queue": "transfers", "retention": "90m", "stuckLimit": "30s"},
]
REFUSED: list[Wire] = [
    {"caps": {"cpu": "0.5"}},
    {"caps": {"memory": "8GB"}},
    {"caps": {"disk": "0Gi"}},
    {"caps": {"time": "1w"}},
    {"caps": {"retries": 6}},
    {"caps": {"gpu": 1}},
    {"images": ["Docker.io/amazon"]},
    {"images": ["a b"]},
    {"images": "docker.io/amazon"},
    {"grants": {"Upper": ["ada"]}},
    {"grants": {"x": ["@ada"]}},
    {"grants": {"x": "ada"}},
    {"visible": "some"},
    {"writable": ["/shared"]},
    {"exposed": ["../shared"]},
    {"exposed": ["a,rw"]},
    {"exposed": ["data/*"]},
    {"writable": ["shared/"]},
    {"writable": ["../shared"]},
    {"writable": ["shared/.."]},
    {"writable": [".dtp"]},
    {"writable": [".dtp/state"]},
    {"writable": ["a\\b"]},
    {"writable": ["./a"]},
    {"writable": ["a//b"]},
    {"writable": [""]},
    {"writable": ["dtp-jobs"]},
    {"writable": ["dtp-jobs/dtp-aws/genome"]},
    {"writable": ["shared", "shared"]},
    {"groups": [0]},
    {"groups": ["staff"]},
    {"groups": [2**31]},
    {"tolerations": [{"key": "x", "tolerationSeconds": 5}]},
    {"tolerations": [{"effect": "Never"}]},
    {"dnsPolicy": "ClusterFirstWithHostNet"},
    {"queue": "Transfers"},
    {"retention": "1"},
    {"stuckLimit": "0m"},
    {"unknown": 1},
]


@pytest.mark.parametrize("changes", ADMITTED, ids=json.dumps)
def test_what_the_schema_admits_the_program_reads(changes: Wire) -> None:
    assert admits({"settings": changes})
    assert settings(changes)


@pytest.mark.parametrize("changes", REFUSED, ids=json.dumps)
def test_what_the_program_refuses_the_schema_refuses(changes: Wire) -> None:
    assert not admits({"settings": changes})
    with pytest.raises(UsageError):
        settings(changes)


@pytest.mark.parametrize(
    ("image", "good"),
    [
        ("registry.example.org/dtp/runner:1", True),
        ("localhost/dtp/runner@sha256:" + 64 * "0", True),
        ("r.example.org:5000/x:1@sha256:" + 64 * "0", True),
        ("runner:1", False),
        ("registry.example.org/dtp/runner", False),
        ("registry.example.org/dtp/runner:1 --privileged", False),
    ],
)
def test_the_runner_image_is_a_full_reference(image: str, good: bool) -> None:
    assert admits({"runner": {"image": image}}) is good
    document = f"version: 1\nclaim: c\nrunnerImage: {image}\n"
    assert good is _is_read(document)


def _is_read(document: str) -> bool:
    try:
        cluster_settings.parse(document, "x")
    except UsageError:
        return False
    return True


# --- the how-to pages -----------------------------------------------------------------------------

EXAMPLES = [
    (page.name, block)
    for page in sorted((ROOT / "docs" / "how-to").glob("*.md"))
    for block in re.findall(r"```yaml\n(# values\.yaml\n.*?)```", page.read_text(), re.DOTALL)
]


@pytest.mark.parametrize(("page", "block"), EXAMPLES, ids=[page for page, _ in EXAMPLES])
def test_the_values_of_the_pages_are_admitted(page: str, block: str) -> None:
    given = yaml.safe_load(block)
    assert admits(given), page
    assert settings(given.get("settings"))
    assert bool(given["claim"].get("create")) is not bool(given["claim"].get("existing"))


def test_the_pages_have_values_to_show() -> None:
    assert {page for page, _ in EXAMPLES} >= {"install.md", "storage.md", "kind.md"}


def test_the_oldest_kubernetes_is_the_same_in_chart_doctor_docs_and_tests() -> None:
    oldest = "{}.{}".format(*doctor.OLDEST)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={oldest}.0-0"
    table = (ROOT / "tests" / "cluster" / "lib" / "env.sh").read_text()
    tested = re.search(r"^KUBERNETES=\((.*)\)$", table, re.MULTILINE)
    assert tested, "no table of versions"
    assert tested[1].split()[-1].startswith(f"v{oldest}.")
    for page in ("docs/how-to/install.md", "docs/reference/doctor.md"):
        assert f"{oldest} or later" in (ROOT / page).read_text(), page
