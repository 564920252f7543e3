"""`dtp-globus-endpoint` with the stand-ins of Globus Connect Personal and of the service."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import globus_sdk
import pytest

from tests.globus import connect_personal, gridftp, programs
from tests.globus.programs import IN_EACH_SHELL, Program, end_all
from tests.globus.service import Running, Service


@pytest.fixture
def key(globus: Service) -> str:
    """Return a setup key that was not used yet."""
    return str(globus.create_endpoint({"display_name": "lab"})["globus_connect_setup_key"])


@pytest.fixture
def endpoint(shell: list[str], running: Running, key: str, tmp_path: Path) -> Iterator[Program]:
    tools = tmp_path / "tools"
    tools.mkdir()
    program = tools / "globusconnectpersonal"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {connect_personal.__file__} "$@"\n')
    program.chmod(0o755)
    made = Program(
        shell=shell,
        path=programs.IMAGES / "globus-connect" / "dtp-globus-endpoint",
        folder=tmp_path,
        tools=tools,
        environment={
            **running.environment(),
            "GLOBUS_SETUP_KEY": key,
            "DTP_GLOBUS_POLL": "1",
            "DTP_GLOBUS_SETUP_LIMIT": "60",
            "DTP_GLOBUS_LOSS_LIMIT": "60",
        },
    )
    yield made
    for process in made.running:
        if process.poll() is None:
            end_all(process, signal.SIGKILL)
            process.wait()


@pytest.fixture
def workspace() -> Iterator[Path]:
    """Yield a folder that a user without rights may enter, as pytest's own may not."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


def connected(endpoint: Program) -> subprocess.Popen[bytes]:
    """Start it and wait until it says that it is connected."""
    process = endpoint.begin()
    endpoint.until(lambda: endpoint.progress == "connected", "the connection")
    return process


def server(process: subprocess.Popen[bytes]) -> str:
    """Return the PID of Globus Connect Personal, a child of the program."""
    pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in pids:
        with contextlib.suppress(OSError):  # a pause that has ended meanwhile
            if b"-start\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    raise AssertionError(f"none of {pids} is one")


def registration(endpoint: Program) -> Path:
    return endpoint.directory / ".dtp" / "globus"


