"""What is timed is whole checkpoints of a whole state."""

import bench_saving
import pytest

from zoo.runs import checkpoint as checkpoints

TINY = ("backbone.dim=32", "backbone.depth=2", "backbone.heads=2")


def test_each_way_writes_all_of_it(tmp_path, monkeypatch):
    saved, plain = [], checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda *given: saved.append(plain(*given)) or check(saved[-1]))
    state = bench_saving.trained("dit_s", TINY)

    def check(found):
        assert checkpoints.problem_of(found.path) is None
        for file, tensors in state.tensors(bench_saving.WORLD).items():
            assert found.tensors(file).keys() == tensors.keys()

    rounds = list(bench_saving.rounds_of(state, 2, tmp_path))
    assert len(saved) == 4
    assert [each.keys() for each in rounds] == [{*bench_saving.WAYS}] * 2
    assert all(seconds > 0 for each in rounds for seconds in each.values())
    assert not list(tmp_path.iterdir())


def test_the_table(capsys, tmp_path):
    arguments = [word for each in TINY for word in ("--set", each)]
    assert bench_saving.main(["--recipe", "dit_s", "--rounds", "1", "--folder", str(tmp_path), *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("dit_s, ")
    rows = [line.split(" | ") for line in lines if line.startswith("| ") and "---" not in line][1:]
    assert [row[0].removeprefix("| ") for row in rows] == [*bench_saving.WAYS.values()]
    assert next(row[2] for row in rows if "`torch.save`" in row[0]) == "1.000 x"


def test_wrong_usage():
    with pytest.raises(SystemExit):
        bench_saving.main(["--rounds", "x"])
