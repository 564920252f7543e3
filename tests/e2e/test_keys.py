"""The page on researchers' keys, done on a cluster: its own commands, from the text of the page.

Only `age` is played, by a function that prints the file: encrypting is not ours.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import subprocess
from pathlib import Path

import pytest

from tests.e2e.site import Site

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "secrets-for-researchers.md"
# Says what it was given without printing it: digests only.
SCRIPT = """\
#!/bin/bash
#DTP time=5m memory=64Mi
digest() { sha256sum | cut -d ' ' -f 1; }
echo "variable $(printf %s "${AWS_SECRET_ACCESS_KEY-none}" | digest)"
"""
FILES = """\
#!/bin/sh
#DTP time=5m memory=64Mi
set -eu
stat -c 'mode %a' "$DTP_SECRETS/id_ed25519"
echo "key $(sha256sum <"$DTP_SECRETS/id_ed25519" | cut -d ' ' -f 1)"
test -s "$DTP_SECRETS/known_hosts" && echo known hosts
! (: >>/var/run/dtp/secret/id_ed25519) 2>/dev/null && echo cannot be written
"""


class Desk:
    """Where the admin sits: a folder with what came in, a shell, and kubectl."""

    def __init__(self, site: Site, folder: Path, facts: dict[str, str]) -> None:
        self.site, self.folder, self.kubectl = site, folder, facts["KUBECTL"]
        self.kubeconfig = facts["KUBECONFIG"]

    def receive(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def do(self, marker: str, secret: str, other: str) -> None:
        """Run the one command of the page that has the marker, for another Secret."""
        page = PAGE.read_text()
        fenced = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
        inline = re.findall(r"`(kubectl [^`]+)`", page)
        (command,) = [text for text in (*fenced, *inline) if marker in text]
        assert f" {secret}" in command
        command = command.replace(f" {secret}", f" {other}")
        command = command.replace("--namespace dtp ", f"--namespace {self.site.namespace.name} ")
        played = 'age() { cat "${@: -1}"; }; kubectl() { "$KUBECTL" "$@"; }; set -euo pipefail; '
        own = {"KUBECTL": self.kubectl, "KUBECONFIG": self.kubeconfig}
        argv = ["bash", "-c", played + command]
        subprocess.run(argv, cwd=self.folder, env=os.environ | own, check=True)


@pytest.fixture
def desk(site: Site, tmp_path: Path, cluster_facts: dict[str, str]) -> Desk:
    if "KUBECTL" not in cluster_facts:
        pytest.skip("a cluster from outside: it is not known where its kubectl is")
    return Desk(site, tmp_path, cluster_facts)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_variables_come_are_replaced_and_go_as_the_page_says(site: Site, desk: Desk) -> None:
    old, new = secrets.token_hex(20), secrets.token_hex(20)
    site.write("dtp-aws/told", SCRIPT)
    site.commit("tell what is given")

    desk.receive("keys.env.age", f"AWS_ACCESS_KEY_ID=lab\nAWS_SECRET_ACCESS_KEY={old}\n")
    desk.do("--from-env-file=/dev/stdin\n", "dtp-aws-lab", "dtp-aws")
    site.dispatch(wait=True)
    assert f"variable {digest(old)}" in site.logs("dtp-aws/told")

    desk.receive("keys.env.age", f"AWS_ACCESS_KEY_ID=lab\nAWS_SECRET_ACCESS_KEY={new}\n")
    desk.do("replace --filename -", "dtp-aws-lab", "dtp-aws")
    assert notes_on(site, "dtp-aws") == {}  # no copy of the values
    site.dtp("retry", "dtp-aws/told")
    site.dispatch(wait=True)
    assert f"variable {digest(new)}" in site.logs("dtp-aws/told")

    desk.do("delete secret", "dtp-aws-lab", "dtp-aws")
    site.dtp("retry", "dtp-aws/told")
    ended = site.dispatch(wait=True).rows["dtp-aws/told"]
    assert (ended["attempt"], ended["phase"]) == (3, "SUCCEEDED")
    assert f"variable {digest('none')}" in site.logs("dtp-aws/told")


def test_a_key_that_is_a_file_is_one_that_a_script_can_copy(site: Site, desk: Desk) -> None:
    key = secrets.token_hex(200) + "\n"
    desk.receive("id_ed25519.age", key)
    desk.receive("known_hosts", "data.example.org ssh-ed25519 …\n")
    desk.do("--from-file=id_ed25519=/dev/stdin", "dtp-ssh-lab", "dtp-local")
    site.merge(told=FILES)
    ended = site.dispatch(wait=True).rows["dtp-local/told"]
    log = site.logs("dtp-local/told")
    assert ended["phase"] == "SUCCEEDED", log
    for line in ("mode 600", f"key {digest(key)}", "known hosts", "cannot be written"):
        assert line in log
    assert key.strip() not in log


def notes_on(site: Site, secret: str) -> dict[str, str]:
    (found,) = [
        one["metadata"]
        for one in site.admin.list("Secret", site.namespace.name)
        if one["metadata"]["name"] == secret
    ]
    return dict(found.get("annotations") or {})
