"""Each protocol is a row, an example, a page and a line; what the pages say of it is made of these.

That a site's own protocol needs no Python is shown by tests/contract/test_new_protocol.py.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from dtp_action.core import catalog, manifests, model
from tests import builders, protocols

CATALOG = catalog.builtin()
ROWS = sorted(CATALOG.rows)
BLOCKS = protocols.blocks(protocols.ROOT, CATALOG)
HOW_TO = protocols.ROOT / protocols.PAGES

DOCS = protocols.ROOT / "docs"
LINKING = [
    *sorted(HOW_TO.glob("*.md")),
    DOCS / "reference" / "protocols.md",
    DOCS / "how-to" / "secrets-for-researchers.md",
    DOCS / "explanation" / "not-run-for-real.md",
    protocols.ROOT / protocols.LINES,
]

# Words of the cluster that a researcher needs not know; a Secret is called so by everybody.
CLUSTER_WORDS = re.compile(
    r"\b(Pods?|kubectl|kubelet|namespaces?|ConfigMaps?|PersistentVolume\w*|emptyDir|Kubernetes|"
    r"initContainers?|admission)\b"
)
FOR_ADMINS = re.compile(r"^## For the cluster's admin\n.*?(?=^## )", re.MULTILINE | re.DOTALL)


# --- the pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "name"),
    BLOCKS,
    ids=[f"{page.parent.name}/{page.stem}: {name}" for page, name in BLOCKS],
)
def test_a_block_says_what_rows_examples_and_tests_say(page: Path, name: str) -> None:
    path = protocols.ROOT / page
    wanted = protocols.written(path.read_text(), name, BLOCKS[page, name])
    if os.environ.get("DTP_REFRESH_GOLDEN"):
        path.write_text(wanted)
    assert path.read_text() == wanted, "run `make golden` and review the diff"


def test_every_row_has_a_page_and_every_page_a_row() -> None:
    assert {path.stem for path in HOW_TO.glob("*.md")} == {*ROWS, "README"}


@pytest.mark.parametrize("protocol", ROWS)
def test_every_row_has_an_example_and_a_line_for_researchers(protocol: str) -> None:
    assert protocols.missing(protocols.ROOT, CATALOG.rows[protocol]) == []


@pytest.mark.parametrize("page", sorted(HOW_TO.glob("*.md")), ids=lambda path: path.stem)
def test_a_researchers_page_needs_no_words_of_the_cluster(page: Path) -> None:
    text = FOR_ADMINS.sub("", page.read_text())
    assert sorted({match[0] for match in CLUSTER_WORDS.finditer(text)}) == []


@pytest.mark.parametrize("page", LINKING, ids=lambda path: path.stem)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(#[\w-]+)?\)", page.read_text())
    assert links
    for target, anchor in links:
        found = page.parent / target if target else page
        assert found.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            assert anchor[1:] in {_anchor(head) for head in heads}, f"{target}{anchor}"


def _anchor(head: str) -> str:
    return re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-")


@pytest.mark.parametrize("protocol", ROWS)
def test_the_line_for_docker_confines_the_script_as_the_cluster_does(protocol: str) -> None:
    row = CATALOG.rows[protocol]
    spec = builders.a_spec(uid=row.uid, env=row.env, image=row.image or protocols.IMAGE)
    pod = manifests.job(builders.an_entry(f"dtp-{protocol}/a"), spec)["spec"]
    (container,) = pod["template"]["spec"]["containers"]
    line = protocols.without_dtp(protocols.ROOT, row).replace("\\\n", "")
    words = line.split()
    assert f"{row.uid}:{row.uid}" in words
    assert container["image"] in words
    for name, value in row.env.items():
        assert f"{name}={value}" in words
    told = {one["name"]: one.get("value") for one in container["env"]}
    assert f"HOME={told['HOME']}" in words
    assert f"TMPDIR={told['TMPDIR']}" in words
    locks = container["securityContext"]
    assert ("--read-only" in words) == locks["readOnlyRootFilesystem"]
    assert ("no-new-privileges" in words) == (not locks["allowPrivilegeEscalation"])
    assert locks["capabilities"] == {"drop": ["ALL"]}
    assert "--cap-drop ALL" in line
    assert "-i " not in line  # stdin is closed


@pytest.mark.parametrize("protocol", ["minio", "rclone", "sra-tools"])
def test_where_the_image_has_no_bash_docker_is_told_to_take_sh(protocol: str) -> None:
    assert "--entrypoint sh " in protocols.without_dtp(protocols.ROOT, CATALOG.rows[protocol])


# --- what was run --------------------------------------------------------------------------------


def test_of_every_protocol_it_is_known_what_ran_or_why_not() -> None:
    assert protocols.unaccounted(CATALOG, protocols.transfers(), protocols.never()) == []


def test_a_protocol_without_mark_and_reason_is_found_and_so_are_strangers() -> None:
    rows = catalog.Catalog(rows={"aws": CATALOG.rows["aws"]})
    marked = protocols.Transfer(file="test_x.py", protocol="gopher", tool="a", server="b")
    assert protocols.unaccounted(rows, [marked], {"finger": "gone"}) == [
        "dtp-aws has no test marked `transfer`, and never_run.yaml gives no reason",
        "test_x.py: mark transfer names dtp-gopher, which has no row",
        "never_run.yaml names dtp-finger, which has no row",
    ]


MARKED = """
SERVER = "sshd, of OpenSSH"
@pytest.mark.transfer(protocol="ssh", tool=f"rsync 3 to {SERVER}, up", server=SERVER)
def test_one(): ...
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.transfer(
    protocol="gcp", tool="gsutil", stand_in="an emulator"))])
