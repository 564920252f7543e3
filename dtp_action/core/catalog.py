"""The protocol rows, and what a script, its row and the cluster settings make of one attempt.

A new protocol is one row of `catalog.yaml`: nothing here knows one by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

from dtp_action.core import directives, documents, quantities
from dtp_action.core.cluster_settings import ClusterSettings, Visible, image_reference
from dtp_action.core.documents import Field, amount, choice, mapping, several, text, whole
from dtp_action.core.model import Finding, Mount, Script, Spec

SITE_FILE = "dtp-jobs/catalog.yaml"
SHELLS = ("sh", "bash")  # the runner brings both to every image


@dataclass(frozen=True, kw_only=True)
class Row:
    """One protocol: its image, defaults, and what its exit codes mean."""

    protocol: str
    doc: str = ""
    image: str | None = None  # None: no image is published yet
    uid: int = 1000
    cpu_millis: int = 1000
    memory: int = 2 * 2**30
    disk: int = 10 * 2**30
    time: int = 24 * 3600
    env: dict[str, str] = field(default_factory=dict)
    transient: dict[int, str] = field(default_factory=dict)
    exits: dict[int, str] = field(default_factory=dict)
    interpreters: tuple[str, ...] = ()
    secret_keys: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    off: bool = False

    @property
    def exit_codes(self) -> dict[int, str]:
        """What an exit code of this protocol's tools means."""
        return self.exits | self.transient


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """The rows by protocol, those that are switched off too."""

    rows: dict[str, Row]

    def row(self, protocol: str) -> Row | None:
        """Return the row of a protocol or an alias of one; None where there is none to run."""
        row = self.named(protocol)
        return row if row and not row.off else None

    def named(self, protocol: str) -> Row | None:
        """Return the row of a protocol or an alias of one, also one that is switched off."""
        aliases = {alias: row for row in self.rows.values() for alias in row.aliases}
        return self.rows.get(protocol) or aliases.get(protocol)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that scripts may use."""
        return tuple(sorted(name for name, row in self.rows.items() if not row.off))


_protocol = text(
    r"[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?",
    "lower case letters, digits and, between them, `-`, at most 31",
)
_variable = text(
    r"(?!(?:HOME|TMPDIR|PATH)$|DTP_)[A-Za-z_][A-Za-z0-9_]*",
    "a variable's name, not HOME, TMPDIR, PATH or DTP_…",
)
_line = text(r"[^\x00-\x1f]{0,500}", "one line of text")
_codes = mapping(whole(1, 255), _line)
_memory = amount(quantities.parse_memory)
FIELDS: Mapping[str, Field] = {
    "doc": Field("doc", _line, "text", "what the protocol is for, in one line"),
    "image": Field("image", image_reference, "image", "full reference, best with its digest"),
    "uid": Field("uid", whole(1, 2**31 - 1), "number", "the user that scripts run as, never 0"),
    "cpu": Field("cpu_millis", amount(quantities.parse_cpu), "`500m`, `2`", "default of `cpu=`"),
    "memory": Field("memory", _memory, "`2Gi`", "default of `memory=`"),
    "disk": Field("disk", _memory, "`10Gi`", "default of `disk=`"),
    "time": Field("time", amount(quantities.parse_time), "`24h`", "default of `time=`"),
    "env": Field("env", mapping(_variable, _line), "NAME: text", "variables, as literal text"),
    "transient": Field(
        "transient", _codes, "code: meaning", "exit codes that `retries=` runs again after"
    ),
    "exits": Field("exits", _codes, "code: meaning", "other exit codes that have a meaning"),
    "interpreters": Field(
        "interpreters",
        several(text(r"[A-Za-z0-9][\w.+-]*", "a program's name such as `python3`")),
        "list of names",
        "what the image has, and a shebang may name, beside sh and bash",
    ),
    "secretKeys": Field(
        "secret_keys", several(_line), "list of names", "keys that Secret `dtp-<protocol>` may hold"
    ),
    "aliases": Field("aliases", several(_protocol), "list", "other names of the folder"),
    "off": Field("off", choice(True, False), "`true`", "scripts of this protocol are rejected"),
}
_TOP = {
    "version": Field("version", choice(1), "`1`", "the form of this file"),
    "protocols": Field("protocols", mapping(_protocol, documents.record(FIELDS)), "", "the rows"),
}


def builtin() -> Catalog:
    """Return the rows that come with this release: package data, as fixed as code."""
    content = resources.files("dtp_action").joinpath("catalog.yaml").read_bytes()
    return parse(content, "the built-in catalog")


def parse(content: str | bytes, where: str, base: Catalog | None = None) -> Catalog:
    """Read a catalog; over a base, each key given replaces that key of the base's row.

    Raises UsageError; `where` names the document in it.
    """
    place = documents.Place(where)
    read = documents.record(_TOP, required=("version",))(place, documents.load(content, where))
    rows = dict(base.rows) if base else {}
    for protocol, values in read.get("protocols", {}).items():
        rows[protocol] = replace(rows.get(protocol, Row(protocol=protocol)), **values)
    _check_aliases(place.at("protocols"), rows)
    return Catalog(rows=dict(sorted(rows.items())))


def _check_aliases(place: documents.Place, rows: Mapping[str, Row]) -> None:
    owners = {name: name for name in rows}
    for row in rows.values():
        for alias in row.aliases:
            if alias in owners:
                at = place.at(row.protocol).at("aliases")
                raise at.error(f"`{alias}` names `{owners[alias]}` already")
            owners[alias] = row.protocol


# --- one attempt ---------------------------------------------------------------------------------


def resolve(
    script: Script, *, catalog: Catalog, settings: ClusterSettings, author: str | None = None
) -> Spec | tuple[Finding, ...]:
    """Return all that the script's attempt is to run with, or why it may not.

    `author` is the pull request's, as far as known: without one no named Secret is given.
    """
    row = catalog.row(script.ref.protocol)
    refused = (
        *refusals(script, catalog=catalog, settings=settings),
        *_ungranted(script, settings, author),
    )
    if refused or row is None or row.image is None:
        return tuple(dict.fromkeys(refused))
    return _spec(script, row, row.image, settings)


def refusals(
    script: Script, *, catalog: Catalog, settings: ClusterSettings | None
) -> Iterator[Finding]:
    """Yield why a script cannot run whoever asks: protocol, image, caps, unknown Secrets."""
    row = catalog.row(script.ref.protocol)
    if row is None or row.image is None:
        message = _unusable(script.ref.protocol, catalog)
        yield Finding(path=script.ref.path, code="protocol", message=message)
        return
    if settings is None:
        return
    if not settings.admits(row.image):
        message = f"the image of {row.protocol}, {row.image}, is not among the images that the "
        message += "cluster's settings allow (`images`)"
        yield Finding(path=script.ref.path, code="image", message=message)
    for key, asked, cap, write in _asked(script, settings):
        if asked is not None and asked > cap:
            yield _over(script, key, write(cap))
    for secret in script.directives.secrets:
        if secret not in settings.grants:
            message = f"Secret {secret} is granted to nobody: the cluster's admin must name it in "
            yield _secret(script, secret, f"{message}the cluster settings (`grants`)")


def _over(script: Script, key: str, cap: str) -> Finding:
    place = directives.stated(script.content.decode(errors="replace"), f"{key}=")
    return Finding(
        path=script.ref.path,
        line=place.number,
        code="cap",
        message=f"`{place.word or key}` is over this cluster's cap of {cap}",
        fix=place.line.replace(place.word, f"{key}={cap}") if place.word else "",
    )


def _secret(script: Script, secret: str, message: str) -> Finding:
    place = directives.stated(script.content.decode(errors="replace"), f"secret={secret}")
    return Finding(path=script.ref.path, line=place.number, code="secret-grant", message=message)


def _ungranted(script: Script, settings: ClusterSettings, author: str | None) -> Iterator[Finding]:
    whom = f"to {author}" if author else "without a pull request whose author is known"
    for secret in script.directives.secrets:
        if secret in settings.grants and not settings.grants_to(secret, author):
            message = f"Secret {secret} is not granted {whom}: ask the cluster's admin (`grants`)"
            yield _secret(script, secret, message)


def _unusable(protocol: str, catalog: Catalog) -> str:
    row = catalog.named(protocol)
    if row is None:
        return f"dtp-{protocol} is no protocol{documents.closest(protocol, catalog.protocols)}"
    if row.off:
        return f"dtp-{protocol} is switched off in {SITE_FILE}"
    return (
        f"no image is published for dtp-{protocol} yet: "
        f"set `protocols.{row.protocol}.image` in {SITE_FILE}"
    )


def _asked(
    script: Script, settings: ClusterSettings
) -> tuple[tuple[str, int | None, int, Any], ...]:
    """Return key, value asked for, cap and printer of what is capped."""
    ask, caps = script.directives, settings.caps
    return (
        ("cpu", ask.cpu_millis, caps.cpu_millis, quantities.print_cpu),
        ("memory", ask.memory, caps.memory, quantities.print_memory),
        ("disk", ask.disk, caps.disk, quantities.print_memory),
        ("time", ask.time, caps.time, quantities.print_time),
        ("retries", ask.retries, caps.retries, str),
    )


def _spec(script: Script, row: Row, image: str, settings: ClusterSettings) -> Spec:
    ask, caps = script.directives, settings.caps
    root = (Mount(path=""),) if settings.visible is Visible.ALL else ()
    return Spec(
        image=image,
        uid=row.uid,
        # A row's default is no request of the author's: it gives way to the cap.
        cpu_millis=ask.cpu_millis or min(row.cpu_millis, caps.cpu_millis),
        memory=ask.memory or min(row.memory, caps.memory),
        disk=ask.disk or min(row.disk, caps.disk),
        time=ask.time or min(row.time, caps.time),
        retries=ask.retries,
        resume=ask.resume,
        transient=tuple(sorted(row.transient)),
        env=dict(row.env),
        secrets=(f"dtp-{row.protocol}", *ask.secrets),
        claim=settings.claim,
        mounts=(*root, *(Mount(path=path, read_only=False) for path in settings.writable)),
        runner_image=settings.runner_image,
        service_account=settings.service_account,
        groups=settings.groups,
        queue_allowance=settings.queue_allowance,
        node_selector=settings.node_selector,
        tolerations=settings.tolerations,
        dns_policy=settings.dns_policy,
        queue=settings.queue,
    )
