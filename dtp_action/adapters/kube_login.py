"""From a kubeconfig, or a Pod's own account, to a connection. Leaves the format to `kubernetes`.

What is said about a kubeconfig never shows what it holds.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
import yaml
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException, incluster_config, kube_config

from dtp_action.adapters.kube_http import HttpApi
from dtp_action.core.ledger import stamp
from dtp_action.errors import UsageError

Mask = Callable[[str], None]

CONNECTIONS = 32  # more than dispatch has threads
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LOOPBACK = "localhost,127.0.0.0/8,::1"  # goes through no proxy, as with kubectl
BEARER = "BearerToken"  # what `kubernetes` calls the credential, whatever its kind
BAD = (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, KeyError)
BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
FOREVER = datetime.max.replace(tzinfo=UTC)

RENEWED = ("exec", "auth-provider", "tokenFile")  # a credential that something else keeps fresh
CREDENTIALS = ("token", "password", "client-key-data", "client-certificate-data")
MINT = "`dtp kubeconfig` makes one that holds a token"
FLATTEN = "Embed the file: kubectl config view --raw --minify --flatten"
# What a workflow takes from no kubeconfig: key → what it does, what to do about it.
UNSAFE = {
    "exec": ("runs a program", MINT),
    "auth-provider": ("fetches its credential elsewhere", MINT),
    "tokenFile": ("is a file of another machine", MINT),
    "client-certificate": ("is a file of another machine", FLATTEN),
    "client-key": ("is a file of another machine", FLATTEN),
    "certificate-authority": ("is a file of another machine", FLATTEN),
    "insecure-skip-tls-verify": (
        "lets anybody pose as the cluster",
        "Remove it, and give the cluster's certificate-authority-data.",
    ),
    "proxy-url": ("sends the credential another way", "Remove it; set HTTPS_PROXY for the step."),
}
PLAIN = ("does not begin with https://", "Write the https:// address of the API server.")


@dataclass(frozen=True, kw_only=True)
class Login:
    """Who asks, where, and in which namespace.

    `ends` is when a credential that stands in the kubeconfig ends; None: nothing says it, or
    something renews it.
    """

    configuration: Configuration
    namespace: str
    user: str
    ends: datetime | None

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self.configuration.host)

    def api(self, acting_as: str = "") -> HttpApi:
        """Return a connection, for oneself or, as `kubectl --as` does, for somebody else.

        Raises UsageError where the proxy settings are wrong.
        """
        return HttpApi(
            pool=_pool(self.configuration),
            server=self.server,
            namespace=self.namespace,
            user=self.user,
            authorization=lambda: self.configuration.get_api_key_with_prefix(BEARER),
            acting_as=acting_as,
        )


def login(
    *,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    strict: bool = False,
    mask: Mask = lambda _secret: None,
) -> Login:
    """Return the way to the namespace asked for, else the context's. Asks nothing yet.

    `kubeconfig` is a path, the text itself, or base64 of the text; blank means what kubectl would
    take, else the Pod's own account. `strict` is for workflows: nothing of the home directory, and
    no kubeconfig that runs, reads or trusts what does not stand in it. Each credential is given to
    `mask` before anything else is done with it. Raises UsageError.
    """
    configuration = Configuration()
    source = _source(kubeconfig) or (None if strict else _home())
    if source:
        user, own, ends = _from_kubeconfig(configuration, source, context, strict=strict, mask=mask)
        if strict:
            mask(urlsplit(configuration.host).hostname or "")  # everybody may read a workflow's log
    else:
        (user, own), ends = _from_account(configuration, strict=strict), None
    return Login(
        configuration=configuration, namespace=namespace or own or "default", user=user, ends=ends
    )


def _source(kubeconfig: str | None) -> str:
    return (kubeconfig or "").rstrip() or os.environ.get("KUBECONFIG", "").rstrip()


def _home() -> str | None:
    path = Path.home() / ".kube" / "config"
    return str(path) if path.is_file() else None


def _from_kubeconfig(
    configuration: Configuration, source: str, context: str | None, *, strict: bool, mask: Mask
) -> tuple[str, str | None, datetime | None]:
    """Load the credentials; return the user's name, the context's namespace, and their end."""
    text = _text(source)
    if text not in (None, source):
        mask(source)
    name = _files(source) if text is None else "the kubeconfig"
    try:
        merged = kube_config.KubeConfigMerger(name if text is None else io.StringIO(text)).config
        for secret in _credentials(merged):
            mask(secret)
        if strict:
            _refuse_unsafe(merged)
        loader = kube_config.KubeConfigLoader(
            merged,
            active_context=context,
            config_base_path=None,
            temp_file_path=os.environ.get("RUNNER_TEMP"),  # its files go when the process ends
        )
        loader.load_and_set(configuration)
        if configuration.cert_file:  # now rather than at a request, where it looks like the network
            tls = ssl.create_default_context()
            tls.load_cert_chain(configuration.cert_file, configuration.key_file)
        end = max(_ends(configuration), default=FOREVER)
        chosen = loader.current_context["context"]
    except BAD as error:
        raise _unusable(name, _why(error)) from error
    if end <= datetime.now(UTC):
        raise _expired(name, end)
    user = str(chosen.get("user") or "an unnamed user")
    own = dict(_parts(merged, "user")).get(f"user {user}", {})
    if "exec" in own and not (configuration.api_key or configuration.cert_file):
        raise _unusable(name, f"its plugin for {user} gave no credential, as the log says")
    renewed = end == FOREVER or any(key in own for key in RENEWED)
    return user, chosen.get("namespace"), None if renewed else end


# --- what is given --------------------------------------------------------------------------------


def _text(source: str) -> str | None:
    """Return the kubeconfig's text where it is given itself, plain or as base64; None for paths."""
    if BASE64.fullmatch(source):
        with suppress(ValueError):
            squeezed = "".join(source.split()).rstrip("=")
            text = base64.b64decode(squeezed + "=" * (-len(squeezed) % 4)).decode()
            if ":" in text:
                return text
    is_text = "\n" in source or ": " in source or source.lstrip().startswith("{")
    return source if is_text else None


