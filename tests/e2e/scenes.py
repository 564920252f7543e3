"""What is played with faults: what a run does, what the next ones do, and what must hold then.

A scene is prepared undisturbed, disturbed by one fault while it acts, and then left to runs that
nothing disturbs. What holds at the end is read off the cluster and the stand-in for GitHub.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest

from dtp_action import dispatch, tell
from dtp_action.adapters import kube, kube_http
from dtp_action.core import ledger, planner, pulls
from dtp_action.core.manifests import BORN_TTL
from dtp_action.core.model import Action, Hold, Observed, Phase, Ref
from dtp_action.dispatch import Cluster
from dtp_action.errors import ConflictError, DtpError
from dtp_action.tell import Work
from tests import api_stub
from tests import builders as b
from tests.contract.test_tell import Site as Repository
from tests.e2e.ground import Ground
from tests.faults import Fault, Kind, Proxy
from tests.github import fake
from tests.unit.test_dispatch import Clock

SCRIPTS, ENDED = 20, 6
HANGS = 300.0  # seconds after which a run counts as hanging, on however busy a machine
SHORT = 1.0  # seconds that a client waits for an answer which is to come too late
RUNS = count(1)

# What names the cause, in whatever is told of a run.
CLOSED = "without response|aborted|reset|broken"
CAUSES = {
    Kind.BEFORE: CLOSED,
    Kind.AFTER: CLOSED,
    Kind.LATER: CLOSED,
    Kind.BUSY: r"429|secondary rate limit",
    Kind.ERROR: r"500",
    Kind.DOWN: r"503",
    Kind.QUOTA: r"resourcequotas",
    Kind.LATE: r"timed out",
    Kind.HALF: r"IncompleteRead|broken",
}
GITHUB = {
    Kind.BUSY: api_stub.Answer(
        status=429, body={"message": fake.BUSY}, headers={"Retry-After": "1"}
    ),
    Kind.ERROR: api_stub.Answer(status=500, body={"message": "Server Error"}),
    Kind.DOWN: api_stub.Answer(status=503, text="<html><h1>No server is available</h1></html>"),
}


class Scene:
    """One scene. `proxy` is the way on which requests go wrong while it acts."""

    name: str
    kinds: tuple[Kind, ...] = tuple(Kind)

    def __init__(self, ground: Ground, proxy: Proxy) -> None:
        self.ground = ground
        self.proxy = proxy

    def prepare(self) -> None:
        """Make the world as it is before."""

    def act(self) -> list[str]:
        """Do what is disturbed; return what it told: reasons and warnings. Raises DtpError."""
        raise NotImplementedError

    def rest(self) -> None:
        """Do what the next runs do."""
        raise NotImplementedError

    def undone(self) -> list[str]:
        """Return what a run that told nothing has not done."""
        return []

    def untrue(self) -> list[str]:
        """Return what the disturbed run told people that is not so."""
        return []

    def lost(self) -> list[str]:
        """Return what is not so at the end."""
        raise NotImplementedError

    def mistold(self) -> list[str]:
        """Return what is wrong, or there twice, in comments and statuses."""
        return []


# --- the cluster alone ---------------------------------------------------------------------------


class OnCluster(Scene):
    """A branch of scripts, about which nobody is told."""

    refs: tuple[str, ...] = ("dtp-local/job-00",)

    def cluster(self) -> Cluster:
        return kube.connect(kubeconfig=self.proxy.kubeconfig, context=None, namespace=None)

    def dispatch(self) -> list[str]:
        report = dispatch.run(
            self.cluster(),
            b.desired(*self.refs),
            b.a_policy(run=f"run-{next(RUNS)}"),
            line=b.LINE,
            patience=Clock().patience(0),
            source=lambda _observed: b.SOURCE,
        )
        return _reasons(report.actions)

    def prepare(self) -> None:
        self.ground.clear()
        self.dispatch()

    def rest(self) -> None:
        self.dispatch()

    def look(self, cluster: Cluster) -> Observed:
        seen = dispatch.look(cluster)
        seen = dispatch.enter(cluster, seen, b.COMMIT, line=b.LINE, source=b.SOURCE)
        return dispatch.with_pods(cluster, seen)

    def outcomes(self) -> dict[str, tuple[Phase, int | None]]:
        """Return how each job's first attempt ended, by what its entry says."""
        ended = {}
        for entry in self.ground.entries():
            notes = entry["metadata"]["annotations"]
            if notes[ledger.ATTEMPT] == "1" and ledger.OUTCOME in notes:
                outcome = ledger.load_outcome(notes[ledger.OUTCOME])
                ended[notes[ledger.REF]] = (outcome.phase, outcome.exit_code)
        return ended


