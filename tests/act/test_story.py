"""From a pull request to its result, by the workflows that a requests repository has."""

from __future__ import annotations

from tests.act.hub import Hub
from tests.e2e.site import Site

REF = "dtp-local/genome"
WORKS = '#!/bin/bash\necho "moved by $DTP_REF" | tee -a made\n'
FAILS = "#!/bin/bash\necho no such bucket; exit 7\n"
UNTIL = "#!/bin/bash\nuntil [ -e finish ]; do sleep 0.2; done\n"


def test_a_pull_request_hears_of_its_job_from_the_preview_to_the_result(
    hub: Hub, site: Site
) -> None:
    pull = hub.pull(7, genome=WORKS)

    preview = hub.preview(pull)

    assert preview.code == 0, preview.log
    assert f"`{REF}`" in preview.summary
    assert not hub.github.comments, "a pull request's own run may write nothing"

    assert hub.preview_comment(pull).code == 0
    (told,) = hub.github.on(7)
    assert f"`{REF}`" in told

    commit = hub.merge(pull)
    pushed = hub.push()

    assert pushed.code == 0, pushed.log
    assert pushed.outputs["result"] == "done"
    assert (pushed.outputs["opened"], pushed.outputs["open"]) == ("1", "0")
    assert (site.place(REF) / "made").read_text() == f"moved by {REF}\n"
    status, mention = hub.github.on(7)
    assert status != told, "the preview's comment has become the status"
    assert "1 done" in status
    assert "@ada" in mention
    assert hub.github.said(commit)[-1] == ("dtp / campus", "success")
    assert set(pushed.outputs["comment-urls"].split()) <= {
        f"https://github.com/lab/requests/pull/7#issuecomment-{c.id}" for c in hub.github.comments
    }

    comments, statuses = list(hub.github.on(7)), list(hub.github.said(commit))
    again = hub.push()  # "Re-run jobs"
    later = hub.schedule()

    assert (again.code, again.outputs["opened"]) == (0, "0")
    assert (later.code, later.outputs["opened"]) == (0, "0")
    assert (site.place(REF) / "made").read_text() == f"moved by {REF}\n"
    assert hub.github.on(7) == comments, "nothing is said twice"
    assert hub.github.said(commit) == statuses


def test_a_rejected_script_is_an_annotation_on_its_line_and_a_failed_check(hub: Hub) -> None:
    pull = hub.pull(7, genome="#!/bin/bash\n#DTP memry=1Gi\necho\n")

    preview = hub.preview(pull)

    assert preview.code != 0
    assert preview.outputs["result"] == "bad-outcome"
    ((place, text),) = preview.annotations("error")
    assert place == f"dtp-jobs/{REF}.sh:2"
    assert "memory" in text
    assert hub.preview_comment(pull).code == 0
    assert "memory" in hub.github.on(7)[0]


def test_after_a_dispatch_the_preview_knows_how_jobs_stand(hub: Hub) -> None:
    hub.merge(hub.pull(7, genome=WORKS))
    changed = hub.open_pull(8, {f"dtp-jobs/{REF}.sh": WORKS + "# more\n"})
    before = hub.preview(changed)
    hub.push()

    after = hub.preview(changed)

    assert ("depends" in before.summary, "does not run" in after.summary) == (True, True)


def test_a_long_job_is_told_by_a_later_scheduled_run(hub: Hub, site: Site) -> None:
    patient = hub.branches.root / ".github/workflows/dispatch.yml"
    text = patient.read_text().replace("campus", 'campus\n      wait: "5"')
    hub.lay_workflow("dispatch", text)
    commit = hub.merge(hub.pull(7, genome=UNTIL))

    pushed = hub.push()

    assert (pushed.code, pushed.outputs["open"]) == (0, "1")
    (running,) = hub.github.on(7)
    assert hub.github.said(commit)[-1] == ("dtp / campus", "pending")

    site.until(REF, "RUNNING")
    (site.place(REF) / "finish").touch()
    site.until(REF, "SUCCEEDED")
    scheduled = hub.schedule()

    assert (scheduled.code, scheduled.outputs["ended"]) == (0, "1")
    status, mention = hub.github.on(7)
    assert status != running
    assert "@ada" in mention
    assert hub.github.said(commit)[-1] == ("dtp / campus", "success")


