"""What people read on GitHub in a dozen situations, made by the program from what it would see."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from dtp_action.core import catalog as catalogs
from dtp_action.core import (
    commands,
    comment,
    ledger,
    phases,
    planner,
    preview,
    pulls,
    report,
    scripts,
)
from dtp_action.core.cluster_settings import Caps
from dtp_action.core.model import Arrived, Entry, Note, Observed, Phase, PodView, Progress
from dtp_action.core.scripts import File
from dtp_action.core.status_document import StatusDocument
from tests import builders as b
from tests.unit.test_markdown import HOSTILE

REPOSITORY = "https://github.com/lab/requests"
RUN = f"{REPOSITORY}/actions/runs/1234567890"
COMMENT = f"{REPOSITORY}/pull/7#issuecomment-1"
HOUR = 3600
AWS_LOG = """\
download: s3://1000genomes/sequence.index to ./sequence.index
download: s3://1000genomes/README.analysis_history to ./README.analysis_history
fatal error: An error occurred (404) when calling the HeadObject operation: Key \
"sequnce.index" does not exist

== dtp: dtp-aws/genome-index attempt 1 start 1, 2030-01-02T12:02:14Z, exit 1
"""
RCLONE_LOG = """\
Transferred:       12.300 MiB / 12.300 MiB, 100%, 256.212 KiB/s, ETA 0s
Transferred:           41 / 41, 100%
Elapsed time:        48.1s

