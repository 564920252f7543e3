"""YAML and single words into checked values; errors say where, what was found, what is allowed.

The only module that knows YAML. Knows nothing of what the values mean.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import yaml

from dtp_action.core import unseen
from dtp_action.core.quantities import Kind
from dtp_action.errors import UsageError

LARGEST = 512 * 1024  # no settings are longer; more is a mistake
NOTHING = ("", "~", "null")  # a key with this value counts as absent

# Takes text, a list or a mapping and returns the checked value. Raises ValueError with a sentence
# that begins with what was found; whoever reads a member puts the member's key before it.
Reader = Callable[[Any], Any]


class Field(NamedTuple):
    """One key: how it is read and written, its line in the reference, where its value goes."""

    read: Reader
    form: str = ""
    meaning: str = ""
    attribute: str = ""  # '': the key's name, in snake case
    write: Callable[[Any], str] = str


def read(content: str | bytes, document: str, reader: Reader) -> Any:
    """Return what the reader makes of one YAML document; raises UsageError that names it."""
    if len(content) > LARGEST:
        raise UsageError(f"{document}: is longer than {LARGEST // 1024} KiB")
    _refuse_unseen(content, document)
    try:
        return reader(yaml.load(content, _Loader))  # noqa: S506 makes text, lists and mappings only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise UsageError(f"{document}: {line}is not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{document}: is not valid YAML text in UTF-8") from error
    except ValueError as error:
        raise UsageError(f"{document}: {error}") from error


def _refuse_unseen(content: str | bytes, document: str) -> None:
    """Raise UsageError where a reviewer of the text does not see all that is in it."""
    text = content.decode(errors="replace") if isinstance(content, bytes) else content
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    for at in unseen.find(text):
        line = text.count("\n", 0, at) + 1
        raise UsageError(
            f"{document}: line {line}: holds {unseen.name(text[at])}, which reviewers do not see",
            hint="Delete the line and type it again.",
        )


class _Loader(yaml.BaseLoader):
    """YAML without its surprises: all values are text, a key stands once, no aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # its stubs lack it
            raise yaml.composer.ComposerError(None, None, "aliases are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        made = super().construct_mapping(node, deep)
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"the key {key.value!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return made


# --- readers -------------------------------------------------------------------------------------


def record(fields: Mapping[str, Field], *, required: Iterable[str] = ()) -> Reader:
    """Read a mapping with known keys into {attribute: value}; absent and empty keys stay absent."""

    def read(value: Any) -> dict[str, Any]:
        for key in _mapping(value):
            if key not in fields:
                raise ValueError(f"unknown key `{key[:60]}`{closest(key, fields)}")
        given = {key: member for key, member in value.items() if member not in NOTHING}
        for key in required:
            if key not in given:
                raise ValueError(f"the key `{key}` is missing")
        return {
            attribute(key, fields[key]): at(key, fields[key].read, member)
            for key, member in given.items()
        }

    return read


def attribute(key: str, field: Field) -> str:
    """Return the name of the attribute that a key's value goes to."""
    return field.attribute or re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", key)


def at(key: object, reader: Reader, member: Any) -> Any:
    """Read a member; its key goes before what is wrong with it."""
    try:
        return reader(member)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def mapping(key: Reader, item: Reader) -> Reader:
    """Read a mapping whose keys and values have one form each."""
    return lambda value: {
        key(name): at(name, item, member) for name, member in _mapping(value).items()
    }


def several(item: Reader) -> Reader:
    """Read a list into a tuple."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _wrong(value, "a list")
        return tuple(at(number, item, member) for number, member in enumerate(value, 1))

    return read


def text(pattern: str, allowed: str) -> Reader:
    """Read text that matches the whole pattern."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise _wrong(value, allowed)
        return value

    return read


def whole(low: int, high: int) -> Reader:
    """Read a whole number within bounds."""
    allowed = f"a whole number from {low} to {high}"
    digits = text(r"0|[1-9][0-9]{0,9}", allowed)

    def read(value: Any) -> int:
        number = int(digits(value))
        if not low <= number <= high:
            raise _wrong(value, allowed)
        return number

    return read


def choice(allowed: Mapping[str, Any], meaning: str = "", attribute: str = "") -> Field:
    """Return the key for one of a few words, each with the value that it stands for."""
    form = " or ".join(f"`{word}`" for word in allowed)
    word = text("|".join(allowed), form)
    return Field(lambda value: allowed[word(value)], form, meaning, attribute)


def amount(kind: Kind, meaning: str, attribute: str = "") -> Field:
    """Return the key for an amount of one kind."""
    return Field(lambda value: kind.parse(str(value)), kind.form, meaning, attribute, kind.write)


name = text(
    r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?",
    "a Kubernetes name: lower case letters, digits, `-` and `.`",
)
version = choice({"1": 1}, "the form of this document")


def closest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` for a word that is near a known one, else what is known."""
    names = sorted(known)
    meant = near(word, names)
    return f"; did you mean `{meant}`?" if meant else f"; known are {', '.join(names)}"


def near(word: str, known: Iterable[str]) -> str:
    """Return the known word that was probably meant, or ''."""
    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word[:60].lower(), names, 1)
    return names[found[0]] if found else ""


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(value, "a mapping (key: value)")
    return value


def _wrong(value: object, allowed: str) -> ValueError:
    containers: dict[type, str] = {dict: "a mapping", list: "a list"}
    return ValueError(f"{containers.get(type(value), f'`{str(value)[:60]}`')} is not {allowed}")


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
