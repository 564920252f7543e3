"""Globus in Pods: the real CLI moves data by a task of the service, an endpoint is a service.

The service, and Globus Connect Personal, are stand-ins (tests/globus): both need the internet.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.admin import wait_for
from tests.e2e.servers import example
from tests.e2e.site import ROOM, Site, Watch
from tests.globus import connect_personal, programs, service
from tests.globus.service import Running, Service

TRANSFER, ENDPOINT = "dtp-globus/transfer", "dtp-globus/endpoint"
CLI = "Globus CLI 3.44 and dtp-globus-transfer"
CONNECT = "dtp-globus-endpoint"
STAND_IN = "a Globus service of the tests, held to the SDK's recordings"
STAND_INS = "a Globus Connect Personal and a Globus service of the tests"
HERE, THERE = (f"{uuid.UUID(int=number)}:" for number in (7, 8))
WORDS = ("SOURCE-COLLECTION:", HERE), ("DESTINATION-COLLECTION:", THERE)
TOOLS = "/workspace/tools"


@pytest.fixture
def running(cluster_facts: dict[str, str]) -> Iterator[Running]:
    host = cluster_facts.get("HOST_IP")
    if not host:
        pytest.skip("a cluster from outside: it is not known how its Pods reach this machine")
    with service.running(host) as started:
        yield started


@pytest.fixture
def globus(running: Running, site: Site) -> Service:
    """Return the service, on a site whose Pods find the programs of the images in `TOOLS`."""
    images = site.namespace.images
    row = {"image": images["globus"], "serviceImage": images["base"], **ROOM, "memory": "256Mi"}
    site.write_catalog(globus=row)
    bring(site, programs.IMAGES / "globus-cli" / "dtp-globus-transfer", "/bin/bash")
    bring(site, programs.IMAGES / "globus-connect" / "dtp-globus-endpoint", "/bin/bash")
    stand_in = Path(connect_personal.__file__)
    bring(site, stand_in, "/usr/bin/python3", name="globusconnectpersonal")
    return running.service


def bring(site: Site, program: Path, interpreter: str, *, name: str = "") -> None:
    """Put a program where Pods find it; the tests' images have no /bin/sh."""
    place = site.claim / "tools" / (name or program.name)
    place.parent.mkdir(exist_ok=True)
    text = program.read_text().removeprefix("#!/bin/sh\n")
    place.write_text(f"#!{interpreter}\n{text}")
    place.chmod(0o755)


def give_secret(site: Site, **data: str) -> None:
    site.admin.create("Secret", "dtp-globus", site.namespace.name, stringData=data)


def ask(site: Site, running: Running, ref: str, *changes: tuple[str, str]) -> None:
    """Put the example on the branch, with what leads it to the stand-ins before its command."""
    leads = {"PATH": f"{TOOLS}:$PATH", "DTP_GLOBUS_POLL": "1", **running.environment()}
    lines = "".join(f'export {name}="{value}"\n' for name, value in leads.items())
    site.write(ref, example(ref, ("\ndtp-globus-", f"\n{lines}dtp-globus-"), *changes))
    site.commit()


@pytest.mark.transfer(protocol="globus", tool=CLI, stand_in=STAND_IN)
def test_a_transfer_is_one_task_and_what_it_comes_to_is_told(
    site: Site, running: Running, globus: Service, watch: Watch
) -> None:
    give_secret(site, **globus.credentials())
    ask(site, running, TRANSFER, *WORDS)
    watch.start()

    ended = site.dispatch(wait=True).rows[TRANSFER]

    watch.told("a transfer between Globus collections", ended)
    log = site.logs(TRANSFER)
    assert ended["phase"] == "SUCCEEDED", log
    assert "done: 3 files (300 bytes) were moved" in log
    assert globus.credentials()["GLOBUS_CLI_CLIENT_SECRET"] not in log
    (task,) = globus.tasks
    asked = task.request["DATA"][0]
    assert (asked["source_path"], asked["destination_path"]) == ("/data/run-7/", "/run-7/")


def transfer_held(site: Site, running: Running, globus: Service) -> None:
    """Have a transfer under way whose task goes on until the service lets it."""
    globus.held = True
    give_secret(site, **globus.credentials())
    ask(site, running, TRANSFER, *WORDS)
    site.dispatch()
    wait_for(lambda: globus.tasks, "the task")


