"""What a cluster says is shortened so that the cause stays: messages as they were observed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dtp_action.core import brief

NIL = "sha256:" + "0" * 64
IMAGE = f"quay.io/lab/tools/irods-icommands@{NIL}"
NESTED = (
    f'Back-off pulling image "{IMAGE}": ErrImagePull: rpc error: code = NotFound desc = failed to'
    f' pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": {IMAGE}: not found'
)
MOUNT = (
    'MountVolume.SetUp failed for volume "claim" : mount failed: exit status 32 Mounting command:'
    " mount Mounting arguments: -t nfs -o hard,nfsvers=4.1 nfs.example.org:/export/of/the/lab"
    " /var/lib/kubelet/pods/1234-1234/volumes/kubernetes.io~nfs/lab Output: mount.nfs: mounting"
    " nfs.example.org:/export/of/the/lab failed, reason given by server: No such file or directory"
)
QUOTA = (
    'Error creating: pods "dtp-aws-genome-rzkwkalbja7momqi-1-x" is forbidden: exceeded quota: lab,'
    " requested: requests.memory=8Gi, used: requests.memory=60Gi, limited: requests.memory=64Gi"
)


def shortened(text: str, most: int = 300) -> str:
    return brief.within(brief.once(text), most)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (NESTED, "not found"),
        (MOUNT, "reason given by server: No such file or directory"),
        (QUOTA, "limited: requests.memory=64Gi"),
    ],
)
@pytest.mark.parametrize("most", [300, 140])
def test_the_cause_is_kept_with_how_it_begins(text: str, cause: str, most: int) -> None:
    told = shortened(text, most)
    assert len(told) <= most
    assert told.endswith(cause)
    assert told.startswith(text[:15])


def observed() -> list[str]:
    """Return each message of a container that waited or could not start."""
    found: list[str] = []

    def look(value: object) -> None:
        if isinstance(value, dict):
            found.extend(one for key, one in value.items() if key == "message" and one)
            for one in value.values():
                look(one)
        elif isinstance(value, list):
            for one in value:
                look(one)

    look(yaml.safe_load((Path(__file__).parent / "observed.yaml").read_text()))
    return [message for message in dict.fromkeys(found) if len(message) > 100]


@pytest.mark.parametrize("message", observed())
def test_of_what_clusters_really_said_the_last_words_are_kept(message: str) -> None:
    told = shortened(message)
    assert told.split()[-3:] == message.split()[-3:]
    assert "0" * 20 not in told
    assert "1" * 20 not in told


def test_what_was_said_is_not_said_again() -> None:
    assert brief.once(NESTED) == (
        'Back-off pulling image "quay.io/lab/tools/irods-icommands@sha256:000000000000":'
        " ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image: failed"
        " to resolve reference: not found"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "done",
        "your script failed (exit 3)",
        "removed from the branch, yet goes on; to end it: dtp cancel dtp-aws/sequence-index",
        "the same word, the same word",
    ],
)
def test_short_sentences_stay_as_they_are(text: str) -> None:
    assert shortened(text) == text


@given(text=st.text("ab :…\"'/.", max_size=400), most=st.integers(20, 120))
def test_it_is_never_longer_than_there_is_room(text: str, most: int) -> None:
    line = " ".join(text.split())
    assert len(brief.within(line, most)) <= most
    assert len(brief.once(line)) <= len(line)
    assert brief.within(line, len(line)) == line
