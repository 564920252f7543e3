"""From a kubeconfig to a connection: what is taken, and what is said about one that cannot be."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
import yaml

from dtp_action.adapters import kube, kube_http
from dtp_action.adapters.actions import Runner, runner
from dtp_action.errors import Exit, UnavailableError, UsageError
from tests.api_stub import Answer, Stub, serve
from tests.contract.credentials import a_pair, a_token, encoded

NAMESPACE = Answer(body={"kind": "Namespace", "metadata": {"uid": "u"}})


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as server:
        yield server


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own: no kubeconfig, no Pod, no proxy."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("RUNNER_TEMP", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def a_kubeconfig(server: str, **user: Any) -> str:
    """Return a kubeconfig with contexts `here` (namespace `own`) and `bare`."""
    contexts = [
        {"name": "here", "context": {"cluster": "c", "user": "ada", "namespace": "own"}},
        {"name": "bare", "context": {"cluster": "c", "user": "ada"}},
    ]
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": contexts,
            "users": [{"name": "ada", "user": user or {"token": "t0ken"}}],
        }
    )


def asked_namespace(stub: Stub, **how: Any) -> str:
    """Connect, ask one thing, and return the namespace that was asked."""
    stub.play(NAMESPACE)
    kube.connect(**{"kubeconfig": None, "context": None, "namespace": None} | how).namespace_uid()
    return stub.seen[-1].path.rsplit("/", 1)[1]


def test_kubeconfig_may_be_text(stub: Stub) -> None:
    assert asked_namespace(stub, kubeconfig=a_kubeconfig(stub.url)) == "own"
    assert stub.seen[0].headers["Authorization"] == "Bearer t0ken"
    assert stub.seen[0].headers["User-Agent"].startswith("dtp-requests/")


def test_kubeconfig_may_be_a_path(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(a_kubeconfig(stub.url))
    assert asked_namespace(stub, kubeconfig=str(path)) == "own"


def test_kubeconfig_is_found_where_kubectl_finds_it(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config"
    path.write_text(a_kubeconfig(stub.url))
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert asked_namespace(stub) == "own"
    monkeypatch.delenv("KUBECONFIG")
    home = tmp_path / "home" / ".kube" / "config"
    home.parent.mkdir(parents=True)
    home.write_text(a_kubeconfig(stub.url))
    assert asked_namespace(stub) == "own"


def test_namespace_is_the_flag_then_the_context_then_default(stub: Stub) -> None:
    text = a_kubeconfig(stub.url)
    assert asked_namespace(stub, kubeconfig=text, namespace="flag") == "flag"
    assert asked_namespace(stub, kubeconfig=text, context="bare") == "default"


def test_proxy_is_not_asked_for_loopback(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert asked_namespace(stub, kubeconfig=a_kubeconfig(stub.url)) == "own"


def test_no_proxy_is_honoured(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "cluster.invalid")
    monkeypatch.setattr(kube_http, "FIRST_PAUSE", 0.001)
    text = a_kubeconfig("http://cluster.invalid:1")
    cluster = kube.connect(kubeconfig=text, context=None, namespace=None)
    with pytest.raises(UnavailableError, match=r"resolve|connection") as caught:
        cluster.namespace_uid()
    assert "proxy" not in caught.value.message


def test_proxy_of_the_kubeconfig_is_used(stub: Stub) -> None:
    config = yaml.safe_load(a_kubeconfig("http://cluster.invalid"))
    config["clusters"][0]["cluster"]["proxy-url"] = stub.url
    assert asked_namespace(stub, kubeconfig=yaml.safe_dump(config)) == "own"
    assert stub.seen[0].headers["Host"] == "cluster.invalid"


@pytest.mark.filterwarnings("ignore:SOCKS support:urllib3.exceptions.DependencyWarning")
@pytest.mark.parametrize(
    ("proxy", "words"),
    [("socks5://127.0.0.1:9", "PySocks"), ("ftp://127.0.0.1:9", "ftp"), ("127.0.0.1:9", "scheme")],
)
def test_proxy_that_cannot_be_used_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, proxy: str, words: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    text = a_kubeconfig("https://cluster.invalid")
    with pytest.raises(UsageError, match=f"the proxy settings cannot be used: .*{words}"):
        kube.connect(kubeconfig=text, context=None, namespace=None)


@pytest.mark.parametrize(
    ("kubeconfig", "words"),
    [
        ("/no/such/file", "no file /no/such/file"),
        ("apiVersion: v1\nkind: Config\n", "current-context"),
        ("a: [1\nb", "the kubeconfig cannot be used"),
        ("just\ntext", "the kubeconfig cannot be used"),
        ("{a: 1", "the kubeconfig cannot be used"),
        ("- 1\n- 2\n", "the kubeconfig cannot be used: it is no kubeconfig"),
    ],
)
def test_kubeconfig_that_cannot_be_used_is_a_usage_error(kubeconfig: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        kube.connect(kubeconfig=kubeconfig, context=None, namespace=None)
    assert words in caught.value.message
    assert caught.value.hint


def test_unknown_context_is_named() -> None:
    with pytest.raises(UsageError, match="elsewhere"):
        kube.connect(
            kubeconfig=a_kubeconfig("http://127.0.0.1:9"), context="elsewhere", namespace=None
        )


@pytest.mark.parametrize("data", ["%%%", "abc", base64.b64encode(b"no certificate").decode()])
def test_broken_certificate_is_a_usage_error(data: str) -> None:
    pair = {"client-certificate-data": data, "client-key-data": data}
    with pytest.raises(UsageError, match="cannot be used"):
        kube.connect(
            kubeconfig=a_kubeconfig("https://127.0.0.1:9", **pair), context=None, namespace=None
        )


def test_credential_plugin_that_fails_is_told_beside_its_own_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin"}
    text = a_kubeconfig("https://127.0.0.1:9", exec=plugin)
    with pytest.raises(UsageError, match="plugin for ada gave no credential"):
        kube.connect(kubeconfig=text, context=None, namespace=None)
    assert "no-such-plugin" in caplog.text


def test_no_kubeconfig_outside_a_pod_says_what_to_give() -> None:
    with pytest.raises(UsageError, match="no kubeconfig") as caught:
        kube.connect(kubeconfig=None, context=None, namespace=None)
    assert "--kubeconfig" in caught.value.hint


# --- the forms that it is given in ----------------------------------------------------------------


FORMS: dict[str, Callable[[str], str]] = {
    "one line": encoded,
    "no padding": lambda text: encoded(text).rstrip("="),
    "wrapped": lambda text: base64.encodebytes(text.encode()).decode(),
    "wrapped as Windows does": lambda text: (
        base64.encodebytes(text.encode()).decode().replace("\n", "\r\n")
    ),
}


@pytest.mark.parametrize("extra", ["", "#", "##"])  # every length of padding
@pytest.mark.parametrize("form", FORMS)
def test_kubeconfig_may_be_base64(stub: Stub, form: str, extra: str) -> None:
    given = FORMS[form](a_kubeconfig(stub.url) + extra)
    assert asked_namespace(stub, kubeconfig=given) == "own"


def test_kubeconfig_in_the_environment_may_be_base64(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", encoded(a_kubeconfig(stub.url)) + "\n")
    assert asked_namespace(stub) == "own"


@pytest.mark.parametrize("blank", ["", " ", "\n", " \r\n\t"])
def test_blank_kubeconfig_is_not_given(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, blank: str
) -> None:
    monkeypatch.setenv("KUBECONFIG", a_kubeconfig(stub.url))
    assert asked_namespace(stub, kubeconfig=blank) == "own"


SECRET = "t0ken-that-nobody-may-see"


@pytest.mark.parametrize(
    "malformed",
    [
        encoded(SECRET * 9),
        encoded(SECRET * 9)[:-5],
        encoded(f"users: [{SECRET}"),
        SECRET,
        SECRET * 400,
        f"apiVersion: v1 users: - user: token: {SECRET}",
        f"users:\n- {SECRET}\n\tx",
        f"users: &a [*{SECRET}]\n",
        f"users: !{SECRET} x\n",
        f"{{users: {SECRET}",
        f"users:\n- user: {{token: {SECRET}}}\n",
        f"current-context: c\nusers: [{{token: {SECRET}}}]\ncontexts: [{{name: c}}]\n",
        f"current-context: c\nusers: {SECRET}\ncontexts: {{{SECRET}: 1}}\n",
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_error_never_shows_what_was_given(malformed: str, strict: bool, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(malformed)
    for given in (malformed, str(path)):
        with pytest.raises(UsageError) as caught:
            kube.connect(kubeconfig=given, context=None, namespace=None, strict=strict)
        assert "cannot be used" in caught.value.message
        told = caught.value.message + caught.value.hint
        assert not any(secret in told for secret in (SECRET, encoded(SECRET * 9)[:20]))


def test_error_about_a_file_never_shows_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "config"
    config = yaml.safe_load(a_kubeconfig("https://127.0.0.1:9", token=SECRET))
    config["users"][0].pop("user")
    config["users"][0]["token"] = SECRET
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UsageError, match="Expected key user") as caught:
        kube.connect(kubeconfig=str(path), context=None, namespace=None)
    assert SECRET not in caught.value.message


# --- what a workflow takes ------------------------------------------------------------------------

FAR = "https://127.0.0.1:9"


def strictly(kubeconfig: str | None, **how: Any) -> kube.KubeCluster:
    return kube.connect(
        **{"kubeconfig": kubeconfig, "context": None, "namespace": None, "strict": True} | how
    )


def with_cluster(**cluster: Any) -> str:
    config = yaml.safe_load(a_kubeconfig(FAR))
    config["clusters"][0]["cluster"] |= cluster
    return yaml.safe_dump(config)


UNSAFE = {
    "exec": a_kubeconfig(FAR, exec={"command": "/bin/true"}),
    "auth-provider": a_kubeconfig(FAR, **{"auth-provider": {"name": "gcp"}}),
    "tokenFile": a_kubeconfig(FAR, tokenFile="/etc/token"),
    "client-certificate": a_kubeconfig(FAR, **{"client-certificate": "/etc/crt"}),
    "client-key": a_kubeconfig(FAR, **{"client-key": "/etc/key"}),
    "certificate-authority": with_cluster(**{"certificate-authority": "/etc/ca"}),
    "insecure-skip-tls-verify": with_cluster(**{"insecure-skip-tls-verify": True}),
    "proxy-url": with_cluster(**{"proxy-url": "http://127.0.0.1:9"}),
    "server": with_cluster(server="http://127.0.0.1:9"),
}


@pytest.mark.parametrize("key", UNSAFE)
def test_unsafe_kubeconfig_is_refused_with_the_key_and_what_to_do(key: str) -> None:
    with pytest.raises(UsageError, match=f"has `{key}`, which") as caught:
        strictly(encoded(UNSAFE[key]))
    assert caught.value.hint
    assert caught.value.exit_code is Exit.USAGE


def test_unsafe_part_is_refused_though_the_context_does_not_use_it() -> None:
    config = yaml.safe_load(a_kubeconfig(FAR))
    config["users"].append({"name": "other", "user": {"exec": {"command": "/bin/true"}}})
    with pytest.raises(UsageError, match="its user other has `exec`"):
        strictly(yaml.safe_dump(config))


@pytest.mark.parametrize("server", [None, "", "127.0.0.1:9", "HTTP://x", "file:///x", 7])
def test_server_without_tls_is_refused(server: Any) -> None:
    with pytest.raises(UsageError, match="`server`"):
        strictly(with_cluster(server=server))


def test_nothing_is_run_of_a_kubeconfig_that_is_refused(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch"}
    with pytest.raises(UsageError, match="exec"):
        strictly(a_kubeconfig(FAR, exec=plugin | {"args": [str(ran)]}))
    assert not ran.exists()


def test_unsafe_file_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(UNSAFE["exec"])
    with pytest.raises(UsageError, match="its user ada has `exec`"):
        strictly(str(path))


def test_key_that_says_no_is_no_reason() -> None:
    assert strictly(with_cluster(**{"insecure-skip-tls-verify": False}))


def test_home_directory_of_the_machine_is_not_for_workflows(tmp_path: Path) -> None:
    home = tmp_path / "home" / ".kube" / "config"
    home.parent.mkdir(parents=True)
    home.write_text(a_kubeconfig(FAR))
    assert kube.connect(kubeconfig=None, context=None, namespace=None)
    with pytest.raises(UsageError, match="no kubeconfig"):
        strictly("")


def test_workflow_without_kubeconfig_is_told_where_secrets_are_empty() -> None:
    with pytest.raises(UsageError, match="no kubeconfig") as caught:
        strictly(" \n")
    for words in ("secret KUBECONFIG", "environment dtp", "fork"):
        assert words in caught.value.hint


# --- credentials ----------------------------------------------------------------------------------


def with_certificate(days: int = 1, **more: Any) -> dict[str, Any]:
    certificate, key = a_pair("ada", days)
    return {
        "client-certificate-data": encoded(certificate),
        "client-key-data": encoded(key),
    } | more


def test_each_credential_is_masked_in_each_form_it_may_be_seen_in() -> None:
    masked: list[str] = []
    user = with_certificate(token="t0ken-of-ada", username="ada", password="pass-word")
    given = encoded(a_kubeconfig(FAR, **user))
    strictly(given, mask=masked.append)
    certificate, key = a_pair("ada", 1)
    assert {given, "t0ken-of-ada", "pass-word", encoded("ada:pass-word")} <= set(masked)
    assert {certificate, key, encoded(certificate), encoded(key)} <= set(masked)


def test_the_servers_name_is_masked_in_a_workflow() -> None:
    masked: list[str] = []
    strictly(with_cluster(server="https://api.campus.example:6443"), mask=masked.append)
    assert "api.campus.example" in masked


def test_credentials_of_a_refused_kubeconfig_are_masked_first() -> None:
    masked: list[str] = []
    with pytest.raises(UsageError, match="proxy-url"):
        strictly(UNSAFE["proxy-url"], mask=masked.append)
    assert masked == ["t0ken"]


def test_runner_hides_the_credentials_and_leaves_the_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = runner({"GITHUB_ACTIONS": "true"})
    assert isinstance(here, Runner)
    strictly(a_kubeconfig(FAR, **with_certificate(token="t0ken-of-ada")), mask=here.mask)
    masks = [line.removeprefix("::add-mask::") for line in capsys.readouterr().err.splitlines()]
    key = a_pair("ada", 1)[1].splitlines()
    assert "t0ken-of-ada" in masks
    assert set(key[1:-1]) <= set(masks)
    assert not any(words in masks for words in (key[0], key[-1], "kind: Config", "ada"))


@pytest.mark.parametrize("credential", [with_certificate(days=-2), {"token": a_token(exp=1e9)}])
@pytest.mark.parametrize("strict", [False, True])
def test_credential_that_has_expired_is_told_without_asking(
    credential: dict[str, Any], strict: bool
) -> None:
    with pytest.raises(UsageError, match=r"expired on 20\d\d-.*Z: mint a new one") as caught:
        kube.connect(
            kubeconfig=a_kubeconfig(FAR, **credential), context=None, namespace=None, strict=strict
        )
    assert caught.value.exit_code is Exit.USAGE
    assert "Nothing is lost" in caught.value.hint


@pytest.mark.parametrize(
    "credential",
    [
        with_certificate(),
        {"token": a_token(exp=1e10)},
        {"token": a_token()},
        {"token": a_token(exp="soon")},
        {"token": a_token(exp=1e300)},
        {"token": "a.b.c"},
        {"token": "e30.e30.e30"},
        {"token": 1234567890},
        {"username": "ada", "password": "a.b.c"},
        {},
    ],
)
def test_credential_that_may_still_be_good_is_tried(credential: dict[str, Any]) -> None:
    assert strictly(a_kubeconfig(FAR, **credential or {"as": "ada"}))


def test_one_credential_that_is_good_is_enough() -> None:
    assert strictly(a_kubeconfig(FAR, **with_certificate(days=-2, token=a_token(exp=1e10))))


def test_files_of_certificates_are_private_in_the_runners_folder_and_do_not_stay(
    tmp_path: Path,
) -> None:
    program = """