@pytest.mark.transfer(protocol="globus", tool=f"{CLI}, cancelled", stand_in=STAND_IN)
def test_a_cancelled_job_cancels_its_task_at_globus(
    site: Site, running: Running, globus: Service
) -> None:
    transfer_held(site, running, globus)

    assert site.dtp("cancel", TRANSFER).code == 0

    site.dispatch_until(TRANSFER, "CANCELLED")
    (task,) = globus.tasks
    assert (task.fatal_error or {})["code"] == "CANCELED"


@pytest.mark.transfer(protocol="globus", tool=f"{CLI}, node drained", stand_in=STAND_IN)
def test_after_a_drained_node_one_task_is_active_and_no_more(
    site: Site, running: Running, globus: Service
) -> None:
    transfer_held(site, running, globus)

    name = site.job(TRANSFER)["name"]
    site.evict(name)

    try:
        wait_for(lambda: len(globus.tasks) == 2, "the task of the second start", 400)
    except AssertionError as late:
        late.add_note(f"{site.job(TRANSFER)}\n{site.pods(name)}\n{site.printed(name)}")
        raise
    assert [task.status for task in globus.tasks] == ["FAILED", "ACTIVE"]
    globus.held = False
    ended = site.dispatch(wait=True).rows[TRANSFER]
    assert ended["phase"] == "SUCCEEDED", site.logs(TRANSFER)
    assert [task.status for task in globus.tasks] == ["FAILED", "SUCCEEDED"]


def serve(site: Site, running: Running) -> None:
    ask(site, running, ENDPOINT, (" secret=lab-endpoint", ""))
    site.dispatch()
    wait_for(lambda: running.service.connected, "the connection")


@pytest.mark.transfer(protocol="globus", tool=CONNECT, stand_in=STAND_INS)
def test_an_endpoint_connects_ends_when_asked_and_comes_back_with_its_registration(
    site: Site, running: Running, globus: Service, watch: Watch
) -> None:
    key = globus.create_endpoint({"display_name": "lab"})["globus_connect_setup_key"]
    give_secret(site, GLOBUS_SETUP_KEY=key)
    serve(site, running)
    own = f"/workspace/dtp-jobs/{ENDPOINT}"
    (offered,) = globus.connected.values()
    assert offered.startswith(f"rw{own},n{own}/.dtp,")
    name = site.job(ENDPOINT)["name"]
    wait_for(lambda: '"progress":"connected"' in site.printed(name), "the heartbeat")

    site.remove(ENDPOINT)
    site.commit("no endpoint")
    watch.start()
    ended = site.dispatch_until(ENDPOINT, "SUCCEEDED")

    watch.told("a Globus endpoint whose script is removed", ended)
    assert ended["reason"] == "ended as asked: its script left the branch"
    log = (site.place(ENDPOINT) / "endpoint.log").read_text()
    assert "ended by TERM; the registration is kept" in log
    assert key not in log
    assert (site.place(ENDPOINT) / ".dtp" / "globus").stat().st_mode & 0o777 == 0o700

    globus.connected.clear()
    serve(site, running)
    assert site.job(ENDPOINT)["attempt"] == 2
    assert list(globus.connected) == [globus.set_up[key]]
    assert globus.requests.count("POST /relay/register") == 1


@pytest.mark.transfer(protocol="globus", tool=f"{CONNECT}, node drained", stand_in=STAND_INS)
def test_an_endpoint_on_a_drained_node_connects_again(
    site: Site, running: Running, globus: Service
) -> None:
    key = globus.create_endpoint({"display_name": "lab"})["globus_connect_setup_key"]
    give_secret(site, GLOBUS_SETUP_KEY=key)
    serve(site, running)
    name = site.job(ENDPOINT)["name"]

    site.evict(name)

    wait_for(lambda: len(site.starts(name)) == 2, "the second start")
    globus.connected.clear()
    wait_for(lambda: globus.connected, "the connection")
    site.until(ENDPOINT, "RUNNING")  # the node tells the cluster a moment later
    assert globus.requests.count("POST /relay/register") == 1


@pytest.mark.transfer(protocol="globus", tool=f"{CONNECT}, used key", stand_in=STAND_INS)
def test_an_endpoint_whose_key_was_used_up_says_so(
    site: Site, running: Running, globus: Service
) -> None:
    key = globus.create_endpoint({"display_name": "lab"})["globus_connect_setup_key"]
    globus.register({"key": key})
    give_secret(site, GLOBUS_SETUP_KEY=key)
    ask(site, running, ENDPOINT, (" secret=lab-endpoint", ""))
    ended = site.dispatch(wait=True).rows[ENDPOINT]
    assert ended["phase"] == "FAILED"
    assert "exit 4" in ended["reason"]
    assert "each is good for one setup" in site.logs(ENDPOINT)
