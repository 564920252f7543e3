"""The stand-in is held against the SDK: its clients use it, its recordings say how answers look."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import globus_sdk
import pytest
from globus_sdk.testing import RegisteredResponse, get_response_set

from tests.globus import service
from tests.globus.service import Document, Running, Service

HERE, THERE = str(uuid.UUID(int=7)), str(uuid.UUID(int=8))


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with service.running() as started:
        for name, value in started.environment().items():
            monkeypatch.setenv(name, value)
        yield started


@pytest.fixture
def login(running: Running) -> globus_sdk.ConfidentialAppAuthClient:
    client, secret = running.service.credentials().values()
    return globus_sdk.ConfidentialAppAuthClient(client, secret)


@pytest.fixture
def client(login: globus_sdk.ConfidentialAppAuthClient) -> globus_sdk.TransferClient:
    scope = globus_sdk.scopes.TransferScopes.all
    authorizer = globus_sdk.ClientCredentialsAuthorizer(login, scope)
    return globus_sdk.TransferClient(authorizer=authorizer)


def a_transfer() -> globus_sdk.TransferData:
    data = globus_sdk.TransferData(HERE, THERE, sync_level="checksum")
    data.add_item("/a", "/b", recursive=True)
    return data


def recorded(name: str, case: str = "default") -> Document:
    """Return what the SDK recorded of the real service's answer."""
    response = get_response_set(name).lookup(case)
    assert isinstance(response, RegisteredResponse)
    assert isinstance(response.json, dict)
    return response.json


def assert_alike(ours: Any, theirs: Any, where: str = "answer") -> None:
    """Demand the recording's keys, and its types where both have a value."""
    if isinstance(theirs, dict):
        missing = set(theirs) - set(ours)
        assert not missing, f"{where} lacks {missing}"
        for key, value in theirs.items():
            assert_alike(ours[key], value, f"{where}.{key}")
    elif ours is not None and theirs is not None:
        assert type(ours) is type(theirs), where


def test_a_client_logs_in_with_its_own_secret(login: globus_sdk.ConfidentialAppAuthClient) -> None:
    answer = login.oauth2_client_credentials_tokens(service.SCOPE)
    assert_alike(answer.data, recorded("auth.oauth2_client_credentials_tokens"))
    assert answer.by_resource_server["transfer.api.globus.org"]["scope"] == service.SCOPE


def test_a_wrong_secret_is_refused(running: Running) -> None:
    client = next(iter(running.service.clients))
    wrong = globus_sdk.ConfidentialAppAuthClient(client, "wrong")
    with pytest.raises(globus_sdk.AuthAPIError) as refused:
        wrong.oauth2_client_credentials_tokens(service.SCOPE)
    assert refused.value.http_status == 401


def test_a_task_is_accepted_moves_on_and_succeeds(client: globus_sdk.TransferClient) -> None:
    given = client.get_submission_id()
    assert_alike(given.data, recorded("transfer.get_submission_id"))
    accepted = client.submit_transfer(a_transfer())
    assert_alike(accepted.data, recorded("transfer.submit_transfer"))
    assert accepted["code"] == "Accepted"
    seen = [client.get_task(accepted["task_id"]).data for _ in range(service.FILES)]
    assert_alike(seen[0], recorded("transfer.task_list")["DATA"][0])
    assert [one["files_transferred"] for one in seen] == [1, 2, 3]
    assert [one["status"] for one in seen] == ["ACTIVE", "ACTIVE", "SUCCEEDED"]
    assert client.task_wait(accepted["task_id"], timeout=1, polling_interval=1)


def test_the_same_submission_is_one_task(
    client: globus_sdk.TransferClient, running: Running
) -> None:
    data = a_transfer()
    data["submission_id"] = client.get_submission_id()["value"]
    first, second = client.submit_transfer(data), client.submit_transfer(data)
    assert (first["code"], second["code"]) == ("Accepted", "Duplicate")
    assert first["task_id"] == second["task_id"]
    assert len(running.service.tasks) == 1


def test_a_submission_whose_answer_was_lost_is_one_task(
    client: globus_sdk.TransferClient, running: Running
) -> None:
    running.service.lose_answers = 1
    accepted = client.submit_transfer(a_transfer())  # the SDK asks again by itself
    assert accepted["code"] == "Duplicate"
    assert len(running.service.tasks) == 1


def test_what_the_service_refuses_looks_as_the_sdk_recorded_it(
    client: globus_sdk.TransferClient,
) -> None:
    with pytest.raises(globus_sdk.TransferAPIError) as refused:
        client.submit_transfer(globus_sdk.TransferData(HERE, THERE))
    theirs = recorded("transfer.submit_transfer", "failure")
    assert_alike(refused.value.raw_json, theirs)
    assert (refused.value.http_status, refused.value.code) == (400, theirs["code"])


def test_an_id_that_was_not_handed_out_is_refused(client: globus_sdk.TransferClient) -> None:
    data = a_transfer()
    data["submission_id"] = str(uuid.uuid4())
    with pytest.raises(globus_sdk.TransferAPIError):
        client.submit_transfer(data)


def test_a_cancelled_task_has_failed(client: globus_sdk.TransferClient, running: Running) -> None:
    running.service.held = True
    task = client.submit_transfer(a_transfer())["task_id"]
    answer = client.cancel_task(task)
    assert_alike(answer.data, recorded("transfer.cancel_task"))
    told = client.get_task(task)
    assert (told["status"], told["fatal_error"]["code"]) == ("FAILED", "CANCELED")
    assert client.cancel_task(task)["code"] == "TaskComplete"


def test_without_a_token_nothing_is_answered(running: Running) -> None:
    nobody = globus_sdk.AccessTokenAuthorizer("none")
    with pytest.raises(globus_sdk.TransferAPIError) as refused:
        globus_sdk.TransferClient(authorizer=nobody).get_submission_id()
    assert refused.value.http_status == 401


def test_nothing_else_is_served(running: Running) -> None:
    with pytest.raises(service.Answered) as told:
        Service().route("DELETE", "/v0.10/task/x")
    assert told.value.status == 404
