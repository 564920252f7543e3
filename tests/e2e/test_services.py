"""Services in Pods: they go on until they are asked to end, and then they are done."""

from __future__ import annotations

from typing import Any

from tests.admin import wait_for
from tests.e2e.site import Site, Watch

REF = "dtp-local/serves"
SERVES = """\
#!/bin/sh
#DTP kind=service
trap 'echo stopping; exit 0' TERM
echo "$DTP_EXPOSED" >>offers
until [ -e fail ]; do sleep 0.2; done
exit 3
"""


def serve(site: Site) -> None:
    """Put the service on the branch of a site whose protocol `local` has services."""
    image = site.namespace.images["base"]
    site.write_catalog(local={"image": image, "serviceImage": image, "memory": "64Mi"})
    site.write(REF, SERVES)
    site.commit("a service")
    before = offers(site)
    site.dispatch()
    site.until(REF, "RUNNING")
    wait_for(lambda: offers(site) != before, "the service to have begun")


def offers(site: Site) -> list[str]:
    """Return what the service was told that it may offer, a line for each time it began."""
    path = site.place(REF) / "offers"
    return path.read_text().splitlines() if path.exists() else []


def withdraw(site: Site) -> dict[str, Any]:
    """Take the script from the branch, and return how the service ended."""
    site.remove(REF)
    site.commit("no service")
    return site.dispatch_until(REF, "SUCCEEDED")


def test_a_service_ends_well_when_its_script_is_removed_and_serves_again_when_it_is_back(
    site: Site, watch: Watch
) -> None:
    site.namespace.settle_settings(exposed=["data", "out"], writable=["out"])
    serve(site)
    watch.start()

    ended = withdraw(site)

    watch.told("a service whose script is removed", ended)
    assert ended["reason"] == "ended as asked: its script left the branch"
    assert "stopping" in (site.place(REF) / "serves.log").read_text()
    assert site.has_come_to_rest()

    serve(site)
    assert site.job(REF)["attempt"] == 2
    own = "rw/workspace/dtp-jobs/dtp-local/serves"
    assert offers(site) == [f"{own},r/workspace/data,rw/workspace/out"] * 2


def test_a_service_that_is_cancelled_or_whose_time_is_over_is_done(site: Site) -> None:
    serve(site)
    assert site.dtp("cancel", REF).code == 0
    assert site.dispatch_until(REF, "SUCCEEDED")["reason"] == "ended as asked: cancelled by ada"
    assert site.has_come_to_rest(), "it is not started again by itself"

    site.write(REF, SERVES.replace("kind=service", "kind=service attempt=2 time=30s"))
    site.commit("for half a minute more")
    site.dispatch()
    ended = site.dispatch_until(REF, "SUCCEEDED")
    assert (ended["attempt"], ended["reason"]) == (2, "ended as asked: its time= was over")


def test_a_service_that_fails_says_so(site: Site) -> None:
    serve(site)
    (site.place(REF) / "fail").touch()
    assert site.dispatch_until(REF, "FAILED")["reason"] == "your script failed (exit 3)"
