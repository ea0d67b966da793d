"""``zoo check``: the table, the report, the badge and the exit code."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.commands import zoo
from tests.forked import run_zoo
from zoo.cli.check import _messages
from zoo.errors import OutputError
from zoo.kinds import KINDS
from zoo.testing import conformance
from zoo.testing.assemblies import ASSEMBLY_LAWS
from zoo.testing.check import EXAMPLES
from zoo.testing.conclude import Outcome
from zoo.testing.laws import laws_of
from zoo.testing.mixing import FOLLOW

PART = '''
import torch
import zoo
from torch import nn
from zoo.parts import TimeEmbedder


@zoo.part("time_embedder", "mine")
class Mine(TimeEmbedder):
    """Mine."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Linear(1, dim)

    def forward(self, t):
        {first}
        return self.proj(t.unsqueeze(1))
'''


IMPORTS = "import zoo\nfrom zoo.data import PathText\n"


FEW = {
    "assembly-sample_is_alone", "batch_invariance", "draws_nothing", "every_option_changes_something",
    "can_be_checkpointed", "is_deterministic", "keeps_dtype", "keeps_nan_apart", "leaves_its_state",
    "runs_on_its_axes", "shape_contract", "state_round_trip", "takes_many_tokens", "trains_as_it_samples",
    "trains_on_two_ranks",
}  # fmt: skip
"""Laws: what a part breaks is told in the same way whatever the law, and all of them take ten times as long."""


def test_the_few_are_laws():
    own = {law.__name__ for kind in KINDS for law in laws_of(kind)}
    assert own | {f"assembly-{law.__name__}" for law in ASSEMBLY_LAWS} >= FEW


def check(*arguments: str):
    return zoo("check", *arguments)


@pytest.fixture
def few_laws(monkeypatch):
    every = conformance.checks_of
    monkeypatch.setattr(
        conformance, "checks_of", lambda *given: [each for each in every(*given) if each.law_name in FEW]
    )


def parts(first: str) -> None:
    Path("my_parts.py").write_text(PART.replace("{first}", first), "utf-8")


def test_tells_of_every_part_and_writes_a_report_and_a_badge():
    parts("pass")
    result = check("--parts", "my_parts.py", "--examples", "2", "--out", "made/here")
    assert result.exit_code == 0
    assert result.stderr == "wrote made/here/zoo-check.json and zoo-check.svg\n"
    report = json.loads(Path("made/here/zoo-check.json").read_text("utf-8"))
    assert set(report) == {
        "of",
        "diffusion-zoo",
        "torch",
        "python",
        "laws",
        "seconds",
        "outcomes",
        "seconds_to_load_the_compiler",
    }
    kept = report["laws"]["kept"]
    assert kept == len([each for each in report["outcomes"] if each["state"] == "kept"]) > 5
    assert report["laws"]["broken"] == 0
    words = f"{kept} laws kept · time_embedder · torch {'.'.join(report['torch'].split('.')[:2])}"
    assert result.stdout.splitlines()[-1] == words
    assert f"<title>zoo: {words}</title>" in Path("made/here/zoo-check.svg").read_text("utf-8")


@pytest.mark.usefixtures("few_laws")
def test_a_docstring_that_is_still_of_an_example_is_told():
    parts("pass")
    source = Path("my_parts.py").read_text("utf-8").replace('"""Mine."""', '"""Example: a Linear (Some, 2020)."""')
    Path("my_parts.py").write_text(source, "utf-8")
    result = check("--parts", "my_parts.py", "--examples", "1")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        0,
        "note: the docstring of time_embedder mine begins with 'Example:', as zoo new-plugin wrote it; before you"
        " publish, say there what yours is, and its source",
    )


@pytest.mark.usefixtures("few_laws")
def test_a_broken_law_is_told_and_ends_in_2():
    parts("t = t - t.mean()")
    result = check("--parts", "my_parts.py", "--examples", "2")
    assert result.exit_code == 2
    told = "breaks the law batch_invariance: A sample's output does not depend on who else is in the batch.\n  found: "
    assert told in result.stdout
    assert 'check_part(Mine, laws=["batch_invariance"], traceback=True)' in result.stdout
    (outcome,) = [
        each
        for each in json.loads(Path("zoo-check.json").read_text("utf-8"))["outcomes"]
        if each["law"] == "batch_invariance"
    ]
    assert (outcome["kind"], outcome["part"], outcome["state"]) == ("time_embedder", "mine", "broken")
    assert outcome["message"] in result.stdout
    assert "laws broken · " in Path("zoo-check.svg").read_text("utf-8")


@pytest.mark.usefixtures("few_laws")
def test_a_law_that_need_not_be_kept_has_a_column_of_its_own():
    parts("pass")
    source = Path("my_parts.py").read_text("utf-8").replace("dim: int)", "dim: int, *, unused: bool = True)")
    Path("my_parts.py").write_text(source, "utf-8")
    result = check("--parts", "my_parts.py", "--examples", "2")
    assert result.exit_code == 0
    head, row = result.stdout.splitlines()[:2]
    assert re.search(r"  broken  +not required  +not run  ", head)
    assert re.search(r"^time_embedder  mine  +\d+ +-  +every_option_changes_something  ", row)
    (told,) = re.findall(r"^for information \(not required\): time_embedder mine .*", result.stdout, re.M)
    assert " does not keep the law every_option_changes_something: " in told
    assert "breaks" not in result.stdout


@pytest.mark.usefixtures("few_laws")
def test_a_part_that_always_fails_is_told_of_once():
    parts("_, _ = t.shape")
    result = check("--parts", "my_parts.py", "--examples", "2")
    assert result.stdout.count("  fails: ValueError: not enough values to unpack") == 1
    assert re.search(r"^  the same under (\w+, ){4}\w+ and \d+ more$", result.stdout, re.M)


@pytest.mark.usefixtures("few_laws")
def test_a_part_that_draws_is_told_of_once():
    parts("t = t + torch.randn_like(t)")
    result = check("--parts", "my_parts.py", "--examples", "2")
    assert result.exit_code == 2
    (told,) = re.findall(r"^time_embedder mine .*(?:\n  .*)*", result.stdout, re.M)
    assert "breaks the law draws_nothing: " in told
    assert len(told.splitlines()) <= 12
    assert re.search(r"^  for that reason alone, too: is_deterministic, (\w+, ){3}\w+ and \d+ more$", told, re.M)
    assert re.search(r"^time_embedder  mine  +\d+ +draws_nothing, and \d+ that follow ", result.stdout, re.M)
    follow = [each for each in json.loads(Path("zoo-check.json").read_text("utf-8"))["outcomes"] if each["follows"]]
    assert {each["follows"] for each in follow} == {"draws_nothing"}
    assert {"batch_invariance", "assembly-sample_is_alone"} <= {each["law"] for each in follow}


@pytest.mark.usefixtures("few_laws")
def test_what_a_part_that_draws_does_wrong_besides_is_told_too():
    parts("t = t - t.mean() + torch.randn_like(t)")
    result = check("--parts", "my_parts.py", "--examples", "2")
    assert "breaks the law draws_nothing: " in result.stdout
    assert "breaks the law batch_invariance: " in result.stdout
    assert "breaks the law is_deterministic: " not in result.stdout


@pytest.mark.usefixtures("few_laws")
def test_a_part_that_mixes_samples_is_told_of_once():
    parts("t = t - t.mean()")
    result = check("--parts", "my_parts.py", "--examples", "2")
    (told,) = re.findall(r"^\w+ mine .*(?:\n  .*)*", result.stdout, re.M)
    assert "breaks the law batch_invariance: " in told
    assert "\n  advice: Look for a mean, a norm, a reshape or a mask over dimension 0" in told
    *_, follow = told.splitlines()
    named = re.fullmatch(r"  likely for that reason, too: (.*); mend it first, and check again", follow)
    assert named is not None
    assert {"keeps_nan_apart", "trains_on_two_ranks"} <= set(named[1].split(", ")) <= FOLLOW["batch_invariance"]


@pytest.mark.usefixtures("few_laws")
def test_an_error_of_dtypes_comes_with_advice_about_them():
    parts("t = t + torch.zeros(len(t), dtype=torch.float64)")
    result = check("--parts", "my_parts.py", "--examples", "2")
    (told,) = re.findall(r"^time_embedder mine .*law shape_contract: .*(?:\n  .*)*", result.stdout, re.M)
    assert "\n  fails: RuntimeError: mat1 and mat2 must have the same dtype" in told
    assert "\n  advice: Bring what meets in one operator to one dtype: " in told


@pytest.mark.usefixtures("few_laws")
def test_a_part_that_ends_the_process_has_broken_laws_and_others_are_checked():
    parts("raise SystemExit(3)")
    result = check("--parts", "my_parts.py", "--examples", "2")
    assert result.exit_code == 2
    assert "by sys.exit or its like" in result.stdout
    assert "time_embedder  mine" in result.stdout


@pytest.mark.usefixtures("few_laws")
def test_a_part_that_cannot_be_tried_ends_in_2_with_what_to_do():
    parts("pass")
    source = Path("my_parts.py").read_text("utf-8")
    source = source.replace("dim: int)", "dim: int, *, table: PathText)").replace("import zoo\n", IMPORTS, 1)
    Path("my_parts.py").write_text(source, "utf-8")
    result = check("--parts", "my_parts.py", "--examples", "2")
    assert result.exit_code == 2
    assert result.stdout.splitlines()[-1].startswith("nothing checked · ")
    assert result.stderr.splitlines()[-1] == (
        "error: nothing could be checked: say what to try the part with, in Python: check_part(Mine, options={...})"
    )


def test_a_law_that_must_be_kept_is_not_excused_by_one_that_need_not():
    line = "\n    at my_parts.py:3"
    free = Outcome("block", "mine", "one", "not required", 0.0, f"does not keep it{line}")
    must = Outcome("block", "mine", "other", "broken", 0.0, f"breaks{line}")
    apart = Outcome("block", "mine", "third", "broken", 0.0, "breaks too")
    assert list(_messages([free])) == [f"for information (not required): does not keep it{line}"]
    assert list(_messages([free, must])) == [f"breaks{line}\n  the same under one"]
    assert list(_messages([free, apart])) == ["breaks too", f"for information (not required): does not keep it{line}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say which package to check, such as `zoo check my-package`, or a file: --parts my_parts.py"),
        (("not-there",), "no package not-there with parts is installed"),
        (("--parts", "none.py"), "none.py"),
        ((__file__,), f"{__file__}: is a file, not a package that is installed; give a file by --parts {__file__}"),
        (("no_mlp.py",), "no_mlp.py: there is no such file; give a file by --parts no_mlp.py"),
    ],
)
def test_what_has_no_parts_is_refused(arguments, message):
    result = check(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not list(Path().iterdir())


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if re.match(r"zoo\.testing(\.|$)", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    needed = "zoo.testing needs hypothesis: pip install 'diffusion-zoo[testing]'"
    result = check("it")
    assert (result.exit_code, result.stderr) == (2, f"error: {needed}\n")
    with pytest.raises(ModuleNotFoundError, match=f"^{re.escape(needed)}$"):
        import_module("zoo.testing")


def test_nothing_to_check_is_refused():
    hook = "@zoo.hookimpl\ndef zoo_parts():\n    return [DiTBlock]\n"
    Path("my_parts.py").write_text(f"import zoo\nfrom zoo.parts.blocks import DiTBlock\n\n{hook}", "utf-8")
    result = check("--parts", "my_parts.py")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: there are no parts to check: those of the files are of packages\n"
    assert [path.name for path in Path().iterdir()] == ["my_parts.py"]


@pytest.mark.parametrize(("out", "reason"), [("my_parts.py/out", "Not a directory"), ("/proc/out", "No such file")])
def test_where_nothing_can_be_written_is_said_before_anything_is_checked(out, reason):
    parts("pass")
    result = check("--parts", "my_parts.py", "--out", out)
    assert (result.exit_code, result.stdout) == (OutputError.exit_code, "")
    assert result.stderr.startswith(f"error: --out {out}: cannot be written: {reason}")
    assert len(result.stderr.splitlines()) == 1


def test_ctrl_c_is_told():
    parts("raise KeyboardInterrupt")
    done = run_zoo("check", "--parts", "my_parts.py", "--examples", "2", folder=Path.cwd())
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.splitlines()[-1] == "interrupted"


def test_help_says_how_many_cases_are_drawn():
    text = re.sub(r"[\s│]+", " ", check("--help").stdout)
    assert f"How many cases of a part are drawn. (default: {EXAMPLES})" in text
