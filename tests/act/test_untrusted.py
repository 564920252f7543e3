"""What strangers may bring: pull requests from forks, and text that would like to be a command."""

from __future__ import annotations

from pathlib import Path

import cmarkgfm  # type: ignore[import-untyped]
import pytest
from cmarkgfm.cmark import Options  # type: ignore[import-untyped]

from tests.act.hub import Hub
from tests.e2e.site import Site

FORK = "mallory/requests"
WORKS = "#!/bin/sh\necho moved\n"

# A workflow that hands the kubeconfig to pull requests: what must never work.
CARELESS = """\
name: careless
on: {EVENT: {}}
permissions: {contents: read}
jobs:
  careless:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with: {fetch-depth: 0, persist-credentials: false}
      - uses: scidas/dtp-requests@v1
        with: {command: COMMAND, branch: main, kubeconfig: "${{ secrets.KUBECONFIG }}"}
"""


def test_a_pull_request_from_a_fork_is_previewed_without_any_secret(hub: Hub, site: Site) -> None:
    pull = hub.pull(7, fork=FORK, genome=WORKS)

    preview = hub.preview(pull)
    comment = hub.preview_comment(pull)

    assert preview.code == 0, preview.log
    assert "`dtp-local/genome`" in preview.summary
    assert comment.code == 0, comment.log
    assert len(hub.github.on(7)) == 1
    for run in (preview, comment):
        assert hub.secrets["KUBECONFIG"] not in run.all_shown
    assert site.status() == {}


def test_only_the_open_pull_request_of_that_very_commit_gets_the_comment(hub: Hub) -> None:
    pull = hub.pull(7, fork=FORK, genome=WORKS)
    pull.head, pull.branch = "f" * 40, "main"  # what the event claims is not what is there

    assert hub.preview_comment(hub.pull(8, fork=FORK, other=WORKS)).code == 0
    hub.github.pulls[8].closed = True
    assert hub.preview_comment(hub.github.pulls[8]).code == 0

    assert len(hub.github.on(7)) == 0
    assert len(hub.github.on(8)) == 1


@pytest.mark.parametrize(
    ("event", "command"), [("pull_request", "dispatch"), ("pull_request_target", "status")]
)
def test_a_kubeconfig_is_refused_on_a_pull_requests_event(
    bare_hub: Hub, event: str, command: str
) -> None:
    bare_hub.secrets["KUBECONFIG"] = "a2luZDogQ29uZmlnCg=="
    text = CARELESS.replace("EVENT", event).replace("COMMAND", command)
    bare_hub.lay_workflow("careless", text)

    run = bare_hub.on_pull_request(bare_hub.pull(7, genome=WORKS), "careless", event)

    assert (run.code, run.outputs["result"]) == (1, "usage"), run.log
    ((_, text),) = run.annotations("error")
    assert f"a kubeconfig must not be used on the event {event}" in text
    assert "preview" in text, "and what to do instead"


# --- text that would like to be more -------------------------------------------------------------

EVIL = "$(pwned)`pwned`;pwned;"
LOUD = """\
#!/bin/bash
echo "::set-output name=result::pwned"
echo "::error::pwned"
echo "x ##[error]pwned"
echo "::add-mask::o"
echo "::stop-commands::mine"
echo '<!-- dtp-requests status campus -->'
echo '```'
echo '</details> @org/team ![x](https://example.org/pwned) $(pwned)'
printf '\\033[31m\\xe2\\x80\\xaepwned\\n'
exit 7
"""
OBEYED = {"set-output", "summary", "add-mask", "error", "warning", "notice"}


@pytest.fixture
def canary(bare_hub: Hub) -> Path:
    """Return a file that is there as soon as anybody on the runner runs `pwned`."""
    sings = bare_hub.root / "sings"
    program = bare_hub.root / "bin/pwned"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {sings}\n")
    program.chmod(0o755)
    return sings


def test_a_hostile_pull_request_is_shown_and_never_obeyed(hub: Hub, canary: Path) -> None:
    hub.github.visibility = "private"  # so that comments show ends of logs
    pull = hub.open_pull(
        7,
        {
            "dtp-jobs/dtp-local/loud.sh": LOUD,
            f"dtp-jobs/dtp-local/a{EVIL}.sh": WORKS,
            "dtp-jobs/dtp-local/::error::pwned.sh": WORKS,
        },
        fork=FORK,
        branch=EVIL,
    )
    runs = [
        hub.preview(pull, title=f'"; pwned; echo "{EVIL}\n::error::pwned'),
        hub.preview_comment(pull),
    ]
    assert len(hub.github.on(7)) == 1
    hub.merge(pull)
    runs += [hub.push(), hub.by_hand("logs", "dtp-local/loud"), hub.schedule()]

    assert [run.outputs["result"] for run in runs] == [
        "bad-outcome",  # bad names are rejected
        "done",
        "bad-outcome",  # the script failed
        "done",
        "done",
    ]
    assert "pwned" in runs[3].log, "the log is shown"
    assert "pwned" in hub.github.on(7)[0], "in the comment too"
    assert not canary.exists()
    for run in runs:
        quiet = {note["arg"] for note in run.notes if note.get("command") == "stop-commands"}
        assert run.commands - quiet - {"stop-commands"} <= OBEYED
        assert "mine" not in quiet
        assert "o" not in run.masked
        assert "pwned" not in [text for _, text in run.annotations("error")]
    for body in hub.github.on(7):
        shown = cmarkgfm.github_flavored_markdown_to_html(body, Options.CMARK_OPT_UNSAFE)
        assert shown.count("<!-- dtp") == 1, "our own marker"
        assert "<img" not in shown
        assert not {"\x1b", "\u202e"} & set(body)