== dtp: dtp-rclone/photos attempt 1 start 1, 2030-01-02T12:01:48Z, exit 0
"""


def an_attempt(ref: str, attempt: int = 1, **changes: Any) -> Entry:
    """Return an attempt that a merge brought."""
    origin = b.an_origin("8f3c2a1b9d4e5f60718293a4b5c6d7e8f9012345", merged_by="grace-hopper")
    return b.an_entry(ref, attempt, content=ref.encode(), **{"origin": origin} | changes)


def seen(now: float, *parts: tuple[Entry, PodView | None], **changes: Any) -> Observed:
    """Return a look at attempts, each with the Pod of its Job or without any."""
    running = [(entry, pod) for entry, pod in parts if pod]
    return b.observed(
        entries=[entry for entry, _ in parts],
        jobs=[
            b.a_job(entry, end=b.an_end() if pod.job and pod.job.exit_code == 0 else None)
            if not (pod.job and pod.job.exit_code)
            else b.a_job(entry, end=b.an_end("PodFailurePolicy", when=120))
            for entry, pod in running
        ],
        pods=[pod for _, pod in running],
        now=now,
        **changes,
    )


def succeeded(ref: str, seconds: int, received: int, sent: int = 0, **changes: Any) -> Entry:
    outcome = b.an_outcome(
        started=b.at(60), finished=b.at(60 + seconds), received=received, sent=sent, **changes
    )
    return an_attempt(ref, outcome=outcome)


def failed(ref: str, reason: str, seconds: int, attempt: int = 1, **changes: Any) -> Entry:
    outcome = b.an_outcome(
        Phase.FAILED, reason=reason, started=b.at(60), finished=b.at(60 + seconds), **changes
    )
    return an_attempt(ref, attempt, outcome=outcome)


def ran_out(ref: str) -> tuple[Entry, PodView]:
    entry = an_attempt(ref)
    job = b.ended(137, until=60 + 2 * HOUR, reason="OOMKilled")
    return entry, b.a_pod(entry, job=job, phase="Failed")


def waits(ref: str) -> tuple[Entry, PodView]:
    entry = an_attempt(ref)
    why = "0/6 nodes are available: 6 Insufficient memory. preemption: 0/6 nodes are available"
    return entry, b.a_pod(entry, unscheduled=why)


def runs(ref: str, attempt: int = 1) -> tuple[Entry, PodView]:
    entry = an_attempt(ref, attempt)
    return entry, b.a_pod(entry, phase="Running", job=b.running())


def could_not(ref: str) -> Entry:
    reason = (
        "its image cannot be pulled: Back-off pulling image"
        ' "registry.example.org/transfer/irods-client@sha256:' + "ab" * 32 + '"'
    )
    return an_attempt(ref, outcome=b.an_outcome(Phase.ERRORED, reason=reason, before_start=True))


def drained(ref: str) -> Entry:
    reason = "its node was drained or lost: Preempted by a job of a higher priority"
    outcome = b.an_outcome(Phase.ERRORED, reason=reason, started=b.at(60), finished=b.at(4 * HOUR))
    return an_attempt(ref, outcome=outcome)


def cancelled(ref: str) -> Entry:
    outcome = replace(phases.ended_by(b.an_intent(by="ada-lovelace")), finished=b.at(300))
    return an_attempt(ref, outcome=outcome)


def all_phases() -> Observed:
    """Return one attempt in each phase, and two for those that have several causes."""
    settled = (
        succeeded("dtp-aws/sequence-index", 3 * HOUR + 1200, 1_523_000_000_000, 2_100_000),
        succeeded("dtp-rclone/photos", 48, 12_300_000, warnings=(
            "a process of it was killed: out of memory; raise memory=",)),
        failed("dtp-aws/genome-index", "your script failed (exit 1)", 74, exit_code=1),
        could_not("dtp-irods/climate-1990"),
        drained("dtp-sra-tools/SRR000111"),
        cancelled("dtp-local/copy-results"),
        an_attempt("dtp-globus/telescope", outcome=replace(phases.lost(), finished=b.at(9000))),
    )  # fmt: skip
    running = runs("dtp-minio/backup", 2)
    return seen(
        4 * HOUR,
        *((entry, None) for entry in settled),
        ran_out("dtp-gcp/large-archive"),
        running,
        waits("dtp-aspera/proteins"),
        progress={
            running[0].name: Progress(at=b.at(4 * HOUR), received=2_000_000, sent=812_000_000_000)
        },
    )


def notes() -> tuple[Note, ...]:
    """Return a held job and a rejected script, in the planner's and the checks' own words."""
    changed = planner.HOW_TO_RETRY.format(ref="dtp-http/catalogue", next=2)
    reason = f"changed, not run: attempt 1 is done; {changed}"
    script = b"#!/bin/bash\n#DTP tme=2h memory=4Gi\ncurl -O https://data.example.org/x\n"
    (finding,) = found("dtp-http/survey", script)
    return (
        Note(
            ref="dtp-http/catalogue",
            state="held",
            reason=reason,
            path="dtp-jobs/dtp-http/catalogue.sh",
        ),
        Note(
            ref="dtp-http/survey",
            state="rejected",
            reason=finding.message,
            path=finding.path,
            line=finding.line,
            fix=finding.fix,
        ),
    )


def found(ref: str, script: bytes) -> tuple[Any, ...]:
    files = [File(path=f"dtp-jobs/{ref}.sh", mode=0o100644, blob="", content=script)]
    rows = catalogs.parse(
        "version: 1\nprotocols:\n  http:\n    image: registry.example.org/transfer/http:1",
        "catalog.yaml",
        base=catalogs.builtin(),
    )
    return scripts.findings(scripts.discover(files, commit="", catalog=rows, settings=None))


def told(observed: Observed, notes: Iterable[Note] = (), tails: Any = None, **how: Any) -> str:
    """Return the comment about a look; `tails` are by job."""
    rows = report.jobs(observed)
    by_name = {row["name"]: (tails or {}).get(row["ref"], "") for row in rows}
    now_open = any(not Phase(row["phase"]).ended for row in rows)
    last = max((row["finished"] or "" for row in rows), default="")
    defaults: dict[str, Any] = {
        "cluster": "nautilus",
        "as_of": ledger.stamp(observed.now) if now_open else last,
        "next_look": "within about 15 minutes" if now_open else "",
        "logs": True,
        "repository_url": REPOSITORY,
        "run_url": RUN if now_open else "",
    }
    return comment.status(rows, notes, by_name, **defaults | how)


ARRIVED = Arrived(
    files=(("sequence.index", 1_522_900_000), ("README.md", 3_412), ("chr/é 1.fa", 96_588)),
    more=509,
)


def one_done() -> str:
    entry = succeeded("dtp-aws/sequence-index", 512, 1_523_000_000)
    return told(seen(700, (entry, None)), arrived={entry.name: ARRIVED})


def one_runs() -> str:
    running = runs("dtp-aws/sequence-index")
    heard = {running[0].name: Progress(at=b.at(900), received=91_000_000_000, sent=1_000_000)}
    return told(seen(1000, running, progress=heard))


def one_failed() -> str:
    entry = failed("dtp-aws/genome-index", "your script failed (exit 1)", 74, exit_code=1)
    return told(seen(300, (entry, None)), tails={"dtp-aws/genome-index": AWS_LOG})


def one_doubted() -> str:
    doubts = (
        "line 4: `prefetch SRR000001` ended with exit code 3, and the script went on (and 1 more):"
        " begin the script with `set -euo pipefail`",
        "nothing was transferred: there is no new file, and less than 1 KiB was received or sent;"
        " look at its log",
    )
    entry = succeeded("dtp-sra-tools/SRR000001", 2, 0, 0, new_files=0, new_bytes=0, doubts=doubts)
    other = succeeded("dtp-aws/sequence-index", 512, 1_523_000_000, 0)
    log = "prefetch: no such run\nfasterq-dump: no such file\nDone\n"
    return told(seen(700, (entry, None), (other, None)), tails={"dtp-sra-tools/SRR000001": log})


def ten() -> str:
    tails = {"dtp-aws/genome-index": AWS_LOG, "dtp-rclone/photos": RCLONE_LOG}
    return told(all_phases(), notes(), tails)


def four() -> str:
    """Return what the README shows."""
    running = runs("dtp-http/survey")
    heard = {
        running[0].name: Progress(
            at=b.at(900), received=91_000_000_000, sent=1_000_000, said="17/40"
        )
    }
    meaning = catalogs.builtin().meanings(b.a_ref("dtp-aws/genome-index")).tools["aws"][1]
    reason = f"your script failed (exit 1): {meaning} (line 4: `aws s3 sync`)"
    observed = seen(
        1000,
        (
            succeeded(
                "dtp-aws/sequence-index", 512, 1_523_000_000, new_files=214, new_bytes=1_522_400_000
            ),
            None,
        ),
        (succeeded("dtp-rclone/photos", 48, 12_300_000, new_files=3, new_bytes=12_200_000), None),
        running,
        (failed("dtp-aws/genome-index", reason, 74, exit_code=1), None),
        progress=heard,
    )
    return told(observed, tails={"dtp-aws/genome-index": AWS_LOG, "dtp-rclone/photos": RCLONE_LOG})


def what_arrived() -> str:
    """Return what is told of new files, of a list of them, and of scripts that say how it goes."""
    listed = succeeded(
        "dtp-ssh/run-7", 512, 1_523_000_000, new_files=214, new_bytes=1_522_400_000,
        manifest="7b" * 32,
    )  # fmt: skip
    many = succeeded(
        "dtp-http/survey", 7200, 91_000_000_000, new_files=100_000, new_bytes=88_000_000_000,
        at_least=True,
    )  # fmt: skip
    nothing = succeeded("dtp-rclone/photos", 48, 12_300, new_files=0, new_bytes=0)
    counted, serving = runs("dtp-globus/telescope"), runs("dtp-globus/endpoint")
    says = {counted: "17/40 files, PERMISSION_DENIED", serving: "connected"}
    heard = {
        one[0].name: Progress(at=b.at(900), received=91_000_000_000, sent=0, said=said)
        for one, said in says.items()
    }
    settled = ((entry, None) for entry in (listed, many, nothing))
    return told(seen(1000, *settled, counted, serving, progress=heard))


def sixty() -> str:
    entries = [succeeded(f"dtp-sra-tools/SRR{n:06}", n * 37 + 20, n * 10**9) for n in range(1, 56)]
    entries += [
        failed(f"dtp-sra-tools/SRR{n:06}", "your script failed (exit 3)", 9, exit_code=3)
        for n in range(56, 61)
    ]
    tails = {str(entry.ref): "prefetch.3.0.3 err: path not found\n" for entry in entries[-5:]}
    return told(seen(HOUR, *((entry, None) for entry in entries)), tails=tails)


def long_names() -> str:
    long = "dtp-sra-tools/whole_genome_shotgun_sequencing_of_populus_trichocarpa_run_ERR000111"
    dull = "dtp-aws/" + "x" * 100
    return told(
        seen(
            1000,
            (failed(long, "your script failed (exit 1)", 5000, exit_code=1), None),
            (could_not(dull), None),
            (succeeded("dtp-rclone/Lab.Share-2029_final.v2-really_final.copy-of", 9, 10**9), None),
        ),
        tails={long: ("y" * 400 + " " + AWS_LOG)},
    )


def hostile() -> str:
    """Return what is told of a script that tries everything in its log, reason and warnings."""
    tries = [text for text in HOSTILE if len(text) < 100]
    reason = f"{tries[3]} {tries[4]} {tries[6]}"
    entry = failed("dtp-aws/hostile", reason, 1, exit_code=1, warnings=tuple(tries[7:11]))
    note = Note(ref=tries[5], state="rejected", reason=tries[9], path=tries[6], fix=tries[0])
    return told(
        seen(1000, (entry, None)), [note], {str(entry.ref): "\n".join(tries)}, cluster=tries[6]
    )


def without_logs() -> str:
    entry = failed("dtp-aws/genome-index", "your script failed (exit 1)", 74, exit_code=1)
    return told(seen(300, (entry, None), ran_out("dtp-gcp/large-archive")), logs=False)


def nothing_runs() -> str:
    return told(b.observed(now=5), notes())


def mentioned() -> str:
    ends = ("dtp-aws/sequence-index", "dtp-rclone/photos", "dtp-aws/genome-index")
    rows = [row for row in report.jobs(all_phases()) if row["ref"] in ends]
    return comment.mention(rows, author="ada-lovelace", cluster="nautilus", comment_url=COMMENT)


def answers() -> str:
    """Return what comments are answered, one below the other."""
    rows = {row["ref"]: row for row in report.jobs(all_phases())}
    parts = [
        comment.log_reply(rows["dtp-aws/genome-index"], AWS_LOG),
        comment.log_reply(rows["dtp-aws/genome-index"], None),
        comment.files_reply(rows["dtp-aws/sequence-index"], ARRIVED, shown=True),
        comment.files_reply(rows["dtp-aws/genome-index"], None, shown=True),
        comment.done_reply(rows["dtp-minio/backup"]),
        commands.help_text(),
    ]
    return "\n\n---\n\n".join(parts)


def summed_up() -> str:
    observed = all_phases()
    actions = [
        {"ref": row["ref"], "attempt": row["attempt"], "action": action, "reason": reason}
        for row, (action, reason) in zip(
            report.jobs(observed),
            [("open", "new on the branch"), ("settle", "your script failed (exit 1)"),
             ("hold", notes()[0].reason), ("confirm", "its Job is there")],
            strict=False,
        )
    ]  # fmt: skip
    rejected = report.rejected(found("dtp-http/survey", b"#!/bin/bash\n#DTP tme=2h\ntrue\n"))
    warning = "no comment on #7: the token may not write. Give the job `pull-requests: write`"
    return comment.summary(
        actions, rejected, report.jobs(observed), cluster="nautilus", warnings=[warning]
    )


# --- before the merge ----------------------------------------------------------------------------


def a_merge() -> tuple[preview.Merge, str]:
    """Return a change of six scripts."""
    same = b"#!/bin/bash\naws s3 cp s3://1000genomes/sequence.index .\n"
    before = {"dtp-aws/kidney": same, "dtp-rclone/photos": b"#!/bin/sh\n1\n",
              "dtp-local/copy-results": b"#!/bin/sh\n2\n", "dtp-minio/backup": b"#!/bin/sh\n3\n",
              "dtp-aws/genome-index": b"#!/bin/sh\n4\n"}  # fmt: skip
    after = before | {
        "dtp-aws/kidney2": same,
        "dtp-rclone/photos": b"#!/bin/sh\n#DTP time=2h\n1\n",
        "dtp-aws/genome-index": b"#!/bin/sh\n5\n",
        "dtp-gcp/archive": b"#!/bin/bash\n#DTP memory=4Gi retries=3 resume=yes secret=genomics\n",
        "dtp-aws/tissue": b"#!/bin/bash\n#DTP tme=2h\naws s3 cp s3://x/y /root/y\n",
        "dtp-sra-tools/big": b"#!/bin/bash\n#DTP memory=256Gi\nprefetch SRR000111\n",
    }
    del after["dtp-minio/backup"], after["dtp-local/copy-results"]
    merge = preview.Merge(
        commit=b.COMMIT, base="5eed" + "0" * 36, before=_files(before), after=_files(after)
    )
    return merge, "ada"


def _files(branch: dict[str, bytes]) -> tuple[File, ...]:
    return tuple(
        File(path=f"dtp-jobs/{ref}.sh", mode=0o100644, blob=b.a_blob(content), content=content)
        for ref, content in branch.items()
    )


def foreseen(*, exact: bool) -> str:
    merge, author = a_merge()
    settings = b.settings(caps=Caps(memory=64 * 2**30), grants={"genomics": ("ada",)})
    document = StatusDocument(
        observed=all_phases(), settings=settings, as_of="2030-01-02T15:52:00Z", branch="main"
    )
    _, rows, _ = preview.rows_of(merge)
    desired = scripts.discover(
        merge.after, commit=merge.commit, catalog=rows, settings=settings if exact else None
    )
    made = preview.foresee(
        merge, desired, catalog=rows, document=document if exact else None, author=author
    )
    return comment.preview(replace(made, into="main"), cluster="nautilus", run_url=RUN)


def foreseen_catalog() -> str:
    """Return a preview of a change of the catalog, where dispatch is disabled."""
    ran = {f"dtp-aws/sample-{n}": b"#!/bin/sh\n%d\n" % n for n in range(12)}
    branch = _files(ran | {"dtp-http/catalogue": b"#!/bin/sh\ncurl -O https://example.org/x\n"})
    text = (
        "version: 1\nprotocols:\n"
        f"  aws: {{image: 'registry.example.org/transfer/aws-cli:2.30@{b.DIGEST}', uid: 2000,\n"
        "        env: {AWS_DEFAULT_REGION: us-west-2}, transient: {255: the network was away}}\n"
        "  http: {off: true}\n"
    ).encode()
    site = File(path=catalogs.SITE_FILE, mode=0o100644, blob="", content=text, size=len(text))
    merge = preview.Merge(
        commit=b.COMMIT,
        base="5eed" + "0" * 36,
        before=branch,
        after=(*branch, site),
        conflicts=(catalogs.SITE_FILE,),
    )
    before, after, remarks = preview.rows_of(merge)
    desired = scripts.discover(merge.after, commit="", catalog=after, settings=None)
    made = preview.foresee(
        merge, scripts.reject(desired, remarks), catalog=after, before=before, author="ada"
    )
    disabled = pulls.Disabled(workflow="dispatch.yml", state="disabled_inactivity", starts=True)
    made = replace(made, into="main", disabled=(disabled,))
    return comment.preview(made, cluster="nautilus", run_url=RUN)


def foreseen_one() -> str:
    ref = "dtp-aws/sequence-index"
    merge = preview.Merge(commit="", before=(), after=_files({ref: b"#!/bin/sh\n#DTP time=2h\n"}))
    rows = catalogs.builtin()
    desired = scripts.discover(merge.after, commit="", catalog=rows, settings=None)
    made = preview.foresee(merge, desired, catalog=rows)
    return comment.preview(made, cluster="nautilus", run_url=RUN)


SITUATIONS: dict[str, Callable[[], str]] = {
    "status": four,
    "one-done": one_done,
    "one-runs": one_runs,
    "one-failed": one_failed,
    "one-doubted": one_doubted,
    "ten": ten,
    "what-arrived": what_arrived,
    "sixty": sixty,
    "long-names": long_names,
    "hostile": hostile,
    "without-logs": without_logs,
    "nothing-runs": nothing_runs,
    "mention": mentioned,
    "answers": answers,
    "summary": summed_up,
    "preview-exact": lambda: foreseen(exact=True),
    "preview-conditional": lambda: foreseen(exact=False),
    "preview-one": foreseen_one,
    "preview-catalog": foreseen_catalog,
}
