import runpy
import sys
from pathlib import Path

import torch

BENCH = Path(__file__).parents[1] / "bench.py"


def test_the_table_has_a_row_for_each_number_of_tokens(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench.py", "--tokens", "8", "20", "--rounds", "1"])
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    runpy.run_path(str(BENCH), run_name="__main__")
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row[0].strip() for row in rows[2:]] == ["8", "20"]
    assert {len(row) for row in rows} == {7}
