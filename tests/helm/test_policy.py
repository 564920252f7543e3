"""The admission policies know the words of the ledger and of the Job, as the program has them."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from dtp_action.core import beside, ledger, logs, manifests, quantities, scripts
from dtp_action.core.model import Intent, JobFile, Mount, Outcome
from tests import builders as b
from tests.chart import EXISTING, Helm, find, merged

VALUES = merged(EXISTING, {"profile": "cluster"})
POLICY = "ValidatingAdmissionPolicy"


def a_policy(helm: Helm, what: str) -> dict[str, Any]:
    return dict(find(helm.template(VALUES), POLICY, f"dtp-{helm.namespace}-{what}")["spec"])


def variables_of(helm: Helm, what: str) -> dict[str, str]:
    """Return the expression of each of a policy's variables."""
    return {one["name"]: one["expression"] for one in a_policy(helm, what)["variables"]}


def test_the_ledgers_policy_knows_its_keys_and_the_form_of_each(helm: Helm) -> None:
    variables = variables_of(helm, "ledger")
    told = variables["born"] + variables["grows"]
    notes = {
        key
        for key, (where, kind, _, _) in ledger.KEYS.items()
        if kind == "annotation" and not where.startswith("Job")
    }
    assert {key for key in notes if f'"{key}"' in told} == notes
    formed = variables["forms"] + variables["members"]
    assert {key for key in notes if f'"{key}":' in formed} == notes
    holds = (ledger.SCRIPT_KEY, ledger.ATTEMPT_KEY, ledger.TAIL_KEY, ledger.OUTCOME_KEY)
    assert all(f'"{key}"' in variables["holds"] for key in holds)


def test_the_ledgers_policy_knows_all_that_the_ledgers_json_holds(helm: Helm) -> None:
    members = variables_of(helm, "ledger")["members"]
    origin = b.an_origin(merged_by="bob", asked=True)
    draft = b.a_draft(
        origin=origin,
        run="r",
        request="q",
        adopted=True,
        spec=b.a_spec(service=True),
        files=(JobFile(path="a", content=b""),),
    )
    noted = ledger.entry_manifest(draft)["metadata"]["annotations"][ledger.ORIGIN]
    fields = [one.name for kind in (Intent, Outcome) for one in dataclasses.fields(kind)]
    for key in (*fields, *json.loads(noted)):
        assert re.search(rf"[(|]{key}[)|]", members), key


def test_the_ledgers_policy_has_the_programs_bounds(helm: Helm) -> None:
    most = json.loads(variables_of(helm, "ledger")["most"])
    assert most[ledger.SCRIPT_KEY] == scripts.MAX_BYTES
    assert most[ledger.TAIL_KEY] == ledger.TAIL_LIMIT == logs.KEPT
    assert most[ledger.ARRIVED_KEY] == ledger.ARRIVED_LIMIT
    assert f'"{ledger.ARRIVED_KEY}"' in variables_of(helm, "ledger")["may"]
    in_base64 = -(-beside.MOST_BYTES // 3) * 4 + 4 * beside.MOST_FILES
    assert int(variables_of(helm, "ledger")["mostFiles"]) == in_base64


@pytest.mark.parametrize("what", ["jobs", "pods"])
def test_the_policies_know_all_that_the_runner_is_told(helm: Helm, what: str) -> None:
    variables = variables_of(helm, what)
    entry = b.an_entry()
    spec = b.a_spec(service=True, offers=(Mount(path="x"),), files=("list.txt",))
    known = variables["told"] + variables["words"] + variables["may"]
    for name in manifests.runner_environment(entry, spec):
        assert f'"{name}":' in known, name
    for one in manifests.job(entry, spec)["spec"]["template"]["spec"]["initContainers"][0]["env"]:
        assert f'"{one["name"]}":' in variables["prepTold"] + variables["words"]


def test_the_jobs_policy_leaves_room_for_every_start_and_no_more(helm: Helm) -> None:
    spec = a_policy(helm, "jobs")
    (run,) = [one for one in spec["validations"] if "no more often" in one["message"]]
    day, week = quantities.TIME.parse("1d"), quantities.TIME.parse("7d")
    longest = (day + week + manifests.CLOSING + manifests.GRACE) * (5 + 1 + manifests.RESUMES)
    assert f"<= {longest} " in run["expression"]


def test_the_jobs_policy_bounds_the_scripts_time_by_the_cap_and_its_pod_by_what_is_added(
    helm: Helm,
) -> None:
    (run,) = [
        one for one in a_policy(helm, "jobs")["validations"] if "a script has" in one["message"]
    ]
    day, week = quantities.TIME.parse("1d"), quantities.TIME.parse("7d")
    most = manifests.pod_deadline(b.a_spec(queue_allowance=day, time=week))
    assert f'(variables.env.exists(e, e.name == "DTP_TIME") ? {most} : {week})' in run["expression"]
    assert f'int(e.?value.orValue("")) <= {week})' in run["expression"]


@pytest.mark.parametrize("what", ["dispatcher", "jobs", "ledger", "made-jobs", "pods"])
def test_a_policy_is_in_force_in_its_namespace_alone(helm: Helm, what: str) -> None:
    spec = a_policy(helm, what)
    here = {"matchLabels": {"kubernetes.io/metadata.name": helm.namespace}}
    assert spec["matchConstraints"]["namespaceSelector"] == here
    assert spec["failurePolicy"] == "Fail"
    name = f"dtp-{helm.namespace}-{what}"
    binding = find(helm.template(VALUES), "ValidatingAdmissionPolicyBinding", name)
    assert binding["spec"] == {"policyName": name, "validationActions": ["Deny"]}


def test_the_small_profile_has_no_policy(helm: Helm) -> None:
    assert POLICY not in {one["kind"] for one in helm.template(EXISTING)}


def blocks(helm: Helm, **values: list[str]) -> list[dict[str, Any]]:
    """Return the networks that jobs reach."""
    made = helm.template(merged(EXISTING, {"networkPolicy": values}))
    egress = find(made, "NetworkPolicy", "dtp-job")["spec"]["egress"]
    return [to["ipBlock"] for rule in egress for to in rule.get("to", ()) if "ipBlock" in to]


def test_jobs_reach_the_internet_and_what_the_values_open(helm: Helm) -> None:
    four, six, campus = blocks(helm, allow=["10.20.0.0/16"])
    assert (four["cidr"], six["cidr"]) == ("0.0.0.0/0", "2000::/3")
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(four["except"])
    assert campus == {"cidr": "10.20.0.0/16"}


def test_the_values_close_parts_of_the_internet_or_all_of_it(helm: Helm) -> None:
    four, six = blocks(helm, deny=["203.0.113.0/24", "2001:db8::/32", "fd00::/8"])
    assert "203.0.113.0/24" in four["except"]
    assert six["except"] == ["2001:db8::/32"]
    assert blocks(helm, deny=["0.0.0.0/0", "::/0"], allow=["198.51.100.7/32"]) == [
        {"cidr": "198.51.100.7/32"}
    ]
