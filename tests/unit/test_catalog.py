from __future__ import annotations

from dataclasses import replace

import pytest

from dtp_action.core import catalog, cluster_settings, directives
from dtp_action.core.catalog import Catalog
from dtp_action.core.cluster_settings import ClusterSettings
from dtp_action.core.model import AUTHOR_UNKNOWN, Finding, Meanings, Mount, Ref, Script, Spec
from dtp_action.errors import UsageError

BUILTIN = catalog.builtin()
PROTOCOLS = [
    *("aspera", "aws", "fdt", "gcp", "globus", "http", "irods"),
    *("local", "minio", "ndn", "rclone", "sra-tools", "ssh"),
]


def site(text: str) -> Catalog:
    return catalog.parse(f"version: 1\nprotocols:\n{text}", "dtp-jobs/catalog.yaml", base=BUILTIN)


def refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        site(text)
    return caught.value.message


def settings(more: str = "") -> ClusterSettings:
    least = "version: 1\nclaim: data\nrunnerImage: registry.example.org/dtp/runner:1\n"
    return cluster_settings.parse(least + more, "ConfigMap dtp-cluster")


def script(*lines: str, ref: str = "dtp-aws/genome") -> Script:
    text = "\n".join(("#!/bin/sh", *lines, "echo", ""))
    asked, findings = directives.parse(text, "p")
    assert not findings
    return Script(ref=Ref.parse(ref), content=text.encode(), blob="b", directives=asked)


def resolve(
    one: Script, rows: Catalog = BUILTIN, more: str = "", author: str | None = None
) -> Spec | tuple[Finding, ...]:
    return catalog.resolve(one, catalog=rows, settings=settings(more), author=author)


def refused(
    one: Script, rows: Catalog = BUILTIN, more: str = "", author: str | None = None
) -> list[tuple[int, str, str]]:
    found = resolve(one, rows, more, author)
    assert not isinstance(found, Spec)
    return [(finding.line, finding.code, finding.message) for finding in found]


def accepted(one: Script, rows: Catalog = BUILTIN, more: str = "", author: str = "ada") -> Spec:
    spec = resolve(one, rows, more, author)
    assert isinstance(spec, Spec)
    return spec


# --- the built-in rows ---------------------------------------------------------------------------


def test_the_protocols_of_the_original_and_the_new_ones_have_rows() -> None:
    assert list(BUILTIN.protocols) == PROTOCOLS


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_built_in_row_is_documented_and_runs_as_no_root(protocol: str) -> None:
    row = BUILTIN.rows[protocol]
    assert row.doc
    assert row.uid >= 1000
    assert not set(row.transient) & set(row.exits)
    assert not any(set(tool.transient) & set(tool.exits) for tool in row.tools.values())
    assert not {126, 127, 137} & set(row.retried)


def test_a_row_says_what_exit_codes_mean_and_which_are_worth_trying_again() -> None:
    tool = BUILTIN.rows["rclone"].tools["rclone"]
    assert tool.transient == {5: "a temporary error"}
    assert tool.exits[3] == "the directory or the bucket was not found"


def test_each_tool_of_a_row_has_codes_of_its_own() -> None:
    tools = BUILTIN.rows["http"].tools
    assert tools["curl"].transient[28] == "the transfer timed out"
    assert tools["aria2c"].exits[28] == "the command line is wrong"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_built_in_row_names_the_tools_of_its_image(protocol: str) -> None:
    assert BUILTIN.rows[protocol].tools


def test_an_alias_finds_the_row() -> None:
    assert BUILTIN.row("google") is BUILTIN.row("gcp") is BUILTIN.rows["gcp"]
    assert BUILTIN.row("nothing") is None


# --- a site's own file ---------------------------------------------------------------------------


def test_a_site_changes_one_key_of_a_row_and_keeps_the_others() -> None:
    assert site("  aws: {memory: 4Gi}\n").rows["aws"] == replace(
        BUILTIN.rows["aws"], memory=4 * 2**30
    )


