"""What a script does on the machine of whoever tries it: as in a Pod, to its own places alone.

Each test runs it in both ways: by `dtp run --host` and on the embedded cluster. The caller's home
and TMPDIR are made up; no test may touch the real ones, whatever it finds broken.
"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dtp_action.adapters import local_store, sandbox, sandbox_launcher
from dtp_action.core import logs
from dtp_action.core.model import Mount
from tests import builders
from tests.admin import wait_for
from tests.contract.stages import LocalStage

DTP = Path(sys.executable).with_name("dtp")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CONFINES = sandbox_launcher.landlock() >= sandbox_launcher.USABLE
SCOPES = sandbox_launcher.landlock() >= sandbox_launcher.SCOPES
confined = pytest.mark.skipif(not CONFINES, reason="this kernel has no Landlock")
scoped = pytest.mark.skipif(not SCOPES, reason="this kernel's Landlock has no scope of signals")
# What a container has that no image and no row brings: PWD and OLDPWD, SHLVL and _ are the shell's.
OF_SHELLS = {"PWD", "OLDPWD", "SHLVL", "_"}


@dataclass(kw_only=True)
class Caller:
    """Somebody with a home, a TMPDIR and a project, who tries a script."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("home", "tmp", "project"):
            (self.root / name).mkdir()
            (self.root / name / "precious").write_text("kept\n")
        places = {"HOME": str(self.root / "home"), "TMPDIR": str(self.root / "tmp")}
        self.environment |= {"PATH": PATH, **places}

    @property
    def workspace(self) -> Path:
        raise NotImplementedError

    def run(self, script: str, ref: str = "dtp-local/job") -> str:
        """Run a script to its end; return its log, with what it says of the exit code."""
        raise NotImplementedError

    @property
    def directory(self) -> Path:
        return self.workspace / "dtp-jobs/dtp-local/job"

    def own(self) -> dict[str, str]:
        """Return what is the caller's, by its path."""
        found = (self.root / name for name in ("home", "tmp", "project"))
        files = (path for folder in found for path in folder.rglob("*") if path.is_file())
        return {str(path): path.read_text() for path in files}


class Host(Caller):
    """Types `dtp run --host`."""

    named = True  # the workspace, on the command line

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    def begin(self, script: str, ref: str = "dtp-local/job", **how: Any) -> subprocess.Popen[str]:
        path = self.root / "requests" / "dtp-jobs" / f"{ref}.sh"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        where = ["--workspace", str(self.workspace)] if self.named else []
        return subprocess.Popen(
            [DTP, "run", "--host", path, *where],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **how,
        )

    def run(self, script: str, ref: str = "dtp-local/job") -> str:
        with self.begin(script, ref) as running:
            told, _ = running.communicate(timeout=60)
        return told


class Embedded(Caller):
    """Dispatches to the embedded cluster."""

    @property
    def workspace(self) -> Path:
        return self.root / "cluster" / "workspace"

    def run(self, script: str, ref: str = "dtp-local/job") -> str:
        stage = LocalStage(self.root / "cluster")
        cluster = stage.connect()
        entry = cluster.record(builders.a_draft(ref, content=script.encode()))
        cluster.start(entry)
        try:
            wait_for(lambda: all(job.end for job in stage.connect().jobs()), "the Job to end")
        finally:
            stage.stop_all()
        return (stage.root / "runs" / entry.name / f"{entry.name}-1.log").read_text()


@pytest.fixture(params=[Host, Embedded], ids=["host", "embedded"])
def caller(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Caller:
    made: Caller = request.param(root=tmp_path)
    for name in os.environ:  # supervisors have the environment of these tests
        if name not in ("PATH", "DTP_TEST_KUBECONFIG") and not name.startswith(("PYTEST", "COV")):
            monkeypatch.delenv(name)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(root=tmp_path)


# --- what is the caller's ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tidies",
    [
        'rm -rf "$TMPDIR"/*',
        'rm -rf "$TMPDIR" "$HOME"',
        'rm -rf "$HOME"/* "$HOME"/.[!.]*',
        "rm -rf ~/*",
        "(cd && rm -rf ./*)",
        'find "${TMPDIR:-/tmp}" -mindepth 1 -delete',
        'd=$(mktemp -d) && rm -rf "$(dirname "$d")"',
    ],
)
def test_a_script_that_tidies_its_scratch_tidies_its_own(caller: Caller, tidies: str) -> None:
    before = caller.own()
    caller.run(f"#!/bin/sh\n{tidies}\necho x >result\n")
    assert caller.own() == before
    assert (caller.directory / "result").exists()


