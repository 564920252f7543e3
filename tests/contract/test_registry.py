"""`dtp images` and its adapter against a real registry, and what they do about one in trouble."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import responses
import yaml

from dtp_action.adapters.registry import Registries
from dtp_action.core import catalog
from dtp_action.core.images import Reference, Seen, Unseen
from tests import registry
from tests.github import fake
from tests.github.fake import REPOSITORY, US, GitHub
from tests.registry import Registry, registry_program  # noqa: F401 (a fixture)

DTP = Path(sys.executable).with_name("dtp")
IMAGES = Path(__file__).parents[1] / "cluster/lib/images.py"
OURS = ("--architecture", "amd64")
HUB = "https://registry-1.docker.io/v2/group/tool"
NOTHING = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def there(
    registry_program: str,  # noqa: F811 (the fixture)
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Registry]:
    """Yield a registry; each test uses a repository of its own."""
    with registry.serve(registry_program, tmp_path_factory.mktemp("open") / "r") as running:
        yield running


def look(text: str) -> Seen | Unseen:
    return Registries().look(Reference.parse(text))


# --- what is there -------------------------------------------------------------------------------


def test_what_is_pinned_and_where_its_tag_points_are_seen(there: Registry) -> None:
    digest = there.push("group/tool", "1.2.3")
    assert look(f"{there.host}/group/tool:1.2.3@{digest}") == Seen(pinned=True, tagged=digest)
    assert look(f"{there.host}/group/tool@{digest}") == Seen(pinned=True)
    assert look(f"{there.host}/group/tool:1.2.3") == Seen(tagged=digest)


def test_a_tag_that_was_moved_points_elsewhere(there: Registry) -> None:
    first = there.push("group/moved", "1.0")
    second = there.push("group/moved", "1.0", marked="again")
    assert first != second
    seen = look(f"{there.host}/group/moved:1.0@{first}")
    assert seen == Seen(pinned=True, tagged=second)


def test_an_index_is_seen_by_its_own_digest(there: Registry) -> None:
    digest = there.push_index("group/index", "1.0")
    assert look(f"{there.host}/group/index:1.0@{digest}") == Seen(pinned=True, tagged=digest)


def test_what_was_deleted_is_not_there(there: Registry) -> None:
    digest = there.push("group/deleted", "1.0")
    there.delete("group/deleted", digest)
    assert look(f"{there.host}/group/deleted:1.0@{digest}") == Seen()


def test_a_repository_that_never_was_is_not_there(there: Registry) -> None:
    seen = look(f"{there.host}/group/never:1.0@{NOTHING}")
    assert isinstance(seen, Seen)
    assert (seen.pinned, seen.tagged, seen.newer) == (False, None, None)


def test_a_newer_tag_is_found_on_whatever_page_it_stands(there: Registry) -> None:
    old = there.push("group/many", "2.9.0", *(f"nightly-{n}" for n in range(230)))
    new = there.push("group/many", "2.10.0", "3.0.0-rc1", "latest", marked="new")
    assert look(f"{there.host}/group/many:2.9.0@{old}") == Seen(
        pinned=True, tagged=old, newer=("2.10.0", new)
    )


def test_an_image_of_this_projects_own_making_is_seen(there: Registry, tmp_path: Path) -> None:
    sources = [f"file:/bin/tool:{IMAGES}"]
    subprocess.run([sys.executable, IMAGES, *OURS, tmp_path, "tool", *sources], check=True)
    digest = there.push_archive("group/ours", tmp_path / "image.tar", "1.0")
    assert json.loads((tmp_path / "image.json").read_text())["digest"] == digest
    assert look(f"{there.host}/group/ours:1.0@{digest}") == Seen(pinned=True, tagged=digest)


# --- behind tokens -------------------------------------------------------------------------------


def test_a_registry_that_wants_a_token_is_shown_one_that_anybody_gets(
    registry_program: str,  # noqa: F811 (the fixture)
    tmp_path: Path,
) -> None:
    with registry.guarded(registry_program, tmp_path / "guarded") as (running, guard):
        digest = running.push("group/tool", "1.0")
        newer = running.push("group/tool", "1.1", marked="newer")
        running.push("group/secret", "1.0")
        guard.private.add("group/secret")

        seen = look(f"{running.host}/group/tool:1.0@{digest}")
        assert seen == Seen(pinned=True, tagged=digest, newer=("1.1", newer))
        assert guard.asked == ["repository:group/tool:pull"], "one token serves all requests"

        unseen = look(f"{running.host}/group/secret:1.0")
        assert unseen == Unseen(why="HTTP 401", refused=True)


# --- trouble -------------------------------------------------------------------------------------


@dataclass
class Time:
    """A clock that moves only while somebody sleeps."""

    now: float = 0.0
    naps: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps.append(seconds)


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mocked:
        yield mocked


def ask(text: str, time: Time, **more: Any) -> Seen | Unseen:
    slow = Registries(clock=lambda: time.now, sleep=time.sleep, **more)
    return slow.look(Reference.parse(text))


def test_docker_hub_is_asked_where_it_lives_and_by_its_own_names(
    wire: responses.RequestsMock,
) -> None:
    realm = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
    place = "https://registry-1.docker.io/v2/library/alpine/"
    challenge = {"WWW-Authenticate": realm}
    wire.head(f"{place}manifests/3.23", status=401, headers=challenge)
    wire.get("https://auth.docker.io/token", json={"token": "given"})
    signed = responses.matchers.header_matcher({"Authorization": "Bearer given"})
    named = {"Docker-Content-Digest": NOTHING}
    wire.head(f"{place}manifests/3.23", headers=named, match=[signed])
    wire.get(f"{place}tags/list?n=100", json={"tags": ["3.23"]}, match=[signed])
    assert look("docker.io/alpine:3.23") == Seen(tagged=NOTHING)
    asked = wire.calls[1].request.url
    assert asked
    assert "scope=repository%3Alibrary%2Falpine%3Apull&service=registry.docker.io" in asked


def test_a_registry_that_is_busy_gets_the_time_it_asks_for(wire: responses.RequestsMock) -> None:
    time = Time()
    wire.head(f"{HUB}/manifests/1", status=429, headers={"Retry-After": "20"})
    wire.head(f"{HUB}/manifests/1", status=503)
    wire.head(f"{HUB}/manifests/1", headers={"Docker-Content-Digest": NOTHING})
    wire.get(f"{HUB}/tags/list?n=100", json={"tags": ["1"]})
    assert ask("docker.io/group/tool:1", time) == Seen(tagged=NOTHING)
    assert time.naps == [20.0, 2.0]


def test_one_that_asks_for_more_time_than_there_is_was_not_seen(
    wire: responses.RequestsMock,
) -> None:
    time = Time()
    wire.head(f"{HUB}/manifests/1", status=429, headers={"Retry-After": "3600"})
    seen = ask("docker.io/group/tool:1", time)
    why = "docker.io answered HTTP 429, and asks to wait 3600 s"
    assert (seen, time.naps) == (Unseen(why=why), [])


def test_one_that_never_answers_is_asked_for_nothing_more(wire: responses.RequestsMock) -> None:
    time = Time()
    wire.head(f"{HUB}/manifests/1", status=502)
    registries = Registries(clock=lambda: time.now, sleep=time.sleep)
    for _ in range(3):
        seen = registries.look(Reference.parse("docker.io/group/tool:1"))
        assert seen == Unseen(why="docker.io answered HTTP 502")
    assert len(wire.calls) == 3


def test_one_that_is_slow_with_each_answer_is_asked_as_long_as_patience_lasts(
    wire: responses.RequestsMock,
) -> None:
    time = Time()

    def answer(_: Any) -> tuple[int, dict[str, str], str]:
        time.now += 50
        return 200, {"Link": '</v2/group/tool/tags/list?n=100>; rel="next"'}, '{"tags": ["1"]}'

    wire.head(f"{HUB}/manifests/1", headers={"Docker-Content-Digest": NOTHING})
    wire.add_callback(responses.GET, f"{HUB}/tags/list?n=100", callback=answer)
    assert ask("docker.io/group/tool:1", time) == Unseen(why="docker.io is too slow")
    assert len(wire.calls) == 1 + 3


def test_a_digest_that_no_header_tells_is_made_from_the_image(
    wire: responses.RequestsMock,
) -> None:
    wire.head(f"{HUB}/manifests/latest", headers={"Docker-Content-Digest": "\x1b[31mred"})
    wire.get(f"{HUB}/manifests/latest", body=b'{"schemaVersion":2}')
    assert look("docker.io/group/tool:latest") == Seen(
        tagged=registry.sha256(b'{"schemaVersion":2}')
    )


def test_a_registry_that_lists_no_tags_says_so(wire: responses.RequestsMock) -> None:
    wire.head(f"{HUB}/manifests/1", headers={"Docker-Content-Digest": NOTHING})
    wire.get(f"{HUB}/tags/list?n=100", status=404)
    seen = look("docker.io/group/tool:1")
    assert seen == Seen(tagged=NOTHING, unlisted="docker.io answered HTTP 404")


def test_tags_without_end_end(wire: responses.RequestsMock) -> None:
    link = {"Link": '</v2/group/tool/tags/list?n=100>; rel="next"'}
    wire.head(f"{HUB}/manifests/1", headers={"Docker-Content-Digest": NOTHING})
    wire.get(f"{HUB}/tags/list?n=100", json={"tags": ["1"]}, headers=link)
    seen = look("docker.io/group/tool:1")
    assert seen == Seen(tagged=NOTHING, unlisted="it has more than 100 pages of tags")


@pytest.mark.parametrize(
    ("headers", "status", "why"),
    [
        ({"Location": "http://example.org/v2/"}, 307, "example.org is named without TLS: http"),
        (
            {"WWW-Authenticate": 'Bearer realm="http://example.org/token"'},
            401,
            "example.org is named without TLS: http",
        ),
        ({"Location": "http://127.0.0.1/v2/"}, 307, "127.0.0.1 is named without TLS: http"),
        (
            {"WWW-Authenticate": 'Bearer realm="http://localhost:8080/token"'},
            401,
            "localhost is named without TLS: http",
        ),
    ],
    ids=["redirect", "token server", "redirect to this machine", "token server on this machine"],
)
def test_nothing_is_asked_without_tls_but_by_this_machine_of_itself(
    wire: responses.RequestsMock, headers: dict[str, str], status: int, why: str
) -> None:
    wire.head(f"{HUB}/manifests/1", status=status, headers=headers)
    assert look("docker.io/group/tool:1") == Unseen(why=why)
    assert len(wire.calls) == 1


@pytest.mark.parametrize(
    ("headers", "status", "wanted"),
    [
        (
            {"WWW-Authenticate": 'Bearer realm="https://["'},
            401,
            Unseen(why="registry-1.docker.io sends to what is no address"),
        ),
        (
            {"Location": "https://["},
            307,
            Unseen(why="registry-1.docker.io sends to what is no address"),
        ),
        ({"WWW-Authenticate": 'Basic realm="us"'}, 401, Unseen(why="HTTP 401", refused=True)),
        ({"WWW-Authenticate": "Bearer"}, 401, Unseen(why="HTTP 401", refused=True)),
        ({}, 403, Unseen(why="HTTP 403", refused=True)),
        ({}, 400, Unseen(why="docker.io answered HTTP 400")),
    ],
)
def test_whatever_a_registry_answers_is_an_answer(
    wire: responses.RequestsMock, headers: dict[str, str], status: int, wanted: Unseen
) -> None:
    wire.head(f"{HUB}/manifests/1", status=status, headers=headers)
    assert look("docker.io/group/tool:1") == wanted
    assert len(wire.calls) == 1


def test_more_tags_on_another_host_are_not_asked_for(wire: responses.RequestsMock) -> None:
    link = {"Link": '<https://example.org/v2/more>; rel="next"'}
    wire.head(f"{HUB}/manifests/1", headers={"Docker-Content-Digest": NOTHING})
    wire.get(f"{HUB}/tags/list?n=100", json={"tags": ["1"]}, headers=link)
    assert look("docker.io/group/tool:1") == Unseen(
        why="docker.io sends to another host for its tags"
    )


def test_a_login_page_is_no_list_of_tags(wire: responses.RequestsMock) -> None:
    wire.head(f"{HUB}/manifests/1", headers={"Docker-Content-Digest": NOTHING})
    wire.get(f"{HUB}/tags/list?n=100", body="<html>Sign in</html>")
    assert look("docker.io/group/tool:1") == Unseen(why="docker.io did not answer with tags")


def test_what_is_no_tag_is_passed_over(wire: responses.RequestsMock) -> None:
    wire.head(f"{HUB}/manifests/1", headers={"Docker-Content-Digest": NOTHING})
    odd = ["9" * 5000, "2\n", "3/../x", "", 4.5, {"5": 6}]
    wire.get(f"{HUB}/tags/list?n=100", json={"tags": ["1", *odd]})
    assert look("docker.io/group/tool:1") == Seen(tagged=NOTHING)


# --- the command ---------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Site:
    """A requests repository whose catalog names images of the registry alone."""

    folder: Path
    github: GitHub
    images: dict[str, Any] = field(default_factory=dict)  # rows, by protocol

    def images_of(self, **rows: dict[str, str]) -> None:
        """Write the catalog: these rows, and the built-in ones off."""
        off: dict[str, Any] = {name: {"off": "true"} for name in catalog.builtin().rows}
        path = self.folder / catalog.SITE_FILE
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump({"version": "1", "protocols": off | rows}))

    def check(self, *arguments: str, environment: dict[str, str] | None = None) -> Ran:
        """Run `dtp images`."""
        own = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "DTP_GITHUB_TOKEN": fake.TOKEN}
        hub = {"GITHUB_API_URL": self.github.url, "GITHUB_REPOSITORY": REPOSITORY}
        ran = subprocess.run(
            [DTP, "images", *arguments],
            cwd=self.folder, env=own | hub | (environment or {}), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return Ran(ran.returncode, ran.stdout, ran.stderr)


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with fake.serve() as github:
        yield Site(folder=tmp_path, github=github)


def test_images_that_are_there_and_current_end_with_0(there: Registry, site: Site) -> None:
    image = f"{there.host}/cli/current:1.0@{there.push('cli/current', '1.0')}"
    site.images_of(one={"image": image}, two={"image": image}, three={"serviceImage": image})
    ran = site.check()
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        f"{image} (dtp-one, dtp-three, dtp-two)\n"
        "    current: it is there, and its tag points to it\n"
        "1 image: 1 current\n"
    )


def test_what_needs_attention_is_said_with_the_line_to_write_and_ends_with_1(
    there: Registry, site: Site
) -> None:
    old = there.push("cli/old", "1.9")
    new = there.push("cli/old", "1.10", marked="new")
    there.push("cli/old", "1.9", marked="moved")
    site.images_of(
        loose={"image": f"{there.host}/cli/old:1.10"},
        old={"serviceImage": f"{there.host}/cli/old:1.9@{old}"},
        gone={"image": f"{there.host}/cli/never:1.0"},
    )
    ran = site.check("--format", "json")
    assert ran.code == 1
    document = json.loads(ran.out)
    assert document["version"] == 1
    told = {
        row["folders"][0]: [(found["state"], found["fix"]) for found in row["found"]]
        for row in document["images"]
    }
    place = f"{there.host}/cli/old"
    (moved, _), (newer, line) = told.pop("dtp-old")
    assert (moved, newer, line) == ("moved", "newer", f"serviceImage: {place}:1.10@{new}")
    assert told == {
        "dtp-loose": [("unpinned", f"image: {place}:1.10@{new}")],
        "dtp-gone": [("gone", "")],
    }


def test_a_registry_that_is_not_there_ends_with_6(site: Site) -> None:
    site.images_of(one={"image": "localhost:1/group/tool:1.0"})
    ran = site.check("--issue")
    assert ran.code == 6
    assert "unavailable: cannot be asked for now: localhost cannot be reached" in ran.out
    assert not site.github.issues


def test_one_issue_is_opened_rewritten_closed_and_opened_again(there: Registry, site: Site) -> None:
    question = site.github.issue("<!-- dtp-requests images  -->\nCopied from yours: what is it?")
    host = there.host
    site.images_of(one={"image": f"{host}/cli/one:1.0"})
    first = there.push("cli/one", "1.0")

    opened = site.check("--issue")
    _, ours = site.github.issues
    assert (opened.code, opened.err) == (0, f"{ours.url}\n")
    assert ours.author == US
    assert f"image: {host}/cli/one:1.0@{first}" in ours.body

    writes = site.github.count()["writes"]
    assert site.check("--issue").code == 0
    assert site.github.count()["writes"] == writes, "nothing has changed"

    second = there.push("cli/one", "1.1", marked="second")
    site.check("--issue")
    assert f"image: {host}/cli/one:1.1@{second}" in ours.body
    assert not site.github.on(ours.number)

    site.images_of(one={"image": f"{host}/cli/one:1.1@{second}"})
    site.check("--issue")
    assert [issue.closed for issue in site.github.issues] == [False, True]
    assert site.github.on(ours.number) == ["Nothing needs attention any more."]
    assert site.check("--issue").code == 0
    assert len(site.github.on(ours.number)) == 1

    there.delete("cli/one", second)
    site.check("--issue")
    assert [issue.closed for issue in site.github.issues] == [False, False]
    assert "gone" in ours.body
    assert question.body.endswith("what is it?"), "somebody else's, whatever it begins with"


def test_without_a_token_there_is_no_issue_to_keep(there: Registry, site: Site) -> None:
    site.images_of(one={"image": f"{there.host}/cli/any:1.0"})
    ran = site.check("--issue", environment={"DTP_GITHUB_TOKEN": ""})
    assert ran.code == 2
    assert "--github-token" in ran.err


def test_a_repository_without_issues_says_what_to_do(there: Registry, site: Site) -> None:
    site.github.has_issues = False
    site.images_of(one={"image": f"{there.host}/cli/never:1.0"})
    ran = site.check("--issue")
    assert ran.code == 5
    assert "Switch issues on" in ran.err
