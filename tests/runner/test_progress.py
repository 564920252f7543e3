"""What a script says of its progress is told soon, seldom, and as data."""

from __future__ import annotations

import json
import time

import pytest

from dtp_action.core import logs
from tests.runner.conftest import Attempt, Ended, until

SAYS = 'printf "%s" "{}" >"$DTP_PROGRESS_FILE"; sleep 2.5'


def said(ended: Ended) -> list[str]:
    """Return what the heartbeats told, in order."""
    lines = [line for line in ended.stdout.split(b"\n") if line.startswith(b"dtp-heartbeat: ")]
    beats = [json.loads(line.removeprefix(b"dtp-heartbeat: ")) for line in lines]
    return [beat["progress"] for beat in beats if "progress" in beat]


def test_it_is_told_with_the_heartbeat(attempt: Attempt) -> None:
    ended = attempt.script(f"#!/bin/sh\n{SAYS.format('12/40')}").run()
    assert set(said(ended)) == {"12/40"}
    heard = logs.progress(ended.stdout.decode())
    assert heard
    assert heard.said == "12/40"
    assert b"12/40" not in ended.log


def test_without_a_word_nothing_is_told(attempt: Attempt) -> None:
    ended = attempt.script("#!/bin/sh\n: >$DTP_PROGRESS_FILE; sleep 1.5").run()
    assert said(ended) == []


def test_of_anything_else_a_short_line_is_told(attempt: Attempt) -> None:
    attempt.script(
        "#!/bin/sh\n{ printf '\\033[1m\"a\\\\\\0\\tb'; head -c 100000 /dev/zero | tr '\\0' x; } "
        '>"$DTP_PROGRESS_FILE"; echo "second line" >>"$DTP_PROGRESS_FILE"; sleep 2.5'
    )
    told = set(said(attempt.run()))
    assert told == {'[1m"a\\b' + 73 * "x"}
    assert all(len(word) == 80 for word in told)


@pytest.mark.parametrize("what", ["mkfifo", "ln -s /etc/hostname", "ln -s /nowhere/x", "mkdir"])
def test_nothing_in_its_place_holds_the_heart(attempt: Attempt, what: str) -> None:
    ended = attempt.script(f'#!/bin/sh\n{what} "$DTP_PROGRESS_FILE"; sleep 2.5').run()
    assert ended.code == 0
    assert ended.stdout.count(b"dtp-heartbeat: ") >= 4
    assert said(ended) == []


def test_a_change_is_told_between_two_beats_but_not_each(attempt: Attempt) -> None:
    attempt.script(
        '#!/bin/bash\necho connected >"$DTP_PROGRESS_FILE"\nuntil [ -e seen ]; do sleep 0.1; done\n'
        'for n in $(seq 60); do echo "$n/60" >"$DTP_PROGRESS_FILE"; sleep 0.1; done'
    )
    process = attempt.begin(DTP_HEARTBEAT="60")
    began = time.monotonic()
    out = attempt.root / "pod-1.out"
    until(lambda: b'"progress":"connected"' in out.read_bytes())
    assert time.monotonic() - began < 50  # and not with the next beat
    (attempt.directory / "seen").touch()
    told = said(attempt.end(process))
    assert told[0] == "connected"
    assert told[-1] == "60/60"
    assert len(told) <= 3
