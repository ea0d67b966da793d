"""What plug-ins do as they are loaded, besides: printing, warning, ending the process, leaving threads behind."""

from __future__ import annotations

import io
import json
import logging
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.plugins.site import block, environment, fake, python, zoo
from zoo.errors import PluginError
from zoo.plugin_loading import LoadError, guarded, left_running
from zoo.plugins import Plugin
from zoo.signals import Stopped, handled

FORKS = """
    import os

    child = os.fork()
    if child:
        os.waitpid(child, 0)

    def greet() -> None:
        print("good day")
"""

PLUGIN = Plugin("loud", "1.0")


def told_of(action):
    told = []
    guarded(PLUGIN, action, told.append)
    assert not any(problem.missing for problem in told)
    return [problem.line for problem in told]


def failed(action):
    with pytest.raises(LoadError) as caught:
        guarded(PLUGIN, action, [].append)
    return str(caught.value)


def test_what_is_returned_comes_back_and_nothing_is_told():
    told = []
    assert (guarded(PLUGIN, lambda: 3, told.append), told) == (3, [])


def test_what_is_printed_is_told_and_left_out(capsys):
    def chatter():
        print("Welcome!")
        print("I am", "loud", file=sys.stderr)
        sys.stdout.writelines(["x\n"])

    assert told_of(chatter) == [
        "plug-in loud 1.0 prints as it is loaded, which is left out: 'Welcome!' and 2 more lines"
    ]
    assert capsys.readouterr() == ("", "")
    assert told_of(lambda: print("a" * 200)) == [
        f"plug-in loud 1.0 prints as it is loaded, which is left out: '{'a' * 97}...'"
    ]
    assert told_of(lambda: print()) == []


def test_what_takes_long_is_told(monkeypatch):
    monkeypatch.setattr("zoo.plugin_loading.LOADING_PATIENCE", 0.0)
    told = threading.Event()

    class Terminal(io.StringIO):
        def flush(self):
            told.set()

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert told_of(lambda: told.wait(60)) == []
    assert terminal.getvalue() == "zoo waits for plug-in loud 1.0 to be loaded; Ctrl-C ends it\n"


def test_a_copy_of_zoo_that_a_plugin_forks_ends_with_a_line(tmp_path):
    site = fake(tmp_path / "site", "forks", {"zoo.cli": "greet = forks:greet"}, FORKS)
    done = python(site, "-m", "zoo", "greet")
    assert (done.returncode, done.stdout) == (0, "good day\n")
    assert done.stderr == "warning: plug-in forks 1.0 forks zoo as it is loaded; the copy has been ended\n"


def test_a_log_that_is_made_then_is_heard_later(capsys):
    handlers = []
    told_of(lambda: handlers.append(logging.StreamHandler()))
    handlers[0].emit(logging.LogRecord("loud", 30, "", 1, "later", None, None))
    assert capsys.readouterr().err == "later\n"


def test_other_threads_print_as_ever(capsys):
    def work():
        thread = threading.Thread(target=print, args=("mine",))
        thread.start()
        thread.join()

    assert told_of(work) == []
    assert capsys.readouterr().out == "mine\n"


def test_a_plug_in_that_loads_another_is_heard_once(capsys):
    lines = told_of(lambda: guarded(Plugin("inner", "2.0"), lambda: print("hello"), [].append))
    assert lines == ["plug-in loud 1.0 prints as it is loaded, which is left out: 'hello'"]
    print("later")
    assert capsys.readouterr().out == "later\n"


def test_a_process_without_streams_loads_plug_ins(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert told_of(lambda: print("hello")) == []


def test_warnings_are_warnings():
    with pytest.warns(UserWarning, match="old"):
        assert told_of(lambda: warnings.warn("old", stacklevel=1)) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no\n  luck"), "ValueError: no luck"),
        (PluginError("no luck"), "no luck"),
        (SystemExit(), "SystemExit"),
        (GeneratorExit("no luck"), "GeneratorExit: no luck"),
        (ValueError("a" * 600), f"ValueError: {'a' * 497}..."),
    ],
)
def test_what_is_raised_is_the_reason(error, reason):
    def fail():
        raise error

    assert failed(fail) == reason


def test_what_is_printed_first_says_more():
    def fail():
        print("no licence")
        sys.exit(1)

    assert failed(fail) == "SystemExit: 1 (it printed 'no licence')"


@pytest.mark.parametrize(
    ("error", "words"), [(KeyboardInterrupt(), ("while plug-in loud 1.0 was being loaded",)), (Stopped(143), (143,))]
)
def test_whoever_stops_the_command_is_heeded(error, words):
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        guarded(PLUGIN, fail, [].append)
    assert caught.value.args == words


def test_a_thread_that_is_left_behind_is_told(monkeypatch):
    end = threading.Event()
    monkeypatch.setattr("zoo.plugin_loading.left_running", left_running.copy())
    try:
        assert told_of(threading.Thread(target=end.wait, name="poll").start) == [
            "plug-in loud 1.0 leaves a thread running as it is loaded (poll), which zoo does not wait for"
        ]
        assert told_of(threading.Thread(target=end.wait, daemon=True).start) == []
    finally:
        end.set()


