"""What an experiment prints and logs is its own, whatever runs at the same time."""

# ruff: noqa: T201  (printing is what is tested)

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
import pickle
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from typing import Any

import pytest

from daskresearch.errors import OptionError
from daskresearch.worker import capture
from daskresearch.worker.capture import Captured, Modes
from daskresearch.worker.proxies import StreamProxy, captured_by, installed
from tests.support.running import wait_for

KEPT = Modes(stdout=1, stderr=1, log=logging.INFO)


@pytest.fixture
def logger():
    logger = logging.getLogger("tests.capture")
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.setLevel(logging.NOTSET)


def in_threads(functions: list[Callable[[], object]]) -> None:
    """Call functions at the same time, each in a thread of its own."""
    gate = threading.Barrier(len(functions))
    with ThreadPoolExecutor(len(functions)) as pool:
        list(pool.map(lambda function: (gate.wait(60), function()), functions))


def run_script(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, where no pytest replaces anything."""
    command = [sys.executable, "-c", text, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def test_each_of_many_threads_gets_exactly_its_own_lines(logger, capsys):
    everyone = [Captured(KEPT) for _ in range(20)]

    def experiment(number: int) -> None:
        with captured_by(everyone[number]):
            for line in range(200):
                print(number, line)
                print(number, -line, file=sys.stderr)
                logger.info("%d:%d", number, line)

    with installed(KEPT):
        in_threads([lambda number=number: experiment(number) for number in range(20)])
    for number, captured in enumerate(everyone):
        assert captured.stdout == "".join(f"{number} {line}\n" for line in range(200))
        assert captured.stderr == "".join(f"{number} {-line}\n" for line in range(200))
        assert [one.rpartition(" ")[2] for one in captured.log.splitlines()] == [
            f"{number}:{n}" for n in range(200)
        ]
    assert capsys.readouterr() == ("", "")


def test_threads_that_share_an_experiment_lose_no_text():
    captured = Captured(Modes(stdout=1))

    def lines(number: int) -> None:
        for line in range(200):
            sys.stdout.write(f"{number} {line}\n")

    with installed(captured.modes), captured_by(captured):
        contexts = [contextvars.copy_context() for _ in range(8)]
        in_threads(
            [lambda number=n, one=one: one.run(lines, number) for n, one in enumerate(contexts)]
        )
    assert sorted(captured.stdout.splitlines()) == sorted(
        f"{n} {line}" for n in range(8) for line in range(200)
    )


def test_each_task_of_asyncio_gets_its_own_lines():
    everyone = [Captured(Modes(stdout=1)) for _ in range(10)]

    async def experiment(number: int) -> None:
        with captured_by(everyone[number]):
            for line in range(20):
                print(number, line)
                await asyncio.sleep(0)
            await asyncio.to_thread(print, number, "in a thread")

    async def all_of_them() -> None:
        await asyncio.gather(*[experiment(number) for number in range(10)])

    with installed(Modes(stdout=1)):
        asyncio.run(all_of_them())
    for number, captured in enumerate(everyone):
        assert (
            captured.stdout
            == "".join(f"{number} {n}\n" for n in range(20)) + f"{number} in a thread\n"
        )


def test_text_outside_of_experiments_goes_where_it_went_before(capsys, caplog, logger):
    captured = Captured(KEPT)
    caplog.set_level(logging.DEBUG)  # clusters of other tests quiet the handlers that are there
    with installed(KEPT):
        print("before")
        with captured_by(captured):
            print("inside")
        print("after")
        print("problem", file=sys.stderr)
        logger.info("outside")
    assert capsys.readouterr() == ("before\nafter\n", "problem\n")
    assert (captured.stdout, captured.stderr, captured.log) == ("inside\n", "", "")
    assert caplog.messages == ["outside"]


def own_context() -> dict[str, Any]:
    """Return arguments of a thread with an empty context, as all have up to Python 3.13."""
    return {"context": contextvars.Context()} if sys.version_info >= (3, 14) else {}


def test_a_thread_that_a_unit_starts_prints_where_it_would(capsys):
    captured = Captured(Modes(stdout=1))
    with installed(captured.modes), captured_by(captured):
        thread = threading.Thread(target=print, args=("thread",), **own_context())
        thread.start()
        thread.join()
    assert (captured.stdout, capsys.readouterr().out) == ("", "thread\n")


def test_streams_that_are_off_go_where_they_would(capsys):
    captured = Captured(Modes(stderr=1))
    with installed(captured.modes), captured_by(captured):
        print("out")
        print("err", file=sys.stderr)
    assert (captured.stdout, captured.stderr) == ("", "err\n")
    assert capsys.readouterr() == ("out\n", "")


def test_a_nested_capture_gives_the_outer_one_back():
    outer, inner = Captured(KEPT), Captured(KEPT)
    with installed(KEPT), captured_by(outer):
        print("one")
        with captured_by(inner):
            print("two")
            with captured_by(None):
                print("two, still")
        print("three")
    assert (outer.stdout, inner.stdout) == ("one\nthree\n", "two\ntwo, still\n")


def test_an_exception_leaves_the_text_and_restores_all():
    before, captured = sys.stdout, Captured(Modes(stdout=1))

    def unit() -> None:
        print("printed")
        raise ZeroDivisionError("division by zero")

    with (
        pytest.raises(ZeroDivisionError, match="division"),
        installed(captured.modes),
        captured_by(captured),
    ):
        unit()
    assert captured.stdout == "printed\n"
    assert sys.stdout is before
    with installed(captured.modes):
        print("outside")
    assert captured.stdout == "printed\n"


def test_warnings_are_text_of_stderr():
    captured = Captured(Modes(stderr=1))
    with installed(captured.modes), captured_by(captured), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: sys.stderr.write(f"{message}\n")  # type: ignore[assignment]
        warnings.warn("too slow", stacklevel=1)
    assert captured.stderr == "too slow\n"


def test_overlapping_installs_restore_only_with_the_last():
    stdout, stderr, handlers = sys.stdout, sys.stderr, list(logging.root.handlers)
    first, second = installed(KEPT), installed(Modes(stdout=1))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    captured = Captured(KEPT)
    with captured_by(captured):
        print("still captured")
    assert captured.stdout == "still captured\n"
    assert (sys.stderr is stderr, logging.root.handlers) == (True, handlers)
    second.__exit__(None, None, None)
    assert sys.stdout is stdout


def test_installs_in_many_threads_restore_what_was_there():
    stdout, handlers = sys.stdout, list(logging.root.handlers)
    wrong = []

    def run(number: int) -> None:
        for _ in range(50):
            captured = Captured(Modes(stdout=1))
            with installed(KEPT), captured_by(captured):
                print(number)
            if captured.stdout != f"{number}\n":
                wrong.append(captured.stdout)

    in_threads([lambda number=number: run(number) for number in range(8)])
    assert wrong == []
    assert sys.stdout is stdout
    assert logging.root.handlers == handlers


def test_a_stream_that_somebody_else_put_there_stays(monkeypatch):
    theirs = io.StringIO()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with installed(Modes(stdout=1)):
        sys.stdout = theirs
    assert sys.stdout is theirs


def test_a_run_that_starts_in_a_redirection_is_captured_too():
    before, theirs, captured = sys.stdout, io.StringIO(), Captured(Modes(stdout=1))
    with installed(Modes(stdout=1)), redirect_stdout(theirs):
        with installed(Modes(stdout=1)), captured_by(captured):
            print("captured")
        print("redirected")
    assert (captured.stdout, theirs.getvalue()) == ("captured\n", "redirected\n")
    assert sys.stdout is before


def test_nothing_is_installed_when_all_modes_are_off():
    before = sys.stdout, sys.stderr, list(logging.root.handlers)
    with installed(Modes()):
        assert (sys.stdout, sys.stderr, logging.root.handlers) == before


def test_the_proxy_is_otherwise_the_stream_before_it(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    with installed(Modes(stdout=1)):
        assert isinstance(sys.stdout, StreamProxy)
        assert (sys.stdout.encoding, sys.stdout.buffer, sys.stdout.isatty()) == (
            "latin-1",
            stream.buffer,
            False,
        )
        with pytest.raises(io.UnsupportedOperation, match="fileno"):
            sys.stdout.fileno()
        with pytest.raises(AttributeError, match="nothing_of_the_kind"):
            sys.stdout.nothing_of_the_kind  # noqa: B018
        sys.stdout.writelines(["a", "b"])
        sys.stdout.flush()
    assert stream.buffer.getvalue() == b"ab"


def test_a_proxy_that_was_kept_goes_on_after_its_installation(capsys):
    with installed(Modes(stderr=1)):
        handler = logging.StreamHandler()  # keeps the sys.stderr of now
    handler.emit(logging.makeLogRecord({"msg": "late"}))
    assert capsys.readouterr().err == "late\n"


def test_only_text_can_be_written():
    captured = Captured(Modes(stdout=1))
    with (
        installed(captured.modes),
        captured_by(captured),
        pytest.raises(TypeError, match="must be str, not int"),
    ):
        sys.stdout.write(1)  # type: ignore[arg-type]


def test_a_program_without_a_console_can_be_captured(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    captured = Captured(Modes(stdout=1))
    with installed(captured.modes):
        print("lost", flush=True)
        with captured_by(captured):
            print("kept", flush=True)
    assert (captured.stdout, sys.stdout) == ("kept\n", None)


def test_the_proxy_has_a_name_to_import_it_by():
    assert pickle.loads(pickle.dumps(StreamProxy)) is StreamProxy
    assert not hasattr(StreamProxy.__new__(StreamProxy), "_before")


def test_modes_of_files_make_one_for_each_experiment_with_text(tmp_path):
    modes = Modes(stdout=2, stderr=3)
    with installed(modes):
        for name in ("a", "b", "silent"):
            (tmp_path / name).mkdir()
            captured = Captured(modes, lambda name=name: str(tmp_path / name))
            with captured_by(captured):
                if name != "silent":
                    print(name)
                    print("oh", name, file=sys.stderr)
            assert captured.stdout == ""
            assert captured.stderr == ("" if name == "silent" else f"oh {name}\n")
    assert [(tmp_path / name / "stdout.txt").read_text() for name in "ab"] == ["a\n", "b\n"]
    assert [(tmp_path / name / "stderr.txt").read_text() for name in "ab"] == ["oh a\n", "oh b\n"]
    assert list((tmp_path / "silent").iterdir()) == []


def test_a_file_is_begun_anew_and_then_goes_on(tmp_path):
    path = tmp_path / "stdout.txt"
    path.write_text("of an earlier run\n")
    captured = Captured(Modes(stdout=2), lambda: str(tmp_path))
    with installed(captured.modes):
        for number in range(3):
            with captured_by(captured):
                print(number)
            assert captured._files == {}
    assert path.read_text() == "0\n1\n2\n"


def test_a_nested_capture_by_the_same_leaves_the_file_open(tmp_path):
    captured = Captured(Modes(stdout=2), lambda: str(tmp_path))
    with installed(captured.modes), captured_by(captured):
        print("outer")
        with captured_by(captured):
            print("inner")
        assert list(captured._files) == ["stdout"]
    assert (tmp_path / "stdout.txt").read_text() == "outer\ninner\n"


def test_a_flush_writes_the_part_of_a_line(tmp_path):
    captured = Captured(Modes(stdout=2), lambda: str(tmp_path))
    with installed(captured.modes), captured_by(captured):
        print("epoch 1", end="")
        sys.stdout.flush()
        assert (tmp_path / "stdout.txt").read_text() == "epoch 1"


def test_a_full_disk_fails_where_it_prints_and_not_when_it_ends(tmp_path, monkeypatch):
    def full(path, *how, **more):
        return open("/dev/full", *how, **more)

    monkeypatch.setattr(capture, "open", full, raising=False)
    captured = Captured(Modes(stdout=2), lambda: str(tmp_path))
    with (
        installed(captured.modes),
        captured_by(captured),
        pytest.raises(OSError, match="No space left"),
    ):
        print("a line")


UNKILLED = """
import signal, sys
from daskresearch.worker.capture import *
from daskresearch.worker.proxies import captured_by, installed
captured = Captured(Modes(stdout=2), lambda: sys.argv[1])
with installed(captured.modes), captured_by(captured):
    for number in range(100):
        print("line", number)
    open(sys.argv[1] + "/ready", "w").close()
    signal.pause()
"""


def test_the_file_of_a_killed_experiment_holds_what_it_printed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", UNKILLED, str(tmp_path)])
    try:
        wait_for(lambda: (tmp_path / "ready").exists())
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "stdout.txt").read_text() == "".join(
        f"line {number}\n" for number in range(100)
    )


FORKED = """
import os
from daskresearch.worker.capture import *
from daskresearch.worker.proxies import captured_by, installed
captured = Captured(Modes(stdout=1))
with installed(captured.modes), captured_by(captured):
    pid = os.fork()
    print("child" if pid == 0 else "parent", flush=True)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print("captured", repr(captured.stdout))
"""


def test_a_forked_process_prints_where_it_would():
    assert run_script(FORKED).stdout == "child\ncaptured 'parent\\n'\n"


PLAIN = """
import logging, sys, threading
from daskresearch.worker.capture import *
from daskresearch.worker.proxies import captured_by, installed
modes = Modes(stdout=1, stderr=1, log=logging.ERROR)
everyone = [Captured(modes) for _ in range(4)]
def experiment(captured, number):
    with captured_by(captured):
        print("out", number)
        logging.getLogger("deep.er").error("log %d", number)
before = sys.stdout, sys.stderr, logging.root.handlers[:]
with installed(modes):
    threads = [threading.Thread(target=experiment, args=(one, n)) for n, one in enumerate(everyone)]
    for one in threads: one.start()
    for one in threads: one.join()
    print("outside")
    logging.getLogger("deep.er").warning("warned")
    logging.getLogger("deep.er").info("unheard")
assert (sys.stdout, sys.stderr, logging.root.handlers) == before
for one in everyone:
    print(repr(one.stdout), repr(one.stderr), one.log.split(" ", 2)[2], end="")
"""


def test_in_a_plain_process_captures_work_and_warnings_are_still_heard():
    done = run_script(PLAIN)
    lines = [f"'out {n}\\n' 'log {n}\\n' ERROR deep.er: log {n}" for n in range(4)]
    assert done.stdout.splitlines() == ["outside", *lines]
    assert done.stderr == "warned\n"


def test_the_middle_of_a_long_text_is_left_out(monkeypatch):
    monkeypatch.setattr(capture, "_END_LENGTH", 1000)
    monkeypatch.setattr(capture, "_CHUNK_LENGTH", 64)
    lines = [f"{number:09d}\n" for number in range(1000)]
    for n_lines in (1, 99, 100, 101, 199, 200, 201, 250, 1000):
        captured = Captured(Modes(stdout=1))
        for line in lines[:n_lines]:
            captured.take("stdout", line)
        left_out = (
            [f"... {(n_lines - 200) * 10} characters left out ...\n"] if n_lines > 200 else []
        )
        expected = [
            *lines[: min(n_lines, 100)],
            *left_out,
            *lines[max(100, n_lines - 100) : n_lines],
        ]
        assert captured.stdout == "".join(expected)
        assert captured.stdout == captured.stdout


def test_one_text_longer_than_what_is_kept_is_cut(monkeypatch):
    monkeypatch.setattr(capture, "_END_LENGTH", 3)
    captured = Captured(Modes(stdout=1))
    captured.take("stdout", "abc4567xyz")
    assert captured.stdout == "abc\n... 4 characters left out ...\nxyz"
    captured.take("stdout", "!")
    assert captured.stdout == "abc\n... 5 characters left out ...\nyz!"


def test_the_memory_of_an_endless_text_is_bounded():
    captured = Captured(Modes(stdout=1))
    for _ in range(50):
        captured.take("stdout", "x" * 999_999 + "\n")
    text = captured._texts["stdout"]
    assert (
        sum(map(len, [*text._pending, *text._head, *text._tail]))
        <= 2 * capture._END_LENGTH + 1_000_000
    )
    assert len(captured.stdout) == 2 * capture._END_LENGTH + len(
        "... 40000000 characters left out ...\n"
    )


def test_text_of_any_characters_is_kept_and_written(tmp_path):
    captured = Captured(Modes(stdout=3), lambda: str(tmp_path))
    with installed(captured.modes), captured_by(captured):
        print("π ≈ 3, 東京 🧪", "\ud800")
    assert captured.stdout == "π ≈ 3, 東京 🧪 \\ud800\n"
    assert (tmp_path / "stdout.txt").read_text("utf-8") == captured.stdout


def test_records_of_the_level_and_above_are_kept(logger):
    captured = {
        level: Captured(Modes(log=level))
        for level in (logging.DEBUG, logging.INFO, logging.CRITICAL)
    }
    for level, one in captured.items():
        with installed(Modes(log=level)), installed(Modes(log=logging.DEBUG)), captured_by(one):
            for name in ("debug", "info", "critical"):
                getattr(logger, name)(name)
    kept = {
        level: re.findall(r"([A-Z]+) tests\.capture", one.log) for level, one in captured.items()
    }
    assert kept == {10: ["DEBUG", "INFO", "CRITICAL"], 20: ["INFO", "CRITICAL"], 50: ["CRITICAL"]}


def test_a_record_is_a_line_with_time_level_and_name(logger):
    captured = Captured(KEPT)
    with installed(KEPT), captured_by(captured):
        logger.info("loss %.1f", 0.25)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO tests\.capture: loss 0\.2\n", captured.log
    )


def test_a_record_that_cannot_be_formatted_raises_nothing(logger, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    captured = Captured(KEPT)
    with installed(KEPT), captured_by(captured):
        logger.info("%d", "no number")
        logger.info("next")
    assert "--- Logging error ---" in captured.stderr
    assert captured.log.endswith("INFO tests.capture: next\n")
    assert len(captured.log.splitlines()) == 1


def test_nothing_is_logged_when_logs_are_not_kept(logger):
    captured = Captured(Modes(stdout=1))
    with installed(KEPT), captured_by(captured):
        logger.error("unheard")
    assert captured.log == ""


@pytest.mark.parametrize("mode", [-1, 4, "1", None, 1.0])
def test_modes_that_do_not_exist_are_refused(mode):
    with pytest.raises(OptionError, match=r"stdout must be 0 \(off\), .* not"):
        Modes(stdout=mode)


@pytest.mark.parametrize("level", ["INFO", True])
def test_levels_that_are_no_numbers_are_refused(level):
    with pytest.raises(OptionError, match=r"log must be a level like logging\.INFO, or None, not"):
        Modes(log=level)


def test_files_without_a_folder_are_refused():
    with pytest.raises(OptionError, match="need a folder"):
        Captured(Modes(stdout=2))


def test_true_is_the_mode_of_keeping():
    captured = Captured(Modes(stdout=True))
    with installed(captured.modes), captured_by(captured):
        print("kept")
    assert captured.stdout == "kept\n"
