"""What the admin's settings let a script reach, and how little the dispatcher's account may do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException

from tests.admin import PATHS, Admin
from tests.e2e.conftest import Sites
from tests.e2e.site import Site

LOOKS = """\
#!/bin/bash
cat /workspace/dtp-jobs/dtp-local/other/data && echo READ
cat /workspace/private && echo READ
echo mine >own && echo WROTE own
echo shared >/workspace/shared/result && echo WROTE shared
echo stray >/workspace/private && echo WROTE private
"""


def test_a_site_may_hide_everything_but_a_jobs_own_directory(sites: Sites) -> None:
    with sites(visible="own") as site:
        log = _look_around(site)
        assert "READ" not in log
        assert "WROTE own" in log
        assert "WROTE shared" not in log
        assert "WROTE private" not in log


def test_a_site_may_open_a_path_for_writing(sites: Sites) -> None:
    with sites(writable=["shared"]) as site:
        log = _look_around(site)
        assert log.count("READ") == 2
        assert "WROTE shared" in log
        assert "WROTE private" not in log
        assert (site.claim / "shared/result").read_text() == "shared\n"


def _look_around(site: Site) -> str:
    """Run the curious script beside another job's files; return what it printed."""
    other = site.place("dtp-local/other")
    other.mkdir(parents=True)
    for folder in (site.claim / "dtp-jobs", other.parent, other):
        folder.chmod(0o777)  # as the jobs' own user would have made them
    (site.claim / "shared").mkdir()
    (site.claim / "shared").chmod(0o777)
    (other / "data").write_text("of another job\n")
    (site.claim / "private").write_text("of the site\n")
    (site.claim / "private").chmod(0o666)
    site.merge(look=LOOKS)
    site.dispatch(wait=True)
    return site.logs("dtp-local/look")


TRIES: dict[str, tuple[str, str, str, dict[str, Any] | None]] = {
    "read a Secret": ("GET", "Secret", "/dtp-aws", None),
    "list Secrets": ("GET", "Secret", "", None),
    "delete a Job": ("DELETE", "Job", "/any", None),
    "delete an entry": ("DELETE", "ConfigMap", "/any", None),
    "make a Pod": ("POST", "Pod", "", {"metadata": {"name": "own"}}),
    "run a command in a Pod": ("POST", "Pod", "/any/exec?command=id", None),
    "evict a Pod": ("POST", "Pod", "/any/eviction", {"metadata": {"name": "any"}}),
    "delete a Pod": ("DELETE", "Pod", "/any", None),
    "take another account's token": ("POST", "ServiceAccount", "/dtp-job/token", {"spec": {}}),
    "give itself more": ("POST", "RoleBinding", "", {"metadata": {"name": "more"}}),
}


def test_the_dispatchers_account_may_do_nothing_that_it_does_not_need(site: Site) -> None:
    answers = {}
    for what, (method, kind, rest, body) in TRIES.items():
        path = PATHS[kind].format(site.namespace.name) + rest
        answers[what] = _refusal(site.kubeconfig, method, path, body).status
    assert answers == dict.fromkeys(TRIES, 403)


def test_the_dispatchers_account_cannot_change_what_an_entry_records(site: Site) -> None:
    site.merge(hello="#!/bin/bash\necho hello\n")
    name = site.dispatch().rows["dtp-local/hello"]["name"]
    path = f"{PATHS['ConfigMap'].format(site.namespace.name)}/{name}"
    refused = _refusal(site.kubeconfig, "PATCH", path, {"data": {"script": "#!/bin/sh\nid\n"}})
    assert refused.status == 422
    assert "immutable" in str(refused.body)


def _refusal(kubeconfig: Path, method: str, path: str, body: dict[str, Any] | None) -> ApiException:
    """Ask as the dispatcher; return the no."""
    with pytest.raises(ApiException) as caught:
        Admin(str(kubeconfig)).call(method, path, body)
    return caught.value