def test_home_and_scratch_are_empty_at_the_start_writable_and_gone_at_the_end(
    caller: Caller,
) -> None:
    script = """#!/bin/sh
ls -A "$HOME"; ls -A "$TMPDIR" | grep -v '^.dtp-'
mkdir -p "$HOME/a/b" && echo x >"$HOME/a/b/c" && chmod 500 "$HOME/a/b" "$HOME/a"
mkdir "$TMPDIR/locked" && chmod 0 "$TMPDIR/locked"
echo "$HOME" >places; echo "$TMPDIR" >>places
"""
    log = caller.run(script)
    assert "exit 0" in log
    home, scratch = (caller.directory / "places").read_text().splitlines()
    assert not Path(home).exists()
    assert not Path(scratch).exists()
    assert between(log) == ""
    assert home not in (caller.environment["HOME"], scratch)


WRITES = """\
echo x >{root}/home/precious
echo x >>{root}/home/.profile
rm -rf {root}/project
rm -rf {root}/tmp/*
mv {root}/project/precious .
ln {root}/project/precious linked && echo x >linked
ln -s {root}/project link && rm -rf link/*
truncate -s 0 {root}/project/precious
mkdir {root}/project/new && echo x >{root}/project/new/x
cp /bin/sh {root}/home/sh
mknod {root}/home/pipe p
echo x >/etc/dtp-test-of-a-script
echo x >>$0
echo x >{workspace}/dtp-jobs/dtp-local/other/other.log
rm -rf {workspace}/dtp-jobs/dtp-local/other
rm -rf {workspace}/.dtp/state
rm -rf {workspace}
"""


@confined
def test_a_script_writes_nowhere_but_to_its_own_places(caller: Caller) -> None:
    caller.run("#!/bin/sh\necho theirs >result\n", "dtp-local/other")
    other = caller.workspace / "dtp-jobs/dtp-local/other"
    records = {path.name for path in (caller.workspace / ".dtp/state").iterdir()}
    before = caller.own() | {"log": (other / "other.log").read_text()}

    commands = WRITES.format(root=caller.root, workspace=caller.workspace).splitlines()
    tries = [f"({command}) && echo 'done: {command}'" for command in commands]
    log = caller.run("\n".join(["#!/bin/sh", *tries, "echo own >result", ""]))

    assert "exit 0" in log
    assert "done: " not in log
    assert caller.own() | {"log": (other / "other.log").read_text()} == before
    assert (other / "result").read_text() == "theirs\n"
    assert records <= {path.name for path in (caller.workspace / ".dtp/state").iterdir()}
    assert not Path("/etc/dtp-test-of-a-script").exists()


def test_what_a_job_may_do_in_a_pod_it_may_do_here(caller: Caller) -> None:
    script = """#!/bin/bash
set -euo pipefail
echo a >a; mkdir -p d/e; mv a d/e/; ln d/e/a hard; ln -s hard soft; cp -p hard "$TMPDIR/x"
mv "$TMPDIR/x" back; mkfifo pipe; cat <<<here >pipe & cat pipe; wait
exec 9>lock; tar -cf "$TMPDIR/t.tar" d; rm -r d; tar -xf "$TMPDIR/t.tar"
: >/dev/null; head -c 3 /dev/urandom | wc -c; cat <(echo substituted)
yes | head -n 1 || [ $? -eq 141 ]
echo err >&2; echo dev >/dev/stdout; sort --buffer-size=1K back; touch d/e/a; truncate -s 9 back
"""
    log = caller.run(script)
    assert "exit 0" in log, log
    assert between(log).split() == ["here", "3", "substituted", "y", "err", "dev", "a"]


OURS = (logs.HEARTBEAT, logs.ARRIVED)


def between(log: str) -> str:
    """Return what the script said: without header, footer and the runner's lines for machines."""
    lines = [line for line in log.splitlines() if not line.startswith(OURS)]
    said = [line for line in lines if line and not line.startswith("== dtp: ")]
    return "\n".join(said)


