"""The files around the code agree with it: versions, workflows, what a release says."""

import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
LONGEST = 350
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def commands(workflow: Path) -> list[str]:
    """What its steps run."""
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def test_workflows_are_what_github_reads():
    assert {path.stem for path in WORKFLOWS} == {"docs", "tests", "wheels"}
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS]
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_there_is(workflow):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for command in commands(workflow):
        program, *words = command.split()
        if program == "make":
            assert words[0] in targets
        elif "/" in program:
            assert (ROOT / program).is_file()


def test_one_version_everywhere():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == VERSION
    latest = re.search(r"^## (\S+?)[, ]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert latest is not None
    assert latest[1] == VERSION


def test_hooks_run_what_lint_and_types_run():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    entries = [hook["entry"].removeprefix(".venv/bin/").removesuffix(" --fix") for hook in local["hooks"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert len(entries) == 3
    for entry in entries:
        assert f"$(BIN)/{entry}" in makefile


def test_what_make_does_in_silence_is_told_first():
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    silent = [before for before, line in pairwise(lines) if "--quiet" in line]
    assert len(silent) == 4
    assert all(before.startswith("\t@echo ") for before in silent)


def test_files_hold_one_idea():
    files = [path for folder in ("zoo", "tests", "tools", "plugins") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 800
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def test_one_module_writes_files():
    """Whole or not at all: others give ``zoo/files.py`` what they have to write."""
    writes = re.compile(
        r"\.write_(?:text|bytes)\(|mkstemp|NamedTemporaryFile|os\.(?:replace|rename)\(|open\([^)\n]*\"[wx]b?\""
    )
    zoo = ROOT / "zoo"
    found = {path.relative_to(zoo).as_posix() for path in zoo.rglob("*.py") if writes.search(path.read_text("utf-8"))}
    assert found == {"files.py", "cli/output.py", "pictures.py"}  # the null device, and an archive into a file of that