def test_a_site_adds_a_protocol() -> None:
    rows = site("""
  icommands:
    doc: iRODS with icommands
    image: registry.example.org/lab/icommands:4.3
    uid: 2000
    cpu: 500m
    memory: 1Gi
    disk: 20G
    time: 2h
    env: {IRODS_LOG: /home/dtp/log}
    network: false
    tools: {iget: {transient: {4: the server is busy}, exits: {3: no such file}}, iput: {}}
    transient: {4: the server is busy}
    exits: {3: no such file}
    interpreters: [python3]
    secretKeys: [irods.json]
    aliases: [imeta]
""")
    row = rows.row("imeta")
    assert row == catalog.Row(
        protocol="icommands",
        doc="iRODS with icommands",
        image="registry.example.org/lab/icommands:4.3",
        uid=2000,
        cpu_millis=500,
        memory=2**30,
        disk=20 * 10**9,
        time=7200,
        env={"IRODS_LOG": "/home/dtp/log"},
        network=False,
        tools={
            "iget": catalog.Tool(transient={4: "the server is busy"}, exits={3: "no such file"}),
            "iput": catalog.Tool(),
        },
        transient={4: "the server is busy"},
        exits={3: "no such file"},
        interpreters=("python3",),
        secret_keys=("irods.json",),
        aliases=("imeta",),
    )
    assert rows.rows["aws"] == BUILTIN.rows["aws"]


def test_a_site_switches_a_protocol_off_and_with_it_its_aliases() -> None:
    rows = site("  gcp: {off: true}\n")
    assert rows.row("gcp") is None
    assert rows.row("google") is None
    assert "gcp" not in rows.protocols


def test_a_row_of_its_own_goes_before_an_alias() -> None:
    row = site("  google: {memory: 1Gi}\n").row("google")
    assert row is not None
    assert (row.protocol, row.memory) == ("google", 2**30)


def test_an_empty_site_file_changes_nothing() -> None:
    assert catalog.parse("version: 1\n", "x", base=BUILTIN) == BUILTIN
    assert catalog.parse("version: 1\nprotocols:\n", "x", base=BUILTIN) == BUILTIN


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "  aws: {uid: 0}\n",
            "protocols: aws: uid: `0` is not a whole number from 1 to 2147483647",
        ),
        (
            "  aws: {imgae: x}\n",
            "protocols: aws: unknown key `imgae`; did you mean `image`?",
        ),
        (
            "  aws: {image: busybox}\n",
            "protocols: aws: image: `busybox` is not a full image reference "
            "such as `registry.example.org/group/image:1.2`",
        ),
        (
            "  aws: {transient: {256: x}}\n",
            "protocols: aws: transient: `256` is not a whole number from 1 to 255",
        ),
        (
            "  aws: {env: {HOME: /x}}\n",
            "protocols: aws: env: `HOME` is not a variable's name, not HOME, TMPDIR, PATH or DTP_…",
        ),
        (
            "  aws: {env: {dtp_start: 7}}\n",  # variables of the runner itself are called so
            "protocols: aws: env: `dtp_start` is not a variable's name, not HOME, TMPDIR, PATH or "
            "DTP_…",
        ),
        ("  aws: {off: yes}\n", "protocols: aws: off: `yes` is not `true` or `false`"),
        (
            "  AWS: {}\n",
            "protocols: `AWS` is not lower case letters, digits and, between them, `-`, at most "
            "31, without the folder's `dtp-`",
        ),
        ("  aws: [x]\n", "protocols: aws: a list is not a mapping (key: value)"),
    ],
)
def test_an_error_names_the_place_what_was_found_and_what_is_allowed(text: str, told: str) -> None:
    assert refusal(text) == f"dtp-jobs/catalog.yaml: {told}"


def test_the_form_of_the_file_must_be_named() -> None:
    with pytest.raises(UsageError, match=r"^x: the key `version` is missing$"):
        catalog.parse("protocols: {}\n", "x")


# --- one attempt ---------------------------------------------------------------------------------