class Dispatch(OnCluster):
    name = f"dispatch of {SCRIPTS} scripts"
    refs = tuple(f"dtp-local/job-{number:02}" for number in range(SCRIPTS))

    def prepare(self) -> None:
        self.ground.clear()

    def act(self) -> list[str]:
        return self.dispatch()

    def undone(self) -> list[str]:
        made = {str(one.ref) for one in self.ground.made}
        return [f"{ref} has no Job" for ref in set(self.refs) - made]

    def lost(self) -> list[str]:
        return self.ground.lost(dict.fromkeys(self.refs, 1))


class Settle(OnCluster):
    name = f"settle {ENDED} that ended"
    refs = tuple(f"dtp-local/job-{number:02}" for number in range(ENDED))
    good = frozenset(refs[::2])

    def prepare(self) -> None:
        super().prepare()
        self.ground.finish(refs=set(self.good))
        self.ground.finish(3)

    def act(self) -> list[str]:
        return self.dispatch()

    def undone(self) -> list[str]:
        return [f"{ref} is not settled" for ref in set(self.refs) - self.outcomes().keys()]

    def lost(self) -> list[str]:
        wanted = {
            ref: (Phase.SUCCEEDED, None) if ref in self.good else (Phase.FAILED, 3)
            for ref in self.refs
        }
        found = self.outcomes()
        wrong = [
            f"{ref} is told as {found.get(ref)}" for ref in wanted if found.get(ref) != wanted[ref]
        ]
        waiting = [job for job in self.ground.jobs() if _kept_long(job)]
        wrong += [f"{job['metadata']['name']} is never removed" for job in waiting]
        return wrong + self.ground.lost(dict.fromkeys(self.refs, 1))


class Retry(OnCluster):
    name = "retry"

    def prepare(self) -> None:
        super().prepare()
        self.ground.finish(3)
        self.dispatch()

    def act(self) -> list[str]:
        cluster = self.cluster()
        seen, ref = self.look(cluster), Ref.parse(self.refs[0])
        policy = b.a_policy(run=f"run-{next(RUNS)}")
        action = planner.retry(ref, b.desired(*self.refs), seen, policy, "key")
        return _reasons(dispatch.apply(cluster, action, seen) if action else [])

    def rest(self) -> None:
        self.act()  # whoever asked asks again, with the same key
        self.dispatch()

    def undone(self) -> list[str]:
        return [] if len(self.ground.made) == 2 else ["attempt 2 has no Job"]

    def lost(self) -> list[str]:
        return self.ground.lost({self.refs[0]: 2})


class Cancel(OnCluster):
    name = "cancel"

    def act(self) -> list[str]:
        cluster, ref = self.cluster(), Ref.parse(self.refs[0])
        seen = dispatch.look(cluster)
        action = planner.cancel(ref, seen, by="ada", request="key")
        return _reasons(dispatch.apply(cluster, action, seen) if action else [])

    def rest(self) -> None:
        with suppress(ConflictError):  # once it has ended
            self.act()
        self.dispatch()
        self.ground.carry_out()
        self.dispatch()

    def undone(self) -> list[str]:
        told = [job["spec"]["activeDeadlineSeconds"] == 1 for job in self.ground.jobs()]
        return [] if told == [True] else ["its Job goes on"]

    def lost(self) -> list[str]:
        found = self.outcomes()
        right = found == {self.refs[0]: (Phase.CANCELLED, None)}
        return [*([] if right else [f"told as {found}"]), *self.ground.lost({self.refs[0]: 1})]


# --- with GitHub ---------------------------------------------------------------------------------


@dataclass
class Hub(Repository):
    """A requests repository whose cluster is real; both are reached through proxies."""

    to_cluster: Proxy = field(kw_only=True)
    to_github: Proxy = field(kw_only=True)

    @property
    def api_url(self) -> str:
        return self.to_github.url

    def cluster(self) -> Cluster:
        return kube.connect(kubeconfig=self.to_cluster.kubeconfig, context=None, namespace=None)


