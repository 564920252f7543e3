"""Who may begin a run that has the secret: by a comment, on a repository of its own and a fork."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.act.hub import EXAMPLES, ROOT, Hub, one_line

FOLDERS = {
    "called": EXAMPLES / "one-cluster",
    "steps": EXAMPLES / "several-clusters",
    "as it is": ROOT / ".github/workflows",
}
WORKS = "#!/bin/sh\necho moved\n"


@pytest.fixture(params=FOLDERS)
def asked(bare_hub: Hub, request: pytest.FixtureRequest) -> Hub:
    """Return a repository with a merged pull request of ada's, whose cluster nobody reaches."""
    folder: Path = FOLDERS[request.param]
    for name in ("KUBECONFIG", "KUBECONFIG_NORTH", "KUBECONFIG_SOUTH"):
        bare_hub.secrets[name] = one_line("kind: Config\n")
    bare_hub.lay_workflows(folder, {"branch: south": "branch: main"})
    bare_hub.github.permissions |= {"grace": "write", "ada": "read", "mallory": "read"}
    bare_hub.merge(bare_hub.pull(7, genome=WORKS))
    return bare_hub


def test_the_job_with_the_secret_begins_only_where_somebody_may_ask(asked: Hub) -> None:
    stranger = asked.comment(7, "/dtp retry dtp-local/genome", author="mallory")

    assert (stranger.code, stranger.jobs) == (0, {"admit"}), stranger.log
    assert "`write`" in asked.github.on(7)[-1], "and it is told"

    author = asked.comment(7, "/dtp status", author="ada")

    assert author.jobs == {"admit", "answer"}, author.log
    assert author.code != 0, "there is no such cluster"