def test_two(x): ...
"""


def test_marks_are_read_wherever_they_stand_in_a_file() -> None:
    ssh, gcp = protocols.marks(MARKED, "test_x.py")
    assert (ssh.protocol, ssh.server) == ("ssh", "sshd, of OpenSSH")
    assert ssh.tool == "rsync 3 to sshd, of OpenSSH, up"
    assert (gcp.protocol, gcp.server, gcp.stand_in) == ("gcp", "", "an emulator")


@pytest.mark.parametrize(
    "words",
    [
        'protocol="ssh", tool="rsync"',
        'protocol="ssh", tool="rsync", server="a", stand_in="b"',
        'protocol="ssh", tool=version(), server="a"',
        'protocol="ssh", tool="rsync", server=ELSEWHERE',
        'protocol="ssh", tool=f"rsync {ELSEWHERE}", server="a"',
        'protocol="ssh", tools="rsync", server="a"',
        '"ssh", protocol="ssh", tool="rsync", server="a"',
    ],
)
def test_a_mark_that_cannot_be_told_is_no_mark(words: str) -> None:
    with pytest.raises(ValueError, match=r"^test_x\.py:1: mark transfer"):
        list(protocols.marks(f"pytest.mark.transfer({words})", "test_x.py"))


# --- credentials ---------------------------------------------------------------------------------

SECRETS = protocols.ROOT / "docs" / "how-to" / "secrets-for-researchers.md"


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", SECRETS.read_text(), re.DOTALL)
    return str(found)


def test_the_grant_of_the_page_is_read_and_gives_what_the_page_says() -> None:
    given = yaml.safe_load(block("yaml"))["settings"]["grants"]
    settings = builders.settings(grants={name: tuple(users) for name, users in given.items()})
    script = builders.a_script(secrets=("lab",))
    spec = catalog.resolve(script, catalog=CATALOG, settings=settings, author="Ada")
    assert isinstance(spec, model.Spec)
    assert spec.secrets == ("dtp-aws", "dtp-aws-lab")
    assert "create secret generic dtp-aws-lab" in SECRETS.read_text()


def test_the_policy_of_the_page_allows_reading_one_bucket() -> None:
    listing, reading = json.loads(block("json"))["Statement"]
    assert (listing["Action"], reading["Action"]) == (["s3:ListBucket"], ["s3:GetObject"])
    assert reading["Resource"] == [f"{listing['Resource'][0]}/*"]


def test_the_page_types_no_key_into_a_command() -> None:
    commands = re.findall(r"```sh\n(.*?)```", SECRETS.read_text(), re.DOTALL)
    assert commands
    assert not [text for text in commands if "--from-literal" in text or "kubectl apply" in text]
