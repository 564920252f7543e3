"""What a comment asks for, and who may ask."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import commands
from dtp_action.core.commands import Command, Verb
from dtp_action.core.model import Ref
from dtp_action.core.pulls import Asked, Permission

GENOME = Ref("aws", "genome")


def asked(**facts: Any) -> Asked:
    defaults: dict[str, Any] = {
        "id": 1,
        "author": "ada",
        "human": True,
        "edited": False,
        "body": "",
        "number": 7,
        "base": "main",
        "pull_author": "ada",
        "merged": True,
    }
    return Asked(**defaults | facts)


@pytest.mark.parametrize(
    ("body", "command"),
    [
        ("/dtp status", Command(verb=Verb.STATUS)),
        ("/dtp", Command(verb=Verb.HELP)),
        ("/dtp status dtp-aws/genome", Command(verb=Verb.STATUS, ref=GENOME)),
        ("/dtp retry dtp-aws/genome", Command(verb=Verb.RETRY, ref=GENOME)),
        ("/dtp  cancel  `dtp-aws/genome` ", Command(verb=Verb.CANCEL, ref=GENOME)),
        ("/dtp retry dtp-jobs/dtp-aws/genome.sh", Command(verb=Verb.RETRY, ref=GENOME)),
        ("/dtp logs dtp-aws/genome 20", Command(verb=Verb.LOGS, ref=GENOME, lines=20)),
        ("/dtp logs dtp-aws/genome 99999", Command(verb=Verb.LOGS, ref=GENOME, lines=200)),
        ("/dtp help\r\nplease", Command(verb=Verb.HELP)),
    ],
)
def test_a_command_is_read_from_the_first_line(body: str, command: Command) -> None:
    assert commands.parse(body) == command


@pytest.mark.parametrize("body", ["", "\n/dtp help", "> /dtp help", "please /dtp help", "/dtphelp"])
def test_what_does_not_begin_with_it_asks_nothing(body: str) -> None:
    assert commands.parse(body) is None


@pytest.mark.parametrize(
    "body",
    [
        "/dtp retry",
        "/dtp retry genome",
        "/dtp retry dtp-aws/../genome",
        "/dtp retry dtp-aws/genome now",
        "/dtp logs dtp-aws/genome -5",
        "/dtp logs dtp-aws/genome ٣",
        "/dtp help me",
        "/dtp retri dtp-aws/genome",
        "/dtp <img>",
    ],
)
def test_what_cannot_be_understood_says_how_it_is_written(body: str) -> None:
    answer = commands.parse(body)
    assert isinstance(answer, str)
    assert "<img>" not in answer
    assert "is how it is written" in answer or "is no command" in answer


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading_or_comes_back_unescaped(text: str) -> None:
    answer = commands.parse(f"/dtp {text}")
    if isinstance(answer, str):
        assert not set("<>@[]|\n") & set(
            answer.replace("dtp-<protocol>/<job>", "").replace("[n]", "")
        )


WRITERS, READERS = (Permission.WRITE, Permission.ADMIN), (Permission.READ, Permission.NONE)


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("permission", WRITERS)
def test_who_can_write_may_do_all(verb: Verb, permission: Permission) -> None:
    command = Command(verb=verb, ref=GENOME)
    stranger = asked(author="grace", merged=False)
    assert commands.refusal(command, stranger, permission) == ""
    assert commands.foreign(command, permission, ()) == ""


@pytest.mark.parametrize("permission", READERS)
def test_an_author_may_do_all_with_the_jobs_of_their_merged_pull_request(
    permission: Permission,
) -> None:
    for verb in Verb:
        command = Command(verb=verb, ref=GENOME)
        assert commands.refusal(command, asked(), permission) == ""
        assert commands.foreign(command, permission, {GENOME}) == ""


@pytest.mark.parametrize(
    "facts", [{"author": "mallory"}, {"merged": False}, {"author": None, "pull_author": None}]
)
def test_all_others_are_told_what_it_takes_and_what_they_have(facts: dict[str, Any]) -> None:
    for verb in set(Verb) - {Verb.HELP}:
        command = Command(verb=verb, ref=GENOME)
        why = commands.refusal(command, asked(**facts), Permission.READ)
        assert "`write`" in why
        assert "`read`" in why


def test_a_job_of_another_pull_request_is_not_theirs() -> None:
    command = Command(verb=Verb.RETRY, ref=GENOME)
    assert "`write`" in commands.foreign(command, Permission.READ, {Ref("aws", "other")})


def test_help_lists_every_command() -> None:
    assert all(f"`{form}`" in commands.help_text() for form, _ in commands.FORMS.values())