class OnHub(Scene):
    """A pull request that is merged, of jobs a and b."""

    by_github = tuple(kind for kind in Kind if kind is not Kind.QUOTA)

    def __init__(self, ground: Ground, hub: Hub, side: str) -> None:
        super().__init__(ground, hub.to_cluster if side == "cluster" else hub.to_github)
        self.hub = hub
        self.name = f"{self.name}, to {side}"
        if side == "GitHub":
            self.kinds = self.by_github
        self.usual: Counter[str] | None = None  # what is there at the end, undisturbed
        if not hub.github.pulls:
            hub.merge(7, "a", "b")

    def prepare(self) -> None:
        self.ground.clear()
        self.hub.github.comments.clear()
        self.hub.github.statuses.clear()
        self.hub.run()
        self.ground.finish(refs={"dtp-local/a"})
        self.ground.finish(3)

    def run(self) -> list[str]:
        return list(self.hub.run().warnings)

    def rest(self) -> None:
        self.run()

    def mistold(self) -> list[str]:
        found = self.shown()
        if self.usual is None:
            self.usual = found
        wrong = [f"{n} × too often: {text}" for text, n in (found - self.usual).items()]
        return wrong + [f"not told: {text}" for text in self.usual - found]

    def shown(self) -> Counter[str]:
        """Return what stands there at the end, but for numbers, which are times and addresses."""
        comments = [c.body for c in self.hub.github.comments if c.author == fake.US]
        last = {commit: said[-1]["state"] for commit, said in self.hub.github.statuses.items()}
        return Counter(map(_timeless, (*comments, *map(str, last.items()))))


class Report(OnHub):
    name = "report"

    def act(self) -> list[str]:
        return self.run()

    def undone(self) -> list[str]:
        return [] if self.usual is None else self.mistold()

    def lost(self) -> list[str]:
        return self.ground.lost({"dtp-local/a": 1, "dtp-local/b": 1})


class Answer(OnHub):
    name = "answer"
    comment: fake.Comment
    # Two answers stand there where GitHub writes the first one after somebody asked again: what an
    # answer says is never taken back, unlike a status or a mention.
    by_github = tuple(kind for kind in OnHub.by_github if kind not in (Kind.LATE, Kind.LATER))

    def prepare(self) -> None:
        super().prepare()
        self.run()
        self.comment = self.hub.github.comment(7, "/dtp retry dtp-local/b", "ada")

    def act(self) -> list[str]:
        work = self.hub.work()
        assert work.audience

        def begin() -> tuple[Work, Observed]:
            seen = dispatch.look(work.cluster)
            seen = dispatch.enter(
                work.cluster, seen, work.desired.commit, line=work.line, source=b.SOURCE
            )
            return work, seen

        told = tell.answer(work.audience, self.comment.node, branch="main", begin=begin)
        return list(told.warnings)

    def rest(self) -> None:
        self.act()  # the workflow's run is started again
        self.run()

    def undone(self) -> list[str]:
        return [] if len(self.ground.made) == 3 else ["attempt 2 has no Job"]

    def lost(self) -> list[str]:
        return self.ground.lost({"dtp-local/a": 1, "dtp-local/b": 2})

    def untrue(self) -> list[str]:
        done = len(self.ground.entries()) == 3
        said = [body for body in self.hub.mentions(7) if "Not done" in body]
        return [f"attempt 2 is there, yet: {body}" for body in said] if done else []

    def shown(self) -> Counter[str]:
        """Return what stands there; beside it, once, that it could not be done just now."""
        found = super().shown()
        sorry = _timeless(pulls.marker("unanswered", "campus", str(self.comment.id)))
        for text in [text for text in found if text.startswith(sorry)]:
            found[text] -= 1
        return +found


# --- the play ------------------------------------------------------------------------------------


@dataclass
class Tally:
    """A line of the table: how much went wrong, and what should not have."""

    scene: str
    requests: int = 0  # of one undisturbed run
    runs: int = 0
    faults: int = 0
    doubles: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    mistold: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)

    @property
    def bad(self) -> dict[str, list[str]]:
        """What must be empty."""
        return {
            "double runs": self.doubles,
            "lost": self.lost,
            "wrong comments": self.mistold,
            "hung": self.hung,
            "no cause": self.unnamed,
        }

    @property
    def line(self) -> list[str | int]:
        """The line of the table."""
        counts = [len(found) for found in self.bad.values()]
        return [self.scene, self.requests, self.runs, self.faults, *counts]


