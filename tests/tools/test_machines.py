"""The tool that runs the tests under the settings of other machines."""

from __future__ import annotations

from pathlib import Path

import machines
import pytest

ROOT = Path(__file__).parents[2]


def test_all_that_a_machine_can_differ_in_is_there() -> None:
    changed = [dict(setting.environment) for setting in machines.SETTINGS.values()]
    for variables in (
        {"ATEN_CPU_CAPABILITY": "default"}, {"ATEN_CPU_CAPABILITY": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "4"},
        {"TZ": "Pacific/Kiritimati", "LC_ALL": "C"},
    ):  # fmt: skip
        assert variables in changed
    assert any(each.get("HOME", "") is None for each in changed)
    whole = [name for name, setting in machines.SETTINGS.items() if setting.tests == ("tests",)]
    assert whole == ["alone", "shuffled"]


def test_every_file_that_is_named_is_there() -> None:
    for setting in machines.SETTINGS.values():
        assert all((ROOT / each).exists() for each in setting.tests)


ASSERTS = """
import os
def test_what_is_set(): assert os.environ["OMP_NUM_THREADS"] == "4"
def test_what_is_taken_away(): assert "HOME" not in os.environ
def test_what_fails(): assert False, "for some reason"
"""


def test_a_setting_reaches_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/mine")
    (tmp_path / "test_it.py").write_text(ASSERTS)
    found = machines.run(
        machines.Setting((), {"OMP_NUM_THREADS": "4", "HOME": None}), [str(tmp_path)], ["-p", "no:xdist"]
    )
    assert (found.code, found.told) == (1, "1 failed, 2 passed")
    assert "for some reason" in found.output


def test_every_file_is_run_alone_and_what_fails_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("test_b.py", "deep/test_a.py", "browser/test_page.py", "conftest.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    asked = []

    def run(setting: object, tests: list[str], options: list[str]) -> object:
        asked.extend(tests)
        bad = "test_b" in tests[0]
        return machines.Outcome(int(bad), "1 failed" if bad else "1 passed", "what went wrong" if bad else "fine")

    monkeypatch.setattr(machines, "run", run)
    monkeypatch.setattr(machines, "SETTINGS", {"alone": machines.Setting((str(tmp_path),), alone=True)})
    assert machines.main(["--jobs", "1"]) == 1
    assert asked == [str(tmp_path / "deep" / "test_a.py"), str(tmp_path / "test_b.py")]
    told = capsys.readouterr().out
    assert f"alone: {tmp_path / 'test_b.py'}\nwhat went wrong\n" in told
    assert "fine" not in told
    assert "1 of 2 files passed" in told


def test_random_order_is_told_and_can_be_had_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    passed = machines.Outcome(0, "1 passed", "")
    monkeypatch.setattr(machines, "run", lambda setting, tests, options: asked.append(options) or passed)
    assert machines.main(["--only", "shuffled", "--seed", "7", "--jobs", "3"]) == 0
    assert asked == [["-n", "3", "--random-order", "--random-order-seed", "7"]]
    assert "--seed 7" in capsys.readouterr().out


def test_settings_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert machines.main(["--list"]) == 0
    assert "no-home: without HOME" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        machines.main(["--only", "amx"])
