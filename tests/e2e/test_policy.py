"""The admission policies let pass all that dtp makes, and hold a job's Pod whoever makes it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from kubernetes.client import ApiException

from dtp_action.core import beside, catalog, ledger, manifests, naming
from dtp_action.core.catalog import Catalog, Row, Tool
from dtp_action.core.model import Intent, JobFile, Notify, Origin, Outcome, Phase, Ref, Spec, Why
from dtp_action.errors import ClusterRefusedError
from tests import builders as b
from tests import chart
from tests.admin import (
    PATHS,
    Admin,
    Namespace,
    a_spec,
    make_namespace,
    remove_namespace,
    wait_for,
)
from tests.e2e import fields

Wire = dict[str, Any]

GOLDEN = Path(__file__).parents[1] / "unit" / "golden"
IMAGES = {name: f"registry.example/{name}@{b.DIGEST}" for name in ("runner", "base", "other")}
ENFORCE = "pod-security.kubernetes.io/enforce"
LOCKED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
PLAIN: Wire = {
    "claim": {"existing": "shared"},
    "settings": {"groups": [], "dnsPolicy": "ClusterFirst"},
}
# What the golden Job with everything set was made under.
EVERYTHING: Wire = {
    "claim": {"existing": "lab-data"},
    "settings": {
        "groups": [2000, 3000],
        "writable": ["shared/results"],
        "grants": {"lab-keys": ["ada"], "aws": []},
        "nodeSelector": {"zone": "a"},
        "tolerations": [{"key": "transfer", "operator": "Exists"}],
        "queue": "transfers",
    },
}
# Letters that mean something to YAML, to templates, to CEL or to JSON; and caps in odd units.
ODD: Wire = {
    "settings": {
        "groups": [2**31 - 1],
        "writable": ["a \"b\" 'c' <d> & {{e}} ${f} # g: \u00fc", "-/%s/[h]"],
        "grants": {"lab.keys": ["ada"], "odd-lab.keys": ["bob"]},
        "images": ["registry.example/base", "registry.example:5000/"],
        "nodeSelector": {"example.org/disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"}],
        "caps": {"cpu": "2500m", "memory": "8G", "disk": "20000000k", "time": "90m", "retries": 3},
        "retention": "60d",
        "queueAllowance": "90s",
    },
    "imagePullSecrets": ["dtp-registry"],
}
OVER: dict[str, tuple[Wire, str]] = {
    "cpu": ({"cpu_millis": 2501}, "the caps of 2500m"),
    "memory": ({"memory": 8 * 10**9 + 1}, "the caps of 2500m and 8G"),
    "disk": ({"disk": 20 * 10**9 + 1}, "the cap of 20000000k"),
    "time": ({"time": 5401}, "the cap of 90m"),
    "retries": ({"retries": 4}, "the cap of 3 retries"),
}


@contextmanager
def installed(admin: Admin, values: Wire) -> Iterator[Namespace]:
    """Yield a namespace with the chart of these values; no Pod ever runs there."""
    name = f"e-{secrets.token_hex(4)}"
    try:
        namespace = make_namespace(admin, name, IMAGES, None, profile="cluster", **values)
        # Without the label of Pod Security: what it would refuse as well is the policies' here.
        admin.patch("Namespace", name, metadata={"labels": {ENFORCE: None}})
        yield namespace
    finally:
        remove_namespace(admin, name)


@pytest.fixture(scope="module")
def odd(admin: Admin) -> Iterator[Namespace]:
    with installed(admin, ODD) as namespace:
        yield namespace


@pytest.mark.parametrize(
    ("file", "values"), [("job-plain.yaml", PLAIN), ("job-everything.yaml", EVERYTHING)]
)
def test_the_golden_jobs_pass(admin: Admin, file: str, values: Wire) -> None:
    with installed(admin, values) as namespace:
        job = yaml.safe_load((GOLDEN / file).read_text())
        job["spec"]["template"]["spec"]["serviceAccountName"] = (
            "dtp-job"  # the chart knows no other
        )
        assert namespace.refusal("Job", job) == ""


asked = st.fixed_dictionaries(
    {
        "cpu_millis": st.integers(1, 2500),
        "memory": st.integers(1, 8 * 10**9),
        "disk": st.integers(1, 20 * 10**9),
        "time": st.integers(1, 5400),
        "retries": st.integers(0, 3),
        "resume": st.booleans(),
        "secrets": st.sampled_from([(), ("lab.keys",)]),
    }
)


@given(
    ref=st.from_regex(Ref.PATTERN, fullmatch=True),
    attempt=st.integers(1, 9999),
    asked=asked,
    transient=st.frozensets(st.integers(1, 255), max_size=3),
    paths=st.lists(st.text("aü .-/$({", min_size=1), max_size=3),
    env=st.dictionaries(st.from_regex("[A-Z][A-Z0-9_]{0,9}", fullmatch=True), st.text("a$({ü")),
)
@hypothesis(deadline=None, max_examples=25, derandomize=True)
def test_every_job_that_dtp_makes_passes(
    odd: Namespace,
    ref: str,
    attempt: int,
    asked: Wire,
    transient: frozenset[int],
    paths: list[str],
    env: Wire,
) -> None:
    script, codes = b.a_script(ref, **asked), dict.fromkeys(transient, "")
    files = (
        JobFile(path=f"{n}{path}".replace("//", "/"), content=b"") for n, path in enumerate(paths)
    )
    script = replace(script, files=tuple(files))
    row = Row(
        protocol=script.ref.protocol,
        image=IMAGES["base"],
        env=env,
        transient=codes,
        tools={"aria2c": Tool(transient=codes), "x_y.z+1-2": Tool(transient=codes)},
        network=bool(codes),
    )
    spec = catalog.resolve(
        script,
        catalog=Catalog(rows={row.protocol: row}),
        settings=odd.connect().settings(),
        author="ada",
    )
    assert isinstance(spec, Spec), spec
    entry = b.an_entry(ref, attempt)
    assert odd.refusal("Job", manifests.job(entry, spec)) == ""
    assert odd.refusal("Job", manifests.tombstone(entry, spec)) == ""
    first = replace(entry, name=naming.attempt_name(entry.ref, entry.attempt, 1))
    assert odd.refusal("Job", manifests.job(first, spec)) == ""


@pytest.mark.parametrize(
    ("completions", "parallelism", "passes"),
    [(1, 1, True), (0, 0, True), (1, 0, False), (0, 1, False), (2, 2, False), (2, 1, False)],
)
def test_a_job_runs_once_or_never(
    odd: Namespace, completions: int, parallelism: int, passes: bool
) -> None:
    """A Job that never runs takes the name of an attempt that must not start any more."""
    spec = a_spec(odd.connect().settings(), IMAGES["base"])
    job = manifests.job(b.an_entry("dtp-local/small"), spec)
    job["spec"] |= {"completions": completions, "parallelism": parallelism}
    said = odd.refusal("Job", job)
    assert ("a Job runs one Pod at a time, or none ever" not in said) is passes
    assert bool(said) is not passes


def test_a_job_that_is_made_runs_no_more_and_no_fewer_pods_later(odd: Namespace) -> None:
    entry = b.an_entry("dtp-local/later")
    job = manifests.job(entry, a_spec(odd.connect().settings(), IMAGES["base"]))
    path = PATHS["Job"].format(odd.name)
    odd.dispatcher.call("POST", path, job)
    for parallelism in (0, 2):
        said = refusal_of_change(
            odd, f"{path}/{entry.name}", {"spec": {"parallelism": parallelism}}
        )
        assert "of a Job nothing changes but its deadline" in said


# --- the ledger -----------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
names = st.none() | st.from_regex("[A-Za-z0-9-]{1,39}", fullmatch=True)
times = st.datetimes(
    b.NOON.replace(year=2020, tzinfo=None), b.NOON.replace(year=2199, tzinfo=None)
).map(lambda at: at.replace(tzinfo=b.NOON.tzinfo))
counts = st.none() | st.integers(0, 2**63 - 1)
outcomes = st.builds(
    Outcome,
    phase=st.sampled_from([phase for phase in Phase if phase.ended]),
    reason=words,
    exit_code=st.none() | st.integers(0, 255),
    started=st.none() | times,
    finished=st.none() | times,
    before_start=st.booleans(),
    why=st.none() | st.sampled_from(Why),
    warnings=st.lists(words, max_size=5).map(tuple),
    received=counts,
    sent=counts,
    starts=counts,
    new_files=counts,
    new_bytes=counts,
    at_least=st.booleans(),
    manifest=st.sampled_from(["", "a" * 64]),
    settled=times,
)
intents = st.builds(
    Intent,
    why=st.sampled_from(Why),
    by=words,
    at=times,
    reason=words,
    request=words,
    started=st.none() | times,
)
origins = st.builds(
    b.an_origin,
    commit=st.sampled_from(["0" * 40, "f" * 64]),
    pull_request=st.none() | st.integers(1, 10**9),
    author=names,
    merged_by=names,
    asked=st.booleans(),
)


files = st.lists(st.binary(max_size=100), max_size=3).map(
    lambda contents: tuple(JobFile(path=str(n), content=c) for n, c in enumerate(contents))
)


@given(
    ref=st.from_regex(Ref.PATTERN, fullmatch=True),
    attempt=st.integers(1, 9999),
    origin=origins,
    created=times,
    more=st.fixed_dictionaries(
        {
            "run": words,
            "request": words,
            "adopted": st.booleans(),
            "notify": st.sampled_from(Notify),
            "files": files,
        }
    ),
)
@hypothesis(deadline=None, max_examples=25, derandomize=True)
def test_every_entry_that_dtp_writes_passes(
    odd: Namespace, ref: str, attempt: int, origin: Any, created: Any, more: Wire
) -> None:
    draft = b.a_draft(ref, attempt, origin=origin, created=created, **more)
    assert odd.refusal("ConfigMap", ledger.entry_manifest(draft)) == ""


def test_as_many_and_as_large_files_as_there_may_be_pass(odd: Namespace) -> None:
    size, left = divmod(beside.MOST_BYTES - len(b.CONTENT), beside.MOST_FILES)
    long = "\u00fc" * 73
    files = tuple(
        JobFile(path=f"{n:03}{long}", content=b"\xff" * (size + (n < left)))
        for n in range(beside.MOST_FILES)
    )
    spec = b.a_spec(files=tuple(file.path for file in files))
    draft = b.a_draft("dtp-local/files", files=files, spec=spec)
    assert odd.refusal("ConfigMap", ledger.entry_manifest(draft)) == ""


@given(intent=intents, outcome=outcomes, tail=st.text(max_size=2000))
@hypothesis(deadline=None, max_examples=25, derandomize=True)
def test_whatever_dtp_writes_to_an_entry_and_beside_it_passes(
    odd: Namespace, recorded: str, intent: Intent, outcome: Outcome, tail: str
) -> None:
    path = f"{PATHS['ConfigMap'].format(odd.name)}/{recorded}"
    noted = {
        ledger.WAITING: intent.reason,
        ledger.JOB_UID: "00000000-0000-4000-8000-000000000000",
        ledger.INTENT: ledger.dump_intent(intent),
    }
    assert refusal_of_change(odd, path, {"metadata": {"annotations": noted}}) == ""
    settled = ledger.settled_metadata(outcome)
    assert refusal_of_change(odd, path, {"metadata": settled}) == ""
    entry = b.an_entry("dtp-local/recorded")
    kept = ledger.companion(entry, "tail", {ledger.TAIL_KEY: tail})
    assert odd.refusal("ConfigMap", kept) == ""
    end = {ledger.OUTCOME_KEY: ledger.dump_outcome(outcome), ledger.TAIL_KEY: tail}
    assert odd.refusal("ConfigMap", ledger.companion(entry, "end", end)) == ""


@pytest.fixture(scope="module")
def recorded(odd: Namespace) -> str:
    """Return the name of an open entry."""
    return odd.connect().record(b.a_draft("dtp-local/recorded")).name


UNREADABLE = [
    "",
    "{}",
    "[]",
    '{"at":"2030-01-02T12:00:00Z"}',
    '{"at":"yesterday","why":"cancel"}',
    '{"at":"2030-13-02T12:00:00Z","why":"cancel"}',
    '{"at":"2030-01-02T12:00:00Z","why":"cancelled"}',
    '{"at":"2030-01-02T12:00:00Z","why":"cancel","why":"stuck"}',
    '{"at":"2030-01-02T12:00:00Z","why":"cancel","more":"x"}',
    '{"at":"2030-01-02T12:00:00Z","why":"cancel"}}',
    '{"at":"2030-01-02T12:00:00Z","why":"cancel",}',
    '{"at":"2030-01-02T12:00:00Z","by":"\\ud800","why":"cancel"}',
    '{"at":"2030-01-02T12:00:00Z","by":"' + "x" * 25_000 + '","why":"cancel"}',
]


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:60])
def test_no_intent_is_written_that_cannot_be_read(odd: Namespace, recorded: str, text: str) -> None:
    path = f"{PATHS['ConfigMap'].format(odd.name)}/{recorded}"
    change = {"metadata": {"annotations": {ledger.INTENT: text}}}
    assert "has its form and its bounds" in refusal_of_change(odd, path, change)


@pytest.mark.parametrize(("many", "passes"), [(20, True), (31, False)])
def test_an_entry_does_not_grow_by_those_who_manage_its_fields(
    odd: Namespace, recorded: str, many: int, passes: bool
) -> None:
    path = f"{PATHS['ConfigMap'].format(odd.name)}/{recorded}"
    managed = odd.admin.get("ConfigMap", recorded, odd.name)["metadata"]["managedFields"]
    others = [managed[0] | {"manager": f"m{n}", "operation": "Apply"} for n in range(many)]
    said = refusal_of_change(odd, path, {"metadata": {"managedFields": [*managed, *others]}})
    assert ("more than 30 that manage its fields" not in said) is passes
    assert bool(said) is not passes


COMMIT = ledger.PREFIX + "commit"


def test_the_card_names_a_commit_that_moves_and_stays_one(odd: Namespace) -> None:
    card = ledger.identity_manifest(b.an_identity())
    path = f"{PATHS['ConfigMap'].format(odd.name)}/{ledger.LEDGER_NAME}"

    def moved(commit: str | None) -> str:
        return refusal_of_change(odd, path, {"metadata": {"annotations": {COMMIT: commit}}})

    born = chart.merged(card, {"metadata": {"annotations": {COMMIT: "a" * 40}}})
    assert odd.refusal("ConfigMap", born) == ""
    odd.dispatcher.call("POST", PATHS["ConfigMap"].format(odd.name), card)
    assert moved("b" * 40) == ""
    odd.dispatcher.call("PATCH", path, {"metadata": {"annotations": {COMMIT: "c" * 64}}})
    assert moved("d" * 40) == ""
    for wrong in ("main", "", "a" * 41):
        assert "has its form and its bounds" in moved(wrong)
    assert "what the ledger has noted stays" in moved(None)


def refusal_of_change(namespace: Namespace, path: str, change: Wire) -> str:
    """Return why the dispatcher may not change an object so; '' where it may. It stays as it is."""
    try:
        namespace.dispatcher.call("PATCH", f"{path}?dryRun=All", change)
    except ApiException as error:
        return str(json.loads(str(error.body))["message"])
    return ""


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", OVER)
def test_a_unit_over_a_cap_is_refused_with_the_cap(odd: Namespace, amount: str) -> None:
    over, words = OVER[amount]
    spec = replace(a_spec(odd.connect().settings(), IMAGES["base"]), **over)
    said = odd.refusal("Job", manifests.job(b.an_entry("dtp-local/small"), spec))
    assert words in said


@pytest.mark.parametrize(
    ("image", "passes"),
    [
        (f"registry.example/base/more@{b.DIGEST}", True),
        (f"registry.example/base:1@{b.DIGEST}", True),
        (f"registry.example:5000/any/thing@{b.DIGEST}", True),
        (f"registry.example/based@{b.DIGEST}", False),
        (f"registry.example/other@{b.DIGEST}", False),
        (f"registry.example/base@{b.DIGEST}0", False),
        (f"registry.example/base@{b.DIGEST} ", False),
        ("registry.example/base:1", False),
        ("registry.example/base", False),
    ],
)
def test_images_are_those_of_the_settings_by_digest(
    odd: Namespace, image: str, passes: bool
) -> None:
    spec = replace(a_spec(odd.connect().settings(), IMAGES["base"]), image=image)
    said = odd.refusal("Job", manifests.job(b.an_entry("dtp-local/small"), spec))
    assert (said == "") is passes


def test_a_secret_with_which_images_are_pulled_is_no_protocols(odd: Namespace) -> None:
    settings = odd.connect().settings()
    spec = replace(a_spec(settings, IMAGES["base"]), secrets=("dtp-registry",))
    said = odd.refusal("Job", manifests.job(b.an_entry("dtp-registry/own"), spec))
    assert "a Secret is neither" in said


@pytest.mark.parametrize(
    ("ref", "passes"), [("dtp-x/own", True), ("dtp-x-odd/own", False), ("dtp-y/own", False)]
)
def test_a_name_that_ends_in_two_grants_belongs_to_the_longer(
    odd: Namespace, ref: str, passes: bool
) -> None:
    settings = odd.connect().settings()
    spec = replace(a_spec(settings, IMAGES["base"]), secrets=("dtp-x-odd-lab.keys",))
    said = odd.refusal("Job", manifests.job(b.an_entry(ref), spec))
    assert ("a Secret is neither" not in said) is passes


def never(job: Wire) -> Wire:
    """Return the Job that takes an attempt's name and never runs anything."""
    return chart.merged(job, {"spec": {"completions": 0, "parallelism": 0}})


