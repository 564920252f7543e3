"""What is to be said of each image that the catalog names, from what its registry shows.

Facts in, findings out, and the text of the one issue. Knows no registry and no GitHub.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from dtp_action.core import catalog, issues, markdown
from dtp_action.core.catalog import Catalog
from dtp_action.core.pulls import marker
from dtp_action.errors import Exit

DOCKER = ("docker.io", "index.docker.io")


# --- which images? -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A full image reference: a tag, a digest (`sha256:…`) or both."""

    registry: str
    name: str  # what stands before the tag, as the catalog has it
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference that the catalog took."""
        rest, _, digest = text.partition("@")
        registry, _, path = rest.partition("/")
        path, _, tag = path.partition(":")
        return cls(registry=registry, name=f"{registry}/{path}", tag=tag, digest=digest)

    @property
    def repository(self) -> str:
        """The repository as its registry knows it: Docker Hub leaves out `library/`."""
        path = self.name.partition("/")[2]
        return f"library/{path}" if self.registry in DOCKER and "/" not in path else path

    @property
    def text(self) -> str:
        """The reference as it is written."""
        tag, digest = (f":{self.tag}" if self.tag else ""), (self.digest and f"@{self.digest}")
        return f"{self.name}{tag}{digest}"


@dataclass(frozen=True, kw_only=True)
class Image:
    """A reference of the catalog, and where it stands."""

    reference: Reference
    key: str  # of the first row that has it
    folders: tuple[str, ...]
    built_in: bool  # it comes with a release, so anybody can pull it


def named(rows: Catalog) -> tuple[Image, ...]:
    """Return the images of all rows that are in use, each once."""
    ours = {image for row in catalog.builtin().rows.values() for _, image in _of(row)}
    found: dict[str, Image] = {}
    for protocol in rows.protocols:
        for key, text in _of(rows.rows[protocol]):
            new = Image(reference=Reference.parse(text), key=key, folders=(), built_in=text in ours)
            image, folder = found.get(text, new), f"dtp-{protocol}"
            found[text] = replace(image, folders=tuple(dict.fromkeys((*image.folders, folder))))
    return tuple(found.values())


def _of(row: catalog.Row) -> list[tuple[str, str]]:
    both = (("image", row.image), ("serviceImage", row.service_image))
    return [(key, text) for key, text in both if text]


# --- a newer tag? --------------------------------------------------------------------------------

_COMMIT = re.compile(r"(?<![^._-])(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{7,}(?![^._-])")


def newest(tag: str, tags: Iterable[str]) -> str | None:
    """Return the highest of the tags that are higher than this one and differ in numbers alone.

    A tag without a number has no order, nor has one with a commit's id.
    """
    words, numbers = _taken_apart(tag)
    if not numbers or _COMMIT.search(tag):
        return None
    others = {other: _taken_apart(other) for other in tags if not _COMMIT.search(other)}
    higher = {other: own for other, (same, own) in others.items() if same == words}
    best = max(higher, key=lambda other: higher[other], default=tag)
    return best if higher.get(best, ()) > numbers else None


def _taken_apart(tag: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return what stands between a tag's numbers, and the numbers."""
    parts = re.split("([0-9]+)", tag)
    return tuple(parts[::2]), tuple(map(int, parts[1::2]))


# --- what is so? ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a registry shows of a reference."""

    pinned: bool = False  # the image of its digest is there
    tagged: str | None = None  # the digest that its tag points to now
    newer: tuple[str, str] | None = None  # the newest tag of its form, and its digest
    unlisted: str = ""  # why nobody looked for one


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Why a registry shows nothing: `refused` for good, else for now."""

    why: str
    refused: bool = False


class State(StrEnum):
    """What is so with an image."""

    CURRENT = "current"
    NEWER = "newer"
    MOVED = "moved"
    UNPINNED = "unpinned"
    GONE = "gone"
    DENIED = "denied"
    UNAVAILABLE = "unavailable"


ATTENTION = (State.GONE, State.MOVED, State.UNPINNED, State.NEWER)


@dataclass(frozen=True, kw_only=True)
class Found:
    """One thing to say of an image, and the line of the catalog that mends it."""

    state: State
    message: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All that is to be said of an image."""

    image: Image
    found: tuple[Found, ...]

    @property
    def alarming(self) -> tuple[Found, ...]:
        """What somebody should do something about."""
        return tuple(one for one in self.found if one.state in ATTENTION)


def judge(image: Image, seen: Seen | Unseen) -> Verdict:
    """Return what is to be said of an image."""
    if isinstance(seen, Unseen):
        return Verdict(image=image, found=(_unseen(image, seen),))
    found = [*_present(image, seen), *_newer(image, seen)]
    return Verdict(image=image, found=tuple(found or [_current(image, seen)]))


def _unseen(image: Image, seen: Unseen) -> Found:
    if not seen.refused:
        return Found(state=State.UNAVAILABLE, message=f"cannot be asked for now: {seen.why}")
    shown = f"its registry shows it to nobody without a login ({seen.why})"
    if image.built_in:  # most registries say the same of what was deleted
        return Found(state=State.GONE, message=f"{shown}: it is gone, or no longer public")
    return Found(state=State.DENIED, message=f"{shown}: it is private, or gone")


