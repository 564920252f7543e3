"""The project's images: how their Dockerfiles are made, how they are published, what uses them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dtp_action.core import catalog
from images import pin

ROOT = Path(__file__).parents[2]
DOCKERFILES = {path.parent.name: path.read_text() for path in ROOT.glob("images/*/Dockerfile")}
CATALOG = (ROOT / "dtp_action/catalog.yaml").read_text()
BUILD = (ROOT / "tests/cluster/lib/build.sh").read_text()
NEW = "sha256:" + 64 * "a"
DOCKER = """#!/bin/bash
echo "$*" >>"$CALLS"
case "$*" in
  "buildx imagetools inspect "*) echo sha256:$(printf '%s' "${!#}" | sha256sum | cut -d' ' -f1) ;;
  build*images/dtp/*) echo 'no such base' >&2; exit 1 ;;
  run*/base:*) exit 1 ;;
esac
"""

WITHOUT_SUM = {
    name
    for name, text in DOCKERFILES.items()
    if re.search(r"^ARG [A-Z]*_SHA256$", text, re.MULTILINE)
}

every_image = pytest.mark.parametrize("name", sorted(DOCKERFILES))


def instructions(name: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile with what they are given, in one line each."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILES[name], flags=re.MULTILINE))
    parts = [line.partition(" ") for line in joined.splitlines() if line]
    return [(word, rest) for word, _, rest in parts]


def given(name: str, word: str) -> list[str]:
    return [rest for found, rest in instructions(name) if found == word]


def lines(path: str) -> list[str]:
    """Return what a list says, without comments."""
    text = (ROOT / path).read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


# --- the Dockerfiles -----------------------------------------------------------------------------


def test_the_images_are_those_that_the_project_has_no_other_for() -> None:
    assert set(DOCKERFILES) == {
        "base", "dtp", "fdt", "globus-cli", "globus-connect", "irods", "runner",
    }  # fmt: skip
    assert set(DOCKERFILES) == set(pin.uses())


@every_image
def test_an_image_stands_on_debian_alone_whose_digest_the_build_gives(name: str) -> None:
    assert {one.partition(" ")[0] for one in given(name, "FROM")} <= {"${DEBIAN}", "scratch"}
    assert given(name, "ARG")[0] == "DEBIAN=docker.io/library/debian:12-slim"


@every_image
def test_an_image_runs_as_a_user_that_it_knows(name: str) -> None:
    assert instructions(name)[-1][0] in {"USER", "WORKDIR", "ENTRYPOINT"}
    (user,) = given(name, "USER")
    assert user == ("65532:65532" if name == "runner" else "1000:1000")
    made = "useradd --uid 1000 --user-group --create-home --shell /bin/bash user"
    assert name == "runner" or made in given(name, "RUN")[-1]


@every_image
def test_what_is_fetched_is_pinned_by_its_checksum(name: str) -> None:
    for added in given(name, "ADD"):
        (argument,) = re.findall(r"^--checksum=sha256:\$\{(\w+)\} ", added)
        assert argument.endswith("_SHA256")
        default = [one for one in given(name, "ARG") if one.partition("=")[0] == argument]
        assert re.fullmatch(rf"{argument}(=[0-9a-f]{{64}})?", default[0])
    for run in given(name, "RUN"):
        assert not re.search(r"https?://|\bcurl |\bwget ", run.replace("aria2c", ""))
        assert "pip install" not in run or "--require-hashes" in run
        assert not re.search(
            r"/uv (?!sync --locked --no-dev --no-install-project --no-build |&&)", run
        )


@pytest.mark.parametrize("path", ["images/globus-cli/requirements.txt", "images/dtp/uv.txt"])
def test_python_packages_are_pinned_each_with_hashes(path: str) -> None:
    text = (ROOT / path).read_text()
    packages = re.findall(
        r"^([\w.-]+)==\S+.*?\\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", text, re.MULTILINE
    )
    assert len(packages) == len(re.findall(r"^[\w.-]+==", text, re.MULTILINE)) > 0
    asked = lines(path.replace("requirements.txt", "requirements.in").replace("uv.txt", "uv.in"))
    assert re.search(rf"^{re.escape(asked[0])} ", text, re.MULTILINE)


def test_dtp_is_installed_by_the_uv_that_the_project_uses() -> None:
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert lines("images/dtp/uv.in") == [f"uv=={version}"]


def test_every_image_is_tried_and_all_without_a_download_also_without_an_engine() -> None:
    works = (ROOT / "images/works.sh").read_text()
    assert set(re.findall(r"^  \[([\w-]+)\]=", works, re.MULTILINE)) == set(DOCKERFILES)
    (here,) = re.findall(r"set -- (.*)$", (ROOT / "images/try.sh").read_text(), re.MULTILINE)
    assert set(here.split()) == {name for name in DOCKERFILES if not given(name, "ADD")}


# --- one list for the published image and the tests' own ----------------------------------------


def test_the_tests_image_tools_has_the_packages_of_base() -> None:
    assert "images/base/packages.txt /" in given("base", "COPY")[0]
    assert "PACKAGES=$REPOSITORY/images/base/packages.txt\n" in BUILD
    packages = lines("images/base/packages.txt")
    assert {"rsync", "curl", "aria2", "lftp", "openssh-client", "xrootd-client"} <= set(packages)
    assert [one for one in packages if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", one)] == []


def test_the_tests_image_globus_has_the_globus_cli_of_the_published_one() -> None:
    assert given("globus-cli", "COPY")[0].startswith("images/globus-cli/requirements.txt ")
    assert "GLOBUS=$REPOSITORY/images/globus-cli/requirements.txt\n" in BUILD


# --- publishing ----------------------------------------------------------------------------------


def publish(folder: Path) -> tuple[subprocess.CompletedProcess[str], list[str], dict[str, str]]:
    """Run publish.sh with a docker that does nothing, but fails to build dtp and to run base."""
    (folder / "docker").write_text(DOCKER)
    (folder / "docker").chmod(0o755)
    calls, out = folder / "calls", folder / "out.json"
    ran = subprocess.run(
        ["bash", ROOT / "images/publish.sh", "ghcr.io/lab/dtp", "1.2.3-20300102.4", out],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(calls)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return ran, calls.read_text().splitlines(), json.loads(out.read_text())


def test_an_image_that_fails_keeps_no_other_back_and_is_told(tmp_path: Path) -> None:
    ran, calls, published = publish(tmp_path)
    assert ran.returncode == 1
    assert "not published: base dtp" in ran.stderr
    assert set(published) == set(DOCKERFILES) - {"base", "dtp"} - WITHOUT_SUM
    pushed = {one.split()[-1] for one in calls if one.startswith("push ")}
    tags = ("1.2.3-20300102.4", "1.2.3")
    assert pushed == {f"ghcr.io/lab/dtp/{name}:{tag}" for name in published for tag in tags}


def test_what_lacks_the_checksum_of_its_download_is_left_out_with_a_notice(tmp_path: Path) -> None:
    ran, calls, published = publish(tmp_path)
    for name in WITHOUT_SUM:
        assert f"::notice::the image {name} is not built" in ran.stdout
    assert not WITHOUT_SUM & published.keys()
    assert not [one for one in calls if any(f"/{name}:" in one for name in WITHOUT_SUM)]


def test_what_is_published_is_named_by_digest_and_says_what_it_was_made_of(tmp_path: Path) -> None:
    _, calls, published = publish(tmp_path)
    assert all(pin.REFERENCE.fullmatch(image) for image in published.values())
    builds = [one for one in calls if one.startswith("build ")]
    assert len(builds) == len(DOCKERFILES) - len(WITHOUT_SUM)
    debian = r"docker\.io/library/debian:12-slim"
    for build in builds:
        (digest,) = re.findall(rf"--build-arg DEBIAN={debian}@(sha256:[0-9a-f]{{64}}) ", build)
        assert f"org.opencontainers.image.base.digest={digest} " in build
        assert re.search(r"org\.opencontainers\.image\.revision=[0-9a-f]{40} ", build)


# --- what uses them ------------------------------------------------------------------------------


def published(*names: str) -> dict[str, str]:
    return {name: f"ghcr.io/lab/dtp/{name}:1.2.3-20300102.4@{NEW}" for name in names}


def pin_all(text: str, images: dict[str, str]) -> str:
    for one in pin.pins(images):
        text = pin.pinned(text, one)
    return text


def test_every_row_and_value_that_an_image_is_for_is_there() -> None:
    rows = catalog.builtin().rows
    values = yaml.safe_load((ROOT / "helm/values.yaml").read_text())
    for image, uses in pin.uses().items():
        for key, users in uses.items():
            if key == pin.VALUE:
                first, _, second = str(users).partition(".")
                assert isinstance(values[first][second], str), image
            else:
                assert key in {"image", "serviceImage"}
                assert set(users) <= set(rows), image


def test_every_row_without_an_image_is_one_that_an_image_is_for() -> None:
    without = {name for name, row in catalog.builtin().rows.items() if row.image is None}
    served = {protocol for uses in pin.uses().values() for protocol in uses.get("image", ())}
    assert without - served <= {"ndn"}  # named-data's own image, whose digest nobody here knows


def test_the_catalog_gets_each_image_in_its_rows_and_nothing_else_changes() -> None:
    images = published(*DOCKERFILES)
    before, after = (
        catalog.parse(CATALOG, "before"),
        catalog.parse(pin_all(CATALOG, images), "after"),
    )
    wanted: dict[str, dict[str, Any]] = {}
    for one in pin.pins(images):
        wanted.setdefault(one.protocol, {})[one.key] = one.image
    assert wanted["globus"] == {
        "image": images["globus-cli"], "serviceImage": images["globus-connect"],
    }  # fmt: skip
    for protocol, row in after.rows.items():
        old, new = vars(before.rows[protocol]), vars(row)
        changed = {key: value for key, value in new.items() if value != old[key]}
        told = {
            key.replace("serviceI", "service_i"): value
            for key, value in wanted.get(protocol, {}).items()
        }
        assert changed == told


def test_pinning_again_changes_lines_and_adds_none() -> None:
    once = pin_all(CATALOG, published(*DOCKERFILES))
    again = pin_all(
        once,
        {
            name: image.replace("0102.4", "0109.5")
            for name, image in published(*DOCKERFILES).items()
        },
    )
    assert len(again.splitlines()) == len(once.splitlines())
    assert "0102.4" not in again
    assert {line for line in CATALOG.splitlines() if "#" in line and "image:" not in line} <= set(
        again.splitlines()
    )


def test_the_summary_is_a_patch_that_git_takes(tmp_path: Path) -> None:
    images = published("base", "globus-connect", "runner")
    after = pin_all(CATALOG, images)
    told = pin.summary(images, CATALOG, after)
    assert f"runner.image: {images['runner']}\n" in told
    (tmp_path / "dtp_action").mkdir()
    (tmp_path / "dtp_action/catalog.yaml").write_text(CATALOG)
    (patch,) = re.findall(r"```diff\n(.*?)```", told, re.DOTALL)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch, text=True, check=True)
    assert (tmp_path / "dtp_action/catalog.yaml").read_text() == after


@pytest.mark.parametrize("image", ["ghcr.io/lab/dtp/base:1", f"ghcr.io/lab/dtp/base@{NEW}", "null"])
def test_what_has_no_tag_or_no_digest_is_not_pinned(image: str) -> None:
    with pytest.raises(ValueError, match="no reference with tag and digest"):
        list(pin.pins({"base": image}))
