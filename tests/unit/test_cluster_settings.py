from __future__ import annotations

import pytest

from dtp_action.core import cluster_settings
from dtp_action.core.cluster_settings import Caps, ClusterSettings, Visible
from dtp_action.errors import UsageError

LEAST = "version: 1\nclaim: data\nrunnerImage: registry.example.org/dtp/runner:1\n"


def parse(more: str = "") -> ClusterSettings:
    return cluster_settings.parse(LEAST + more, "ConfigMap dtp-cluster")


def refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        cluster_settings.parse(text, "ConfigMap dtp-cluster")
    return caught.value.message


def test_claim_and_runner_image_are_enough() -> None:
    assert parse() == ClusterSettings(
        claim="data", runner_image="registry.example.org/dtp/runner:1"
    )


def test_every_key_is_read() -> None:
    settings = parse("""
visible: own
writable: [shared/results, incoming]
exposed: [shared/results]
serviceAccount: mover
images: [docker.io/amazon/, quay.io/minio/mc]
caps: {cpu: 4, memory: 16Gi, disk: 100G, time: 2d, retries: 1}
grants: {lab-key: [Ada, grace-h]}
groups: [5000]
nodeSelector: {disk: fast}
tolerations: [{key: dtp, operator: Exists, effect: NoSchedule}]
dnsPolicy: Default
queue: transfers
retention: 12h
queueAllowance: 2d
stuckLimit: 10m
""")
    assert settings == ClusterSettings(
        claim="data",
        runner_image="registry.example.org/dtp/runner:1",
        visible=Visible.OWN,
        writable=("shared/results", "incoming"),
        exposed=("shared/results",),
        service_account="mover",
        images=("docker.io/amazon/", "quay.io/minio/mc"),
        caps=Caps(cpu_millis=4000, memory=16 * 2**30, disk=10**11, time=172_800, retries=1),
        grants={"lab-key": ("Ada", "grace-h")},
        groups=(5000,),
        node_selector={"disk": "fast"},
        tolerations=({"key": "dtp", "operator": "Exists", "effect": "NoSchedule"},),
        dns_policy="Default",
        queue="transfers",
        retention=43_200,
        queue_allowance=172_800,
        stuck_limit=600,
    )


def test_what_services_cannot_see_they_cannot_offer() -> None:
    with pytest.raises(UsageError, match="exposed: data is not visible: add it to `writable`"):
        parse("visible: own\nexposed: [data]\n")
    assert parse("exposed: [data]\n").exposed == ("data",)


def test_a_key_left_empty_by_a_template_is_as_if_it_were_absent() -> None:
    assert parse("queue:\ncaps:\ngrants:\n") == parse()
    assert parse('queue: ""\n') == parse()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "version: 1\nclaim: data\n",
            "ConfigMap dtp-cluster: the key `runnerImage` is missing",
        ),
        (
            LEAST + "retension: 1h\n",
            "ConfigMap dtp-cluster: unknown key `retension`; did you mean `retention`?",
        ),
        (
            LEAST + "caps: {memory: 16GB}\n",
            "ConfigMap dtp-cluster: caps: memory: "
            "`16GB` is not a size; write it like `512Mi`, `8Gi` or `8G`",
        ),
        (
            LEAST + "visible: some\n",
            "ConfigMap dtp-cluster: visible: `some` is not `all` or `own`",
        ),
        (
            "version: 2\n",
            "ConfigMap dtp-cluster: the key `claim` is missing",
        ),
        (
            LEAST.replace("1", "2", 1),
            "ConfigMap dtp-cluster: version: `2` is not `1`",
        ),
    ],
)
def test_an_error_names_the_place_what_was_found_and_what_is_allowed(text: str, told: str) -> None:
    assert refusal(text) == told


OUTSIDE = ["/etc", "..", "a/../b", "a//b", "", "a/", ".", "./a", "a/./b", "a\\b"]
OURS = [".dtp", ".dtp/state", "dtp-jobs", "dtp-jobs/dtp-aws", "dtp-jobs/dtp-aws/genome"]


@pytest.mark.parametrize("path", [*OUTSIDE, *OURS])
def test_a_writable_path_stays_within_the_workspace_and_off_jobs_and_state(path: str) -> None:
    said = refusal(f"{LEAST}writable: ['{path}']\n")
    assert "writable: 1: " in said
    assert "outside `dtp-jobs` and `.dtp`" in said


def test_directories_of_jobs_may_be_offered() -> None:
    assert parse("exposed: [dtp-jobs/dtp-aws]\n").exposed == ("dtp-jobs/dtp-aws",)


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        ("[shared, shared/results]", "writable: `shared/results` is in `shared`: leave one of"),
        ("[shared/results, other, shared]", "writable: `shared/results` is in `shared`"),
        ("[shared, shared]", "writable: `shared` is in `shared`"),
        ("[a/b/c, a/b/c/d/e]", "writable: `a/b/c/d/e` is in `a/b/c`"),
    ],
)
def test_no_writable_path_holds_another(paths: str, told: str) -> None:
    assert told in refusal(f"{LEAST}writable: {paths}\n")


def test_writable_paths_may_begin_alike() -> None:
    assert parse("writable: [shared, shared-2, other/shared]\n").writable == (
        "shared",
        "shared-2",
        "other/shared",
    )


@pytest.mark.parametrize(
    "image", ["busybox", "library/busybox:1", "docker.io/x", "docker.io/X/y:1", "docker.io/x/y: 1"]
)
def test_an_image_is_named_in_full(image: str) -> None:
    assert "runnerImage" in refusal(f"version: 1\nclaim: data\nrunnerImage: '{image}'\n")


@pytest.mark.parametrize(
    ("prefix", "image", "admitted"),
    [
        ("docker.io/amazon/", "docker.io/amazon/aws-cli:2", True),
        ("docker.io/amazon", "docker.io/amazon/aws-cli:2", True),
        ("docker.io/amazon", "docker.io/amazonevil/aws-cli:2", False),
        ("docker.io/amazon/aws-cli", "docker.io/amazon/aws-cli:2", True),
        ("docker.io/amazon/aws-cli:2", "docker.io/amazon/aws-cli:2", True),
        ("docker.io/amazon/aws-cli:2", "docker.io/amazon/aws-cli:2@sha256:0", True),
        ("docker.io/amazon/aws-cli:2", "docker.io/amazon/aws-cli:27", False),
        ("ghcr.io", "ghcr.io.example.org/x/y:1", False),
    ],
)
def test_an_image_prefix_ends_where_a_part_of_the_name_ends(
    prefix: str, image: str, admitted: bool
) -> None:
    assert parse(f"images: ['{prefix}']\n").admits(image) is admitted


def test_without_image_prefixes_any_image_may_run() -> None:
    assert parse().admits("docker.io/x/y:1")


def test_a_grant_is_to_named_people_in_any_case_and_to_nobody_unknown() -> None:
    settings = parse("grants: {lab-key: [Ada]}\n")
    assert settings.grants_to("lab-key", "ada")
    assert not settings.grants_to("lab-key", "mallory")
    assert not settings.grants_to("lab-key", None)
    assert not settings.grants_to("other", "ada")