@pytest.mark.parametrize(
    "changes",
    [
        {"retries": 5, "resume": True},
        {"time": 10**7},
        {"queue": "other"},
        {"claim": "other", "mounts": ()},
        {"runner_image": f"registry.example/old@{b.DIGEST}"},
        {"secrets": ("dtp-local-taken",)},
        {"node_selector": {"zone": "b"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_name_of_an_attempt_can_be_taken_whatever_settings_it_was_recorded_under(
    odd: Namespace, changes: Wire
) -> None:
    spec = replace(a_spec(odd.connect().settings(), IMAGES["base"]), **changes)
    job = manifests.job(b.an_entry("dtp-local/small"), spec)
    assert "Policy" in odd.refusal("Job", job)
    assert odd.refusal("Job", never(job)) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"name": b.an_entry("dtp-local/other").name}},
        {"metadata": {"annotations": {ledger.REF: "dtp-local/other"}}},
        {"metadata": {"annotations": {"example.org/more": "x"}}},
        {"metadata": {"finalizers": ["example.org/never"]}},
        {"metadata": {"labels": {"app": "database"}}},
        {"spec": {"ttlSecondsAfterFinished": 1}},
        {"spec": {"manualSelector": True, "selector": {"matchLabels": {ledger.KIND: "attempt"}}}},
    ],
)
def test_what_takes_a_name_is_of_that_attempt(odd: Namespace, changes: Wire) -> None:
    job = manifests.job(
        b.an_entry("dtp-local/small"), a_spec(odd.connect().settings(), IMAGES["base"])
    )
    assert "Policy" in odd.refusal("Job", chart.merged(never(job), changes))


