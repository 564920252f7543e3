"""The protocol rows, and what a script, its row and the cluster settings make of one attempt.

A new protocol is one row of `catalog.yaml`: nothing here knows one by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import resources
from typing import Any

from dtp_action.core import cluster_settings, directives, documents
from dtp_action.core.cluster_settings import ClusterSettings, Visible, image_reference
from dtp_action.core.documents import Field, choice, mapping, several, text, whole
from dtp_action.core.model import AUTHOR_UNKNOWN, Finding, Meanings, Mount, Ref, Script, Spec

SITE_FILE = "dtp-jobs/catalog.yaml"
SHELLS = ("sh", "bash")  # the runner brings both to every image
SHELLS_OWN = {
    126: "a program of it may not be executed",
    127: "a program that it calls is not in the image",
}


@dataclass(frozen=True, kw_only=True)
class Tool:
    """What a program's own exit codes mean; `transient` are those worth trying again after."""

    transient: dict[int, str] = field(default_factory=dict)
    exits: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One protocol: its image, defaults, and what its exit codes mean."""

    protocol: str
    doc: str = ""
    image: str | None = None  # None: no image is published yet
    service_image: str | None = None  # None: it has no services
    uid: int = 1000
    cpu_millis: int = 1000
    memory: int = 2 * 2**30
    disk: int = 10 * 2**30
    time: int = 24 * 3600
    env: dict[str, str] = field(default_factory=dict)
    network: bool = True  # False: its transfers stay within the workspace
    tools: dict[str, Tool] = field(default_factory=dict)  # what its image has, by program
    transient: dict[int, str] = field(default_factory=dict)  # whichever program ended with them
    exits: dict[int, str] = field(default_factory=dict)
    interpreters: tuple[str, ...] = ()
    secret_keys: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    off: bool = False

    @property
    def retried(self) -> tuple[int, ...]:
        """The exit codes after which some program's work may be tried again."""
        own = (tool.transient for tool in self.tools.values())
        return tuple(sorted({*self.transient, *(code for codes in own for code in codes)}))


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

    def meanings(self, ref: Ref) -> Meanings:
        """Return what the exit codes of a job mean."""
        row = self.named(ref.protocol)
        if row is None:
            return Meanings(general=SHELLS_OWN)
        tools = {name: tool.exits | tool.transient for name, tool in row.tools.items()}
        return Meanings(general=SHELLS_OWN | row.exits | row.transient, tools=tools)

    def elsewhere(self, row: Row) -> dict[str, tuple[str, ...]]:
        """Return the tools that other rows name and this one does not, with their protocols."""
        found: dict[str, tuple[str, ...]] = {}
        for other in self.rows.values():
            for tool in () if other.off or not row.tools else other.tools:
                if tool not in row.tools:
                    found[tool] = (*found.get(tool, ()), other.protocol)
        return found

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that scripts may use."""
        return tuple(sorted(name for name, row in self.rows.items() if not row.off))


_protocol = text(
    r"(?!dtp-)[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?",
    "lower case letters, digits and, between them, `-`, at most 31, without the folder's `dtp-`",
)
_variable = text(
    r"(?!(?:HOME|TMPDIR|PATH)$|[Dd][Tt][Pp]_)[A-Za-z_][A-Za-z0-9_]*",
    "a variable's name, not HOME, TMPDIR, PATH or DTP_…",
)
_program = text(r"[A-Za-z0-9][\w.+-]*", "a program's name such as `python3`")
_line = text(r"[^\x00-\x1f]{0,500}", "one line of text")
_codes = mapping(whole(1, 255), _line)
CODES: Mapping[str, Field] = {
    "transient": Field(_codes, "code: meaning", "exit codes that `retries=` runs again after"),
    "exits": Field(_codes, "code: meaning", "other exit codes that have a meaning"),
}
_codes_of_tool = documents.record(CODES)


def _tool(value: Any) -> Tool:
    return Tool(**_codes_of_tool(value))


FIELDS: Mapping[str, Field] = {
    "doc": Field(_line, "text", "what the protocol is for, in one line"),
    "image": Field(image_reference, "image", "full reference, best with its digest"),
    "serviceImage": Field(image_reference, "image", "that of scripts with `kind=service`"),
    "uid": Field(whole(1, 2**31 - 1), "number", "the user that scripts run as, never 0"),
    **{
        key: directives.KEYS[key]._replace(meaning=f"default of `{key}=`")
        for key in ("cpu", "memory", "disk", "time")
    },
    "env": Field(mapping(_variable, _line), "NAME: text", "variables, as literal text"),
    "network": choice(
        {"true": True, "false": False},
        "whether its transfers use the network; without traffic and new files, a job is doubtful",
    ),
    "tools": Field(
        mapping(_program, _tool),
        "program: `transient`, `exits`",
        "programs of the image, each with what its own exit codes mean",
    ),
    "transient": CODES["transient"]._replace(
        meaning="exit codes that `retries=` runs again after, whichever program ended with them"
    ),
    "exits": CODES["exits"]._replace(
        meaning="other exit codes that have a meaning, whichever program ended with them"
    ),
    "interpreters": Field(
        several(_program), "list of names", "what a shebang may name beside sh and bash"
    ),
    "secretKeys": Field(several(_line), "list of names", "keys of Secret `dtp-<protocol>`"),
    "aliases": Field(
        several(_protocol), "list", "other names of the folder, where no row has them"
    ),
    "off": choice({"true": True, "false": False}, "whether its scripts are rejected"),
}
_TOP = {
    "version": documents.version,
    "protocols": Field(mapping(_protocol, documents.record(FIELDS))),
}


@cache
def builtin() -> Catalog:
    """Return the rows that come with this release: package data, as fixed as code."""
    content = resources.files("dtp_action").joinpath("catalog.yaml").read_bytes()
    return parse(content, "the built-in catalog")


def parse(content: str | bytes, where: str, base: Catalog | None = None) -> Catalog:
    """Read a catalog; over a base, each key given replaces that key of the base's row.

    Raises UsageError; `where` names the document in it.
    """
    read = documents.record(_TOP, required=("version",))
    rows = dict(base.rows) if base else {}
    for protocol, values in documents.read(content, where, read).get("protocols", {}).items():
        rows[protocol] = replace(rows.get(protocol, Row(protocol=protocol)), **values)
    return Catalog(rows=dict(sorted(rows.items())))


# --- one attempt ---------------------------------------------------------------------------------


def resolve(
    script: Script, *, catalog: Catalog, settings: ClusterSettings, author: str | None = None
) -> Spec | tuple[Finding, ...]:
    """Return all that the script's attempt is to run with, or why it may not.

    `author` is the pull request's, as far as known: without one no named Secret is given.
    """
    row = catalog.row(script.ref.protocol)
    image = _image(script, row) if row else None
    refused = tuple(refusals(script, catalog=catalog, settings=settings))
    if refused or row is None or image is None:
        return refused
    named = script.directives.secrets
    ungranted = [secret for secret in named if not settings.grants_to(secret, author)]
    refused = tuple(_ungranted(script, secret, author) for secret in ungranted)
    return refused or _spec(script, row, image, settings)


def _image(script: Script, row: Row) -> str | None:
    return row.service_image if script.directives.service else row.image


def refusals(
    script: Script, *, catalog: Catalog, settings: ClusterSettings | None
) -> Iterator[Finding]:
    """Yield why a script cannot run whoever asks: protocol, image, caps, unknown Secrets."""
    path = script.ref.path
    row = catalog.row(script.ref.protocol)
    image = _image(script, row) if row else None
    if row is None or image is None:
        number, message = _unusable(script, catalog)
        yield Finding(path=path, line=number, code="protocol", message=message)
        return
    number, _, word = directives.stated(script.content.decode(), "resume=no")
    if script.directives.service and word == "resume=no":
        message = "a service starts again after its node was lost: `resume=no` is for runs"
        yield Finding(path=path, line=number, code="directive-value", message=message)
    if settings is None:
        return
    if not settings.admits(image):
        message = f"the image of {row.protocol}, {image}, is not among the images that the "
        message += "cluster's settings allow (`images`)"
        yield Finding(path=path, code="image", message=message)
    elif settings.pinned and "@" not in image:
        message = f"the image of {row.protocol}, {image}, has no digest, and this cluster runs none"
        message += f" without: pin it in {SITE_FILE} (`dtp images` shows how)"
        yield Finding(path=path, code="image", message=message)
    for key, one in cluster_settings.CAPS.items():
        attribute = documents.attribute(key, one)
        cap = getattr(settings.caps, attribute)
        if (getattr(script.directives, attribute) or 0) > cap:
            yield _over(script, key, one.write(cap))
    for secret in script.directives.secrets:
        if secret not in settings.grants:
            yield _unknown(script, secret)
    for secret in ("", *script.directives.secrets):
        yield from _ambiguous(script, secret, settings)


def _ambiguous(script: Script, secret: str, settings: ClusterSettings) -> Iterator[Finding]:
    """Yield why a Secret ('': the protocol's own) is not this script's: a longer grant has it.

    So each name of a Secret belongs to one grant at most, whatever protocols a branch makes up.
    """
    protocol, number = script.ref.protocol, 0
    whole, message = protocol, f"the Secret of dtp-{protocol}"
    if secret:
        number, *_ = directives.stated(script.content.decode(), f"secret={secret}")
        whole, message = f"{protocol}-{secret}", f"Secret {secret} of dtp-{protocol}"
    for other in settings.grants:
        if len(other) > len(secret) and whole.endswith(f"-{other}"):
            message += f" has the name of one that is granted as {other}: rename the protocol, or"
            message += " the grant"
            yield Finding(path=script.ref.path, line=number, code="protocol", message=message)


def _over(script: Script, key: str, cap: str) -> Finding:
    number, line, word = directives.stated(script.content.decode(), f"{key}=")
    message = f"`{word}` is over this cluster's cap of {cap}"
    fix = line.replace(word, f"{key}={cap}")
    return Finding(path=script.ref.path, line=number, code="cap", message=message, fix=fix)


def _unknown(script: Script, secret: str) -> Finding:
    """Tell of a name that nobody is granted; it may be the Secret's whole name."""
    found, whole = _ungranted(script, secret, "anybody"), f"dtp-{script.ref.protocol}-"
    if not secret.startswith(whole):
        return found
    _, line, word = directives.stated(script.content.decode(), f"secret={secret}")
    message = f"`secret=` takes the name that is granted, which is the Secret's without `{whole}`"
    fix = line.replace(word, f"secret={secret.removeprefix(whole)}")
    return replace(found, message=message, fix=fix)


def _ungranted(script: Script, secret: str, whom: str | None) -> Finding:
    number, *_ = directives.stated(script.content.decode(), f"secret={secret}")
    code = "secret-grant" if whom else AUTHOR_UNKNOWN
    message = f"Secret {secret} is not granted to {whom}: ask the cluster's admin (`grants`)"
    if whom is None:
        message = f"Secret {secret} is for those it is granted to, and whose script this is cannot"
        message += " be told: bring it by a pull request"
    return Finding(path=script.ref.path, line=number, code=code, message=message)


def _unusable(script: Script, catalog: Catalog) -> tuple[int, str]:
    """Return the line that asks for what is not there, 0 for the folder itself, and why."""
    protocol = script.ref.protocol
    row = catalog.named(protocol)
    if row is None:
        return 0, f"dtp-{protocol} is no protocol{_meant(protocol, catalog)}"
    if row.off:
        return 0, f"dtp-{protocol} is switched off in {SITE_FILE}"
    if script.directives.service:
        number, *_ = directives.stated(script.content.decode(), "kind=service")
        what, else_, key = "image for services", "leave out `kind=service`, or ", "serviceImage"
    else:
        number, what, else_, key = 0, "image yet", "", "image"
    place = f"`protocols.{row.protocol}.{key}` in {SITE_FILE}"
    who = "the maintainer of the requests repository can name one"
    return number, f"dtp-{protocol} has no {what}: {else_}{who} as {place}"


def _meant(word: str, catalog: Catalog) -> str:
    """Return what to say after an unknown protocol: those that it begins, or whose line names it.

    So the name of a tool or a store, such as `rsync`, leads to its protocol.
    """
    rows = [row for row in catalog.rows.values() if not row.off]
    begun = [row.protocol for row in rows if row.protocol.startswith(f"{word}-")]
    told = [row.protocol for row in rows if word in re.findall(r"[a-z0-9-]+", row.doc.lower())]
    found = begun or told
    if 0 < len(found) <= 2:
        return f"; did you mean {' or '.join(f'`{one}`' for one in found)}?"
    return documents.closest(word, catalog.protocols)


def _spec(script: Script, row: Row, image: str, settings: ClusterSettings) -> Spec:
    ask, caps = script.directives, settings.caps
    # A row's default is no request of the author's: it gives way to the cap.
    usual = replace(row, time=caps.time) if ask.service else row
    amounts = {
        name: getattr(ask, name) or min(getattr(usual, name), getattr(caps, name))
        for name in ("cpu_millis", "memory", "disk", "time")
    }
    # What a Spec and the settings both have is the admin's to say.
    names = [one.name for one in fields(Spec) if hasattr(settings, one.name)]
    own = f"dtp-{script.ref.protocol}"
    root = (Mount(path=""),) if settings.visible is Visible.ALL else ()
    return Spec(
        image=image,
        uid=row.uid,
        retries=ask.retries,
        resume=ask.resume or ask.service,
        transient=tuple(sorted(row.transient)),
        tool_transient=tuple(
            f"{name}:{code}" for name, tool in row.tools.items() for code in sorted(tool.transient)
        ),
        network=row.network,
        env=dict(row.env),
        secrets=(own, *(f"{own}-{name}" for name in ask.secrets)),
        service=ask.service,
        manifest=ask.manifest,
        offers=_offers(script, settings) if ask.service else (),
        files=tuple(file.path for file in script.files),
        mounts=(*root, *(Mount(path=path, read_only=False) for path in settings.writable)),
        **amounts,
        **{name: getattr(settings, name) for name in names},
    )


def _offers(script: Script, settings: ClusterSettings) -> tuple[Mount, ...]:
    """Return what a service may offer: its own directory, and what the settings name."""
    named = (Mount(path=one, read_only=one not in settings.writable) for one in settings.exposed)
    return (Mount(path=script.ref.directory, read_only=False), *named)