def _files(source: str) -> str:
    """Return a list of paths if all are there. Raises UsageError, which shows only what is one."""
    missing = [path for path in source.split(os.pathsep) if not _is_file(path)]
    if not missing:
        return source
    if re.fullmatch(r"(?:/|~|\.{1,2}/)[\w./+@ -]{0,200}", missing[0]):
        raise _unusable(missing[0], f"there is no file {missing[0]}")
    raise _unusable("the kubeconfig", "it is no file here, no kubeconfig's text, and no base64")


def _is_file(path: str) -> bool:
    try:
        return Path(path).expanduser().is_file()
    except (OSError, RuntimeError):  # too long for a name; nobody's home
        return False


# --- what it holds --------------------------------------------------------------------------------


def _parts(config: Any, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of each cluster or user."""
    if not isinstance(_bare(config), dict):
        raise ConfigException("it is no kubeconfig, but other YAML")
    for item in _bare(config).get(f"{kind}s") or ():
        yield f"{kind} {_bare(item).get('name')}", _bare(item).get(kind) or {}


def _bare(node: Any) -> Any:
    return node.value if isinstance(node, kube_config.ConfigNode) else node


def _credentials(config: Any) -> Iterator[str]:
    """Yield all that must not be shown, in each form that it may be seen in."""
    for _, user in _parts(config, "user"):
        given = {key: str(user[key]) for key in CREDENTIALS if user.get(key)}
        yield from given.values()
        for key, value in given.items():
            if key.endswith("-data"):
                with suppress(ValueError):
                    yield base64.b64decode(value).decode(errors="replace")
        if "password" in given:
            yield base64.b64encode(f"{user.get('username')}:{given['password']}".encode()).decode()


def _refuse_unsafe(config: Any) -> None:
    for kind in ("cluster", "user"):
        for who, part in _parts(config, kind):
            for key, (does, instead) in UNSAFE.items():
                if part.get(key):
                    raise _unsafe(who, key, does, instead)
            if kind == "cluster" and not str(part.get("server")).startswith("https://"):
                raise _unsafe(who, "server", *PLAIN)


def _ends(configuration: Configuration) -> Iterator[datetime]:
    """Yield when each credential ends, as far as it says so itself."""
    if authorization := configuration.api_key.get(BEARER):
        yield _token_end(authorization)
    if configuration.cert_file:
        yield _certificate_end(Path(configuration.cert_file).read_bytes())


def _token_end(token: str) -> datetime:
    """Return the `exp` of a JSON Web Token; other tokens do not say."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==="))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (LookupError, ValueError, TypeError, ArithmeticError, OSError, RecursionError):
        return FOREVER