def test_a_script_that_asks_for_nothing_gets_its_rows_defaults() -> None:
    spec = accepted(script(), more="groups: [5000]\nqueue: transfers\n")
    row = BUILTIN.rows["aws"]
    assert spec == Spec(
        image=str(row.image),
        uid=1000,
        cpu_millis=1000,
        memory=2 * 2**30,
        disk=10 * 2**30,
        time=86_400,
        retries=0,
        resume=False,
        transient=(),
        tool_transient=("aws:1", "aws:254", "aws:255"),
        env={},
        secrets=("dtp-aws",),
        claim="data",
        mounts=(Mount(path="", read_only=True),),
        runner_image="registry.example.org/dtp/runner:1",
        service_account="dtp-job",
        groups=(5000,),
        queue_allowance=86_400,
        queue="transfers",
    )


def test_directives_go_before_the_rows_defaults() -> None:
    spec = accepted(script("#DTP cpu=4 memory=8Gi disk=1Gi time=1h retries=2 resume=yes"))
    assert (spec.cpu_millis, spec.memory, spec.disk, spec.time) == (4000, 8 * 2**30, 2**30, 3600)
    assert (spec.retries, spec.resume) == (2, True)


def test_a_folder_named_by_an_alias_uses_the_secret_of_its_own_name() -> None:
    assert accepted(script(ref="dtp-google/a")).secrets == ("dtp-google",)


def test_a_value_over_a_cap_is_refused_with_the_cap_and_the_line_that_would_do() -> None:
    one = script("# big", "#DTP cpu=2 memory=64Gi", "#DTP time=240h")
    found = resolve(one, more="caps: {memory: 16Gi, time: 7d}\n")
    assert found == (
        Finding(
            path="dtp-jobs/dtp-aws/genome.sh",
            line=3,
            code="cap",
            message="`memory=64Gi` is over this cluster's cap of 16Gi",
            fix="#DTP cpu=2 memory=16Gi",
        ),
        Finding(
            path="dtp-jobs/dtp-aws/genome.sh",
            line=4,
            code="cap",
            message="`time=240h` is over this cluster's cap of 7d",
            fix="#DTP time=7d",
        ),
    )


@pytest.mark.parametrize(
    ("line", "caps"),
    [
        ("#DTP cpu=2", "cpu: 1"),
        ("#DTP disk=2Gi", "disk: 1Gi"),
        ("#DTP retries=2", "retries: 1"),
    ],
)
def test_each_cap_holds(line: str, caps: str) -> None:
    ((at, code, _),) = refused(script(line), more=f"caps: {{{caps}}}\n")
    assert (at, code) == (2, "cap")


def test_a_value_at_the_cap_is_accepted() -> None:
    assert accepted(script("#DTP cpu=2"), more="caps: {cpu: 2}\n").cpu_millis == 2000


def test_a_rows_default_gives_way_to_a_cap_since_the_author_asked_for_nothing() -> None:
    spec = accepted(script(), more="caps: {cpu: 500m, memory: 1Gi, disk: 1Gi, time: 1h}\n")
    assert (spec.cpu_millis, spec.memory, spec.disk, spec.time) == (500, 2**30, 2**30, 3600)


def test_a_protocol_without_an_image_says_where_to_name_one() -> None:
    assert refused(script(ref="dtp-irods/a")) == [
        (
            0,
            "protocol",
            "dtp-irods has no image yet: the maintainer of the requests repository "
            "can name one as `protocols.irods.image` in dtp-jobs/catalog.yaml",
        )
    ]


@pytest.mark.parametrize(("row", "folder"), [("aws", "dtp-aws"), ("gcp", "dtp-google")])
def test_a_protocol_that_is_switched_off_says_so(row: str, folder: str) -> None:
    one = script(ref=f"{folder}/a")
    ((_, _, message),) = refused(one, site(f"  {row}: {{off: true}}\n"))
    assert message == f"{folder} is switched off in dtp-jobs/catalog.yaml"


