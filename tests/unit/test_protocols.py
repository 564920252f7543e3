"""Each protocol is a row, an example, a page and a line; what the pages say of it is made of these.

Ends with the proof that a site's own protocol needs no Python: `dtp-gopher`, over loopback.
"""

from __future__ import annotations

import json
import os
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


# --- a new protocol: one row, one example, one line ----------------------------------------------

DTP = Path(sys.executable).with_name("dtp")
DOCUMENT = b"A menu of what there is.\r\n"
ROW = """\
version: 1
protocols:
  gopher:
    doc: Documents of gopherspace
    image: registry.example.org/tools/gopher:1
    time: 10m
    env: {GOPHER_MENU: menu}
    transient: {7: the server could not be reached}
    secretKeys: [GOPHER_PASSPORT]
"""
EXAMPLE = """\
#!/bin/bash
#DTP time=5m retries=1
# One document of a gopher server.
set -euo pipefail
exec 3<>/dev/tcp/{server} || exit 7
printf '%s\\r\\n' "$GOPHER_MENU" >&3
cat <&3 >menu.txt
"""
LINE = "| `dtp-gopher` | bash: documents of gopherspace | [fetch](dtp-gopher/fetch.sh.example) |\n"


class Gopher(socketserver.StreamRequestHandler):
    """Answers one selector with one document, as RFC 1436 has it."""

    def handle(self) -> None:
        self.wfile.write(DOCUMENT if self.rfile.readline() == b"menu\r\n" else b"3\r\n")


@pytest.fixture
def gopher() -> Iterator[str]:
    """Yield the address of a gopher server on this machine, as bash writes it."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Gopher) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1/{server.server_address[1]}"
        server.shutdown()


class Repository:
    """A requests repository and an embedded cluster beside it, used by the command line only."""

    def __init__(self, folder: Path) -> None:
        self.root, self.cluster = folder / "requests", folder / "cluster"
        self.root.mkdir()
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DTP_", "GIT_", "GITHUB_", "KUBECONFIG"))
        }
        self.environment = clean | {
            "DTP_CLUSTER": f"local:{self.cluster}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "COLUMNS": "200",
        }
        self.git("init", "--quiet", "--initial-branch=main")

    def write(self, path: str, text: str) -> None:
        at = self.root / "dtp-jobs" / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)

    def git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        argv = ["git", *identity, *arguments]
        subprocess.run(argv, cwd=self.root, env=self.environment, check=True)

    def dtp(self, *arguments: str, code: int = 0) -> str:
        """Return what a command printed; its exit code must be as expected."""
        argv = [str(DTP), "-C", str(self.root), *arguments]
        done = subprocess.run(
            argv, env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def merge(self, script: str) -> None:
        """Commit a script as `dtp-gopher/fetch`."""
        self.write("dtp-gopher/fetch.sh", script)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a job")

    @property
    def row(self) -> Any:
        text = (self.root / "dtp-jobs" / "catalog.yaml").read_text()
        return catalog.parse(text, "catalog.yaml", base=CATALOG).row("gopher")


@pytest.fixture
def repository(tmp_path: Path, gopher: str) -> Repository:
    """Return a repository with a new protocol: its row, its example, its line. Nothing else."""
    made = Repository(tmp_path)
    made.write("catalog.yaml", ROW)
    made.write("dtp-gopher/fetch.sh.example", EXAMPLE.replace("{server}", gopher))
    made.write("README.md", LINE)
    return made


def test_a_row_alone_is_told_what_it_still_lacks(tmp_path: Path) -> None:
    made = Repository(tmp_path)
    made.write("catalog.yaml", ROW)
    assert protocols.missing(made.root, made.row) == ["an example in dtp-jobs/dtp-gopher/"]
    made.write("dtp-gopher/fetch.sh.example", EXAMPLE)
    assert protocols.missing(made.root, made.row) == [
        "a line in dtp-jobs/README.md that links dtp-gopher/fetch.sh.example"
    ]
    made.write("README.md", LINE)
    assert protocols.missing(made.root, made.row) == []


def test_a_new_protocol_is_one_row_one_example_and_one_line(repository: Repository) -> None:
    assert CATALOG.named("gopher") is None
    assert protocols.missing(repository.root, repository.row) == []
    (example,) = protocols.examples(repository.root, "gopher")
    repository.merge(example.read_text())

    listed = repository.dtp("protocols")
    assert re.search(r"dtp-gopher +1 +2Gi +10Gi +10m +7 +registry\.example\.org/tools", listed)
    assert "1 script, 0 errors" in repository.dtp("check")
    rendered = repository.dtp("render", str(example.with_suffix("")))
    assert "image: registry.example.org/tools/gopher:1" in rendered
    assert "name: dtp-gopher\n" in rendered  # its Secret
    assert "new on the branch" in repository.dtp("plan")

    ended = json.loads(repository.dtp("dispatch", "--wait", "60", "--format", "json"))
    (job,) = ended["jobs"]
    assert (job["ref"], job["phase"]) == ("dtp-gopher/fetch", "SUCCEEDED")
    directory = repository.cluster / "workspace" / "dtp-jobs" / "dtp-gopher" / "fetch"
    assert (directory / "menu.txt").read_bytes() == DOCUMENT


def test_what_its_row_says_of_an_exit_code_is_done_and_told(repository: Repository) -> None:
    repository.merge("#!/bin/bash\n#DTP retries=1\necho start $DTP_START\nexit 7\n")
    ended = json.loads(repository.dtp("dispatch", "--wait", "60", "--format", "json", code=1))
    (job,) = ended["jobs"]
    assert job["reason"] == "your script failed (exit 7): the server could not be reached"
    assert "start 2" in repository.dtp("logs", "dtp-gopher/fetch")


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
