"""What a registry shows of an image to anybody, by the OCI distribution API. Pulls nothing.

Bounded: so many tries and pages, and one patience for each registry in the whole run. Plain HTTP
goes to this machine alone. Translates, and decides nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.utils import parse_dict_header

from dtp_action import __version__
from dtp_action.core import images
from dtp_action.core.images import Reference, Seen, Unseen

PATIENCE = 120.0  # seconds that one registry may cost a run, waits included
TIMEOUT = 15  # seconds without a byte, each try
TRIES = 3
FIRST_PAUSE = 1.0
PAGES = 100  # of tags
PER_PAGE = 100
LIMIT = 16 * 2**20  # bytes of an answer
MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.v2",
    )
)
DIGEST = re.compile("sha256:[0-9a-f]{64}")
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


class UnavailableError(Exception):
    """No usable answer for now."""


class RefusedError(Exception):
    """Not shown without a login, or not at all."""


class MissingError(Exception):
    """404."""


class NotNowError(Exception):
    """Worth another try, after a pause."""

    def __init__(self, why: str, pause: float = 0.0) -> None:
        super().__init__(why)
        self.pause = pause


class Registries:
    """All registries, asked as nobody in particular."""

    def __init__(
        self,
        *,
        patience: float = PATIENCE,
        timeout: int = TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience = patience
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep
        self._left: dict[str, float] = {}  # of the patience, by registry
        self._given_up: dict[str, str] = {}  # and why, by registry
        self._tokens: dict[tuple[str, str], str] = {}  # by registry and repository
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"dtp-requests/{__version__}"
        self._session.hooks["response"].append(_refuse_plain_redirect)

    def look(self, reference: Reference) -> Seen | Unseen:
        """Return what is there of a reference, and the newest tag of its form."""
        try:
            pinned = bool(reference.digest and self._digest(reference, reference.digest))
            tagged = self._digest(reference, reference.tag) if reference.tag else None
            newer, unlisted = self._newer(reference)
        except (RefusedError, UnavailableError) as error:
            return Unseen(why=str(error), refused=isinstance(error, RefusedError))
        return Seen(pinned=pinned, tagged=tagged, newer=newer, unlisted=unlisted)

    def _newer(self, reference: Reference) -> tuple[tuple[str, str] | None, str]:
        """Return the newest tag and its digest, and why nobody looked, if so."""
        if not reference.tag:
            return None, ""
        try:
            tag = images.newest(reference.tag, self._tags(reference))
        except (MissingError, RefusedError) as error:
            return None, str(error)
        digest = self._digest(reference, tag) if tag else None
        return ((tag, digest) if tag and digest else None), ""

    # --- what is asked for ---

    def _digest(self, reference: Reference, what: str) -> str | None:
        """Return the digest of the image that a tag or a digest names; None where it is not."""
        place = f"manifests/{quote(what, safe=':')}"
        try:
            answer, _ = self._ask(reference, "HEAD", place)
            digest = answer.headers.get("Docker-Content-Digest", "")
            if DIGEST.fullmatch(digest):
                return digest
            _, content = self._ask(reference, "GET", place)
        except MissingError:
            return None
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def _tags(self, reference: Reference) -> Iterator[str]:
        place = f"tags/list?n={PER_PAGE}"
        for _ in range(PAGES):
            answer, content = self._ask(reference, "GET", place)
            try:
                yield from filter(TAG.fullmatch, map(str, json.loads(content)["tags"] or ()))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UnavailableError(f"{reference.registry} did not answer with tags") from error
            following = answer.links.get("next", {}).get("url")
            if not following:
                return
            place = _joined(answer.url, following)
        raise RefusedError(f"it has more than {PAGES} pages of tags")

    # --- how ---

    def _ask(self, reference: Reference, verb: str, place: str) -> tuple[requests.Response, bytes]:
        """Try until there is an answer, as long as the patience with this registry lasts.

        One that gave none is asked for nothing more.
        """
        registry = reference.registry
        if registry in self._given_up:
            raise UnavailableError(self._given_up[registry])
        pause = FIRST_PAUSE
        for left in reversed(range(TRIES)):
            patience, began = self._left.get(registry, self._patience), self._clock()
            if patience <= 0:
                self._given_up[registry] = f"{registry} is too slow"
                raise UnavailableError(self._given_up[registry])
            try:
                return self._once(reference, verb, place)
            except NotNowError as error:
                wait = max(pause, error.pause)
                if not left or wait >= patience - (self._clock() - began):
                    asks = f", and asks to wait {error.pause:.0f} s" if error.pause else ""
                    self._given_up[registry] = f"{error}{asks}"
                    raise UnavailableError(self._given_up[registry]) from error
                self._sleep(wait)
            finally:
                self._left[registry] = patience - (self._clock() - began)
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def _once(self, reference: Reference, verb: str, place: str) -> tuple[requests.Response, bytes]:
        """Make one request, and a second one with a token where it is asked for."""
        base = _base(reference)
        url = _joined(base, place)
        if urlsplit(url)[:2] != urlsplit(base)[:2]:
            raise UnavailableError(f"{reference.registry} sends to another host for its tags")
        whose = (reference.registry, reference.repository)
        answer, content = self._send(verb, url, self._tokens.get(whose))
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._tokens[whose] = self._token(reference, answer)
            answer, content = self._send(verb, url, self._tokens[whose])
        return _done(answer, reference.registry), content

    def _token(self, reference: Reference, asked: requests.Response) -> str:
        """Return the token that a registry hands to anybody, where its challenge says."""
        kind, _, words = asked.headers.get("WWW-Authenticate", "").partition(" ")
        challenge = parse_dict_header(words)
        realm = _joined(asked.url, challenge.get("realm") or "")
        if kind.lower() != "bearer" or realm == asked.url:
            raise RefusedError(f"HTTP {asked.status_code}")
        scope = challenge.get("scope") or f"repository:{reference.repository}:pull"
        query = {"scope": scope, "service": challenge.get("service") or ""}
        _refuse_plain(realm, asked.url)
        answer, content = self._send("GET", realm, None, query)
        _done(answer, str(urlsplit(realm).hostname))
        try:
            given = json.loads(content)
            return str(given.get("token") or given["access_token"])
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise UnavailableError(f"{urlsplit(realm).hostname} gave no token") from error

    def _send(
        self, verb: str, url: str, token: str | None, query: dict[str, str] | None = None
    ) -> tuple[requests.Response, bytes]:
        """Make one request; return the answer and what is in it. Raises NotNowError."""
        _refuse_plain(url)
        host = urlsplit(url).hostname

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            """Show the token alone, and no login from ~/.netrc."""
            if token:
                request.headers["Authorization"] = f"Bearer {token}"
            return request

        try:
            with self._session.request(
                verb,
                url,
                params=query,
                headers={"Accept": MANIFESTS if "/manifests/" in url else "application/json"},
                auth=sign,
                timeout=self._timeout,
                allow_redirects=True,
                stream=True,
            ) as answer:
                return answer, self._content(answer, self._clock() + self._patience)
        except requests.Timeout as error:
            raise NotNowError(f"{host} did not answer within {self._timeout} s") from error
        except requests.exceptions.SSLError as error:
            raise UnavailableError(f"the certificate of {host} is not trusted") from error
        except requests.ConnectionError as error:
            raise NotNowError(f"{host} cannot be reached") from error
        except requests.RequestException as error:
            raise NotNowError(f"{host}: {type(error).__name__}") from error

    def _content(self, answer: requests.Response, ends: float) -> bytes:
        content = bytearray()
        for piece in answer.iter_content(2**16):
            content += piece
            if len(content) > LIMIT:
                raise UnavailableError(f"{urlsplit(answer.url).hostname} sends without end")
            if self._clock() > ends:
                raise NotNowError(f"{urlsplit(answer.url).hostname} is too slow")
        return bytes(content)


# --- what came back ------------------------------------------------------------------------------


def _done(answer: requests.Response, who: str) -> requests.Response:
    """Return an answer that is one."""
    status = answer.status_code
    said = f"{who} answered HTTP {status}"
    if status == HTTPStatus.OK:
        return answer
    if status == HTTPStatus.NOT_FOUND:
        raise MissingError(said)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise RefusedError(f"HTTP {status}")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        pause = answer.headers.get("Retry-After", "")
        raise NotNowError(said, pause=float(pause) if pause.isdecimal() else 0.0)
    raise UnavailableError(said)


def _base(reference: Reference) -> str:
    """Return the address of a repository's API."""
    registry = reference.registry
    host = "registry-1.docker.io" if registry in images.DOCKER else registry
    scheme = "http" if _here(str(urlsplit(f"//{host}").hostname)) else "https"
    return f"{scheme}://{host}/v2/{reference.repository}/"


def _here(host: str) -> bool:
    """Tell whether a host is this machine, whatever a name service says."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _joined(url: str, place: str) -> str:
    """Return an address that stands in an answer; raises UnavailableError where it is none."""
    try:
        return urljoin(url, place)
    except ValueError as error:
        raise UnavailableError(f"{urlsplit(url).hostname} sends to what is no address") from error


def _refuse_plain(url: str, sender: str = "") -> None:
    """Refuse what is without TLS, but between two addresses of this machine.

    A registry elsewhere does not lead to what listens here for nobody else.
    """
    places = [urlsplit(one) for one in (url, sender) if one]
    scheme, host = places[0].scheme, places[0].hostname
    if scheme == "https":
        return
    if scheme != "http" or not all(_here(str(place.hostname)) for place in places):
        raise UnavailableError(f"{host} is named without TLS: {scheme}")


def _refuse_plain_redirect(answer: requests.Response, **_: Any) -> None:
    if answer.is_redirect:
        _refuse_plain(_joined(answer.url, answer.headers["Location"]), answer.url)