# -- in a process of its own -------------------------------------------------------------------------------------------

BUSY = """
import os, threading
threading.Thread(target=threading.Event().wait, name='poll').start()
print('hello')
os.system('echo from a program')

def greet() -> None:
    print('good day')
"""


def test_the_list_is_json_and_the_command_ends(tmp_path):
    """Though the plug-in prints, runs a program that does, and leaves a thread running for ever."""
    site = fake(tmp_path / "site", "busy", {"zoo.cli": "greet = busy:greet"}, BUSY)
    lines = [
        "prints as it is loaded, which is left out: 'hello'",
        "leaves a thread running as it is loaded (poll), which zoo does not wait for",
    ]
    done = python(site, "-m", "zoo", "greet")
    assert (done.returncode, done.stdout) == (0, "good day\n")
    assert done.stderr.splitlines() == ["from a program", *(f"warning: plug-in busy 1.0 {line}" for line in lines)]
    done = python(site, "-m", "zoo", "plugins", "--json")
    assert (done.returncode, done.stderr) == (0, "from a program\n")
    (row,) = json.loads(done.stdout)
    assert (row["state"], row["commands"], row["problems"]) == ("ok", ["greet"], lines)


@pytest.mark.parametrize("group", ["zoo.cli", "zoo.parts"])
def test_ctrl_c_says_what_was_being_loaded(tmp_path, group):
    site = fake(tmp_path / "site", "stuck", {group: "greet = stuck:greet"}, "raise KeyboardInterrupt")
    done = zoo(site, "parts" if group == "zoo.parts" else "--help")
    assert (done.returncode, done.stderr) == (130, "interrupted while plug-in stuck 1.0 was being loaded\n")


@pytest.mark.parametrize("module", ["pydantic", "typer"])
def test_ctrl_c_while_zoo_itself_is_imported_ends_it_in_a_line(tmp_path, module):
    site = tmp_path / "site"
    site.mkdir()
    (site / f"{module}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = str(Path(sys.executable).with_name("zoo"))
    with handled([signal.SIGINT], signal.default_int_handler):  # what runs the tests may have it ignored
        for words in (("-m", "zoo"), (command,)):
            done = python(site, *words, "recipes")
            assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
        done = python(site, "-c", "import zoo.cli")  # of another program it is no matter
        assert "KeyboardInterrupt" in done.stderr


def test_what_a_part_prints_when_it_is_asked_for_is_not_in_the_output(tmp_path):
    source = "        print('hi')" + block("loud")
    site = fake(tmp_path / "site", "loud", {"zoo.parts": "block/loud = loud:Fake"}, source)
    done = zoo(site, "parts", "--kind", "block", "--json")
    assert {part["name"] for part in json.loads(done.stdout)} == {"dit", "loud"}
    assert done.stderr == "warning: plug-in loud 1.0 prints as it is loaded, which is left out: 'hi'\n"


HASTY = """
import signal
import zoo.plugin_loading
from zoo.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's job in the background ignores
zoo.plugin_loading.PATIENCE = 0
main()
"""


def test_what_hangs_at_the_end_is_told(tmp_path):
    source = """
        import atexit, sys, threading

        @atexit.register
        def hang() -> None:
            print("the end", file=sys.stderr, flush=True)
            threading.Event().wait()

        def greet() -> None:
            print("good day")
    """
    site = fake(tmp_path / "site", "hangs", {"zoo.cli": "greet = hangs:greet"}, source)
    with subprocess.Popen(
        [sys.executable, "-c", HASTY, "greet"], env=environment(site), stdout=PIPE, stderr=PIPE, text=True
    ) as process:
        told = {process.stderr.readline() for _ in range(2)}
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert told == {
        "the end\n",
        "zoo is done, and waits for what plug-ins do at the end (hangs 1.0); Ctrl-C ends it\n",
    }
    assert (process.returncode, output) == (0, "good day\n")


def test_a_thread_that_goes_on_is_named_and_the_process_ends(tmp_path):
    source = """
        import sys, threading

        def greet() -> None:
            threading.Thread(target=threading.Event().wait, name="uploads").start()
            print("good day")
            sys.stdout.close()
            sys.stdout = None
    """
    site = fake(tmp_path / "site", "leaves", {"zoo.cli": "greet = leaves:greet"}, source)
    done = python(site, "-c", HASTY, "greet")
    assert (done.returncode, done.stdout) == (0, "good day\n")
    told = "warning: zoo is done, and ends while threads that plug-ins have begun still run: uploads\n"
    assert done.stderr == told


def test_the_output_is_whole_where_a_plugin_closes_or_wraps_it_or_prints_at_the_end(tmp_path):
    source = """
        import atexit
        import io
        import sys

        sys.stdout.close()
        atexit.register(print, "bye")

        def greet() -> None:
            sys.stdout = io.TextIOWrapper(sys.stdout.buffer)  # which closes what is below it once it is gone
            print("good day")
    """
    site = fake(tmp_path / "site", "rude", {"zoo.cli": "greet = rude:greet"}, source)
    done = python(site, "-m", "zoo", "greet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "good day\n", "bye\n")