import os, pathlib, sys
from dtp_action.adapters import kube
kube.connect(kubeconfig=sys.stdin.read(), context=None, namespace=None, strict=True)
for path in pathlib.Path(os.environ["RUNNER_TEMP"]).iterdir():
    print(oct(path.stat().st_mode))
sys.exit(2)
"""
    temporary = tmp_path / "temp"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=a_kubeconfig(FAR, **with_certificate()),
        env=os.environ | {"RUNNER_TEMP": str(temporary), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout.split() == ["0o100600", "0o100600"]
    assert list(tmp_path.iterdir()) == [temporary]
    assert list(temporary.iterdir()) == []


class OverTls(BaseHTTPRequestHandler):
    """Answers with the namespace; tells what came through the handshake."""

    callers: ClassVar[list[tuple[Any, str | None]]] = []

    def do_GET(self) -> None:
        certificate = self.connection.getpeercert()
        self.callers.append((certificate["subject"], self.headers["Authorization"]))
        data = json.dumps(NAMESPACE.body).encode()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


def test_base64_alone_is_enough_for_mutual_tls(tmp_path: Path) -> None:
    certificate, key = a_pair("server", 1)
    (tmp_path / "server").write_text(certificate + key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(cadata=a_pair("ada", 1)[0])
    with ThreadingHTTPServer(("127.0.0.1", 0), OverTls) as server:
        server.daemon_threads = True
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        config = yaml.safe_load(a_kubeconfig(f"https://127.0.0.1:{server.server_port}"))
        config["clusters"][0]["cluster"]["certificate-authority-data"] = encoded(certificate)
        config["users"][0]["user"] = with_certificate()
        assert strictly(encoded(yaml.safe_dump(config))).namespace_uid() == "u"
        server.shutdown()
    assert OverTls.callers == [(((("commonName", "ada"),),), None)]