def test_the_key_is_what_globus_gcp_create_mapped_prints(
    endpoint: Program, running: Running, globus: Service, globus_cli: Path
) -> None:
    made = subprocess.run(
        [globus_cli / "globus", "gcp", "create", "mapped", "Lab", "--default-directory", "/x/"],
        env={
            **running.environment(),
            **globus.credentials(),
            "PATH": programs.PATH,
            "HOME": str(endpoint.folder),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    told = dict(line.split(":", 1) for line in made.stdout.splitlines())
    endpoint.environment["GLOBUS_SETUP_KEY"] = told["Setup Key"].strip()
    connected(endpoint)
    assert list(globus.connected) == [told["Collection ID"].strip()]


@IN_EACH_SHELL
def test_it_registers_connects_and_ends_with_term(
    endpoint: Program, globus: Service, key: str
) -> None:
    process = connected(endpoint)
    assert list(globus.connected) == [globus.set_up[key]]
    end_all(process)
    ended = endpoint.end(process)
    assert ended.code == 143  # not 0: a drained node ends it in the same way
    assert "ended by TERM; the registration is kept" in ended.said
    assert endpoint.progress == "ended"
    assert key not in ended.said


@IN_EACH_SHELL
def test_term_to_the_program_alone_ends_globus_connect_personal_too(endpoint: Program) -> None:
    process = connected(endpoint)
    process.terminate()
    assert endpoint.end(process).code == 143
    status = subprocess.run(
        [endpoint.tools / "globusconnectpersonal", "-status"],
        env={"PATH": programs.PATH, "TMPDIR": str(endpoint.folder / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Globus Online" not in status.stdout


@IN_EACH_SHELL
def test_what_arrives_may_be_read_by_whom_the_runner_lets_read(endpoint: Program) -> None:
    before = os.umask(0o002)  # as in a Pod
    try:
        process = connected(endpoint)
    finally:
        os.umask(before)
    assert "Umask:\t0002\n" in (Path("/proc") / server(process) / "status").read_text()


def test_the_registration_is_private_and_is_one_for_the_sdk(
    endpoint: Program, globus: Service, key: str
) -> None:
    connected(endpoint)
    place = registration(endpoint)
    assert place.stat().st_mode & 0o777 == 0o700
    assert all(not one.stat().st_mode & 0o077 for one in place.rglob("*"))
    local = globus_sdk.LocalGlobusConnectPersonal(config_dir=str(place))
    assert local.endpoint_id == globus.set_up[key]


@IN_EACH_SHELL
def test_the_next_start_uses_the_kept_registration_and_needs_no_key(
    endpoint: Program, globus: Service
) -> None:
    end_all(process := connected(endpoint), signal.SIGKILL)
    process.wait()
    globus.connected.clear()
    del endpoint.environment["GLOBUS_SETUP_KEY"]
    (endpoint.folder / "progress").unlink()
    connected(endpoint)
    assert "using the kept registration" in endpoint.log
    assert [one for one in globus.requests if "register" in one] == ["POST /relay/register"]


def test_the_registration_is_not_offered(endpoint: Program, globus: Service) -> None:
    connected(endpoint)
    own = endpoint.directory
    kept = f"n{own}/.dtp,n{own}/*/.dtp,n{own}/*/.dtp/*"
    assert list(globus.connected.values()) == [f"rw{own},{kept}"]


@IN_EACH_SHELL
def test_granted_paths_are_offered_without_what_is_kept_in_them(
    endpoint: Program, globus: Service
) -> None:
    endpoint.environment["DTP_EXPOSED"] = "rw/workspace/a,r/workspace/b/"
    connected(endpoint)
    assert list(globus.connected.values()) == [
        "rw/workspace/a,n/workspace/a/.dtp,n/workspace/a/*/.dtp,n/workspace/a/*/.dtp/*,"
        "r/workspace/b,n/workspace/b/.dtp,n/workspace/b/*/.dtp,n/workspace/b/*/.dtp/*"
    ]


@pytest.mark.transfer(
    protocol="globus",
    tool="the list of what dtp-globus-endpoint offers",
    server="Globus' GridFTP server 13.24, by plain FTP",
)
def test_a_gridftp_server_offers_what_it_should_and_no_registration(
    endpoint: Program, globus: Service, gridftp_files: Path, workspace: Path
) -> None:
    own, data = workspace / "dtp-jobs/dtp-globus/own", workspace / "data"
    other = workspace / "dtp-jobs/dtp-globus/other"
    for place in (own, data, other):
        (place / ".dtp/globus").mkdir(parents=True)
        (place / ".dtp/globus/key").write_text("private")
        (place / "file").write_text("public")
        place.chmod(0o777)
    (own / "to-key").symlink_to(".dtp/globus/key")
    (own / "out").symlink_to("/etc/hosts")
    endpoint.environment["DTP_EXPOSED"] = f"rw{own},r{workspace}"
    connected(endpoint)
    (paths,) = globus.connected.values()

    # Globus Connect Personal itself adds the last entry.
    with gridftp.serving(
        gridftp_files, f"{paths},n~/.*", endpoint.folder / "gridftp.log"
    ) as server:
        given = [own / "file", data / "file", other / "file", f"{own}/"]
        assert [server.gives(str(path)) for path in given] == [True] * 4
        kept: list[object] = [place / ".dtp/globus/key" for place in (own, data, other)]
        kept += [own / "to-key", own / "out", f"{own}/.dtp/", f"{other}/.dtp/globus/", "/etc/hosts"]
        assert [path for path in kept if server.gives(str(path))] == []
        assert server.takes(f"{own}/new")
        taken = [data / "new", other / "new", own / ".dtp/new", own / ".dtp/globus/key"]
        assert [path for path in taken if server.takes(str(path))] == []


def test_a_used_key_is_told_and_never_shown(endpoint: Program, globus: Service, key: str) -> None:
    globus.register({"key": key})
    ended = endpoint.run()
    assert ended.code == 4
    assert "each is good for one setup" in ended.said
    assert "The server returned an error" in ended.said  # its own words
    assert endpoint.progress.startswith("Globus did not take the setup key")
    assert key not in ended.said


def test_a_failed_setup_is_not_taken_for_a_registration(
    endpoint: Program, globus: Service, key: str
) -> None:
    globus.relay = "closed"
    ended = endpoint.run()
    assert ended.code == 75
    assert "could not reach Globus" in ended.said
    globus.relay = "up"
    connected(endpoint)
    assert list(globus.connected) == [globus.set_up[key]]


@IN_EACH_SHELL
def test_a_setup_without_an_answer_ends_in_time(endpoint: Program, globus: Service) -> None:
    globus.relay = "silent"
    endpoint.environment["DTP_GLOBUS_SETUP_LIMIT"] = "2"
    ended = endpoint.run()
    assert ended.code == 75
    assert "got no answer within 2 s: is port 2223 of relay.globusonline.org blocked" in ended.said


@IN_EACH_SHELL
def test_term_during_the_setup_ends_it(endpoint: Program, globus: Service) -> None:
    globus.relay = "silent"
    process = endpoint.begin()
    endpoint.until(lambda: "POST /relay/register" in globus.requests, "the setup")
    assert endpoint.progress == "setting up"
    process.terminate()
    assert endpoint.end(process).code == 143


@pytest.mark.parametrize(("given", "said"), [("", "there is no GLOBUS_SETUP_KEY"), ("a; b", "36")])
def test_without_a_key_nothing_is_set_up(
    endpoint: Program, globus: Service, given: str, said: str
) -> None:
    endpoint.environment["GLOBUS_SETUP_KEY"] = given
    ended = endpoint.run()
    assert ended.code == 4
    assert said in ended.said
    assert not globus.requests


def test_a_connection_that_comes_back_is_told(endpoint: Program, globus: Service) -> None:
    connected(endpoint)
    globus.relay = "closed"
    endpoint.until(lambda: endpoint.progress == "not connected for 0 min", "the loss")
    globus.relay = "up"
    endpoint.until(lambda: endpoint.progress == "connected", "the return")
    assert endpoint.log.count("connected as collection") == 2
    assert endpoint.log.count("the connection to Globus is lost") == 1


@IN_EACH_SHELL
def test_a_connection_that_is_lost_for_long_ends_it(endpoint: Program, globus: Service) -> None:
    endpoint.environment["DTP_GLOBUS_LOSS_LIMIT"] = "6"
    process = connected(endpoint)
    globus.relay = "closed"
    ended = endpoint.end(process)
    assert ended.code == 75
    assert "no connection to Globus for 0 min" in ended.said


def test_a_collection_that_was_deleted_ends_it(
    endpoint: Program, globus: Service, key: str
) -> None:
    endpoint.environment["DTP_GLOBUS_LOSS_LIMIT"] = "6"
    process = connected(endpoint)
    del globus.set_up[key]
    ended = endpoint.end(process)
    assert ended.code == 75
    assert "does the collection still exist?" in ended.said


@IN_EACH_SHELL
def test_a_globus_connect_personal_that_ends_by_itself_is_told(
    endpoint: Program, globus: Service
) -> None:
    process = connected(endpoint)
    globus.relay = "broken"
    ended = endpoint.end(process)
    assert ended.code == 75
    assert "ended by itself (exit 3)" in ended.said


def test_an_image_without_globus_connect_personal_is_told(endpoint: Program) -> None:
    (endpoint.tools / "globusconnectpersonal").unlink()
    ended = endpoint.run()
    assert ended.code == 127
    assert "use the image of services" in ended.said
