"""The names of attempts, which are their locks: frozen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import naming
from dtp_action.core.model import Ref

GOLDEN = Path(__file__).parent / "golden"


def frozen(scheme: int) -> dict[tuple[str, int], str]:
    """Return the names of a scheme: of a job, its attempt."""
    lines = (GOLDEN / f"names-{scheme}.tsv").read_text().splitlines()
    split = (line.split("\t") for line in lines)
    return {(ref, int(attempt)): name for ref, attempt, name in split}


# Found by trying in three seconds: 40 bits are few.
MEET = ("genomes-of-all-species-run-523994", "genomes-of-all-species-run-1915631")

first = st.sampled_from("aZ09")
protocols = st.text("ab0-", min_size=1, max_size=31).filter(
    lambda text: "-" not in text[0] + text[-1]
)
jobs = st.builds(str.__add__, first, st.text("aZ09._-", max_size=99)).filter(
    lambda job: not job.endswith(".sh")
)
refs = st.builds(Ref, protocols, jobs)
attempts = st.integers(1, 9999)


@pytest.mark.parametrize("scheme", sorted(naming.SCHEMES))
def test_names_are_frozen(scheme: int) -> None:
    """Never refreshed: another name for a recorded attempt would run it a second time."""
    names = frozen(scheme)
    assert len(set(names.values())) == len(names) == 200
    for (ref, attempt), name in names.items():
        assert naming.attempt_name(Ref.parse(ref), attempt, scheme) == name


def test_two_jobs_that_met_under_the_first_scheme_are_told_apart() -> None:
    one, other = Ref("aws", MEET[0]), Ref("aws", MEET[1])
    assert naming.attempt_name(one, 1, 1) == naming.attempt_name(other, 1, 1)
    assert naming.attempt_name(one, 1, 2) != naming.attempt_name(other, 1, 2)


@given(refs, attempts)
def test_a_name_is_a_dns_label_of_at_most_52_characters(ref: Ref, attempt: int) -> None:
    name = naming.attempt_name(ref, attempt)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= 52
    assert re.fullmatch(rf"dtp-.*-[a-z2-7]{{16}}-{attempt}", name)


@given(refs)
def test_attempts_of_one_job_differ_only_in_the_number(ref: Ref) -> None:
    assert naming.attempt_name(ref, 1)[:-1] + "23" == naming.attempt_name(ref, 23)


@given(refs, refs)
def test_two_jobs_never_share_a_name(one: Ref, other: Ref) -> None:
    same = naming.attempt_name(one, 1) == naming.attempt_name(other, 1)
    assert same is (one == other)


@pytest.mark.parametrize("pair", [("a_b", "a-b"), ("A", "a"), ("x" * 30, "x" * 31), ("a", "a-")])
def test_jobs_that_slug_alike_are_told_apart(pair: tuple[str, str]) -> None:
    one, other = (naming.attempt_name(Ref("aws", job), 1) for job in pair)
    assert one != other
    assert one.rsplit("-", 2)[0] == other.rsplit("-", 2)[0], "what people read is the same"


def test_the_same_job_under_seven_protocols_is_seven_jobs() -> None:
    protocols = ("aws", "irods", "globus", "gsutil", "sra", "ndn", "xrootd")
    assert len({naming.attempt_name(Ref(p, "test"), 1) for p in protocols}) == 7


def test_a_number_without_a_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="the number is too long"):
        naming.attempt_name(Ref("aws" * 9, "x" * 99), 10**8)


@given(refs)
def test_a_ref_reads_back_from_all_that_people_type(ref: Ref) -> None:
    for text in (str(ref), f"{ref}.sh", ref.path, f"./{ref.path}", ref.directory):
        assert Ref.parse(text) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dtp-aws/a\n",
        f"dtp-aws/{'a' * 101}",
        f"dtp-{'a' * 32}/a",
        "dtp-aws-/a",
        "dtp-aws/a b",
        "dtp-aws/a\x00",
        "aws/a",
        "dtp-/a",
        "dtp-AWS/a",
        "dtp-aws/",
        "/dtp-aws/a",
        "dtp-aws/.a",
        "dtp-aws/-a",
        "dtp-aws/a/b",
        "dtp-aws/../a",
        "dtp-aws/é",
        "dtp-aws/$(x)",
        "dtp-aws/a;b",
        "dtp-aws\\a",
    ],
)
def test_what_is_no_ref_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a job"):
        Ref.parse(text)