def _present(image: Image, seen: Seen) -> list[Found]:
    """Return what is wrong with what the reference names."""
    reference, tag = image.reference, image.reference.tag
    fix = _line(image, tag, seen.tagged)
    if not (seen.pinned if reference.digest else seen.tagged):
        rest = f"; the tag {tag} is another image now" if seen.tagged else ""
        message = (
            f"it is gone{rest}: nothing starts with it until the row names an image that is there"
        )
        return [Found(state=State.GONE, message=message, fix=fix)]
    if not reference.digest:
        message = f"no digest is pinned: the tag {tag} may become another image"
        return [Found(state=State.UNPINNED, message=message, fix=fix)]
    if not tag or seen.tagged == reference.digest:
        return []
    now = "is another image now" if seen.tagged else "is gone"
    message = f"the tag {tag} {now}; what is pinned is still there"
    return [Found(state=State.MOVED, message=message, fix=fix)]


def _newer(image: Image, seen: Seen) -> list[Found]:
    if not seen.newer:
        return []
    tag, digest = seen.newer
    return [Found(state=State.NEWER, message=f"{tag} is there", fix=_line(image, tag, digest))]


def _current(image: Image, seen: Seen) -> Found:
    said = "it is there, and its tag points to it" if image.reference.tag else "it is there"
    left = f"; whether there is a newer tag is not known: {seen.unlisted}" if seen.unlisted else ""
    return Found(state=State.CURRENT, message=f"{said}{left}")


def _line(image: Image, tag: str, digest: str | None) -> str:
    """Return the line of the catalog that names this tag by its digest; '' without one."""
    if not digest:
        return ""
    return f"{image.key}: {replace(image.reference, tag=tag, digest=digest).text}"


# --- how it is told ------------------------------------------------------------------------------


def rows(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Return the verdicts as data."""
    return [
        {
            "image": one.image.reference.text,
            "folders": list(one.image.folders),
            "found": [asdict(found) for found in one.found],
        }
        for one in verdicts
    ]


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return one line about all of them."""
    counts = Counter(found.state for one in verdicts for found in one.found)
    told = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    counted = f"{len(verdicts)} image{'s' * (len(verdicts) != 1)}"
    return f"{counted}: {told}" if verdicts else "the catalog names no image"


def run_summary(verdicts: Sequence[Verdict]) -> str:
    """Return what a workflow's run shows, as Markdown."""
    alarming = [one for one in verdicts if one.alarming]
    return "\n\n".join([summary(verdicts), *([body(alarming)] if alarming else [])])


def exit_code(verdicts: Sequence[Verdict], *, told: bool) -> Exit:
    """Return how the command ends; `told`: an issue says what needs attention."""
    if any(one.alarming for one in verdicts) and not told:
        return Exit.BAD_OUTCOME
    return Exit.UNAVAILABLE if _unknown(verdicts) else Exit.DONE


def _unknown(verdicts: Iterable[Verdict]) -> list[str]:
    """Return the images that could not be asked for."""
    there = (one for one in verdicts if one.found[0].state is State.UNAVAILABLE)
    return [one.image.reference.text for one in there]


def mark(name: str) -> str:
    """Return the hidden first line of the issue of a catalog; the name is a cluster's, or ''."""
    return marker("images", name)


def steps(
    verdicts: Sequence[Verdict], there: Sequence[issues.Issue], *, name: str, run_url: str
) -> list[issues.Step]:
    """Return what keeps the one issue true; what an image that cannot be asked has there, stays."""
    standing = [one.body for one in there if one.open]
    if any(image in body for image in _unknown(verdicts) for body in standing):
        return []
    alarming = [one for one in verdicts if one.alarming]
    if not alarming:
        run = f" ({markdown.link('the check', run_url)})" if run_url else ""
        return issues.all_is_well(f"Nothing needs attention any more{run}.", there)
    title = "Images of the catalog need attention" + (f" ({name})" if name else "")
    return issues.alarm(title, f"{mark(name)}\n{body(alarming)}", there)


def body(verdicts: Iterable[Verdict]) -> str:
    """Return what the issue says, as Markdown: each image, what is so, the line to write."""
    parts = [_part(one) for one in verdicts]
    where = (
        f"The lines belong into the protocol's row in `{catalog.SITE_FILE}`; a row that comes with"
        " DTP-Requests is also changed by its next release. Try a new image with a job before you"
        " rely on it. This text is rewritten by each check, and the issue closed when all is well."
    )
    return "\n\n".join([*parts, where])


def _part(verdict: Verdict) -> str:
    image = verdict.image
    head = f"**{markdown.code(image.reference.text)}** – {', '.join(image.folders)}"
    return "\n\n".join([head, *(_told(found) for found in verdict.alarming)])


def _told(found: Found) -> str:
    said = f"{found.state}: {markdown.plain(found.message)}"
    return f"{said}\n\n{markdown.fenced(found.fix)}" if found.fix else said
