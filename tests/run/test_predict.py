"""Many files side by side: order, bits, stops, and what a folder may hold besides X-rays."""

import io
import logging
import os
import re
import threading
import time
from functools import partial

import cv2
import numpy as np
import pytest

from detector.answers.answer import Question
from detector.answers.pipeline import analyse
from detector.report.rows import Tally
from detector.run import pool, predict
from detector.run.inputs import find_files
from detector.run.pool import in_order
from detector.run.predict import predict_files
from detector.run.progress import progress_bar
from detector.run.results import Request
from detector.schema import BINARY
from tests.conftest import encode

REQUEST = Request(Question("binary"), explain=False)


def never():
    return False


def test_results_come_in_the_order_of_the_items_whatever_takes_long():
    def slow_first(item):
        time.sleep(0.05 if item % 3 == 0 else 0)
        return item

    assert list(in_order(slow_first, range(20), workers=4, stop=never)) == list(range(20))


def test_items_are_taken_a_few_ahead_and_not_all_at_once():
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = in_order(lambda item: item, items(), workers=2, stop=never)
    next(results)
    results.close()
    assert len(taken) <= 2 * pool.AHEAD


def test_work_is_done_side_by_side():
    both = threading.Barrier(2, timeout=10)
    assert len(list(in_order(lambda _: both.wait(), range(4), workers=2, stop=never))) == 4


def test_no_items_give_no_results():
    assert list(in_order(lambda item: item, [], workers=2, stop=never)) == []


def test_error_is_raised_in_its_turn():
    results = in_order(lambda item: 1 // (2 - item), range(4), workers=2, stop=never)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_stop_finishes_what_was_begun_and_begins_nothing_more():
    begun, stopped = [], threading.Event()

    def work(item):
        begun.append(item)
        time.sleep(0.02)
        return item

    results = in_order(work, range(1000), workers=2, stop=stopped.is_set)
    done = [next(results)]
    stopped.set()
    done += list(results)
    assert done == list(range(len(done)))
    assert len(done) <= len(begun) < 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("Thread") and not thread.daemon]


def test_stop_does_not_wait_for_a_disk_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(pool, "_FINISH", 0.3)
    release, stopped = threading.Event(), threading.Event()
    threading.Timer(0.2, stopped.set).start()
    began = time.monotonic()
    assert list(in_order(lambda _: release.wait(600), range(4), workers=2, stop=stopped.is_set)) == []
    assert time.monotonic() - began < 300
    release.set()