def _certificate_end(pem: bytes) -> datetime:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError:  # one that only OpenSSL reads
        return FOREVER


# --- elsewhere ------------------------------------------------------------------------------------


def _from_account(configuration: Configuration, *, strict: bool) -> tuple[str, str]:
    try:
        incluster_config.load_incluster_config(configuration)
        return "the Pod's own account", (ACCOUNT / "namespace").read_text().strip()
    except (ConfigException, OSError) as error:
        raise UsageError(
            "there is no kubeconfig, and this is not inside a Pod",
            hint="Put one, as one line of base64, into the secret KUBECONFIG of the environment"
            " dtp. A secret is empty in a fork, in a job that does not name the environment, and"
            " on a branch that the environment does not admit."
            if strict
            else "Give --kubeconfig, or set KUBECONFIG.",
        ) from error


def _pool(configuration: Configuration) -> urllib3.PoolManager:
    """Return kubernetes' own pool."""
    configuration.connection_pool_maxsize = CONNECTIONS
    configuration.no_proxy = ",".join(filter(None, [configuration.no_proxy, LOOPBACK]))
    if not configuration.verify_ssl:  # asked for in the kubeconfig: no line about it per request
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        pool: urllib3.PoolManager = RESTClientObject(configuration).pool_manager
    except ImportError as error:
        why = "a SOCKS proxy needs the Python package PySocks, an http:// proxy needs nothing"
        raise _unusable("the proxy settings", why) from error
    except (ValueError, urllib3.exceptions.HTTPError) as error:
        raise _unusable("the proxy settings", error) from error
    return pool


# --- what is said ---------------------------------------------------------------------------------


def _why(error: Exception) -> str:
    """Return an error without the values that some show: YAML's lines, kubernetes' dicts."""
    if isinstance(error, yaml.YAMLError):
        mark = getattr(error, "problem_mark", None)
        return f"it is no YAML at line {mark.line + 1}" if mark else "it is no YAML"
    return str(error).partition("{")[0]


def _unusable(name: str, why: object) -> UsageError:
    return UsageError(
        f"{name} cannot be used: {' '.join(str(why).split())}",
        hint="Correct --kubeconfig or --context; `kubectl config view` shows what it holds.",
    )


def _unsafe(who: str, key: str, does: str, instead: str) -> UsageError:
    return UsageError(
        f"the kubeconfig cannot be used in a workflow: its {who} has `{key}`, which {does}",
        hint=f"{instead} (docs/how-to/set-up-github.md)",
    )


def _expired(name: str, end: datetime) -> UsageError:
    return UsageError(
        f"{name} expired on {stamp(end)}: mint a new one",
        hint="`dtp kubeconfig` makes one; put it where this one was (docs/how-to/credentials.md)."
        " Nothing is lost: the next run takes up what was begun.",
    )
