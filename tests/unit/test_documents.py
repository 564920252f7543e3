from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import catalog, cluster_settings, documents
from dtp_action.errors import UsageError


def message(text: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        documents.load(text, "catalog.yaml")
    return caught.value.message


def test_off_yes_no_and_dates_are_text_and_not_what_yaml_makes_of_them() -> None:
    loaded = documents.load("off: yes\nday: 2030-01-02\nratio: 1:30\noctal: 010\n", "x")
    assert loaded == {"off": "yes", "day": "2030-01-02", "ratio": "1:30", "octal": "010"}


def test_true_null_and_whole_numbers_are_values() -> None:
    assert documents.load("[true, false, null, ~, 12, -3]", "x") == [
        True,
        False,
        None,
        None,
        12,
        -3,
    ]


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
        "!!python/object/apply:os.system [x]",
        b"\xff\xfe\xff",
        "a\x00",
        "[" * 1500,
    ],
)
def test_what_is_no_yaml_is_a_usage_error_that_names_the_document(text: str | bytes) -> None:
    assert message(text).startswith("catalog.yaml: ")


def test_a_huge_document_is_refused_unread() -> None:
    assert message(" " * 600_000) == "catalog.yaml: the document: is longer than 512 KiB"


@given(st.one_of(st.text(), st.binary()))
def test_any_text_loads_or_is_a_usage_error(text: str | bytes) -> None:
    with contextlib.suppress(UsageError):
        documents.load(text, "x")


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


PLACE = documents.Place("doc", "here")


@pytest.mark.parametrize(
    ("reader", "value", "told"),
    [
        (documents.whole(1, 9), 10, "found `10`; allowed is a whole number from 1 to 9"),
        (documents.whole(1, 9), True, "found `true`; allowed is a whole number from 1 to 9"),
        (documents.whole(1, 9), "5", "found `5`; allowed is a whole number from 1 to 9"),
        (documents.choice(True, False), 1, "found `1`; allowed is `true` or `false`"),
        (documents.choice("all", "own"), None, "found nothing; allowed is `all` or `own`"),
        (documents.several(documents.whole(0, 1)), {}, "found a mapping; allowed is a list"),
        (documents.text("a+", "letters a"), "ab", "found `ab`; allowed is letters a"),
        (documents.record({}), [], "found a list; allowed is a mapping (key: value)"),
    ],
)
def test_a_reader_says_where_what_was_found_and_what_is_allowed(
    reader: documents.Reader, value: object, told: str
) -> None:
    with pytest.raises(UsageError) as caught:
        reader(PLACE, value)
    assert caught.value.message == f"doc: here: {told}"


def test_a_member_is_named_by_its_path() -> None:
    read = documents.mapping(documents.text("[a-z]+", ""), documents.several(documents.whole(0, 1)))
    with pytest.raises(UsageError, match=r"^doc: here\.groups\.1: found `7`"):
        read(PLACE, {"groups": [1, 7]})


def test_what_is_dumped_loads_again() -> None:
    value = {"script": "#!/bin/sh\necho a\n", "list": [1, "2", None], "off": "yes"}
    assert documents.load(documents.dump(value), "x") == value
