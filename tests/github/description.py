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

from graphql import DocumentNode, GraphQLSchema, build_schema, parse, validate
from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.responses.exceptions import ResponseNotFound
from openapi_core.testing import MockRequest, MockResponse

SCHEMA = Path(__file__).parent / "schema"
HOST = "https://api.github.com"
JSON = "application/json"
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
