"""From a kubeconfig to a connection: what is taken, and what is said about one that cannot be."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dtp_action.adapters import kube, kube_http
from dtp_action.errors import UnavailableError, UsageError
from tests.api_stub import Answer, Stub, serve

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
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
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


@pytest.mark.parametrize(
    ("kubeconfig", "words"),
    [
        ("/no/such/file", "no file /no/such/file"),
        ("apiVersion: v1\nkind: Config\n", "current-context"),
        ("a: [1\nb", "the kubeconfig cannot be used"),
        ("just\ntext", "the kubeconfig cannot be used"),
        ("\n", "the kubeconfig cannot be used"),
        ("[1, 2]\n", "the kubeconfig cannot be used"),
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