def test_an_unknown_protocol_names_the_nearest() -> None:
    ((_, _, message),) = refused(script(ref="dtp-sratools/a"))
    assert message == "dtp-sratools is no protocol; did you mean `sra-tools`?"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sra", "; did you mean `sra-tools`?"),
        ("rsync", "; did you mean `ssh`?"),
        ("s3", "; did you mean `aws` or `minio`?"),
        ("curl", "; did you mean `http`?"),
        ("zip", "; known are aspera, "),
    ],
)
def test_the_name_of_a_tool_or_a_store_leads_to_its_protocol(typed: str, meant: str) -> None:
    ((_, _, message),) = refused(script(ref=f"dtp-{typed}/a"))
    assert message.startswith(f"dtp-{typed} is no protocol{meant}")


def test_a_protocol_is_named_without_its_folders_prefix() -> None:
    with pytest.raises(UsageError, match=r"`dtp-aws` is not .* without the folder's `dtp-`"):
        site("  dtp-aws: {off: true}\n")


def test_an_image_without_a_digest_is_refused_where_the_cluster_wants_one() -> None:
    rows = site("  aws: {image: 'registry.example.org/x/aws:1'}\n")
    assert refused(script(), rows, more="pinned: true\n") == [
        (
            0,
            "image",
            "the image of aws, registry.example.org/x/aws:1, has no digest, and this cluster runs "
            "none without: pin it in dtp-jobs/catalog.yaml (`dtp images` shows how)",
        )
    ]
    assert accepted(script(), rows).image == "registry.example.org/x/aws:1"


def test_an_image_that_the_cluster_does_not_allow_is_refused() -> None:
    rows = site("  aws: {image: 'registry.example.org/x/aws:1'}\n")
    assert refused(script(), rows, more="images: [docker.io/amazon/]\n") == [
        (
            0,
            "image",
            "the image of aws, registry.example.org/x/aws:1, is not among the images that "
            "the cluster's settings allow (`images`)",
        )
    ]


def test_a_named_secret_goes_to_the_person_it_is_granted_to() -> None:
    spec = accepted(script("#DTP secret=lab-key"), more="grants: {lab-key: [Ada]}\n", author="ada")
    assert spec.secrets == ("dtp-aws", "dtp-aws-lab-key")


def test_a_protocol_whose_secret_would_be_a_granted_one_is_refused() -> None:
    rows = site("  aws-lab-key: {image: 'docker.io/amazon/aws-cli:1'}\n")
    assert refused(script(ref="dtp-aws-lab-key/a"), rows, more="grants: {lab-key: [Ada]}\n") == [
        (
            0,
            "protocol",
            "the Secret of dtp-aws-lab-key has the name of one that is granted as lab-key: "
            "rename the protocol, or the grant",
        )
    ]


def test_a_name_that_ends_in_two_grants_belongs_to_the_longer() -> None:
    rows = site("  aws-other: {image: 'docker.io/amazon/aws-cli:1'}\n")
    grants = "grants: {lab: [mallory], other-lab: [ada]}\n"
    mine = script("#DTP secret=lab", ref="dtp-aws-other/a")
    assert refused(mine, rows, more=grants, author="mallory") == [
        (
            2,
            "protocol",
            "Secret lab of dtp-aws-other has the name of one that is granted as other-lab: "
            "rename the protocol, or the grant",
        )
    ]
    hers = accepted(script("#DTP secret=other-lab"), rows, more=grants, author="ada")
    assert hers.secrets == ("dtp-aws", "dtp-aws-other-lab")
    also = accepted(script("#DTP secret=lab"), rows, more=grants, author="mallory")
    assert also.secrets == ("dtp-aws", "dtp-aws-lab")


ENDPOINT = ("dtp-globus/endpoint", "#DTP kind=service")
SERVICES = "  globus: {serviceImage: 'docker.io/x/connect:1', memory: 1Gi}\n"


