"""Cuts GitHub's official description down to what this project uses, and writes it beside itself.

Run it with the name of a folder in which `npm pack` may put two packages:

    .venv/bin/python tests/github/schema/cut.py build/github

To use more of GitHub, add it to `OPERATIONS` or `FIELDS` first. The extracts stay under their own
licence: see LICENSE.md here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphql import parse, print_ast
from graphql.language import (
    IDLE,
    REMOVE,
    DirectiveNode,
    InterfaceTypeDefinitionNode,
    NamedTypeNode,
    Node,
    ObjectTypeDefinitionNode,
    TypeDefinitionNode,
    Visitor,
    visit,
)

HERE = Path(__file__).parent
REST = "@octokit/openapi@23.0.2", "generated/api.github.com.json"
GRAPHQL = "@octokit/graphql-schema@15.26.1", "schema.graphql"

OPERATIONS = (
    ("post", "/repos/{owner}/{repo}/issues"),
    ("patch", "/repos/{owner}/{repo}/issues/{issue_number}"),
    ("post", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
    ("patch", "/repos/{owner}/{repo}/issues/comments/{comment_id}"),
    ("delete", "/repos/{owner}/{repo}/issues/comments/{comment_id}"),
    ("post", "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions"),
    ("post", "/repos/{owner}/{repo}/statuses/{sha}"),
    ("get", "/repos/{owner}/{repo}/collaborators/{username}/permission"),
    ("get", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}"),
    ("get", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs"),
    ("get", "/repos/{owner}/{repo}/actions/runs/{run_id}/artifacts"),
    ("get", "/repos/{owner}/{repo}/actions/artifacts/{artifact_id}/{archive_format}"),
)
FIELDS = {
    "Query": "node repository",
    "Mutation": "createPullRequest mergePullRequest",
    "CreatePullRequestPayload": "pullRequest",
    "MergePullRequestPayload": "pullRequest",
    "Repository": "issue issues nameWithOwner object pullRequest pullRequests ref visibility",
    "Ref": "compare",
    "Comparison": "status",
    "Issue": "body comments id number state url viewerDidAuthor",
    "IssueConnection": "nodes pageInfo",
    "Node": "id",
    "GitObject": "oid",
    "Actor": "login",
    "User": "id login",
    "Bot": "id login",
    "Commit": "associatedPullRequests authoredDate id oid status",
    "Status": "context",
    "StatusContext": "description state targetUrl",
    "PullRequest": "author baseRefName baseRepository comments commits headRefOid id mergeCommit"
    " merged mergedBy number",
    "PullRequestConnection": "nodes",
    "PullRequestCommit": "commit",
    "PullRequestCommitConnection": "nodes",
    "IssueComment": "author body fullDatabaseId id lastEditedAt pullRequest repository url"
    " viewerDidAuthor",
    "IssueCommentConnection": "nodes pageInfo",
    "PageInfo": "endCursor hasNextPage",
}
PROSE = (
    "description",
    "summary",
    "examples",
    "example",
    "tags",
    "externalDocs",
    "x-github",
    "x-octokit",
)
WITH_FIELDS = (ObjectTypeDefinitionNode, InterfaceTypeDefinitionNode)


def fetch(package: str, member: str, folder: Path) -> tuple[str, str]:
    """Return a file of an npm package, and the package's licence."""
    packed = subprocess.run(
        ["npm", "pack", "--silent", package], cwd=folder, capture_output=True, text=True, check=True
    )
    with tarfile.open(folder / packed.stdout.split()[-1]) as archive:
        names = [name for name in archive.getnames() if name.startswith("package/LICENSE")]
        texts = [archive.extractfile(name) for name in (f"package/{member}", names[0])]
        content, licence = (text.read().decode() for text in texts if text)
    return content, licence


# --- REST ----------------------------------------------------------------------------------------


