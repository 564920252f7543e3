"""What a run asks of the API server, counted on the way there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Sites
from tests.e2e.site import Site, Watch
from tests.e2e.test_once import through
from tests.faults import Proxy, proxied

HELLO = "#!/bin/bash\necho hello\n"
SLEEPS = "#!/bin/bash\nsleep 300\n"


@pytest.fixture
def proxy(site: Site) -> Iterator[Proxy]:
    with proxied(site.namespace.kubeconfig) as running:
        yield running


def test_with_nothing_open_a_run_makes_at_most_four_requests(
    site: Site, proxy: Proxy, watch: Watch
) -> None:
    site.merge(a=HELLO, b=HELLO, c="#!/bin/bash\nexit 7\n")
    site.dispatch(wait=True)
    assert site.dispatch().actions == []

    asked = _asked(site, proxy)

    watch.counted("nothing open", asked)
    assert len(asked) <= 4


def test_with_open_attempts_a_run_lists_the_pods_once_more(
    site: Site, proxy: Proxy, watch: Watch
) -> None:
    site.merge(a=SLEEPS, b=SLEEPS)
    site.dispatch()
    for ref in ("dtp-local/a", "dtp-local/b"):
        site.until(ref, "RUNNING")
    while site.dispatch().actions:  # until they are confirmed
        pass

    asked = _asked(site, proxy)

    watch.counted("two running", asked)
    assert len(asked) <= 5
    assert sum("/pods?" in request for request in asked) == 1


def test_what_waits_unexplained_is_asked_about_within_bounds(sites: Sites, watch: Watch) -> None:
    with sites(queueAllowance="1h") as site, proxied(site.namespace.kubeconfig) as proxy:
        quota = {"hard": {"pods": "0"}}
        site.admin.create("ResourceQuota", "full", site.namespace.name, spec=quota)
        site.merge(**{f"job_{number}": HELLO for number in range(25)})
        site.dispatch("--first-run")
        while site.dispatch().actions:
            pass

        asked = _asked(site, proxy)

        events = [request for request in asked if "/events?" in request]
        watch.counted("25 waiting unexplained", asked)
        assert 0 < len(events) <= 20
        assert len(asked) - len(events) <= 5


def test_status_reads_the_log_of_what_runs_and_of_nothing_else(
    site: Site, proxy: Proxy, watch: Watch
) -> None:
    site.merge(a=SLEEPS, b=HELLO)
    site.dispatch()
    site.until("dtp-local/a", "RUNNING")
    site.dispatch_until("dtp-local/b", "SUCCEEDED")

    assert through(site, proxy).dtp("status").code == 0

    watch.counted("status, one running", proxy.requests)
    assert sum("/log?" in request for request in proxy.requests) == 1
    assert len(proxy.requests) == 5, "three lists, the log, the settings that scripts are judged by"


def _asked(site: Site, proxy: Proxy) -> list[str]:
    """Return the requests of one run that has nothing to do."""
    done = through(site, proxy).dispatch()
    assert done.actions == []
    return proxy.requests
