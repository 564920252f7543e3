"""What an attacker tries: with the dispatcher's own token, and from the shell of a job.

Data only. `test_attacks` tries all of it and knows what stopped it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dtp_action.core import ledger, naming
from dtp_action.core.model import Entry, Phase, Ref
from tests import builders, chart
from tests.e2e.prey import Prey

Wire = dict[str, Any]
Call = tuple[str, str, Wire | None]  # method, path, body

OWNER = {
    "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-gone"}
    ]
}
HELD = {"finalizers": ["example.org/never"]}
LOCKED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
HELLO: Wire = {"metadata": {"name": "own"}}
POD: Wire = {
    "restartPolicy": "Never",
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [{"name": "c", "image": "localhost/none", "securityContext": LOCKED}],
}
LABELS = {"app": "own"}
DEPLOYMENT: Wire = {
    "selector": {"matchLabels": LABELS},
    "template": {"metadata": {"labels": LABELS}, "spec": POD | {"restartPolicy": "Always"}},
}
CRON_JOB: Wire = {
    "schedule": "0 0 1 1 *",
    "jobTemplate": {"spec": {"template": {"spec": POD}}},
}
ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
DEBUGGER: Wire = {"name": "d", "image": "localhost/none", "securityContext": LOCKED}
OTHER_NAMESPACE = "kube-system"

# What it asks for that is not its business.
POWERS: dict[str, Callable[[Prey], Call]] = {
    "read a Secret": lambda prey: prey.get("Secret", "dtp-local"),
    "list all Secrets": lambda prey: prey.get("Secret"),
    "list the Secrets of another namespace": lambda prey: prey.get(
        "Secret", namespace=OTHER_NAMESPACE
    ),
    "delete a Job": lambda prey: prey.delete("Job", prey.job()),
    "delete an entry": lambda prey: prey.delete("ConfigMap", prey.entry()),
    "delete all ConfigMaps": lambda prey: prey.delete("ConfigMap"),
    "delete the claim": lambda prey: prey.delete("PersistentVolumeClaim", "workspace"),
    "delete a Pod": lambda prey: prey.delete("Pod", prey.pod()),
    "evict a Pod": lambda prey: prey.post("Pod", *prey.eviction()),
    "make a Pod": lambda prey: prey.post("Pod", HELLO | {"spec": POD}),
    "make a CronJob": lambda prey: prey.post("CronJob", HELLO | {"spec": CRON_JOB}),
    "make a Deployment": lambda prey: prey.post("Deployment", HELLO | {"spec": DEPLOYMENT}),
    "run a command in a Pod": lambda prey: prey.post(
        "Pod", None, f"/{prey.pod()}/exec?command=id&stdout=true"
    ),
    "attach to a Pod": lambda prey: prey.post("Pod", None, f"/{prey.pod()}/attach?stdout=true"),
    "connect to a port of a Pod": lambda prey: prey.post(
        "Pod", None, f"/{prey.pod()}/portforward?ports=80"
    ),
    "add a container to a running Pod": lambda prey: prey.patch(
        "Pod", f"{prey.pod()}/ephemeralcontainers", {"spec": {"ephemeralContainers": [DEBUGGER]}}
    ),
    "take the token of another account": lambda prey: prey.post(
        "ServiceAccount", {"spec": {}}, "/robot/token"
    ),
    "give itself a role": lambda prey: prey.post(
        "RoleBinding", HELLO | {"roleRef": ROLE, "subjects": []}
    ),
    "widen its own role": lambda prey: prey.patch("Role", "dtp-dispatch", {"rules": []}),
    "open the network": lambda prey: prey.delete("NetworkPolicy", "dtp-job"),
    "put the policy out of force": lambda prey: prey.delete(
        "ValidatingAdmissionPolicyBinding", f"dtp-{prey.namespace}-jobs"
    ),
    "take the Pod Security label off": lambda prey: prey.patch(
        "Namespace", prey.namespace, {"metadata": {"labels": None}}
    ),
    "make a ConfigMap in another namespace": lambda prey: prey.post(
        "ConfigMap", HELLO, namespace=OTHER_NAMESPACE
    ),
}


def _note(key: str, value: str | None) -> Wire:
    return {"metadata": {"annotations": {key: value}}}


def _label(key: str, value: str | None) -> Wire:
    return {"metadata": {"labels": {key: value}}}


def _end(entry: Entry, outcome: str) -> Wire:
    return ledger.companion(entry, "end", {ledger.OUTCOME_KEY: outcome, ledger.TAIL_KEY: ""})


def _settled(outcome: str, phase: Phase = Phase.SUCCEEDED) -> Wire:
    labels, notes = {ledger.STATE: phase.lower()}, {ledger.OUTCOME: outcome}
    return {"metadata": {"labels": labels, "annotations": notes}}


DONE = ledger.dump_outcome(builders.an_outcome())
BY_ADA = ledger.dump_intent(builders.an_intent(by="ada"))
COMMIT = ledger.PREFIX + "commit"
OTHERS_NAME = naming.attempt_name(Ref("local", "somebodys"), 1)

# What it writes to ConfigMaps.
LEDGER: dict[str, Callable[[Prey], Call]] = {
    "raise the caps in `dtp-cluster`": lambda prey: prey.patch(
        "ConfigMap", ledger.SETTINGS_NAME, {"data": {"more": "yes"}}
    ),
    "have `dtp-cluster` deleted, by an owner that does not exist": lambda prey: prey.patch(
        "ConfigMap", ledger.SETTINGS_NAME, {"metadata": OWNER}
    ),
    "change the cluster's certificates in `kube-root-ca.crt`": lambda prey: prey.patch(
        "ConfigMap", "kube-root-ca.crt", {"data": {"more": "yes"}}
    ),
    "make a ConfigMap of its own": lambda prey: prey.post("ConfigMap", HELLO),
    "change an entry's script": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), {"data": {"script": "#!/bin/sh\nid\n"}}
    ),
    "make an entry mutable": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), {"immutable": False}
    ),
    "have an entry deleted, by an owner that does not exist": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), {"metadata": OWNER}
    ),
    "keep the namespace from being deleted, by a finalizer": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), {"metadata": HELD}, dry=True
    ),
    "take an entry out of the ledger's lists": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), _label(ledger.KIND, None)
    ),
    "change who asked for an attempt": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), _note(ledger.ORIGIN, "{}")
    ),
    "tell an attempt on another pull request than brought it": lambda prey: prey.patch(
        "ConfigMap", prey.attributed_entry(), _note(ledger.BROUGHT_BY, '{"pull_request":8}')
    ),
    "tell an attempt whose pull request is not known on any": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), _note(ledger.BROUGHT_BY, '{"pull_request":8}')
    ),
    "change how an attempt ended": lambda prey: prey.patch(
        "ConfigMap", prey.ended_entry(), _note(ledger.OUTCOME, "{}")
    ),
    "open an attempt that has ended": lambda prey: prey.patch(
        "ConfigMap", prey.ended_entry(), _label(ledger.STATE, "open")
    ),
    "move the ledger to another namespace": lambda prey: prey.patch(
        "ConfigMap", ledger.LEDGER_NAME, _note(ledger.NAMESPACE_UID, "other"), dry=True
    ),
    "move the ledger to another branch": lambda prey: prey.patch(
        "ConfigMap", ledger.LEDGER_NAME, _note(ledger.SOURCE, "other"), dry=True
    ),
    "move the ledger to another commit": lambda prey: prey.patch(
        "ConfigMap", ledger.LEDGER_NAME, _note(COMMIT, "0" * 40), dry=True
    ),
    "move the ledger to what is no commit": lambda prey: prey.patch(
        "ConfigMap", ledger.LEDGER_NAME, _note(COMMIT, "main"), dry=True
    ),
    "record an attempt that no branch asks for": lambda prey: prey.post(
        "ConfigMap", prey.entry_manifest()
    ),
    "record an attempt under another job's name": lambda prey: prey.post(
        "ConfigMap", chart.merged(prey.entry_manifest(), {"metadata": {"name": OTHERS_NAME}})
    ),
    "record an attempt of 900 KiB": lambda prey: prey.post(
        "ConfigMap", chart.merged(prey.entry_manifest(), {"data": {"script": "x" * 900 * 1024}})
    ),
    "record attempts without end, each within its bounds": lambda prey: prey.post(
        "ConfigMap", chart.merged(prey.entry_manifest(), {"data": {"script": "x" * 256 * 1024}})
    ),
    "record an attempt with 800 KiB of files": lambda prey: prey.post(
        "ConfigMap", prey.entry_manifest() | {"binaryData": {"file-1": "QUFB" * (800 * 1024 // 3)}}
    ),
    "record an end with files": lambda prey: prey.post(
        "ConfigMap", _end(prey.open_entry(), DONE) | {"binaryData": {"file-1": "QUFB"}}
    ),
    "record an attempt that nobody can read": lambda prey: prey.post(
        "ConfigMap", chart.merged(prey.entry_manifest(), _note(ledger.ORIGIN, "{}"))
    ),
    "add 200 KiB of notes to an entry": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), _note(ledger.WAITING, "x" * 200 * 1024)
    ),
    "close an open attempt with an invented outcome": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), _settled(DONE)
    ),
    "close an open attempt with an outcome that nobody can read": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), _settled("{}")
    ),
    "close an open attempt without an outcome": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), _label(ledger.STATE, "succeeded")
    ),
    "close an attempt as failed, with the outcome of a success": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), _settled(DONE, Phase.FAILED)
    ),
    "say that somebody cancelled an attempt": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), _note(ledger.INTENT, BY_ADA)
    ),
    "say so in words that nobody can read": lambda prey: prey.patch(
        "ConfigMap", prey.entry(), _note(ledger.INTENT, '{"why":"cancel"}')
    ),
    "write the end of an open attempt, before it ends": lambda prey: prey.post(
        "ConfigMap", _end(prey.open_entry(), DONE)
    ),
    "write an end that nobody can read": lambda prey: prey.post(
        "ConfigMap", _end(prey.open_entry(), "{}")
    ),
    "write an end that can be changed later": lambda prey: prey.post(
        "ConfigMap", _end(prey.open_entry(), DONE) | {"immutable": False}
    ),
}

# What it changes of a Job that is there.
CHANGES: dict[str, Callable[[Prey], Call]] = {
    "put a Job's deadline off": lambda prey: prey.patch(
        "Job", prey.job(), {"spec": {"activeDeadlineSeconds": 10**8}}
    ),
    "have an ended Job deleted at once": lambda prey: prey.patch(
        "Job", prey.ended_job(), {"spec": {"ttlSecondsAfterFinished": 0}}
    ),
    "have a Job deleted, by an owner that does not exist": lambda prey: prey.patch(
        "Job", prey.job(), {"metadata": OWNER}
    ),
    "take a Job for another entry's": lambda prey: prey.patch(
        "Job", prey.job(), _note(ledger.ENTRY_UID, "other")
    ),
    "change what a Job runs": lambda prey: prey.patch(
        "Job", prey.job(), {"spec": {"template": {"spec": {"dnsPolicy": "None"}}}}
    ),
    "run a Job's Pods side by side": lambda prey: prey.patch(
        "Job", prey.job(), {"spec": {"parallelism": 2}}
    ),
    "end a Job that runs": lambda prey: prey.patch(
        "Job", prey.job(), {"spec": {"activeDeadlineSeconds": 1}}
    ),
}

NO_NAME = "dtp-local-other-aaaaaaaa-1"  # what a hash is of is for nobody to see

# What it makes of a Job: `ref` says whose it is, `name` whose name it bears; at a place (`job.` its
# spec, `pod.` its Pod's, `run.` and `prep.` the containers) stands something else, a member of a
# list by its number or name; `+` adds to a list, None takes away.
Changed = dict[str, Any]


def _volume(**source: Any) -> Changed:
    return {
        "pod.volumes+": {"name": "more", **source},
        "run.volumeMounts+": {"name": "more", "mountPath": "/more"},
    }


def _told(name: str, value: str) -> Changed:
    """The last one of a name counts."""
    return {"run.env+": {"name": name, "value": value}}


def _secret(name: str) -> Changed:
    return {"pod.volumes.4.projected.sources+": {"secret": {"name": name, "optional": True}}}


def jobs(images: dict[str, str]) -> dict[str, Changed]:
    """Return the Jobs that no entry has, as changes to one that an entry has."""
    base = images["base"]
    return {
        # images and commands
        "an image that is not among the allowed ones": {"run.image": images["bare"]},
        "an allowed image without its digest": {"run.image": base.split("@")[0] + ":latest"},
        "another image that prepares the claim": {"prep.image": base},
        "another command": {"run.command": ["sh", "-c", "id"]},
        "arguments for the runner": {"run.args": ["id"]},
        "another command that prepares the claim": {"prep.command": ["sh", "-c", "id"]},
        "a claim prepared elsewhere": {"prep.env.2.value": ".dtp"},
        "another script than the entry's": {"run.env+": {"name": "DTP_SCRIPT", "value": "/tmp/x"}},
        "a command after the start": {
            "run.lifecycle": {"postStart": {"exec": {"command": ["id"]}}}
        },
        "a container beside the job's": {
            "pod.containers+": {"name": "more", "image": base, "securityContext": LOCKED}
        },
        # what the runner is told
        "a success that the runner takes for a failure that passes": _told("DTP_TRANSIENT", "0"),
        "more retries for the runner than the Job has": _told("DTP_RETRIES", "99"),
        "another attempt's name for the runner": _told("DTP_NAME", OTHERS_NAME),
        "another job for the runner": _told("DTP_REF", "dtp-local/other"),
        "another number for the runner": _told("DTP_ATTEMPT", "7"),
        "another entry for the runner": _told("DTP_ENTRY", "another"),
        "a Pod's UID of its choice for the runner": _told("DTP_UID", "one"),
        "a runner that gives up on others at once": _told("DTP_MARGIN", "0"),
        "a variable of the runner's own": _told("dtp_start", "7"),
        "other programs for the runner": _told("PATH", "/tmp"),
        "another offer for services than the settings have": _told("DTP_EXPOSED", "rw/workspace"),
        "other files than the entry's": _told("DTP_FILES", "/workspace/dtp-jobs/dtp-local/other"),
        "another state prepared": {
            "prep.env+": {"name": "DTP_STATE_PATH", "value": ".dtp/state/other"}
        },
        "100 kB of variables": _told("X", "x" * 100_000),
        # volumes
        "a folder of the node": _volume(hostPath={"path": "/"}),
        "a share of a server": _volume(nfs={"server": "192.0.2.1", "path": "/"}),
        "another claim": _volume(persistentVolumeClaim={"claimName": "other"}),
        "another claim instead": {"pod.volumes.0.persistentVolumeClaim.claimName": "other"},
        "the workspace for writing": {"run.volumeMounts.0.readOnly": None},
        "another job's directory for writing": {
            "run.volumeMounts.2.subPath": "dtp-jobs/dtp-local/other"
        },
        "another attempt's state for writing": {"run.volumeMounts.3.subPath": ".dtp/state"},
        "another key of the entry as its script": {
            "pod.volumes.3.configMap.items": [{"key": "attempt.json", "path": "script"}]
        },
        "another key of the entry among its files": {
            "pod.volumes.3.configMap.items+": {
                "key": "attempt.json",
                "path": "files/a",
                "mode": 0o755,
            }
        },
        "a file of the entry in another place": {
            "pod.volumes.3.configMap.items+": {"key": "file-1", "path": "a", "mode": 0o755}
        },
        "another entry's script": {"pod.volumes.3.configMap.name": "dtp-cluster"},
        "the directory of any job, in that job's name": {"ref": "dtp-local/other"},
        "more scratch than the cap": {"pod.volumes.2.emptyDir.sizeLimit": "300Gi"},
        # Secrets and accounts
        "another protocol's Secret": _secret("dtp-aws"),
        "any protocol's Secret, in that protocol's name": {
            "ref": "dtp-aws/own",
            "pod.volumes.4.projected.sources.0.secret.name": "dtp-aws",
        },
        "a Secret that is granted to anybody": _secret("dtp-local-lab"),
        "a Secret that is granted to anybody, in the name of a protocol": {
            "ref": "dtp-local-lab/own",
            "pod.volumes.4.projected.sources.0.secret.name": "dtp-local-lab",
        },
        "a Secret that nobody is granted": _secret("other"),
        "a Secret in a variable": {
            "run.env+": {
                "name": "X",
                "valueFrom": {"secretKeyRef": {"name": "other", "key": "key"}},
            }
        },
        "a Secret as all variables": {"run.envFrom": [{"secretRef": {"name": "other"}}]},
        "another account, with its token": {
            "pod.serviceAccountName": "robot",
            "pod.automountServiceAccountToken": True,
        },
        "the dispatcher's account, with its token": {
            "pod.serviceAccountName": "dtp-dispatch",
            "pod.automountServiceAccountToken": True,
        },
        "a token in a volume": {
            "pod.volumes.4.projected.sources+": {"serviceAccountToken": {"path": "token"}}
        },
        # privileges
        "all privileges": {"run.securityContext": {"privileged": True}},
        "a capability": {"run.securityContext.capabilities.add": ["NET_ADMIN"]},
        "root": {"pod.securityContext.runAsNonRoot": False, "pod.securityContext.runAsUser": 0},
        "a writable root file system": {"run.securityContext.readOnlyRootFilesystem": False},
        "no filter of system calls": {"pod.securityContext.seccompProfile": {"type": "Unconfined"}},
        "a group that the settings do not name": {"pod.securityContext.supplementalGroups+": 4},
        "the claim's files given to a group": {"pod.securityContext.fsGroup": 4},
        "any user that is not root": {
            "pod.securityContext.runAsUser": 4000,
            "pod.securityContext.runAsGroup": 4000,
        },
        "the node's network": {"pod.hostNetwork": True},
        "the node's processes": {"pod.hostPID": True},
        "a port of the node": {"run.ports": [{"containerPort": 8080, "hostPort": 8080}]},
        "names that lead elsewhere": {
            "pod.hostAliases": [{"ip": "192.0.2.1", "hostnames": ["s3.amazonaws.com"]}]
        },
        # place and amount
        "a priority over all others": {"pod.priorityClassName": "system-node-critical"},
        "a node of its choice": {"pod.nodeName": "node1"},
        "nodes that are kept for others": {"pod.tolerations": [{"operator": "Exists"}]},
        "more memory than the cap": {
            "run.resources.requests.memory": "64Gi",
            "run.resources.limits.memory": "64Gi",
        },
        "a device": {"run.resources.limits": {"memory": "64Mi", "example.org/gpu": "1"}},
        "no deadline": {"job.activeDeadlineSeconds": None, "pod.activeDeadlineSeconds": None},
        "a later deadline than the cap": {"pod.activeDeadlineSeconds": 10**7},
        "more time for the script than the cap": {
            "run.env+": {"name": "DTP_TIME", "value": "9999999"}
        },
        "one that never starts, so that its attempt never does": {
            "job.parallelism": 0,
            "job.completions": 0,
        },
        "one that never starts and never ends": {"job.parallelism": 0},
        "two Pods at once": {"job.parallelism": 2, "job.completions": 2},
        "more retries than the cap": {"job.backoffLimit": 50},
        "Pods without end": {"job.podFailurePolicy.rules.1.action": "Ignore"},
        "one that is gone when it has ended": {"job.ttlSecondsAfterFinished": 0},
        # names
        "another job's attempt, by its name": {"name": OTHERS_NAME},
        "an attempt of a name that no job has, by the name alone": {
            "ref": "dtp-local/other",
            "name": NO_NAME,
        },
        "another job in the Pod's annotations": {"notes.dtp.scidas.org/ref": "dtp-local/other"},
        "annotations of its own": {
            "metadata.annotations": {
                ledger.REF: "dtp-local/annotated",
                ledger.ATTEMPT: "1",
                ledger.ENTRY_UID: "x",
                ledger.PREFIX + "more": "x" * 1000,
            },
            "ref": "dtp-local/annotated",
        },
        "the labels of another application": {"labels.app": "database"},
        "annotations for another controller": {"notes.example.org/inject": "yes"},
        "an owner": {"metadata.ownerReferences": OWNER["ownerReferences"]},
        "a finalizer": {"metadata.finalizers": HELD["finalizers"]},
        "other Jobs' Pods taken for its own": {
            "job.manualSelector": True,
            "job.selector": {"matchLabels": {ledger.KIND: "attempt"}},
        },
    }


# What a script tries, in its image with `$API`, `$NAMESPACE`. `OTHER` is another job's directory.
OTHER = "/workspace/dtp-jobs/dtp-local/other"
SHELL = {
    "find a token of Kubernetes": "cat /var/run/secrets/kubernetes.io/serviceaccount/token",
    "become root": 'python3 -c "import os; os.setuid(0)"',
    "become another user": 'python3 -c "import os; os.setuid(4000)"',
    "join another group": 'python3 -c "import os; os.setgroups([4])"',
    "give a file to another user": "touch mine; chown 4000 mine",
    "mount something": "mount -t tmpfs none /mnt",
    "make a namespace of its own": "unshare --user true",
    "make a device": "mknod disk b 8 0",
    "open a raw socket": 'python3 -c "import socket as s; s.socket(s.AF_PACKET, s.SOCK_RAW)"',
    "change the kernel's settings": "echo 1 >/proc/sys/kernel/panic",
    "change a program of the image": "echo x >/bin/sh",
    "change the runner": "echo x >/dtp/run.sh",
    "change its entry's script": "echo x >/dtp-entry/script",
    "change its Secret": "echo x >/var/run/dtp/secret/TOKEN",
    "write at the root of the workspace": "echo x >/workspace/stray",
    "write to another job's directory": f"echo x >{OTHER}/stray",
    "write there through a symbolic link": f"ln -sfn {OTHER} link; echo x >link/stray",
    "make another job's file its own, by a hard link": f"ln {OTHER}/data taken",
    "delete another job's file": f"rm -f {OTHER}/data",
    "put a link where its directory stands": "cd ..; mv intruder away",
    "change another attempt's state": "echo x >/workspace/.dtp/state/other/starts/1/end",
    "write to a path that the settings open": "echo x >/workspace/shared/result",
    "read another job's file, `visible: all`": f"grep data {OTHER}/data",
    "read the state of other attempts, `visible: all`": "ls /workspace/.dtp/state/other",
    "print its Secret": 'echo "$TOKEN"',
    "leave a setuid program on the claim": "cp /bin/true own; chmod u+s own; test -u own",
    "trap others by a link in a path that all write to": (
        "ln -sfn /workspace/dtp-jobs/dtp-local/other/data /workspace/shared/trap"
    ),
    "fill the claim": "head -c 3000000 /dev/zero >large",
    "remove the record of its own start": "rm -r /dtp-state/starts",
    # Where a read-only mount stops nothing: what takes part in neither files nor directories.
    "write to another job's named pipe": f"echo x 1<>{OTHER}/pipe",
    "talk to another job's socket": (
        f"python3 -c \"import socket as s; s.socket(s.AF_UNIX).connect('{OTHER}/socket')\""
    ),
    "lock another job's file": f"flock --exclusive --nonblock {OTHER}/data true",
    "make a named pipe in another job's directory": f"mkfifo {OTHER}/new",
}
# The same under other settings: `visible: own`, and a path is opened where a job had left a link.
LATER_WRITABLE = ["shared", "trapped"]
HIDDEN = {
    "read another job's file, `visible: own`": f"grep data {OTHER}/data",
    "read the state of other attempts, `visible: own`": "ls /workspace/.dtp/state/other",
    "change another attempt's state by a link that was there before its path was opened": (
        "echo x >/workspace/trapped/other/starts/1/end"
    ),
}

# How an attempt is run again when its Job is gone: how its script ends, what else the Job says.
AGAIN: dict[str, tuple[int, Changed]] = {
    "run an attempt again": (0, {}),
    "run a success again, as a failure that passes": (
        0,
        {
            "job.backoffLimit": 5,
            "run.env.DTP_RETRIES.value": "99",
            "run.env.DTP_TRANSIENT.value": "0",
        },
    ),
    "run a failure again, within the cap of retries": (
        7,
        {
            "job.backoffLimit": 1,
            "run.env.DTP_RETRIES.value": "1",
            "run.env.DTP_TRANSIENT.value": "7",
        },
    ),
}

# What a script does that shows in how it ends: the script, and what its end says of who stopped it.
ENDS: dict[str, tuple[str, dict[str, str]]] = {
    "say that it succeeded": (
        """#!/bin/bash
