from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import catalog, cluster_settings, documents
from dtp_action.errors import UsageError


def load(text: str | bytes) -> object:
    return documents.read(text, "catalog.yaml", lambda value: value)


def message(text: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        load(text)
    return caught.value.message


def test_what_stands_there_is_text_and_not_what_yaml_makes_of_it() -> None:
    loaded = load("off: yes\nday: 2030-01-02\nratio: 1:30\nmode: 010\nlist: [true, ~]\n")
    assert loaded == {
        "off": "yes",
        "day": "2030-01-02",
        "ratio": "1:30",
        "mode": "010",
        "list": ["true", "~"],
    }


def test_a_tag_makes_nothing_but_text_lists_and_mappings() -> None:
    assert load("!!python/object/apply:os.system [x]") == ["x"]


@pytest.mark.parametrize("empty", ["", " ~", " null", ' ""'])
def test_an_empty_key_is_as_if_it_were_absent(empty: str) -> None:
    reader = documents.record({"queue": documents.Field(documents.name)})
    assert documents.read(f"queue:{empty}\n", "x", reader) == {}


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    assert message("a: 1\nb: 2\na: 3\n") == (
        "catalog.yaml: line 3: is not valid YAML: the key 'a' stands twice"
    )


def test_aliases_are_refused_so_that_nothing_can_grow_or_contain_itself() -> None:
    assert message("a: &a [1]\nb: *a\n").endswith("aliases are not supported")
    assert message("a: &a [*a]\n").endswith("aliases are not supported")


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        "\t",
        "? [a]\n: b",
        b"\xff\xfe\xff",
        "a\x00",
        "[" * 500,  # deeper than can be read
    ],
)
def test_what_is_no_yaml_is_a_usage_error_that_names_the_document(text: str | bytes) -> None:
    assert message(text).startswith("catalog.yaml: ")


def test_what_a_reviewer_does_not_see_is_refused_with_its_line() -> None:
    assert message("a: 1\nb: x\u202e # y\n") == (
        "catalog.yaml: line 2: holds U+202E RIGHT-TO-LEFT OVERRIDE, which reviewers do not see"
    )
    assert message("\ufeffa: \x9b\r\n".encode()).startswith("catalog.yaml: line 1: holds U+009B ")
    assert load("\ufeffa: é ✔️\r\n") == {"a": "é ✔️"}


def test_a_huge_document_is_refused_unread() -> None:
    assert message(" " * 600_000) == "catalog.yaml: is longer than 512 KiB"


@given(st.one_of(st.text(), st.binary()))
def test_any_text_loads_or_is_a_usage_error(text: str | bytes) -> None:
    with contextlib.suppress(UsageError):
        load(text)


KEYS = st.one_of(
    st.sampled_from([*cluster_settings.FIELDS, *catalog.FIELDS, "protocols", "aws"]),
    st.text(max_size=9),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9), st.just("all")),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, max_size=2)),
    max_leaves=4,
)


@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_document_makes_settings_and_a_catalog_or_is_a_usage_error(value: object) -> None:
    text = documents.dump(value)
    for parse in (cluster_settings.parse, catalog.parse):
        with contextlib.suppress(UsageError):
            parse("version: 1\n" + text, "x")


LETTERS = documents.text("a+", "letters a")
DIGIT = documents.whole(1, 9)


@pytest.mark.parametrize(
    ("reader", "value", "told"),
    [
        (DIGIT, "10", "`10` is not a whole number from 1 to 9"),
        (DIGIT, "true", "`true` is not a whole number from 1 to 9"),
        (DIGIT, ["5"], "a list is not a whole number from 1 to 9"),
        (documents.choice({"all": 1, "own": 2}).read, "some", "`some` is not `all` or `own`"),
        (documents.several(DIGIT), {}, "a mapping is not a list"),
        (LETTERS, "ab", "`ab` is not letters a"),
        (documents.record({}), [], "a list is not a mapping (key: value)"),
        (
            documents.mapping(LETTERS, documents.several(DIGIT)),
            {"aa": ["1", "x"]},
            "aa: 2: `x` is not a whole number from 1 to 9",
        ),
    ],
)
def test_a_reader_says_where_what_was_found_and_what_is_allowed(
    reader: documents.Reader, value: object, told: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 compared in full
        reader(value)
    assert str(caught.value) == told


def test_what_is_dumped_loads_again() -> None:
    value = {"script": "#!/bin/sh\necho a\n", "list": ["1", "b"], "off": "yes"}
    assert load(documents.dump(value)) == value