def test_a_job_made_under_other_settings_may_still_be_ended_and_forgotten(admin: Admin) -> None:
    with installed(admin, {}) as namespace:
        entry = b.an_entry("dtp-local/yesterdays")
        job = manifests.job(entry, a_spec(namespace.connect().settings(), IMAGES["base"]))
        namespace.dispatcher.call("POST", PATHS["Job"].format(namespace.name), job)

        namespace.settle_settings(groups=[5000])

        assert "in the groups of the settings" in namespace.refusal("Job", job)
        cluster = namespace.connect()
        (made,) = cluster.jobs()
        cluster.stop(made)
        cluster.retire(made, 86_400)
        spec = admin.get("Job", entry.name, namespace.name)["spec"]
        assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (1, 86_400)


def test_what_is_learnt_later_of_an_attempt_may_be_noted_and_nothing_else_once_it_has_ended(
    odd: Namespace,
) -> None:
    own = {"metadata": {"name": "own"}}
    wait_for(lambda: odd.refusal("ConfigMap", own), "the ledger's policy to be in force")
    cluster, unknown = odd.connect(), Origin(commit=b.COMMIT)
    spec = a_spec(cluster.settings(), IMAGES["base"])
    entry = cluster.record(b.a_draft("dtp-local/late", origin=unknown, spec=spec))
    for reason in ("the end cannot be read", "the end still cannot be read"):
        entry = cluster.mark_held(entry, reason)
    ended = cluster.settle(entry, b.an_outcome(), "")
    with pytest.raises(ClusterRefusedError, match="an attempt is born open"):
        cluster.mark_held(ended, "again")
    entry = cluster.attribute(ended, b.an_origin())
    assert (entry.origin.pull_request, entry.outcome) == (7, ended.outcome)
    with pytest.raises(ClusterRefusedError, match="stays"):
        cluster.attribute(entry, b.an_origin(pull_request=8))