@pytest.fixture
def pictures(tmp_path, composite_pixels):
    """Ten pictures of ten sizes, so that their answers differ and take different times."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(10):
        side = (1400, 224, 512, 300, 900)[number % 5] + number
        resized = cv2.resize(composite_pixels, (side, side), interpolation=cv2.INTER_AREA)
        (folder / f"{number}.png").write_bytes(encode(np.roll(resized, 3 * number, axis=1)))
    return folder


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_answers_have_the_bits_of_one_image_alone(pictures, engine, monkeypatch, workers):
    monkeypatch.setattr(predict, "in_order", partial(in_order, workers=workers))
    calibration = engine.card.calibration
    files = list(find_files([pictures]))
    rows = list(predict_files(files, engine, REQUEST))
    assert [row["path"] for row in rows] == [str(path) for path in files]
    for path, row in zip(files, rows, strict=True):
        logits = analyse(path.read_bytes(), engine).logits["binary"]
        assert row["probabilities"]["covid19"] == calibration.probabilities(BINARY, logits)[0]


def test_a_pipe_that_takes_a_file_s_place_is_refused_and_not_waited_for(pictures, engine):
    files = list(find_files([pictures]))
    files[0].unlink()
    os.mkfifo(files[0])
    rows = list(predict_files(files[:2], engine, REQUEST))
    assert [row["code"] for row in rows] == ["unreadable_path", None]


def test_what_is_no_file_is_skipped_and_said(pictures, caplog):
    os.mkfifo(pictures / "pipe")
    (pictures / "zero").symlink_to("/dev/zero")
    (pictures / "circle").symlink_to(pictures, target_is_directory=True)
    (pictures / "itself").symlink_to(pictures / "itself")
    with caplog.at_level(logging.WARNING):
        found = [path.name for path in find_files([pictures])]
    assert found == [f"{number}.png" for number in range(10)]
    for name in ("pipe", "zero", "circle", "itself"):
        assert any("skipped" in message and message.endswith(f"/{name}") for message in caplog.messages)


def test_a_file_that_may_not_be_read_has_a_row_that_says_so(pictures, engine, monkeypatch):
    def denied(name, _flags):
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(predict.os, "open", denied)  # tests may run as a user who may read everything
    (row,) = predict_files([pictures / "0.png"], engine, REQUEST)
    assert (row["status"], row["code"]) == ("rejected", "unreadable_path")
    assert "may read" in row["reason"]


def test_a_file_over_every_limit_is_not_read_to_its_end(tmp_path, engine):
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(2**36)  # a hole: it takes no room, but a minute to hash
    before = time.monotonic()
    (row,) = predict_files([path], engine, REQUEST)
    assert (row["status"], row["code"], row["input"]["sha256"]) == ("rejected", "too_large", None)
    assert time.monotonic() - before < 10


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def run_clock(monkeypatch, *, stream, steps, seconds):
    """Step once in so many seconds of a made-up clock."""
    now = [0.0]
    bar = progress_bar(100, stream)
    monkeypatch.setattr(bar, "_time", lambda: now[0])
    bar.start_t = bar.last_print_t = 0.0
    for _ in range(steps):
        now[0] += seconds
        bar.update()
    return bar


def test_progress_says_rate_and_time_left(monkeypatch):
    stream = io.StringIO()
    run_clock(monkeypatch, stream=stream, steps=40, seconds=2).close()
    last = stream.getvalue().splitlines()[-1]
    assert "40/100" in last
    assert "2.00s/file" in last
    assert "02:00" in last


def test_rate_forgets_what_was_passed_over(monkeypatch):
    stream = io.StringIO()
    bar = run_clock(monkeypatch, stream=stream, steps=50, seconds=0)
    now = [0.0]
    monkeypatch.setattr(bar, "_time", lambda: now[0])
    for _ in range(50):
        now[0] += 5
        bar.update()
    bar.close()
    assert re.search(r"(4.99|5.00)s/file", stream.getvalue().splitlines()[-1])


def test_progress_on_a_terminal_is_one_line_that_goes_away(monkeypatch):
    terminal = Terminal()
    bar = run_clock(monkeypatch, stream=terminal, steps=10, seconds=1)
    assert "\n" not in terminal.getvalue()
    assert "10/100" in terminal.getvalue()
    bar.close()
    assert not terminal.getvalue().split("\r")[-2].strip()


def test_progress_into_a_file_is_a_line_now_and_then(monkeypatch):
    stream = io.StringIO()
    run_clock(monkeypatch, stream=stream, steps=50, seconds=1).close()
    lines = stream.getvalue().splitlines()
    assert 4 <= len(lines) <= 6
    assert "\r" not in stream.getvalue()


def test_short_run_shows_no_progress(monkeypatch):
    for stream in (Terminal(), io.StringIO()):
        run_clock(monkeypatch, stream=stream, steps=3, seconds=0.01).close()
        assert not stream.getvalue().strip()


def test_tally_counts_decisions_refusals_failures_and_warnings():
    tally = Tally()
    rows = [("ok", "covid19", None, ["dark"]), ("ok", "covid19", None, []), ("ok", "indeterminate", None, ["dark"])]
    rows += [("rejected", None, "unreadable", []), ("error", None, "unexpected", [])]
    for status, decision, code, warnings in rows:
        tally.add({"status": status, "decision": decision, "code": code, "warnings": warnings})
    assert tally.failed
    assert tally.lines() == [
        "5 files: 3 analysed, 1 rejected, 1 failed",
        "  decisions: covid19 2, indeterminate 1",
        "  rejected: unreadable 1",
        "  failed: unexpected 1",
        "  with warnings: 2",
        "    2 × dark",
    ]


def test_tally_of_nothing_says_nothing_happened():
    assert Tally().lines() == ["0 files: 0 analysed, 0 rejected, 0 failed"]