def test_a_script_has_nothing_beside_it(caller: Caller) -> None:
    beside = caller.root / "requests/dtp-jobs/dtp-local/list.txt"
    beside.parent.mkdir(parents=True)
    beside.write_text("x\n")
    log = caller.run('#!/bin/sh\ncat "$(dirname "$0")/list.txt"\n')
    assert "exit 1" in log


@confined
def test_what_the_settings_open_to_all_jobs_is_open_here(tmp_path: Path) -> None:
    stage = LocalStage(tmp_path / "cluster")
    spec = builders.a_spec(mounts=(Mount(path=""), Mount(path="shared/all", read_only=False)))
    script = f"#!/bin/sh\ncd {stage.root}/workspace/shared\necho x >all/x; echo x >x\n"
    cluster = stage.connect()
    cluster.start(cluster.record(builders.a_draft(content=script.encode(), spec=spec)))
    wait_for(lambda: stage.connect().jobs()[0].end, "the Job to end")
    shared = stage.root / "workspace/shared"
    assert [str(path.relative_to(shared)) for path in sorted(shared.rglob("*"))] == ["all", "all/x"]


@confined
def test_a_script_that_cannot_be_confined_is_not_run(tmp_path: Path) -> None:
    process = sandbox.start(
        ["/bin/sh", "-c", "echo ran"],
        writable=[tmp_path / "missing"],
        environment={"PATH": PATH},
        directory=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    told, said = process.communicate(timeout=30)
    sandbox.adopt(orphans=False)  # as whoever started it does at the end
    assert (process.returncode, told) == (sandbox_launcher.REFUSED, b"")
    assert said.startswith(b"dtp: this script cannot be confined: ")


# --- what it sees of the caller ------------------------------------------------------------------

CALLERS_OWN = {
    "AWS_PROFILE": "lab",
    "AWS_CONFIG_FILE": "/etc/lab",
    "BASH_ENV": "/etc/lab.sh",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus",
    "ENV": "/etc/lab.sh",
    "GITHUB_TOKEN": "none",
    "KUBECONFIG": "/etc/lab",
    "LANG": "de_DE.UTF-8",
    "RCLONE_CONFIG": "/etc/lab",
    "SLURM_JOB_ID": "1",
    "SSH_AUTH_SOCK": "/run/agent",
    "USER": "ada",
    "XDG_CONFIG_HOME": "/etc/lab",
    "XDG_RUNTIME_DIR": "/run/user/1000",
}
NETWORK = {"https_proxy": "http://proxy.example.org:3128", "SSL_CERT_FILE": "/etc/ca.pem"}


def test_a_script_has_the_environment_of_a_pod_and_how_this_machine_reaches_the_network(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (CALLERS_OWN | NETWORK).items():
        monkeypatch.setenv(name, value)
    caller.environment |= CALLERS_OWN | NETWORK
    caller.run("#!/bin/sh\nenv -0 | tr '\\n\\0' ' \\n' | sed 's/=.*//' >names\n")
    names = set((caller.directory / "names").read_text().split())
    seen = {name for name in names - OF_SHELLS if not name.startswith("DTP_")}
    assert seen == {"HOME", "PATH", "TMPDIR", *NETWORK}


@confined
def test_root_is_nobody_special_and_gains_nothing(caller: Caller) -> None:
    caller.run("#!/bin/sh\ngrep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status >told\n")
    told = dict(line.split(":\t") for line in (caller.directory / "told").read_text().splitlines())
    assert told["NoNewPrivs"] == "1"
    assert int(told["CapEff"], 16) == 0
    assert os.geteuid() or int(told["CapBnd"], 16) == 0


# --- processes -----------------------------------------------------------------------------------


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process of the caller's that has nothing to do with the script."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


@scoped
def test_a_script_signals_no_process_but_its_own(
    caller: Caller, bystander: subprocess.Popen[bytes]
) -> None:
    script = (
        f"#!/bin/sh\nkill -TERM {bystander.pid}; kill -TERM {os.getpid()}\nsleep 60 & kill $!\n"
    )
    log = caller.run(script)
    assert "exit 0" in log
    assert "not permitted" in log
    assert bystander.poll() is None


def test_what_outlives_a_script_ends_with_it(caller: Caller) -> None:
    caller.run(
        "#!/bin/sh\nsetsid sh -c 'echo $$ >pid; exec sleep 600' >/dev/null 2>&1 &\nsleep 1\n"
    )
    pid = (caller.directory / "pid").read_text().strip()
    assert not Path(f"/proc/{pid}").exists()


def test_a_script_has_no_input_and_a_session_of_its_own(caller: Caller) -> None:
    log = caller.run("#!/bin/sh\nwc -c >of\nps -o sid= -p $$ >>of\n")
    assert "exit 0" in log
    zero, session = (caller.directory / "of").read_text().split()
    assert zero == "0"
    assert int(session) != os.getsid(0)


def test_a_script_cannot_ask_at_the_terminal(host: Host) -> None:
    ours, theirs = pty.openpty()
    script = "#!/bin/sh\n(: </dev/tty) && echo asked\necho told\n"
    with host.begin(script, stdin=theirs, start_new_session=True, preexec_fn=own_terminal) as run:
        said, _ = run.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "told\n" in said
    assert "asked" not in said


def own_terminal() -> None:
    """Make standard input the terminal of this session, as a shell's is."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_stops_a_run_ends_its_script(host: Host, number: signal.Signals) -> None:
    script = "#!/bin/sh\necho $$ >pid; echo $HOME >home\ntrap 'echo stopped; exit 3' TERM\n"
    with host.begin(f"{script}while :; do sleep 0.1; done\n") as running:
        home = host.directory / "home"
        wait_for(lambda: home.exists() and home.read_text().strip(), "the script to run")
        running.send_signal(number)
        told, _ = running.communicate(timeout=30)
    assert "\nstopped\n" in told
    assert running.returncode == 3
    assert not Path(home.read_text().strip()).exists()


@pytest.mark.parametrize("named", [True, False], ids=["named workspace", "new workspace"])
def test_what_a_killed_run_left_is_cleared_by_the_next_once_nothing_of_it_lives(
    host: Host, named: bool
) -> None:
    host.named = named
    script = "#!/bin/sh\npwd; echo $HOME; echo begun\nuntil [ -e go ]; do sleep 0.1; done\n"
    with host.begin(script) as running:
        said = filter(str.strip, running.stdout or ())
        directory, home = next(line.strip() for line in said if line.startswith("/")), next(said)
        running.kill()
    left = Path(home.strip())
    lock = left.parent.with_suffix(".alive")

    host.run("#!/bin/sh\ntrue\n", "dtp-local/other")
    assert left.is_dir()  # its script lives, and somebody may wait for it

    (Path(directory) / "go").touch()
    wait_for(lambda: not local_store.taken(lock), "the script to end")
    host.run("#!/bin/sh\ntrue\n", "dtp-local/other")
    assert not left.exists()
    assert not list(left.parent.parent.glob("*.alive"))


def test_a_start_whose_supervisor_was_killed_leaves_no_scratch(tmp_path: Path) -> None:
    stage = LocalStage(tmp_path / "cluster")
    cluster = stage.connect()
    script = b"#!/bin/sh\necho $HOME >home\nuntil [ -e go ]; do sleep 0.1; done\n"
    entry = cluster.record(builders.a_draft("dtp-local/job", content=script))
    cluster.start(entry)
    directory = stage.root / "workspace/dtp-jobs/dtp-local/job"
    home = directory / "home"
    wait_for(lambda: home.exists() and home.read_text().strip(), "the script to run")
    (stat,) = (
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if f"{stage.root}\0{entry.name}\0".encode() in path.read_bytes()
    )
    os.kill(int(stat.parent.name), signal.SIGKILL)
    assert Path(home.read_text().strip()).is_dir()
    (directory / "go").touch()
    wait_for(lambda: stage.connect().jobs()[0].end, "the Job to end")
    assert not Path(home.read_text().strip()).exists()


# --- what is checked and kept --------------------------------------------------------------------


def told(host: Host, script: str) -> tuple[int, str]:
    with host.begin(script) as running:
        _, said = running.communicate(timeout=60)
    return running.returncode, said


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("#!/bin/bash\r\necho hello >ran\r\n", "error cr: has Windows line ends"),
        ("#!/bin/sh\n#DTP tme=2h\necho >ran\n", "write: #DTP time=2h"),
        ("#!/bin/sh\nif true; then echo >ran\n", "error syntax"),
        ("", "error empty"),
    ],
)
def test_a_script_with_errors_is_not_run(host: Host, script: str, code: str) -> None:
    returned, said = told(host, script)
    assert (returned, code in said) == (1, True), said
    assert str(host.root / "requests/dtp-jobs/dtp-local/job.sh") in said
    assert not host.workspace.exists()


def test_warnings_are_shown_and_the_script_runs(host: Host) -> None:
    returned, said = told(host, "echo >ran\n")
    assert (returned, "warning no-shebang" in said) == (0, True), said


def test_time_ends_the_script_here_too(host: Host) -> None:
    began = time.monotonic()
    returned, said = told(host, "#!/bin/sh\n#DTP time=1s\nsleep 60\n")
    assert returned == 196
    assert time.monotonic() - began < 30
    assert "for at most 1s" in said


def test_what_this_machine_does_not_apply_is_said_once(host: Host) -> None:
    script = "#!/bin/sh\n#DTP memory=64Gi time=5m secret=lab retries=2 manifest=sha256\necho x >x\n"
    returned, said = told(host, script)
    assert (returned, said.count("not applied on this machine")) == (0, 1)
    assert "not applied on this machine: memory=64Gi, retries=2, secret=lab, " in said
    assert ("a user other than root" in said) == (os.geteuid() == 0)
    assert (host.directory / ".dtp/manifest-1.sha256").read_text().endswith("  ./x\n")


def test_a_move_within_the_workspace_is_not_doubted_and_what_failed_inside_is(host: Host) -> None:
    with host.begin("#!/bin/bash\nls /none\ntrue\n") as running:
        _, errors = running.communicate(timeout=60)
    assert "line 2: `ls /none` ended with exit code 2, and the script went on" in errors
    assert "nothing was transferred" not in errors


def test_a_protocol_without_an_image_is_tried_with_this_machines_tools(host: Host) -> None:
    host.run("#!/bin/sh\necho x >ran\n", "dtp-fdt/job")
    assert (host.workspace / "dtp-jobs/dtp-fdt/job/ran").exists()


@pytest.mark.parametrize(
    ("version", "said"),
    [(0, "can change your files"), (1, "can change your files"), (5, "ending your processes")],
)
def test_what_the_machine_cannot_prevent_is_said(
    version: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_launcher, "landlock", lambda: version)
    assert said in sandbox.gap()
    monkeypatch.setattr(sandbox_launcher, "landlock", lambda: sandbox_launcher.SCOPES)
    assert sandbox.gap() == ""


# --- whose embedded cluster ----------------------------------------------------------------------


@pytest.fixture
def status(tmp_path: Path) -> Callable[[Path], str]:
    """Return a command: `dtp status --cluster local` in a folder; what it says of the place."""

    def ask(folder: Path) -> str:
        ended = subprocess.run(
            [DTP, "status", "--cluster", "local"],
            cwd=folder,
            env={"PATH": PATH, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.stderr

    return ask


def test_each_repository_has_an_embedded_cluster_of_its_own(
    tmp_path: Path, status: Callable[[Path], str]
) -> None:
    for name in ("one", "two"):
        git("init", "-q", tmp_path / name)
    git("-C", tmp_path / "one", *AS_ADA, "commit", "-q", "--allow-empty", "-m", "x")
    git("-C", tmp_path / "one", "worktree", "add", "-q", tmp_path / "tree")
    (tmp_path / "one" / "dtp-jobs").mkdir()

    one, two = status(tmp_path / "one"), status(tmp_path / "two")
    assert str(tmp_path / ".local/state/dtp-requests/one-") in one
    assert str(tmp_path / ".local/state/dtp-requests/two-") in two
    assert status(tmp_path / "one" / "dtp-jobs") == one
    assert status(tmp_path / "tree") == one


def test_outside_a_repository_the_embedded_cluster_has_to_be_named(
    tmp_path: Path, status: Callable[[Path], str]
) -> None:
    assert "not a git repository" in status(tmp_path)


AS_ADA = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")


def git(*arguments: str | Path) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)
