"""YAML text into checked values, with errors that say where, what was found and what is allowed.

The only module that knows YAML. Knows nothing of what the values mean.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import yaml

from dtp_action.errors import UsageError

LARGEST = 512 * 1024  # no settings are longer; more is a mistake


class Place(NamedTuple):
    """A value's place: the document's name and the path within it (`protocols.aws.uid`)."""

    document: str
    path: str = ""

    def at(self, key: object) -> Place:
        """Return the place of one member."""
        return self._replace(path=f"{self.path}.{key}" if self.path else str(key))

    def error(self, problem: str, *, hint: str = "") -> UsageError:
        """Return the error to raise about this place."""
        return UsageError(f"{self.document}: {self.path or 'the document'}: {problem}", hint=hint)

    def wrong(self, found: object, allowed: str) -> UsageError:
        """Return the error for a value of the wrong form."""
        return self.error(f"found {_shown(found)}; allowed is {allowed}")


Reader = Callable[[Place, Any], Any]


class Field(NamedTuple):
    """One key of a record: where its value goes, how it is read, and its line in the reference."""

    attribute: str
    read: Reader
    form: str
    meaning: str


def load(text: str | bytes, document: str) -> Any:
    """Return the plain value of one YAML document; raises UsageError."""
    if len(text) > LARGEST:
        raise Place(document).error(f"is longer than {LARGEST // 1024} KiB")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 a SafeLoader with fewer types still
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}" if mark else ""
        raise Place(document, line).error(f"is not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Place(document).error("is not valid YAML text in UTF-8") from error


class _Loader(yaml.SafeLoader):
    """YAML without its surprises: `off`, `no` and dates are text, a key stands once, no aliases."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 as PyYAML declares it

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # its stubs lack it
            raise yaml.composer.ComposerError(None, None, "aliases are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                problem = f"the key {name!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"-?(?:0|[1-9][0-9]{0,17})", list("-0123456789")),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first
    )


# --- readers: each takes a place and a plain value, and returns the checked one ------------------


def record(fields: Mapping[str, Field], *, required: Iterable[str] = ()) -> Reader:
    """Read a mapping with known keys into {attribute: value}; absent and null keys stay absent."""

    def read(place: Place, value: Any) -> dict[str, Any]:
        for key in _mapping(place, value):
            if key not in fields:
                raise place.error(f"unknown key {_shown(key)}{closest(key, fields)}")
        for key in required:
            if value.get(key) is None:
                raise place.error(f"the key `{key}` is missing")
        given = {key: member for key, member in value.items() if member is not None}
        return {fields[k].attribute: fields[k].read(place.at(k), v) for k, v in given.items()}

    return read


def mapping(key: Reader, item: Reader) -> Reader:
    """Read a mapping whose keys and values have one form each."""
    return lambda place, value: {
        key(place, name): item(place.at(name), member)
        for name, member in _mapping(place, value).items()
    }


def several(item: Reader) -> Reader:
    """Read a list into a tuple."""

    def read(place: Place, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise place.wrong(value, "a list")
        return tuple(item(place.at(number), member) for number, member in enumerate(value))

    return read


def text(pattern: str, allowed: str) -> Reader:
    """Read text that matches the whole pattern."""

    def read(place: Place, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise place.wrong(value, allowed)
        return value

    return read


def whole(low: int, high: int) -> Reader:
    """Read a whole number within bounds."""

    def read(place: Place, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise place.wrong(value, f"a whole number from {low} to {high}")
        return value

    return read


def choice(*allowed: object) -> Reader:
    """Read one of a few values."""

    def read(place: Place, value: Any) -> Any:
        if value not in allowed or isinstance(value, bool) is not isinstance(allowed[0], bool):
            raise place.wrong(value, " or ".join(_shown(one) for one in allowed))
        return value

    return read


def amount(parse: Callable[[str], int]) -> Reader:
    """Read a quantity; a number without a unit may stand unquoted."""

    def read(place: Place, value: Any) -> int:
        try:
            return parse(str(value))
        except ValueError as error:
            raise place.error(f"{_shown(value)} {error}") from error

    return read


def closest(word: object, known: Iterable[str]) -> str:
    """Return `; did you mean …?` for a word that is near a known one, else what is known."""
    names = sorted(known)
    near = difflib.get_close_matches(str(word)[:60].lower(), {name.lower(): 0 for name in names}, 1)
    meant = [name for name in names if near and name.lower() == near[0]]
    return f"; did you mean `{meant[0]}`?" if meant else f"; known are {', '.join(names)}"


def _mapping(place: Place, value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise place.wrong(value, "a mapping (key: value)")
    return value


def _shown(value: object) -> str:
    plain = {None: "nothing", True: "`true`", False: "`false`"}
    if value is None or isinstance(value, bool):
        return plain[value]
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"`{str(value)[:60]}`"


# --- the other way -------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: keys in the order given, longer text as a block, no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 as PyYAML calls it
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def dump(value: Any) -> str:
    """Return a plain value as one YAML document."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