printf '{"exit_code":0,"phase":"SUCCEEDED"}' >/dev/termination-log
printf '{"exit_code":0}' >/dtp-state/result.json
exit 7
""",
        {"FAILED .*exit 7": "the container's own exit code counts"},
    ),
    "go on after its time": (
        "#!/bin/bash\n#DTP time=60s\ntrap '' TERM\nwhile :; do sleep 1; done\n",
        {"FAILED .*longer": "runner"},
    ),
    "start processes without end": (
        # It holds much itself: then it is what is killed, before there are hundreds of others.
        "#!/bin/bash\nx=$(head -c 32M /dev/zero | tr '\\0' x)\n"
        "for i in $(seq 999); do sleep 300 & done\nwait\n",
        {"FAILED .*memory": "kernel: memory limit"},
    ),
    "fill the disk of the node": (
        '#!/bin/bash\nhead -c 300M /dev/zero >"$TMPDIR/large"\nsleep 300\n',
        {"FAILED .*disk": "kubelet"},
    ),
}

# What a script reaches, in a namespace whose values open this machine's address (`$HERE`) and no
# other private one, and close one part of the internet. `tests/cluster/cluster network world` gives
# the node addresses for all that.
REACHES = {
    "a server in the internet": "http://198.51.100.7",
    "a part of the internet that the values close": "http://203.0.113.7",
    "any server's port for names": "http://10.99.99.99:53",
    "a private network that the values open": "http://$HERE",
    "another private network": "http://10.99.99.99",
    "the metadata address of clouds": "http://169.254.169.254",
    "the API server": "$API",
    "the API server, by its Service": "https://$KUBERNETES_SERVICE_HOST",
    "the node's kubelet": "https://$NODE_IP:10250",
    "another Pod": "http://$POD:8000",
}
REACHED_FROM = "another Pod reaches the job's"