def test_each_command_can_be_given_by_hand(hub: Hub, site: Site) -> None:
    commit = hub.merge(hub.pull(7, genome=FAILS))

    planned = hub.by_hand("plan")
    assert (planned.code, planned.outputs["opened"]) == (0, "1"), "what would be opened"
    assert site.status() == {}

    assert hub.push().code != 0, "an attempt that was open in this run ended badly"
    assert hub.github.said(commit)[-1] == ("dtp / campus", "failure")

    status = hub.by_hand("status")
    assert status.code == 0
    assert "your script failed (exit 7)" in status.log

    public = hub.by_hand("logs", REF)
    assert public.outputs["result"] == "usage"
    assert "no such bucket" not in public.log, "anybody may read it"
    hub.github.visibility = "private"
    assert "no such bucket" in hub.by_hand("logs", REF).log

    retry = hub.by_hand("retry", REF, ident="77")
    assert (retry.code, retry.outputs["opened"]) == (0, "1")
    again = hub.by_hand("retry", REF, ident="77")  # "Re-run jobs"
    assert (again.code, again.outputs["opened"]) == (0, "0")
    assert site.until(REF, "FAILED")["attempt"] == 2

    refused = hub.by_hand("cancel", REF)
    assert (refused.code, refused.outputs["result"]) == (1, "conflict")


def test_a_running_job_is_cancelled_by_hand(hub: Hub, site: Site) -> None:
    hub.merge(hub.pull(7, genome=UNTIL))
    assert hub.by_hand("dispatch").code == 0
    site.until(REF, "RUNNING")

    assert hub.by_hand("cancel", REF).code == 0

    site.until(REF, "CANCELLED", "grace")
    assert hub.schedule().code == 0
    assert "cancelled" in hub.github.on(7)[0]


def test_a_mass_of_new_jobs_waits_for_a_word_by_hand(hub: Hub, site: Site) -> None:
    scripts = {f"job{number}": "#!/bin/sh\n" for number in range(26)}
    hub.merge(hub.pull(7, **scripts))

    held = hub.by_hand("dispatch")
    assert (held.code, held.outputs["opened"], held.outputs["held"]) == (0, "0", "26")

    adopted = hub.by_hand("dispatch", adopt="true")
    assert (adopted.code, adopted.outputs["held"]) == (0, "0")
    assert {row["reason"] for row in site.status().values()} == {"adopted, not run here"}


# --- comments ------------------------------------------------------------------------------------


def test_comments_are_answered_by_permission_and_each_acts_once(hub: Hub, site: Site) -> None:
    hub.github.permissions |= {"grace": "write", "mallory": "read"}
    hub.merge(hub.pull(7, genome=FAILS))
    hub.push()
    before = hub.github.on(7)

    assert hub.comment(7, "/dtp status").code == 0
    *same, answer = hub.github.on(7)
    assert same == before
    assert "exit 7" in answer

    assert hub.comment(7, f"/dtp retry {REF}", author="mallory").code == 0
    assert "`write`" in hub.github.on(7)[-1]
    assert site.job(REF)["attempt"] == 1

    asked = hub.github.comment(7, f"/dtp retry {REF}")
    assert hub.answer(asked).code == 0
    assert site.until(REF, "FAILED")["attempt"] == 2
    said = hub.github.on(7)
    assert hub.answer(asked).code == 0, "delivered again"
    assert site.job(REF)["attempt"] == 2
    assert hub.github.on(7) == said
    assert [content for _, content in hub.github.reactions] == ["eyes"] * 3