def test_a_service_has_an_image_of_its_own_goes_on_to_the_cap_and_resumes() -> None:
    one = script(ENDPOINT[1], ref=ENDPOINT[0])
    spec = accepted(one, site(SERVICES), more="caps: {time: 5d}\n")
    assert (spec.image, spec.service, spec.resume) == ("docker.io/x/connect:1", True, True)
    assert (spec.time, spec.memory) == (5 * 86_400, 2**30)


def test_a_service_that_is_not_to_start_again_is_none() -> None:
    one = script("#DTP kind=service", "#DTP cpu=1 resume=no", ref=ENDPOINT[0])
    told = "a service starts again after its node was lost: `resume=no` is for runs"
    assert refused(one, site(SERVICES)) == [(3, "directive-value", told)]
    assert accepted(script("#DTP resume=no")).resume is False


def test_a_service_may_offer_its_directory_and_what_the_settings_name() -> None:
    one = script(ENDPOINT[1], ref=ENDPOINT[0])
    spec = accepted(one, site(SERVICES), more="exposed: [data, out]\nwritable: [out]\n")
    assert spec.offers == (
        Mount(path="dtp-jobs/dtp-globus/endpoint", read_only=False),
        Mount(path="data", read_only=True),
        Mount(path="out", read_only=False),
    )
    assert accepted(script(), more="exposed: [data]\n").offers == ()


def test_a_protocol_without_services_says_where_to_name_their_image() -> None:
    assert refused(script("#DTP kind=service")) == [
        (
            2,
            "protocol",
            "dtp-aws has no image for services: leave out `kind=service`, or the maintainer of the "
            "requests repository can name one as `protocols.aws.serviceImage` in "
            "dtp-jobs/catalog.yaml",
        )
    ]


def test_exit_codes_mean_what_the_row_says_and_what_shells_say() -> None:
    rows = site("  aws: {exits: {1: 'a part failed'}, transient: {255: 'try again'}}\n")
    meanings = rows.meanings(Ref.parse("dtp-aws/a"))
    assert meanings.general == {**catalog.SHELLS_OWN, 1: "a part failed", 255: "try again"}
    assert meanings.tools["aws"][254] == "the service answered with an error"
    assert rows.meanings(Ref.parse("dtp-gone/a")) == Meanings(general=catalog.SHELLS_OWN)


def test_whose_script_it_is_has_to_be_known_for_a_secret_that_is_granted() -> None:
    one = script("#DTP secret=lab-key")
    ((_, code, told),) = refused(one, more="grants: {lab-key: [ada]}\n")
    assert code == AUTHOR_UNKNOWN
    assert told == (
        "Secret lab-key is for those it is granted to, and whose script this is cannot be told: "
        "bring it by a pull request"
    )


def test_the_whole_name_of_a_secret_is_corrected_to_the_one_that_is_granted() -> None:
    one = script("#DTP time=1h secret=dtp-aws-lab-key")
    found = resolve(one, more="grants: {lab-key: [ada]}\n", author="ada")
    assert not isinstance(found, Spec)
    fixes = [(finding.line, finding.code, finding.fix) for finding in found]
    assert fixes == [(2, "secret-grant", "#DTP time=1h secret=lab-key")]
    assert "without `dtp-aws-`" in found[0].message


@pytest.mark.parametrize(
    ("grants", "author", "told"),
    [
        (
            "{}",
            "ada",
            "Secret lab-key is not granted to anybody: ask the cluster's admin (`grants`)",
        ),
        (
            "{lab-key: [ada]}",
            "mallory",
            "Secret lab-key is not granted to mallory: ask the cluster's admin (`grants`)",
        ),
    ],
)
def test_a_named_secret_that_is_not_granted_is_refused_at_its_line(
    grants: str, author: str, told: str
) -> None:
    one = script("#DTP cpu=1", "#DTP secret=lab-key")
    assert refused(one, more=f"grants: {grants}\n", author=author) == [(3, "secret-grant", told)]


def test_a_job_sees_what_the_admin_shows_and_writes_where_the_admin_says() -> None:
    own = accepted(script(), more="visible: own\nwritable: [shared/out]\n")
    assert own.mounts == (Mount(path="shared/out", read_only=False),)
