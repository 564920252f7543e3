"""What GitHub tells a workflow of an event: payloads with the keys that workflows and `dtp` read.

Shaped after `@octokit/webhooks-examples`; what nobody reads is left out.
"""

from __future__ import annotations

from typing import Any

from tests.github.fake import REPOSITORY, Comment, Pull

Wire = dict[str, Any]
OWNER, NAME = REPOSITORY.split("/")


def repository(full_name: str = REPOSITORY, *, ident: int = 42) -> Wire:
    owner, name = full_name.split("/")
    return {
        "id": ident,
        "name": name,
        "full_name": full_name,
        "private": False,
        "fork": full_name != REPOSITORY,
        "default_branch": "main",
        "html_url": f"https://github.com/{full_name}",
        "owner": user(owner),
    }


def user(login: str) -> Wire:
    kind = "Bot" if login.endswith("[bot]") else "User"
    return {"login": login, "type": kind, "html_url": f"https://github.com/{login}"}


def pull(one: Pull, title: str) -> Wire:
    """Return a pull request as it stands in an event."""
    fork = repository(one.fork, ident=43) if one.fork else repository()
    return {
        "number": one.number,
        "state": "open",
        "title": title,
        "body": None,
        "user": user(one.author or "ghost"),
        "draft": False,
        "merged": False,
        "head": {"ref": one.branch, "sha": one.head, "repo": fork, "user": fork["owner"]},
        "base": {"ref": one.base, "sha": one.head, "repo": repository(), "user": user(OWNER)},
        "html_url": f"https://github.com/{REPOSITORY}/pull/{one.number}",
    }


def push(branch: str, before: str, after: str, sender: str) -> Wire:
    return {
        "ref": f"refs/heads/{branch}",
        "before": before,
        "after": after,
        "created": False,
        "deleted": False,
        "forced": False,
        "commits": [],
        "head_commit": {"id": after},
        "repository": repository(),
        "pusher": {"name": sender},
        "sender": user(sender),
    }


def schedule() -> Wire:
    return {"schedule": "7,22,37,52 * * * *", "repository": repository()}


def workflow_dispatch(branch: str, sender: str, **inputs: str) -> Wire:
    return {
        "inputs": inputs,
        "ref": f"refs/heads/{branch}",
        "workflow": ".github/workflows/dispatch.yml",
        "repository": repository(),
        "sender": user(sender),
    }


def pull_request(one: Pull, base: str, title: str = "A transfer") -> Wire:
    """Return the event of a pull request that was opened; `base` is its base's commit."""
    shown = pull(one, title)
    return {
        "action": "opened",
        "number": one.number,
        "pull_request": shown | {"base": shown["base"] | {"sha": base}},
        "repository": repository(),
        "sender": shown["user"],
    }


def workflow_run(one: Pull) -> Wire:
    """Return the event of a pull request's preview run that has ended."""
    whose = repository(one.fork, ident=43) if one.fork else repository()
    whose.pop("default_branch")  # GitHub sends a repository's short form here
    return {
        "action": "completed",
        "workflow_run": {
            "id": 9,
            "name": "preview",
            "path": ".github/workflows/preview.yml",
            "event": "pull_request",
            "status": "completed",
            "conclusion": "success",
            "head_branch": one.branch,
            "head_sha": one.head,
            "head_repository": whose,
            "pull_requests": [],  # empty for forks, so nothing may rest on it
            "actor": user(one.author or "ghost"),
        },
        "workflow": {"id": 1, "name": "preview", "path": ".github/workflows/preview.yml"},
        "repository": repository(),
        "sender": user(one.author or "ghost"),
    }


def issue_comment(comment: Comment, author: str) -> Wire:
    """Return the event of a comment on a pull request that was written."""
    address = f"https://github.com/{REPOSITORY}/pull/{comment.number}"
    return {
        "action": "created",
        "issue": {
            "number": comment.number,
            "title": "A transfer",
            "state": "open",
            "user": user(author),
            "pull_request": {"html_url": address},
        },
        "comment": {
            "id": comment.id,
            "node_id": comment.node,
            "body": comment.body,
            "user": user(comment.author or "ghost"),
            "author_association": "NONE",
            "html_url": f"{address}#issuecomment-{comment.id}",
            "created_at": "2030-01-02T12:00:00Z",
            "updated_at": "2030-01-02T12:00:00Z",
        },
        "repository": repository(),
        "sender": user(comment.author or "ghost"),
    }
