"""How the real adapter takes every answer that an API server, or what stands before it, can give.

Each answer is worded as Kubernetes 1.34 words it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import urllib3

from dtp_action import dispatch
from dtp_action.adapters import kube, kube_api, kube_http
from dtp_action.core import brief, ledger
from dtp_action.core.model import Kept, Phase, Refused, Started, Taken
from dtp_action.errors import (
    ClusterRefusedError,
    StaleError,
    UnavailableError,
    UnreadableError,
    UsageError,
)
from tests import builders
from tests.api_stub import (
    ETCD,
    QUOTA_RACE,
    Answer,
    NoAnswer,
    Silence,
    Stub,
    card_object,
    entry_object,
    exists,
    job_object,
    not_found,
    page,
    serve,
    status,
)

DRAFT = builders.a_draft()
OBJECT = entry_object(DRAFT)
ENTRY = ledger.load_entry(OBJECT["metadata"])
NAME = ENTRY.name
READ = Answer(body=OBJECT)
MADE = Answer(status=201, body=OBJECT)
JOB = Answer(status=201, body=job_object(ENTRY))
STARTED = Started(job_uid="job-uid")
HTML = "<html><body><h1>Sign in</h1></body></html>"

QUOTA = status(
    403,
    "Forbidden",
    f'jobs.batch "{NAME}" is forbidden: exceeded quota: q, requested: count/jobs.batch=1,'
    " used: count/jobs.batch=26, limited: count/jobs.batch=26",
)
RBAC = status(
    403,
    "Forbidden",
    'jobs.batch is forbidden: User "system:serviceaccount:dtp:dtp-dispatch" cannot create resource'
    ' "jobs" in API group "batch" in the namespace "dtp"',
)
POLICY = status(
    422,
    "Invalid",
    f"jobs.batch \"{NAME}\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied"
    " request: images must come from the list",
)
WEBHOOK_DOWN = status(
    500,
    "InternalError",
    'Internal error occurred: failed calling webhook "w": failed to call webhook: Post'
    ' "https://w.ns.svc:443/?timeout=10s": dial tcp 10.96.0.7:443: connect: connection refused',
)
EXPIRED = status(410, "Expired", "The provided continue parameter is too old to display")
CONFLICT = status(
    409,
    "Conflict",
    f'Operation cannot be fulfilled on configmaps "{NAME}": the object has been modified',
)
UNAUTHORIZED = status(401, "Unauthorized", "Unauthorized")


@dataclass
class Line:
    """A stub, the adapter that talks to it, and the pauses that it makes (it does not wait)."""

    stub: Stub
    cluster: kube.KubeCluster
    pauses: list[float] = field(default_factory=list)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(kube_http, "READ", 0.3)
    pauses: list[float] = []
    with serve() as stub:
        pool = urllib3.PoolManager(maxsize=32)
        api = kube_http.HttpApi(
            pool=pool,
            server=stub.url,
            namespace="dtp",
            user="tester",
            authorization=lambda: "Bearer token",
            sleep=pauses.append,
        )
        yield Line(stub=stub, cluster=kube.KubeCluster(api), pauses=pauses)
        pool.clear()


# --- a create whose answer is lost ----------------------------------------------------------------


@pytest.mark.parametrize(
    "lost",
    [
        NoAnswer(),
        Silence(seconds=1),
        Answer(status=201, body=OBJECT, cut=20),
        Answer(status=201, text="garbage"),
        Answer(status=502, text=HTML),
        status(504, "Timeout", "request did not complete within requested timeout"),
        ETCD,
    ],
    ids=["cut", "time-out", "cut-half-way", "garbage", "proxy-502", "504", "etcd"],
)
def test_entry_whose_answer_is_lost_is_looked_up_by_name(line: Line, lost: Answer) -> None:
    line.stub.play(lost, READ)
    assert line.cluster.record(DRAFT) == ENTRY
    assert line.stub.asked == ["POST configmaps", f"GET {NAME}"]


def test_entry_whose_request_was_lost_is_made_again(line: Line) -> None:
    line.stub.play(NoAnswer(), not_found(), MADE)
    assert line.cluster.record(DRAFT) == ENTRY
    assert line.stub.asked == ["POST configmaps", f"GET {NAME}", "POST configmaps"]


def test_job_whose_answer_is_lost_is_not_made_twice(line: Line) -> None:
    line.stub.play(READ, NoAnswer(), JOB)
    assert line.cluster.start(ENTRY) == STARTED
    assert line.stub.asked == [f"GET {NAME}", "POST jobs", f"GET {NAME}"]


def test_job_whose_request_was_lost_is_made_once(line: Line) -> None:
    line.stub.play(READ, NoAnswer(), not_found(), JOB)
    assert line.cluster.start(ENTRY) == STARTED


@pytest.mark.parametrize(
    ("lost", "cause"),
    [
        (NoAnswer(), "without response"),
        (status(503, "ServiceUnavailable", "the server is shutting down"), "HTTP 503"),
        (ETCD, "etcdserver: request timed out"),
    ],
    ids=["cut", "503", "etcd"],
)
def test_a_write_that_is_lost_at_each_try_says_why(
    line: Line, lost: Answer | NoAnswer, cause: str
) -> None:
    line.stub.play(*[lost, not_found()] * kube_api.TRIES)
    with pytest.raises(UnavailableError, match=cause) as caught:
        line.cluster.record(DRAFT)
    assert "run again" in caught.value.hint
    line.stub.play(*[lost, READ] * kube_api.TRIES)
    with pytest.raises(UnavailableError, match=cause):
        line.cluster.confirm(ENTRY, "another")


# --- 409, by its reason ---------------------------------------------------------------------------


def test_quota_conflict_is_waited_out(line: Line) -> None:
    line.stub.play(READ, QUOTA_RACE, QUOTA_RACE, JOB)
    assert line.cluster.start(ENTRY) == STARTED
    assert len(line.pauses) == 2


def test_quota_conflict_without_end_is_unavailable(line: Line) -> None:
    line.stub.play(READ, *[QUOTA_RACE] * kube_api.TRIES)
    with pytest.raises(UnavailableError, match="resourcequotas"):
        line.cluster.start(ENTRY)


def test_job_that_exists_and_is_ours_is_started(line: Line) -> None:
    line.stub.play(READ, exists(), JOB)
    assert line.cluster.start(ENTRY) == STARTED


def test_job_that_exists_and_is_foreign_is_taken(line: Line) -> None:
    foreign = job_object(ENTRY, annotations={})
    line.stub.play(READ, exists(), Answer(body=foreign))
    assert isinstance(line.cluster.start(ENTRY), Taken)


def test_entry_changed_by_another_is_stale(line: Line) -> None:
    line.stub.play(CONFLICT)
    with pytest.raises(StaleError):
        line.cluster.confirm(ENTRY, "uid")


# --- a Job refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (POLICY, "images must come from the list"),
        (
            status(403, "Forbidden", 'admission webhook "w" denied the request: not on Fridays'),
            "not on Fridays",
        ),
        (
            status(400, "", 'admission webhook "w" denied the request without explanation'),
            "without explanation",
        ),
        (
            status(422, "Invalid", 'Job.batch "x" is invalid: spec.backoffLimit: Invalid value'),
            "backoffLimit",
        ),
        (status(413, "RequestEntityTooLarge", "Request entity too large"), "too large"),
    ],
    ids=["policy", "webhook-403", "webhook-400", "invalid", "too-large"],
)
def test_job_refused_for_good_says_why(line: Line, answer: Answer, words: str) -> None:
    line.stub.play(READ, answer, not_found())
    refused = line.cluster.start(ENTRY)
    assert isinstance(refused, Refused)
    assert refused.for_good
    assert words in refused.reason


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (QUOTA, "exceeded quota"),
        (WEBHOOK_DOWN, "failed calling webhook"),
        (
            status(403, "Forbidden", 'jobs.batch "x" is forbidden: status unknown for quota: q'),
            "quota",
        ),
        (
            status(
                403,
                "Forbidden",
                'jobs.batch "x" is forbidden: not yet ready to handle request',
            ),
            "not yet ready",
        ),
    ],
    ids=["quota", "webhook-down", "quota-unknown", "starting-up"],
)
def test_job_refused_for_now_may_start_later(line: Line, answer: Answer, words: str) -> None:
    line.stub.play(READ, answer, not_found())
    refused = line.cluster.start(ENTRY)
    assert isinstance(refused, Refused)
    assert not refused.for_good
    assert words in refused.reason


def test_of_a_long_refusal_beginning_and_cause_are_kept(line: Line) -> None:
    """What is kept goes into annotations, and the admission policy bounds those."""
    long = "ValidatingAdmissionPolicy 'x' denied request: " + "no " * 10_000 + "for this cause"
    line.stub.play(READ, status(422, "Invalid", long), not_found())
    refused = line.cluster.start(ENTRY)
    assert isinstance(refused, Refused)
    assert refused.reason == brief.within(long, kube.REFUSAL)
    assert refused.reason.endswith("for this cause")


@pytest.mark.parametrize(
    "answer", [QUOTA, POLICY, WEBHOOK_DOWN], ids=["quota", "policy", "webhook"]
)
def test_job_that_is_there_was_started_whatever_refuses_it_now(line: Line, answer: Answer) -> None:
    line.stub.play(READ, answer, JOB)
    assert line.cluster.start(ENTRY) == STARTED


# --- the dispatcher refused -----------------------------------------------------------------------


def test_missing_permission_names_who_what_and_where(line: Line) -> None:
    line.stub.play(READ, RBAC)
    with pytest.raises(ClusterRefusedError) as caught:
        line.cluster.start(ENTRY)
    assert caught.value.message == (
        "system:serviceaccount:dtp:dtp-dispatch may not create jobs in namespace dtp (403)."
    )
    assert "docs/how-to/install.md" in caught.value.hint


def test_expired_credential_says_what_to_do(line: Line) -> None:
    line.stub.play(UNAUTHORIZED)
    with pytest.raises(ClusterRefusedError, match=r"credential of tester \(401\)") as caught:
        line.cluster.namespace_uid()
    assert "dtp kubeconfig" in caught.value.hint


def test_credential_that_expires_half_way_decides_nothing(line: Line) -> None:
    line.stub.play(page(OBJECT, more="2"), UNAUTHORIZED)
    with pytest.raises(ClusterRefusedError, match="401"):
        line.cluster.ledger()


@pytest.mark.parametrize("ask", ["namespace_uid", "settings"])
def test_missing_namespace_is_named(line: Line, ask: str) -> None:
    gone = status(404, "NotFound", 'namespaces "dtp" not found')
    line.stub.play(*([not_found("dtp-cluster")] if ask == "settings" else []), gone)
    with pytest.raises(ClusterRefusedError, match="Namespace dtp is not there"):
        getattr(line.cluster, ask)()


def test_missing_settings_are_not_blamed_on_the_namespace(line: Line) -> None:
    there = Answer(body={"kind": "Namespace", "metadata": {"uid": "u"}})
    line.stub.play(not_found("dtp-cluster"), there)
    with pytest.raises(UsageError, match="dtp-cluster"):
        line.cluster.settings()


def test_full_quota_of_entries_is_told_as_the_cluster_says_it(line: Line) -> None:
    line.stub.play(status(403, "Forbidden", 'configmaps "x" is forbidden: exceeded quota: q'))
    with pytest.raises(ClusterRefusedError, match="exceeded quota"):
        line.cluster.record(DRAFT)


# --- too many requests, and what is unavailable ---------------------------------------------------


def test_retry_after_is_honoured_by_writes(line: Line) -> None:
    throttled = status(429, "TooManyRequests", "too many", Retry_After="7")
    plain = Answer(
        status=429, text="Too many requests, please try again later.", headers={"Retry-After": "2"}
    )
    line.stub.play(throttled, plain, MADE)
    assert line.cluster.record(DRAFT) == ENTRY
    assert line.stub.asked == ["POST configmaps"] * 3
    assert line.pauses == [7, 2]


def test_absurd_retry_after_is_capped(line: Line) -> None:
    line.stub.play(status(429, "TooManyRequests", "too many", Retry_After="86400"), MADE)
    line.cluster.record(DRAFT)
    assert line.pauses == [kube_http.LONGEST_PAUSE]


def test_too_many_requests_without_end_is_unavailable(line: Line) -> None:
    line.stub.play(*[status(429, "TooManyRequests", "too many")] * kube_api.TRIES)
    with pytest.raises(UnavailableError, match="429"):
        line.cluster.jobs()
    assert line.pauses == sorted(line.pauses)


@pytest.mark.parametrize(
    "answer",
    [
        NoAnswer(),
        Answer(text="garbage"),
        Answer(status=503, text=HTML),
        ETCD,
        Answer(body={"a": 1}),
    ],
    ids=["cut", "garbage", "proxy-503", "etcd", "no-object"],
)
def test_read_that_fails_is_made_again(line: Line, answer: Answer) -> None:
    line.stub.play(answer, READ)
    assert line.cluster.read(NAME)
    line.stub.play(*[answer] * kube_api.TRIES)
    with pytest.raises(UnavailableError) as caught:
        line.cluster.read(NAME)
    assert line.stub.url in caught.value.message
    assert "run again" in caught.value.hint


def test_login_page_of_a_proxy_is_no_refusal_by_the_cluster(line: Line) -> None:
    line.stub.play(READ, Answer(status=403, text=HTML))
    with pytest.raises(UnavailableError, match="not from Kubernetes"):
        line.cluster.start(ENTRY)


def test_silent_server_is_not_waited_for(line: Line) -> None:
    line.stub.play(*[Silence(seconds=30)] * kube_api.TRIES)
    start = time.monotonic()
    with pytest.raises(UnavailableError, match="timed out"):
        line.cluster.jobs()
    assert time.monotonic() - start < 25  # and not five times 30 s


def test_server_that_is_not_there_is_named() -> None:
    with serve() as stub:
        url = stub.url
    pauses: list[float] = []
    pool = urllib3.PoolManager()
    api = kube_http.HttpApi(
        pool=pool,
        server=url,
        namespace="dtp",
        user="tester",
        authorization=lambda: None,
        sleep=pauses.append,
    )
    with pytest.raises(UnavailableError, match=url):
        kube.KubeCluster(api).record(DRAFT)
    assert len(pauses) == kube_api.TRIES - 1


# --- a patch whose answer is lost -----------------------------------------------------------------


def test_patch_that_took_effect_counts_though_its_answer_is_lost(line: Line) -> None:
    done = entry_object(DRAFT, version="2", job_uid="uid")
    line.stub.play(NoAnswer(), Answer(body=done))
    assert line.cluster.confirm(ENTRY, "uid").job_uid == "uid"


def test_patch_that_was_lost_is_made_again(line: Line) -> None:
    done = entry_object(DRAFT, version="2", job_uid="uid")
    line.stub.play(NoAnswer(), READ, Answer(body=done))
    assert line.cluster.confirm(ENTRY, "uid").version == "2"
    assert line.stub.asked == [f"PATCH {NAME}", f"GET {NAME}", f"PATCH {NAME}"]


def test_lost_patch_yields_to_what_another_wrote(line: Line) -> None:
    theirs = Answer(body=entry_object(DRAFT, version="2", job_uid="other"))
    line.stub.play(NoAnswer(), theirs, CONFLICT, theirs)
    with pytest.raises(StaleError):
        line.cluster.confirm(ENTRY, "uid")


def test_lost_patch_that_takes_effect_late_is_our_own(line: Line) -> None:
    ours = Answer(body=entry_object(DRAFT, version="2", job_uid="uid"))
    line.stub.play(NoAnswer(), Answer(body=entry_object(DRAFT)), CONFLICT, ours)
    assert line.cluster.confirm(ENTRY, "uid").job_uid == "uid"


def test_patch_carries_the_version_that_was_read(line: Line) -> None:
    line.stub.play(Answer(body=entry_object(DRAFT, version="2", job_uid="uid")))
    line.cluster.confirm(ENTRY, "uid")
    (seen,) = line.stub.seen
    assert seen.headers["Content-Type"] == "application/merge-patch+json"
    assert seen.body == {
        "metadata": {"resourceVersion": "1", "annotations": {ledger.JOB_UID: "uid"}}
    }


def test_outcome_that_another_wrote_first_counts(line: Line) -> None:
    first = builders.an_outcome(Phase.FAILED)
    end = ledger.companion(ENTRY, "end", {ledger.OUTCOME_KEY: ledger.dump_outcome(first)})
    settled = entry_object(DRAFT, version="2", outcome=ledger.dump_outcome(first))
    line.stub.play(exists(), Answer(body=end), Answer(body=settled))
    assert line.cluster.settle(ENTRY, builders.an_outcome(), "tail").outcome == first
    patch = line.stub.seen[-1].body
    assert patch
    assert patch["metadata"]["labels"] == {ledger.STATE: "failed"}


# --- lists ----------------------------------------------------------------------------------------


def entries(*numbers: int) -> list[dict[str, object]]:
    return [entry_object(builders.a_draft(attempt=number), uid=f"e{number}") for number in numbers]


def test_entries_are_listed_metadata_only_in_pages_of_one_version(line: Line) -> None:
    line.stub.play(page(card_object(), *entries(1, 2), more="next"), page(*entries(3)))
    found = line.cluster.ledger()
    assert found.identity == builders.an_identity()
    assert [entry.attempt for entry in found.entries] == [1, 2, 3]
    first, second = line.stub.seen
    assert first.headers["Accept"] == (
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    )
    asked = {"labelSelector": "dtp.scidas.org/kind in (entry,ledger)", "limit": "500"}
    assert first.query == asked
    assert second.query == asked | {"continue": "next"}


def test_page_that_fails_once_is_read_again(line: Line) -> None:
    line.stub.play(page(*entries(1), more="next"), ETCD, page(*entries(2)))
    assert len(line.cluster.ledger().entries) == 2


def test_list_whose_second_page_fails_is_no_list(line: Line) -> None:
    line.stub.play(page(*entries(1), more="next"), *[ETCD] * kube_api.TRIES)
    with pytest.raises(UnavailableError, match="etcdserver"):
        line.cluster.ledger()


def test_list_that_grows_old_between_its_pages_is_no_list(line: Line) -> None:
    line.stub.play(page(*entries(1), more="a"), *[EXPIRED] * kube_api.TRIES)
    with pytest.raises(UnavailableError, match="too old"):
        line.cluster.ledger()


@pytest.mark.parametrize(
    "answer",
    [Answer(text=HTML), Answer(body={"kind": "Status", "metadata": {}, "status": "Success"})],
    ids=["html", "no-list"],
)
def test_answer_that_is_no_list_is_not_an_empty_one(line: Line, answer: Answer) -> None:
    line.stub.play(*[answer] * kube_api.TRIES)
    with pytest.raises(UnavailableError):
        line.cluster.jobs()


def test_a_card_that_cannot_be_read_stops_the_run_and_is_named(line: Line) -> None:
    broken = card_object()
    broken["metadata"]["annotations"][ledger.CREATED] = "yesterday"
    line.stub.play(page(broken))
    with pytest.raises(UsageError, match="card, ConfigMap dtp-ledger cannot be read") as caught:
        line.cluster.ledger()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (ledger.SCRIPT_KEY, None),
        (ledger.ATTEMPT_KEY, None),
        (ledger.ATTEMPT_KEY, "{"),
        (ledger.ATTEMPT_KEY, '{"version": 1, "spec": {}}'),
        (ledger.ATTEMPT_KEY, '{"version": 2}'),
    ],
)
def test_an_entry_whose_data_cannot_be_read_makes_no_job(
    line: Line, key: str, text: str | None
) -> None:
    broken = entry_object(DRAFT)
    broken["data"].pop(key)
    if text is not None:
        broken["data"][key] = text
    line.stub.play(Answer(body=broken))
    with pytest.raises(UnreadableError, match=NAME):
        line.cluster.start(ENTRY)
    assert line.stub.asked == [f"GET {NAME}"]


ANOTHER = {ledger.REF: "dtp-aws/other", ledger.ATTEMPT: "1"}
OWN = {ledger.REF: str(ENTRY.ref), ledger.ATTEMPT: "1"}
GOOD = ledger.dump_outcome(builders.an_outcome())


@pytest.mark.parametrize(
    ("notes", "data"),
    [
        (OWN, {ledger.OUTCOME_KEY: "{}"}),
        (OWN, {ledger.OUTCOME_KEY: "[]"}),
        (OWN, {ledger.OUTCOME_KEY: "{"}),
        (OWN, {ledger.OUTCOME_KEY: '{"phase":"GONE"}'}),
        (OWN, {ledger.OUTCOME_KEY: '{"phase":"RUNNING"}'}),
        (OWN, {ledger.OUTCOME_KEY: '{"phase":"FAILED","finished":"noon"}'}),
        (OWN, {ledger.OUTCOME_KEY: '{"phase":"FAILED","exit_code":"7"}'}),
        (OWN, {}),
        (OWN, None),
        (None, {ledger.OUTCOME_KEY: GOOD}),
        (ANOTHER, {ledger.OUTCOME_KEY: GOOD}),
    ],
)
def test_an_end_that_cannot_be_read_is_named_and_nothing_is_closed(
    line: Line, notes: dict[str, str] | None, data: dict[str, str] | None
) -> None:
    end = {"metadata": {"name": f"{NAME}-end", "annotations": notes}, "data": data}
    line.stub.play(exists(), Answer(body={key: one for key, one in end.items() if one}))
    with pytest.raises(UnreadableError, match=f"{NAME}-end"):
        line.cluster.settle(ENTRY, builders.an_outcome(), "")
    assert len(line.stub.asked) == 2, "nothing is patched"


@pytest.mark.parametrize("data", [None, {}, {ledger.TAIL_KEY: ""}])
def test_a_kept_log_that_is_none_is_no_log(line: Line, data: dict[str, str] | None) -> None:
    kept = {"metadata": {"name": "x"}} | ({} if data is None else {"data": data})
    line.stub.play(Answer(body=kept), Answer(body=kept))
    assert line.cluster.kept(NAME) == Kept()


def test_a_job_and_a_pod_that_cannot_be_read_are_told_with_the_others(line: Line) -> None:
    good = job_object(ENTRY)
    bad = job_object(ENTRY, name="dtp-aws-other-aaaaaaaa-1", creationTimestamp="soon")
    line.stub.play(page(good, bad, kind="JobList"))
    first, second = line.cluster.jobs()
    assert (first.name, first.unreadable) == (NAME, "")
    assert second.name == "dtp-aws-other-aaaaaaaa-1"
    assert "soon" in second.unreadable
    pod = {"metadata": {"name": f"{NAME}-x7k2p", "labels": {}}, "status": {}}
    line.stub.play(page(pod, kind="PodList"))
    (seen,) = line.cluster.pods()
    assert (seen.job_name, seen.unreadable) == (NAME, "it has no uid")


# --- logs -----------------------------------------------------------------------------------------

POD = builders.a_pod(ENTRY)


@pytest.mark.parametrize(
    "answer",
    [
        status(400, "BadRequest", 'container "job" in pod "x" is waiting to start'),
        not_found(),
        status(500, "InternalError", "Get https://10.0.0.1:10250/containerLogs/…: EOF"),
        Answer(status=502, text=HTML),
        NoAnswer(),
        Answer(text=""),
        Answer(text="unable to retrieve container logs for containerd://9fa9cf77"),
    ],
    ids=["waiting", "gone", "node-lost", "proxy", "cut", "empty", "removed"],
)
def test_log_that_is_not_there_is_only_none(line: Line, answer: Answer) -> None:
    line.stub.play(answer)
    assert line.cluster.pod_log(POD, lines=5) is None
    assert len(line.stub.seen) == 1


def test_end_of_a_log_with_endless_lines_is_its_last_64_kib(line: Line) -> None:
    line.stub.play(Answer(text=b"a" * 100_000 + b"\xff the end"))
    log = line.cluster.pod_log(POD, lines=200)
    assert log
    assert log.endswith("a\ufffd the end")
    assert len(log.encode()) <= 64 * 1024 + 2
    (seen,) = line.stub.seen
    assert seen.query["container"] == "job"
    assert seen.query["tailLines"] == "200"
    assert int(seen.query["limitBytes"]) >= 200 * 16 * 1024


def test_log_is_told_as_it_comes(line: Line) -> None:
    line.stub.play(Answer(text="one\ntwo\n", chunked=True))
    assert list(line.cluster.log(POD, lines=7, follow=True)) == [b"one\n", b"two\n"]
    (seen,) = line.stub.seen
    assert seen.query == {"container": "job", "follow": "true", "tailLines": "7"}


def test_log_that_breaks_off_is_an_error_after_what_came(line: Line) -> None:
    line.stub.play(Answer(text="one\ntwo\n", chunked=True, cut=1))
    log = line.cluster.log(POD, lines=None, follow=True)
    assert [next(log), next(log)] == [b"one\n", b"two\n"]
    with pytest.raises(UnavailableError):
        next(log)


@pytest.mark.parametrize(
    "answer", [not_found(), Answer(text="unable to retrieve container logs for containerd://9f\n")]
)
def test_log_of_a_pod_that_is_gone_is_empty(line: Line, answer: Answer) -> None:
    line.stub.play(answer)
    assert not b"".join(line.cluster.log(POD, lines=None, follow=True))


# --- cost, time -----------------------------------------------------------------------------------


def test_run_with_nothing_open_costs_four_requests(line: Line) -> None:
    settled = entry_object(DRAFT, outcome=ledger.dump_outcome(builders.an_outcome()))
    cluster = line.cluster
    line.stub.play(
        Answer(body={"kind": "Namespace", "metadata": {"uid": builders.NAMESPACE_UID}}),
        Answer(
            body={
                "kind": "ConfigMap",
                "metadata": {"name": "dtp-cluster"},
                "data": {
                    "settings.yaml": "version: 1\nclaim: shared\nrunnerImage: registry.example/r:1"
                },
            }
        ),
        page(card_object(), settled),
        page(kind="JobList"),
    )
    cluster.namespace_uid()
    cluster.settings()
    observed = dispatch.look(cluster)
    assert observed.entries[0].outcome
    assert cluster.requests == [
        "get namespaces",
        "get configmaps dtp-cluster",
        "list configmaps",
        "list jobs",
    ]


def test_time_is_the_servers_as_of_its_last_answer(line: Line) -> None:
    line.stub.play(Answer(body={"kind": "Namespace", "metadata": {"uid": "u"}}))
    line.cluster.namespace_uid()
    assert 0 <= (line.cluster.now() - builders.NOON).total_seconds() < 5


def test_credential_goes_with_every_request_and_into_no_message(line: Line) -> None:
    line.stub.play(UNAUTHORIZED)
    with pytest.raises(ClusterRefusedError) as caught:
        line.cluster.namespace_uid()
    assert line.stub.seen[0].headers["Authorization"] == "Bearer token"
    assert "Bearer" not in caught.value.message + caught.value.hint
