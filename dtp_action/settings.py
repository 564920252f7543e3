"""What the workflow's maintainer decides, read from the environment once, at the edge."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from urllib.parse import urlsplit


def source(flag: str | None, environ: Mapping[str, str], branch: str | None = None) -> str | None:
    """Return the branch a ledger belongs to, as told or as GitHub says; None where nothing does."""
    return flag or github_source(environ, branch)


def github_source(environ: Mapping[str, str], branch: str | None = None) -> str | None:
    """Return `<host>/<repository id>#<branch>` in a GitHub workflow run, else None."""
    repository = environ.get("GITHUB_REPOSITORY_ID")
    server = environ.get("GITHUB_SERVER_URL")
    of = branch or github_branch(environ)
    if not (repository and server and of):
        return None
    return f"{urlsplit(server).hostname}/{repository}#{of}"


def github_branch(environ: Mapping[str, str]) -> str | None:
    """Return the branch that a GitHub workflow runs on; None for a tag or a pull request."""
    on_branch = environ.get("GITHUB_REF_TYPE") == "branch"
    merging = environ.get("GITHUB_REF", "").startswith("refs/pull/")
    return environ.get("GITHUB_REF_NAME") if on_branch and not merging else None


def actor(environ: Mapping[str, str]) -> str:
    """Return who asks, for the record: GitHub's user, else the login name."""
    return environ.get("GITHUB_ACTOR") or getpass.getuser()