def faults(asked: list[str], kinds: Iterable[Kind], most: int | None) -> list[Fault]:
    """Return what may go wrong with these requests, at each of them; at most so many, spread out.

    Once, from there on, or with all writes from there on.
    """
    ways = [
        {"kind": kind, "lasting": lasting, "writes_only": writes}
        for lasting, writes in ((False, False), (True, False), (True, True))
        for kind in kinds
    ]
    grids = []
    for way in ways:
        first: Any = Fault(at=1, **way)  # type: ignore[arg-type]
        fit = sum(map(first.fits, asked))
        grids.append([replace(first, at=at) for at in range(1, fit + 1)])
    if most is None or most >= sum(map(len, grids)):
        return [fault for grid in grids for fault in grid]
    grids = [grid for grid in grids if grid]
    turns = [grids[turn % len(grids)] for turn in range(most)]
    return [grid[len(grid) * turn // most] for turn, grid in enumerate(turns)]


def play(scene: Scene, most: int | None) -> Tally:
    """Play a scene undisturbed, and then with a fault at each of its requests."""
    scene.prepare()
    scene.proxy.play(None)
    scene.act()
    asked = list(scene.proxy.requests)
    tally = Tally(scene.name, len(asked))
    _end(scene, tally, None)
    for fault in faults(asked, scene.kinds, most):
        scene.prepare()
        with impatient(fault.kind):
            scene.proxy.play(fault)
            error, told = bounded(scene.act)
            tally.faults += scene.proxy.broken
            tally.runs += scene.proxy.hit
            scene.proxy.play(None)
        _judge(scene, tally, fault, error, told)
        _end(scene, tally, fault)
    return tally


def _judge(
    scene: Scene, tally: Tally, fault: Fault, error: BaseException | None, told: list[str]
) -> None:
    """Note what is wrong with what was told of a run."""
    if isinstance(error, TimeoutError):
        tally.hung.append(str(fault))
        return
    if isinstance(error, DtpError):
        told = [error.message]
    elif error:
        raise AssertionError(f"{scene.name}: {fault}") from error
    tally.mistold += [f"{text} ({fault})" for text in scene.untrue()]
    silent = [] if told or fault.kind is Kind.LATER else scene.undone()
    wrong = [text for text in told if not named(fault, text)]
    tally.unnamed += [f"{text} ({fault})" for text in (*wrong, *silent)]


def named(fault: Fault, text: str) -> bool:
    """Tell whether what was told of a run names what went wrong."""
    return bool(re.search(CAUSES[fault.kind], text, re.IGNORECASE))


def _end(scene: Scene, tally: Tally, fault: Fault | None) -> None:
    """Let it come to rest, and look."""
    scene.rest()
    scene.proxy.deliver()
    scene.rest()
    tally.doubles += [f"{text} ({fault})" for text in scene.ground.doubles()]
    tally.lost += [f"{text} ({fault})" for text in scene.lost()]
    tally.mistold += [f"{text} ({fault})" for text in scene.mistold()]


def bounded(act: Callable[[], list[str]]) -> tuple[BaseException | None, list[str]]:
    """Return how a run ended and what it told; one that does not end is a TimeoutError."""
    found: list[Any] = [TimeoutError("it hangs"), []]

    def run() -> None:
        try:
            found[:] = [None, act()]
        except BaseException as error:
            found[:] = [error, []]

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(HANGS)
    return found[0], found[1]


@contextmanager
def impatient(kind: Kind) -> Iterator[None]:
    """Let who waits for an answer that comes too late not wait for long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kube_http, "FIRST_PAUSE", 0.001)
        if kind is Kind.LATE:
            patch.setattr(kube_http, "READ", SHORT)
        yield


def _timeless(text: str) -> str:
    """Return a comment but for times, addresses, marks of what it tells, and how far a start is."""
    text = re.sub(r"[0-9a-f]{12,}|\d+", "#", text)
    return re.sub(r"(\*\*waiting\*\*) · [^|\n]*", r"\1", text)


def _reasons(done: Iterable[Action]) -> list[str]:
    return [action.reason for action in done if isinstance(action, Hold)]


def _kept_long(job: dict[str, Any]) -> bool:
    """Tell whether a Job still waits to be settled."""
    return bool(job["spec"]["ttlSecondsAfterFinished"] == BORN_TTL)