# Where a Job may have something else than dtp gives it; `*` is any number.
HARMLESS = {
    # shorter times, less scratch
    "spec.activeDeadlineSeconds",
    "spec.template.spec.activeDeadlineSeconds",
    "spec.template.spec.terminationGracePeriodSeconds",
    "spec.template.spec.volumes.*.emptyDir.sizeLimit",
    # without DTP_TIME or DTP_NETWORK, as in Jobs of the release before: then the Pod itself has the
    # cap of time, and a job that moves nothing is doubted
    "spec.template.spec.containers.*.env.*.name",
    # one completion is one completion, and what counts as a failure starts no Pod without end
    "spec.completionMode",
    "spec.podFailurePolicy.rules.*.action",
    "spec.podFailurePolicy.rules.*.onPodConditions.*.type",
    # where the image is looked for, and the last words
    "spec.template.spec.containers.*.imagePullPolicy",
    "spec.template.spec.initContainers.*.imagePullPolicy",
    "spec.template.spec.containers.*.terminationMessagePolicy",
    "spec.template.spec.initContainers.*.terminationMessagePolicy",
}


def test_of_all_fields_that_kubernetes_knows_only_harmless_ones_pass(
    admin: Admin, odd: Namespace
) -> None:
    schemas = admin.call("GET", "/openapi/v3/apis/batch/v1")["components"]["schemas"]
    spec = a_spec(odd.connect().settings(), IMAGES["base"])
    job = manifests.job(b.an_entry("dtp-local/small"), spec)
    plain, passed = tried(odd, job), set()
    assert plain
    for place, value in fields.others(schemas, "io.k8s.api.batch.v1.Job", job):
        made = tried(odd, fields.put(job, place, value))
        if made and made != plain:  # it passed, and was not dropped
            passed.add(re.sub(r"\.\d+", ".*", ".".join(place)))
    assert passed == HARMLESS


