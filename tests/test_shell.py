"""A command in a message comes to the same words when it is pasted into a shell."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from zoo.shell import command

WORDS = [
    "plain/run-1",
    "",
    "two words",
    "it's",
    "$(touch pwned)`touch pwned`;&|<>*?[a]~#!{a,b}",
    "-x",
    "naïve",
    "line\nbreak",
    "\x1b[2J\ttab \\ and 'quotes' $HOME \"x\"",
    "\udcff is no text",
    "\u202eright to left",
]


def test_what_needs_no_quotes_gets_none() -> None:
    assert command("zoo", "train", "--run-dir", "runs/a") == "zoo train --run-dir runs/a"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_every_word_comes_through_a_shell() -> None:
    line = command("printf", r"%s\0", *WORDS)
    assert line.isprintable()
    said = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert said.split(b"\0")[:-1] == [word.encode(errors="surrogateescape") for word in WORDS]
