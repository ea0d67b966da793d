"""`zoo demo`: each command is told, and a folder that is there is left alone."""

from typer.testing import CliRunner

from zoo.cli import app


def test_it_audits_trains_and_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["demo", "--set", "train.steps=2", "--set", "sample.steps=2"])
    assert result.exit_code == 0, result.output
    told = [line for line in result.stderr.splitlines() if line.startswith("$ zoo ")]
    assert [line.split()[2] for line in told] == ["build", "build", "train", "sample"]
    assert "16.165 G" in result.stdout
    assert (tmp_path / "runs/demo/images/grid.png").is_file()


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    result = CliRunner().invoke(app, ["demo", "--run-dir", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {tmp_path}: is there already; remove it, or give --run-dir D with another\n"
    assert not list(tmp_path.iterdir())