def tried(namespace: Namespace, job: Wire) -> Wire:
    """Return what Kubernetes would make of a Job, but for what is new each time; {} if refused."""
    path = f"{PATHS['Job'].format(namespace.name)}?dryRun=All"
    try:
        made = namespace.dispatcher.call("POST", path, job)
    except ApiException:
        return {}
    uid = made["metadata"]["uid"]
    metadata = {
        key: made["metadata"].get(key) for key in ("labels", "annotations", "finalizers", "name")
    }
    return dict(
        json.loads(json.dumps({"metadata": metadata, "spec": made["spec"]}).replace(uid, ""))
    )


@pytest.mark.parametrize("kind", ["ServiceAccount", "Group"])
def test_whoever_acts_as_dispatcher_is_held_to_the_same(admin: Admin, kind: str) -> None:
    name = f"e-{secrets.token_hex(4)}"
    subject = {
        "ServiceAccount": {"kind": kind, "name": "runner", "namespace": name},
        "Group": {"kind": kind, "name": f"system:serviceaccounts:{name}"},
    }[kind]
    values: Wire = {"profile": "cluster", "dispatch": {"subjects": [subject]}}
    try:
        namespace = make_namespace(admin, name, IMAGES, None, **values)
        admin.create("ServiceAccount", "runner", name)
        runner = replace(namespace, kubeconfig=admin.kubeconfig_for(name, "runner"))
        job = manifests.job(b.an_entry(), a_spec(namespace.connect().settings(), IMAGES["base"]))
        job["metadata"]["finalizers"] = ["example.org/never"]
        assert "neither owner nor finalizer" in runner.refusal("Job", job)
    finally:
        remove_namespace(admin, name)


