"""What is told of a script before it is merged: the table's own examples, and whole scripts."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from dtp_action.adapters import lint as shellcheck
from dtp_action.adapters import shells
from dtp_action.core import catalog, lint, remarks, scripts
from dtp_action.core.model import Finding, Severity
from dtp_action.core.remarks import RULES, Rule, Subject
from dtp_action.core.scripts import File

IMAGES = ", ".join(f"{name}: {{image: x.example.org/x:1}}" for name in catalog.builtin().protocols)
ROWS = catalog.parse(f"version: 1\nprotocols: {{{IMAGES}}}\n", "x", base=catalog.builtin())


def told(text: str, protocol: str = "rclone") -> list[Finding]:
    """Return all that `dtp check` says of a script."""
    path = f"dtp-jobs/dtp-{protocol}/a.sh"
    file = File(path=path, mode=0o100644, blob="b", content=text.encode())
    desired = scripts.discover([file], commit="", catalog=ROWS, settings=None)
    more = (*shells.syntax_findings(desired), *shellcheck.findings(desired))
    return list(scripts.findings(scripts.reject(desired, more)))


def codes(text: str, protocol: str = "rclone") -> set[str]:
    return {one.code for one in told(text, protocol)}


def remarked(subject: Subject) -> list[Finding]:
    return list(remarks.findings(subject, "p"))


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_fires_on_its_one_example_and_leaves_the_other_alone(rule: Rule) -> None:
    fired = [one for one in remarked(rule.example(rule.fires)) if one.code == rule.code]
    assert [one.severity for one in fired] == [rule.severity]
    assert fired[0].line >= 1
    assert fired[0].message[-1] not in ". "
    assert remarked(rule.example(rule.silent)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_quotes_comments_and_here_documents_are_no_commands(rule: Rule) -> None:
    if not rule.first_line or rule.code.startswith("batch-"):
        return  # about lines that are comments, or variables that a here-document has too
    quoted = rule.fires.replace("'", '"')
    script = f": '{quoted}'\n# {rule.fires.splitlines()[0]}\ncat <<'END'\n{rule.fires}\nEND"
    assert remarked(rule.example(script)) == []


def test_codes_are_one_each() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES)
    assert len(set(lint.CODES)) == len(lint.CODES)


@pytest.mark.parametrize("kind", lint.KINDS, ids=lambda kind: str(kind.codes[0]))
def test_what_shellcheck_is_asked_for_it_finds(kind: lint.Kind) -> None:
    found = told(f"#!/bin/bash\n{kind.fires}\n")
    assert {f"SC{code}" for code in kind.codes} & {one.code for one in found}
    assert all(one.severity is Severity.WARNING for one in found if one.code.startswith("SC"))
    assert not any(code.startswith("SC") for code in codes(f"#!/bin/bash\n{kind.silent}\n"))


# --- one kind each, in several spellings ---------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "fix"),
    [
        ("#SBATCH --time=5-00:00:00 --mem=64G", "#DTP time=5d memory=64Gi"),
        ("#SBATCH -t 90\n#SBATCH -c8\n#SBATCH --mem-per-cpu=4G", "#DTP time=90m memory=32Gi cpu=8"),
        ("#SBATCH --time 02:00:00  # two hours", "#DTP time=2h"),
        ("#SBATCH --time=30:00", "#DTP time=30m"),
        ("#SBATCH --mem=4000", "#DTP memory=4000Mi"),
        ("#PBS -l walltime=48:00:00,mem=16gb", "#DTP time=2d memory=16Gi"),
        ("#PBS -l select=1:ncpus=8:mem=16gb", "#DTP memory=16Gi cpu=8"),
        ("#PBS -N copy\n#PBS -l nodes=1:ppn=4", "#DTP cpu=4"),
        ("#$ -l h_rt=24:00:00,h_vmem=4G\n#$ -pe smp 8", "#DTP time=1d memory=32Gi cpu=8"),
        ("#BSUB -W 4:30\n#BSUB -M 8GB", "#DTP time=270m memory=8Gi"),
        ("#COBALT -t 60", "#DTP time=1h"),
        ("#OAR -l /nodes=1/core=4,walltime=2:00:00", "#DTP time=2h cpu=4"),
        ("#SBATCH --job-name=copy --mail-type=END", ""),
        ("#SBATCH --time=UNLIMITED --mem=lots", ""),
        ("#DTP time=1d\n#SBATCH --time=2-0 --mem=64G", "#DTP memory=64Gi"),
    ],
)
def test_what_a_batch_system_was_asked_for_is_asked_for_in_one_line(header: str, fix: str) -> None:
    found = [
        one
        for one in told(f"#!/bin/bash\n{header}\nrclone copy lab:a a\n")
        if one.code == "batch-header"
    ]
    assert [one.fix for one in found] == [fix]


def test_a_header_below_the_first_command_is_to_be_written_at_the_top() -> None:
    (one,) = told("#!/bin/sh\nset -e\n#SBATCH --time=1:00:00\nrclone copy lab:a a\n")
    assert one.fix == ""
    assert one.message.endswith("at the top: `#DTP time=1h`")


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("sudo rclone copy lab:a a && sudo ls a", "rclone copy lab:a a && ls a"),
        ("sudo -E rclone copy lab:a a", ""),
        ("srun rclone copy lab:a a", "rclone copy lab:a a"),
        ("srun -n 1 rclone copy lab:a a", ""),
        ('cp lab.txt "$SLURM_TMPDIR"/x', 'cp lab.txt "$TMPDIR"/x'),
        ('cd "${PBS_O_WORKDIR}" || exit', 'cd "${DTP_DIRECTORY}" || exit'),
        ('rclone copy lab:a "${HOME}/a"', 'rclone copy lab:a "a"'),
        ('rclone copy lab:a "$HOME"/a', "rclone copy lab:a a"),
        ("rclone copy lab:a ~", "rclone copy lab:a ."),
        ("rclone copy lab:a /tmp/a/b", "rclone copy lab:a a/b"),
        ("rclone cat lab:a > ~/a.txt", "rclone cat lab:a > a.txt"),
        ("rclone copy lab:a a >log 2>&1 &", "rclone copy lab:a a >log 2>&1"),
    ],
)  # fmt: skip
def test_the_line_to_write_instead(line: str, fix: str) -> None:
    assert told(f"#!/bin/bash\n{line}\n")[0].fix == fix


@pytest.mark.parametrize(
    "line",
    [
        # paths of servers, stores and collections; patterns, text, tests; what every image has
        "rsync -a ada@data.example.org:/data/run-7/ run-7/",
        "rsync -a --exclude=/.dtp --include '/run-*' lab::module/x .",
        "scp -i ~/.ssh/id lab:/scratch/a.fa .",
        "iget -r /tempZone/home/ada/run-7",
        "ils /tempZone/home/ada",
        "gocmd get --diff /iplant/home/shared/example .",
        "gocmd put run-7 /iplant/home/ada/run-7",
        "fdt -c fdt.example.org -pull -r -d . /data/run-7",
        "ssh lab@data.example.org ls /data/run-7",
        "curl -fsS https://data.example.org/data/x -o x -H 'Range: /x'",
        "rclone copy lab:/data/x . --include /sequence.index",
        "sed -n '/foo/p' list.txt",
        "awk '/data/ {print $1}' list.txt",
        "grep -v /data/lab list.txt",
        "echo see /data/lab",
        '[ -d /data/lab ] || echo "no /data/lab here"',
        "if [[ $PWD == /data/* ]]; then exit 1; fi",
        "dd if=/dev/zero of=zeros bs=1M count=1",
        "cp /etc/hosts /usr/share/dict/words .",
        'from=/data/run-7; rsync -a "lab:$from" .',
        'api=/v2/files; curl -fsS "https://data.example.org$api"',
        "tar -C /workspace/dtp-jobs/dtp-aws -cf a.tar run-7",
        "case $PWD in /data/*) exit 1 ;; esac",
        # configuration and scratch
        'mkdir -p ~/.ssh && cp "$DTP_SECRETS/config" ~/.ssh/config',
        'fasterq-dump --temp "$TMPDIR" SRR000001',
        'curl -fsSo "$TMPDIR/a.tar" https://data.example.org/a.tar && tar xf "$TMPDIR/a.tar"',
        'rclone copy lab:a "$TMPDIR/a" && rclone copy "$TMPDIR/a" other:a',
        '( cd "$TMPDIR" && rclone copy lab:a . && mv a "$DTP_DIRECTORY" )',
        'rclone copy lab:a . 2>"$HOME/errors"; cat "$HOME/errors"',
        'export PATH="$HOME/bin:$PATH"; curl -fsSL https://x.example.org/y -o ~/bin/y; y get x',
        "export RCLONE_CONFIG=~/rclone.conf; cp c ~/rclone.conf; rclone copy lab:a a",
        'prefetch -O "$TMPDIR" SRR1; fasterq-dump "$TMPDIR/SRR1" -O .',
        'latf-load -o "$TMPDIR/run" a.fastq; kar -c run.sra -d "$TMPDIR/run"',
        "sha256sum a | cut -d ' ' -f 1",
        # exit codes that the author looks at
        "while true; do rclone copy lab:a a && break; sleep 60; done",
        "rclone copy lab:a a; if [ $? -ne 0 ]; then exit 1; fi; echo ok",
        # input, arguments
        'printf "a\\nb\\n" | while read -r one; do rclone copy "lab:$one" .; done',
        "{ read -r one; rclone copy \"lab:$one\" .; } <list.txt",
        'set -- a b; rclone copy "lab:$1" "$2"',
        'get() { local what=$1; shift; rclone copy "lab:$what" "$@"; }; get a b',
        "awk '{ print $1 }' list.txt",
        'rclone copy "lab:${1:-run-7}" .',
        # processes
        "rclone copy lab:a a & one=$!; rclone copy lab:b b; wait $one",
        "ssh-agent -a \"$HOME/agent\" & rclone copy lab:a a",
        "while sleep 60; do date; done & rclone copy lab:a a; kill $!",
        "sort list.txt | uniq",
        "if curl -fsS https://x.example.org/a | grep -q b; then rclone copy lab:a a; fi",
        'rclone copy lab:a a || { echo "failed"; exit 1; }',
        "rclone copy lab:a a && echo done",
        'find . -name "*.fa" -print0 | xargs -0 ls -l',
        "pip install --target=tools s3cmd",
        "python3 -m venv v && . v/bin/activate && pip install s3cmd",
    ],
)  # fmt: skip
def test_what_is_right_is_left_alone(line: str) -> None:
    ours = {rule.code for rule in RULES} - {"folder"}
    assert codes(f"#!/bin/bash\n{line}\n") & ours == set()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("cp a /gpfs/lab/a", "path"),
        ("OUT=/lustre/ada", "path"),
        ('OUT=/lustre/ada; rclone copy lab:a "$OUT/a"', "path"),
        ("export SRA_DIR=/projects/sra", "path"),
        ("tool --out=/fastdata/x >/nobackup/log", "path"),
        ("iget /tempZone/home/ada/a /scratch/ada", "path"),
        ("for f in /beegfs/lab/*.fa; do rclone copy \"$f\" lab:; done", "path"),
        ("/sw/apps/rclone/bin/rclone copy lab:a a", "path"),
        ('OUT=${OUT:-/scratch/lab}; rclone copy lab:a "$OUT"', "path"),
        ("tar czf ~/run-7.tgz run-7", "lost"),
        ("aria2c -d ~/run-7 https://data.example.org/a", "lost"),
        ("source /etc/profile.d/modules.sh", "environment"),
        ("cd ~ && rclone copy lab:a a", "lost"),
        ('cd "$(mktemp -d)" || exit; rclone copy lab:a a', "lost"),
        ("cd; rclone copy lab:a a", "lost"),
        ('OUT="$HOME/run"; mkdir -p "$OUT"; rclone copy lab:a "$OUT"', "lost"),
        ("wget -P ~/run https://data.example.org/a", "lost"),
        ('curl -fsS https://data.example.org/a -o "$TMPDIR/a"; ls -l "$TMPDIR"', "lost"),
        ("ml rclone", "environment"),
        ("conda activate sra", "environment"),
        ("source activate sra", "environment"),
        (". /opt/miniconda3/etc/profile.d/conda.sh", "environment"),
        ("sbatch next.sh", "batch-command"),
        ('echo "$SLURM_JOB_ID"', "batch-variable"),
        ('mkdir -p "$SCRATCH/run"', "batch-variable"),
        ("apk add rclone", "install"),
        ("sudo yum -y install rclone", "install"),
        ("pip install s3cmd", "install"),
        ("python3 -m pip install s3cmd", "install"),
        ('rclone copy "lab:$1" .', "arguments"),
        ('for run in "$@"; do rclone copy "lab:$run" .; done', "arguments"),
        ("while getopts o: opt; do :; done", "arguments"),
        ('cat <<END\n$1\nEND', "arguments"),
        ('read -r -p "Go on? " yes', "input"),
        ("for i in 1 2; do rclone copy lab:$i . & done", "background"),
        ("(rclone copy lab:a a &)", "background"),
        ("screen -dmS copy rclone copy lab:a a", "background"),
        ("rclone copy lab:a a &\ndisown", "background"),
        ("rclone copy lab:a a &\nrclone copy lab:b b", "background"),
        ("for i in 1 2; do rclone copy lab:$i . & done; wait", "wait"),
        ("rclone cat lab:a | tee a.txt", "pipe"),
        ("gpg -d a.gpg 2>/dev/null | tar x", "pipe"),
        ("rclone copy lab:a a; date", "last-line"),
        ("rclone copy lab:a a; exit 0", "last-line"),
        ('rclone copy lab:a a || echo "failed"', "last-line"),
        ('for i in 1 2; do rclone copy lab:$i .; echo "$i done"; done', "last-line"),
    ],
)  # fmt: skip
def test_what_fails_in_a_job_is_remarked_on(line: str, code: str) -> None:
    assert code in codes(f"#!/bin/bash\n{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "ssh -N -L 9000:s3:9000 gate &\nrclone copy lab:a a",
        "rclone rcd --rc-no-auth &\nrclone rc sync/copy\nkill $!",
        "rclone copy lab:a a &\nrclone copy lab:b b\nwait",
    ],
)
def test_what_serves_the_rest_of_a_script_may_be_in_the_background(line: str) -> None:
    assert "background" not in codes(f"#!/bin/bash\n{line}\n")


@pytest.mark.parametrize(
    ("head", "code", "fix"),
    [
        ("echo a\n", "no-shebang", "#!/bin/sh"),
        ("\n#!/bin/bash -eu\necho a\n", "no-shebang", "#!/bin/bash -eu"),
        (" #!/bin/bash\necho a\n", "no-shebang", "#!/bin/bash"),
        ("# a script\n#!/usr/bin/env bash\necho a\n", "no-shebang", "#!/usr/bin/env bash"),
        ("\n#!/usr/bin/env python3\nimport os\n", "no-shebang", ""),
        ("#!/bin/sh -e\n[[ -e a ]] && ls\n", "SC3010", "#!/bin/bash -e"),
    ],
)
def test_a_shebang_that_is_offered_is_the_one_that_is_meant(head: str, code: str, fix: str) -> None:
    assert (code, fix) in [(one.code, one.fix) for one in told(head)]


def test_a_tool_of_another_folder_names_the_folder() -> None:
    (one,) = told("#!/bin/sh\nset -e\nrclone copy lab:a a\n", "aws")
    assert one.code == "folder"
    assert "move the script to dtp-rclone, or use aws" in one.message
    (one,) = told("#!/bin/sh\nset -e\niget /zone/home/ada/a\n", "irods")
    assert one.message.endswith("has no `iget`: write `gocmd get`")


@pytest.mark.parametrize(
    "line",
    [
        "curl -fsSO https://data.example.org/a; aws s3 cp a s3://lab/a",
        "command -v rclone >/dev/null && rclone copy lab:a a",
        "rclone() { aws s3 cp s3://lab/a .; }; rclone",
        "./rclone copy lab:a a",
        "echo rclone",
    ],
)
def test_a_tool_that_helps_or_is_asked_for_is_in_the_right_folder(line: str) -> None:
    assert "folder" not in codes(f"#!/bin/bash\nset -e\n{line}\n", "aws")


def test_the_same_thing_is_told_once_with_its_lines() -> None:
    (one,) = told("#!/bin/sh\nmodule load a\nmodule load b\nmodule load c\n")
    assert one.line == 2
    assert one.message.endswith("(also lines 3, 4)")


# --- whole scripts -------------------------------------------------------------------------------

CORPUS = Path(__file__).parent / "scripts"


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.sh")), ids=lambda path: path.stem)
def test_a_whole_script_has_its_verdict(path: Path) -> None:
    """A script names what is told of it in its last line; `-`: nothing."""
    text = path.read_text()
    body, _, verdict = text.rstrip("\n").rpartition("\n# verdict ")
    protocol, *expected = verdict.split()
    assert codes(f"{body}\n", protocol) == set(expected) - {"-"}


def test_there_are_whole_scripts() -> None:
    assert len(list(CORPUS.glob("*.sh"))) >= 25


# --- corrections ---------------------------------------------------------------------------------

HEADS = ["#!/bin/bash", "#!/bin/sh", "#!/bin/bash -e", "", " #!/bin/bash", "#!/bin/dash", "#!bash"]
ASKED = [
    *("#DTP time=48:00:00", "#DTP time=2-00:00:00", "#DTP memory=64GB", "#DTP memory=4GB mem=4G"),
    *("#DTP --time=02:00:00 --mem=4G", "#DTP time = 2h, memory = 4GB", "#DTP time=2h memory=4G"),
    *("#dtp cpu=2", "# dtp: cpu: 2; time: 90 min", "#DTP cpu=4 cores", "#DTP cpu=2 cpu=2"),
    *("#DTP memory=4G memory=8G", "#DTP walltime=1.5h", "#DTP -t 2h -c 4", "#DTP disk=1GiB # big"),
    *("#SBATCH --time=5-00:00:00 --mem=64G", "#SBATCH -c 8", "#PBS -l walltime=1:00:00,mem=2gb"),
    *("#DTP retries=2, resume=true", "#DTP notify=Never", "#DTP time=2weeks"),
]  # fmt: skip
LINES = [
    *("sudo rclone copy lab:a a", "srun rclone copy lab:a a", 'rclone copy lab:a "$HOME/a"'),
    *("rclone copy lab:a ~/a/b", "cd run-7", 'ls "$SLURM_SUBMIT_DIR" "$PBS_JOBID"', "cp a b &"),
    *("rclone cat lab:a >/tmp/a", "[[ -e a ]] || exit 1", "sudo srun nice rclone copy lab:a /tmp"),
    *("while read -r a; do ssh lab ls; done <list", "#DTP time=1h", "#SBATCH --mem=4G", "set -e"),
]  # fmt: skip


def applied(text: str, finding: Finding) -> str:
    """Write a correction where it belongs."""
    lines = text.split("\n")
    first = lines[0].startswith("#!")
    if finding.fix.startswith("#!") and not first:
        return "\n".join([finding.fix, *lines])
    if finding.code == "directive-misplaced":
        del lines[finding.line - 1]
        lines.insert(1 if first else 0, finding.fix)
    else:
        lines[finding.line - 1] = finding.fix
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(100 if os.environ.get("DTP_PROPERTIES") else 12))
def test_corrections_check_clean_and_come_to_an_end(seed: int) -> None:
    chosen = random.Random(seed)
    head = [chosen.choice(HEADS), *chosen.sample(ASKED, 2), *chosen.sample(LINES, 3)]
    text = "\n".join([*head, "rclone copy lab:z z"])
    for _ in range(20):
        found = told(text)
        fixes = [one for one in found if one.fix]
        if not fixes:
            break
        corrected = applied(text, fixes[0])
        assert corrected != text, fixes[0]
        errors = {one.code for one in found if one.severity is Severity.ERROR}
        left = {one.code for one in told(corrected) if one.severity is Severity.ERROR}
        assert left <= errors, (text, fixes[0], left - errors)
        text = corrected
    else:
        pytest.fail(f"corrections do not come to an end: {text}")


@pytest.mark.parametrize("asked", ASKED)
def test_the_corrected_line_is_one_and_reads_without_an_error(asked: str) -> None:
    errors = [one for one in told(f"#!/bin/sh\n{asked}\nls\n") if one.severity is Severity.ERROR]
    if not errors or not errors[0].fix:
        return
    (one,) = errors
    assert "error" not in {after.severity.value for after in told(f"#!/bin/sh\n{one.fix}\nls\n")}


@pytest.mark.parametrize(
    ("asked", "fix"),
    [
        ("#DTP time=48:00:00", "#DTP time=2d"),
        ("#DTP memory=4GB mem=4G", "#DTP memory=4G"),
        ("#DTP time = 2h, memory = 4GB", "#DTP time=2h memory=4G"),
        ("#DTP --time=02:00:00 --mem=4G", "#DTP time=2h memory=4G"),
        ("#DTP --time 2-00:00:00 --mem 64GB -c 8", "#DTP time=2d memory=64G cpu=8"),
        ("#DTP memory=4G mem=8G", ""),  # which of the two is meant?
        ("#DTP time=02:30", ""),
    ],
)
def test_a_line_of_a_batch_system_s_words_has_one_correction(asked: str, fix: str) -> None:
    assert {one.fix for one in told(f"#!/bin/sh\n{asked}\nls\n")} == {fix}
