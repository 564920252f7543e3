"""Every field that Kubernetes' own description knows of an object, with a value to try there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Wire = dict[str, Any]
Place = tuple[str, ...]


def others(schemas: Wire, name: str, thing: Any) -> Iterator[tuple[Place, Any]]:
    """Yield places of an object where something else may stand, and what; one change each."""
    yield from _others(schemas, _resolved(schemas, schemas[name]), thing, ())


def put(thing: Wire, place: Place, value: Any) -> Wire:
    """Return the object with this value at this place."""
    changed = copy.deepcopy(thing)
    at: Any = changed
    for step in place[:-1]:
        at = at[int(step)] if isinstance(at, list) else at[step]
    at[place[-1]] = value
    return changed


def _others(schemas: Wire, schema: Wire, thing: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(thing, list):
        for number, one in enumerate(thing):
            item = _resolved(schemas, schema.get("items", {}))
            yield from _others(schemas, item, one, (*place, str(number)))
        return
    for key, described in schema.get("properties", {}).items():
        field, here = _resolved(schemas, described), (*place, key)
        if isinstance(thing.get(key), dict | list):
            yield from _others(schemas, field, thing[key], here)
        else:
            yield from (
                (here, value) for value in _values(schemas, field) if value != thing.get(key)
            )


def _values(schemas: Wire, field: Wire) -> list[Any]:
    """Return values of a field's type: all where they are counted, else one."""
    if field.get("enum"):
        return list(field["enum"])
    match field.get("type"):
        case "boolean":
            return [True, False]
        case "integer" | "number":
            return [7]
        case "array":
            return [[_values(schemas, _resolved(schemas, field["items"]))[0]]]
        case "object" if "additionalProperties" in field:
            item = _resolved(schemas, field["additionalProperties"])
            return [{"example.org/x": _values(schemas, item)[0]}]
        case "object":
            properties = field.get("properties", {})
            needed = [key for key in properties if key in field.get("required", ())]
            return [
                {
                    key: _values(schemas, _resolved(schemas, properties[key]))[0]
                    for key in needed or list(properties)[:1]
                }
            ]
    return ["7" if field.get("format") or "oneOf" in field else "x"]


def _resolved(schemas: Wire, schema: Wire) -> Wire:
    """Follow references to what describes a field."""
    while True:
        if "allOf" in schema:
            schema = schema["allOf"][0]
        elif "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        else:
            return schema