ADDED: dict[str, tuple[Wire, str]] = {
    "as it is": ({}, ""),
    "what the cluster's own admission adds": (
        {
            "tolerations": [{"key": "example.org/zone", "operator": "Exists"}],
            "securityContext": {"fsGroup": 5000},
            "imagePullSecrets": [{"name": "registry"}],
        },
        "",
    ),
    "another account": ({"serviceAccountName": "default"}, "runs as dtp-job"),
    "a token": ({"automountServiceAccountToken": True}, "without its token"),
    "the node's network": ({"hostNetwork": True}, "no part in its host"),
    "root": ({"securityContext": {"runAsUser": 0, "runAsNonRoot": False}}, "no privilege"),
    "no deadline": ({"activeDeadlineSeconds": None}, "has a deadline"),
    "another claim": (
        {"volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": "other"}}]},
        "the one claim",
    ),
    "another Secret": (
        {"volumes": [{"name": "secrets", "projected": {"sources": [{"secret": {"name": "x"}}]}}]},
        "the one claim",
    ),
    "a token in a volume": (
        {
            "volumes": [
                {
                    "name": "secrets",
                    "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
                }
            ]
        },
        "the one claim",
    ),
    "a folder of the node": (
        {"volumes": [{"name": "tools", "hostPath": {"path": "/"}}]},
        "the one claim",
    ),
}


