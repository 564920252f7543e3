"""Holds every request and answer against GitHub's official description.

The extracts in `schema/` are made by `schema/cut.py`. A word that breaks them is an AssertionError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from graphql import DocumentNode, GraphQLSchema, build_schema, parse, print_ast, validate
from graphql.language import FieldNode, InlineFragmentNode, OperationDefinitionNode
from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.responses.exceptions import ResponseNotFound
from openapi_core.testing import MockRequest, MockResponse

SCHEMA = Path(__file__).parent / "schema"
HOST = "https://api.github.com"
JSON = "application/json"
Selecting = OperationDefinitionNode | FieldNode | InlineFragmentNode
SCALARS = {
    "DateTime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
    "GitObjectID": re.compile(r"[0-9a-f]{40}"),
    "BigInt": re.compile(r"-?\d+"),
    "URI": re.compile(r"https?://\S+"),
}


@cache
def _rest() -> OpenAPI:
    spec = json.loads((SCHEMA / "openapi.json").read_text())
    return OpenAPI.from_dict(spec, config=Config(spec_validator_cls=None))  # cut: without prose


@cache
def graphql() -> GraphQLSchema:
    """Return the schema; its scalars refuse what GitHub's do not look like."""
    schema = build_schema((SCHEMA / "schema.graphql").read_text())
    for name, pattern in SCALARS.items():
        scalar: Any = schema.type_map[name]
        scalar.serialize = scalar.parse_value = _shaped(name, pattern)
    return schema


def _shaped(name: str, pattern: re.Pattern[str]) -> Any:
    def check(value: object) -> object:
        assert isinstance(value, str), f"{value!r} is no {name}"
        assert pattern.fullmatch(value), f"{value!r} is no {name}"
        return value

    return check


def check_query(query: str) -> DocumentNode:
    """Return a GraphQL query that the schema allows."""
    document = parse(query)
    errors = validate(graphql(), document)
    assert not errors, f"GitHub would not understand the query: {errors}\n{query}"
    return document


def cost(query: DocumentNode) -> int:
    """Return the points that a query costs, by GitHub's formula; it must not ask for too much.

    https://docs.github.com/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
    """
    connections, nodes = _asks_for(query.definitions[0], 1)  # type: ignore[arg-type]
    assert nodes <= 500_000, f"GitHub returns at most 500,000 nodes, not {nodes}"
    return max(1, round(connections / 100))


def _asks_for(part: Selecting, times: int) -> tuple[int, int]:
    """Return how many connections a part of a query opens at most, and how many nodes they have."""
    connections = nodes = 0
    for selected in part.selection_set.selections if part.selection_set else ():
        assert isinstance(selected, FieldNode | InlineFragmentNode)
        given = (selected.arguments or ()) if isinstance(selected, FieldNode) else ()
        sizes = [int(print_ast(a.value)) for a in given if a.name.value in ("first", "last")]
        inside = times * (sizes[0] if sizes else 1)
        more = _asks_for(selected, inside)
        connections += more[0] + times * bool(sizes)
        nodes += more[1] + inside * bool(sizes)
    return connections, nodes


def check_request(method: str, path: str, query: Mapping[str, str], body: bytes) -> MockRequest:
    """Hold a request against the description."""
    request = MockRequest(
        HOST, method.lower(), path, args=dict(query), data=body or None, content_type=JSON
    )
    try:
        _rest().validate_request(request)
    except OpenAPIError as error:
        raise AssertionError(f"{method} {path}: {error!r}: {error.__cause__}") from error
    return request


def check_answer(request: MockRequest, status: int, answer: Any) -> None:
    """Hold an answer against the description; statuses that it lacks, it lacks."""
    data = b"" if answer is None else json.dumps(answer).encode()
    response = MockResponse(data, status_code=status, content_type=JSON)
    try:
        _rest().validate_response(request, response)
    except ResponseNotFound:
        return
    except OpenAPIError as error:
        text = f"{request.method} {request.path} → {status}: {error!r}: {error.__cause__}"
        raise AssertionError(text) from error