def cut_openapi(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the operations used, with all that they refer to, without prose."""
    paths: dict[str, Any] = {}
    for method, path in OPERATIONS:
        paths.setdefault(path, {})[method] = strip(whole["paths"][path][method])
    components: dict[str, dict[str, Any]] = {}
    todo = list(references(paths))
    while todo:
        _, _, kind, name = todo.pop().split("/")
        if name not in components.setdefault(kind, {}):
            components[kind][name] = strip(whole["components"][kind][name])
            todo += references(components[kind][name])
    info = {key: whole["info"][key] for key in ("title", "version", "license")}
    return {
        "openapi": whole["openapi"],
        "info": info,
        "servers": [{"url": "https://api.github.com"}],
        "paths": paths,
        "components": {kind: dict(sorted(of.items())) for kind, of in sorted(components.items())},
    }


def strip(value: Any, *, names: bool = False) -> Any:
    """Return a part without prose. With `names`, the keys are names of properties: all are kept."""
    if isinstance(value, list):
        return [strip(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: strip(part, names=key == "properties" and not names)
        for key, part in value.items()
        if names or key not in PROSE
    }


def references(value: Any) -> Iterator[str]:
    """Yield every reference in a part."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


# --- GraphQL -------------------------------------------------------------------------------------


def cut_graphql(whole: str) -> str:
    """Return the types used, each with the fields used, and what their arguments are made of."""
    given = {
        definition.name.value: definition
        for definition in parse(whole, no_location=True).definitions
        if isinstance(definition, TypeDefinitionNode)
    }
    cut: dict[str, TypeDefinitionNode] = {}
    todo = list(FIELDS)
    while todo:
        name = todo.pop()
        definition = given.get(name)
        if definition is None or name in cut:
            continue  # built in, or here already
        if isinstance(definition, WITH_FIELDS):
            of = [i for i in definition.interfaces or () if i.name.value in FIELDS]
            definition = replace(definition, interfaces=tuple(of))
            inherited = " ".join(FIELDS[interface.name.value] for interface in of)
            definition = with_fields(definition, {*FIELDS[name].split(), *inherited.split()})
        cut[name] = visit(definition, Bare())
        todo += Names.of(cut[name])
    return "\n\n".join(print_ast(cut[name]) for name in sorted(cut)) + "\n"


def with_fields(
    definition: ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode, fields: set[str]
) -> ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode:
    """Return the type with these fields alone."""
    kept = tuple(field for field in definition.fields or () if field.name.value in fields)
    assert len(kept) == len(fields), f"{definition.name.value} has not all of {fields}"
    return replace(definition, fields=kept)


class Bare(Visitor):
    """Drops descriptions and directives."""

    def enter(self, node: Node, *_: Any) -> Any:
        if isinstance(node, DirectiveNode):
            return REMOVE
        if getattr(node, "description", None):
            return replace(node, description=None)  # type: ignore[call-arg]  # it has one
        return IDLE


class Names(Visitor):
    """Collects the names of types that a definition refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def enter_named_type(self, node: NamedTypeNode, *_: Any) -> None:
        self.found.append(node.name.value)

    @classmethod
    def of(cls, definition: TypeDefinitionNode) -> list[str]:
        """Return the names, each as often as it stands there."""
        names = cls()
        visit(definition, names)
        return names.found


def main(folder: Path) -> None:
    """Fetch both packages and write the extracts and their licences."""
    folder.mkdir(parents=True, exist_ok=True)
    rest, rest_licence = fetch(*REST, folder)
    graphql, graphql_licence = fetch(*GRAPHQL, folder)
    cut = json.dumps(cut_openapi(json.loads(rest)), separators=(",", ":"))
    (HERE / "openapi.json").write_text(cut.replace('},"', '},\n"') + "\n")
    (HERE / "schema.graphql").write_text(cut_graphql(graphql))
    notices = ((*REST, rest_licence), (*GRAPHQL, graphql_licence))
    parts = [
        f"# {package}\n\nCut from `{member}`.\n\n{text.strip()}\n"
        for package, member, text in notices
    ]
    (HERE / "LICENSE.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