@pytest.mark.parametrize("added", ADDED)
def test_a_jobs_pod_is_held_to_the_settings_whoever_makes_it(odd: Namespace, added: str) -> None:
    change, words = ADDED[added]
    said = refusal_of_pod(odd, change)
    assert words in said
    assert bool(said) is bool(words)


def test_a_jobs_pod_runs_no_other_image_whoever_makes_it(odd: Namespace) -> None:
    container = {"name": "more", "image": IMAGES["other"]}
    more = {"containers": [container | {"securityContext": LOCKED}]}
    assert "the images of a job's Pod" in refusal_of_pod(odd, more)


def refusal_of_pod(namespace: Namespace, change: Wire) -> str:
    """Return why not even the cluster's admin may make such a Pod of a job; '' where one may."""
    spec = a_spec(namespace.connect().settings(), IMAGES["base"])
    template = manifests.job(b.an_entry("dtp-local/small"), spec)["spec"]["template"]
    name = b.an_entry("dtp-local/small").name
    metadata = {"name": name, "labels": {"batch.kubernetes.io/job-name": name}}
    pod = chart.merged(template, {"metadata": metadata}, {"spec": {}})
    for key, value in change.items():
        pod["spec"][key] = _changed(pod["spec"].get(key), value)
    unlabelled = replace(namespace, kubeconfig=Path(namespace.admin.kubeconfig).read_text())
    return unlabelled.refusal("Pod", pod)


def _changed(old: Any, new: Any) -> Any:
    """Return a mapping with these keys changed, a list of named things with these in it."""
    if isinstance(new, dict):
        return old | new
    if isinstance(new, list) and old:
        names = {one.get("name") for one in new}
        return [*(one for one in old if one.get("name") not in names), *new]
    return new
