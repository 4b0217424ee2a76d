"""The analysis behind the page: order, duplicates, cancel, failures; a stand-in takes the pipeline's place."""

import threading

import pytest

from detector import words
from detector.answers.answer import NoAnswer
from detector.errors import NotAChestXrayError
from detector.schema import Correction
from detector.ui import analyst as module
from detector.ui.analyst import Analyst, suggestion
from detector.ui.cases import Failure
from detector.ui.sources import Source


@pytest.fixture
def calls(monkeypatch):
    """Contents that were analysed, in order; content b"slow" waits for the gate."""
    found, gate, begun = [], threading.Event(), threading.Event()

    def stand_in(key, data, _classifier, options=None, **_):
        if data == b"slow":
            begun.set()
            assert gate.wait(10)
        found.append((data, options))
        return Failure(key, NoAnswer("rejected", "made_up", data.decode()))

    monkeypatch.setattr(module, "analysed", stand_in)
    monkeypatch.setattr(module, "WORKERS", 1)
    found_calls = type("Calls", (), {"found": found, "gate": gate, "begun": begun})
    yield found_calls
    gate.set()


def source(identifier, data):
    return Source(identifier, identifier, lambda: data)


def finish(analyst, identifier):
    answer = analyst.wait_for(identifier, 10)
    assert answer is not None
    return answer


def test_files_are_answered_in_order_of_arrival(calls):
    analyst = Analyst()
    analyst.ask([source("a", b"1"), source("b", b"2"), source("c", b"3")], None)
    finish(analyst, "c")
    assert [data for data, _ in calls.found] == [b"1", b"2", b"3"]
    assert analyst.result("b").told.reason == "2"


def test_same_content_is_analysed_once_under_both_names(calls):
    analyst = Analyst()
    analyst.ask([source("a", b"1"), source("b", b"1")], None)
    assert finish(analyst, "b") is finish(analyst, "a")
    assert len(calls.found) == 1
    assert analyst.key("a") == analyst.key("b")


@pytest.mark.usefixtures("calls")
def test_file_that_cannot_be_read_does_not_stop_the_rest():
    def broken():
        raise OSError

    analyst = Analyst()
    analyst.ask([Source("a", "a", broken), source("b", b"2")], None)
    assert finish(analyst, "b").told.reason == "2"
    assert isinstance(analyst.result("a"), Failure)


def test_asking_again_while_at_work_analyses_nothing_twice(calls):
    analyst, listed = Analyst(), [source("a", b"slow"), source("b", b"2")]
    analyst.ask(listed, None)
    analyst.ask(listed, None)
    calls.gate.set()
    finish(analyst, "b")
    assert [data for data, _ in calls.found] == [b"slow", b"2"]


def test_progress_counts_and_estimates(calls):
    analyst = Analyst()
    analyst.ask([source("a", b"1"), source("b", b"slow"), source("c", b"3")], None)
    finish(analyst, "a")
    progress = analyst.progress()
    assert (progress.done, progress.total) == (1, 3)
    assert progress.seconds_left > 0
    calls.gate.set()
    finish(analyst, "c")


def test_cancel_keeps_what_is_done_and_resume_takes_up_the_rest(calls):
    analyst = Analyst()
    listed = [source("a", b"1"), source("b", b"slow"), source("c", b"3")]
    analyst.ask(listed, None)
    assert calls.begun.wait(10)
    analyst.cancel()
    calls.gate.set()
    finish(analyst, "b")
    analyst.ask(listed, None)  # a rerun of the page takes nothing up again
    assert analyst.result("c") is None
    assert analyst.is_left_out("c")
    analyst.resume()
    analyst.ask(listed, None)
    assert finish(analyst, "c").told.reason == "3"
    assert not analyst.has_left_out


def test_what_was_cancelled_before_its_turn_is_taken_up_where_the_reader_thinks_better_of_it_at_once(calls):
    analyst, listed = Analyst(), [source("a", b"slow"), source("b", b"2")]
    analyst.ask(listed, None)
    analyst.cancel()
    analyst.resume()
    analyst.ask(listed, None)
    calls.gate.set()
    assert finish(analyst, "b").told.reason == "2"
    assert [data for data, _ in calls.found] == [b"slow", b"2"]


def test_a_file_that_takes_long_holds_up_no_other(calls, monkeypatch):
    monkeypatch.setattr(module, "WORKERS", 2)
    analyst = Analyst()
    analyst.ask([source("a", b"slow"), source("b", b"2"), source("c", b"3")], None)
    assert finish(analyst, "c").told.reason == "3"
    assert analyst.result("a") is None
    calls.gate.set()
    assert finish(analyst, "a").told.reason == "slow"


def test_same_content_side_by_side_is_analysed_once(calls, monkeypatch):
    monkeypatch.setattr(module, "WORKERS", 2)
    analyst = Analyst()
    analyst.ask([source("a", b"slow"), source("b", b"slow"), source("c", b"3")], None)
    calls.gate.set()
    finish(analyst, "c")
    assert finish(analyst, "b") is finish(analyst, "a")
    assert sorted(data for data, _ in calls.found) == [b"3", b"slow"]


def test_what_left_the_page_is_forgotten(calls):
    analyst = Analyst()
    analyst.ask([source("a", b"1"), source("b", b"2")], None)
    finish(analyst, "b")
    analyst.ask([source("b", b"2")], None)
    assert analyst.result("a") is None
    assert analyst.result("b") is not None
    assert len(calls.found) == 2


def test_file_removed_while_it_is_analysed_leaves_nothing_behind(calls):
    analyst = Analyst()
    analyst.ask([source("a", b"slow")], None)
    analyst.ask([source("b", b"2")], None)
    calls.gate.set()
    finish(analyst, "b")
    assert analyst.result("a") is None
    assert analyst.key("a") is None


def test_run_ends_when_nobody_looks_any_more(calls, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", -1)
    analyst = Analyst()
    analyst.ask([source("a", b"1")], None)
    assert analyst.wait_for("a", 10) is None
    assert calls.found == []


def test_refused_correction_leaves_the_answer_as_it_was(make_case, monkeypatch):
    case = make_case(warnings=("The picture may be upside down.",))
    results = iter([case, Failure("k", NoAnswer.of(NotAChestXrayError()))])
    monkeypatch.setattr(module, "analysed", lambda *_args, **_options: next(results))
    analyst = Analyst()
    analyst.ask([source("a", b"1")], None)
    finish(analyst, "a")
    analyst.correct(source("a", b"1"), None, Correction(quarter_turns=2))
    kept = analyst.result("a")
    assert kept.analysis.logits is case.analysis.logits
    assert kept.analysis.suggested_correction is None
    assert kept.analysis.warnings == ("The picture may be upside down.", words.CORRECTION_REFUSED)


def test_picture_both_rotated_and_inverted_is_put_right_at_once_and_offered_nothing_more(make_case, monkeypatch):
    wanted, asked = Correction(quarter_turns=2, inverted=True), []

    def stand_in(_key, _data, _engine, options=None, **_):
        done = (options or {}).get("correction", Correction())
        asked.append(done)
        if done == wanted:
            return make_case(correction=done)
        left = Correction(inverted=True) if not done.inverted else Correction(quarter_turns=2)
        return Failure("k", NoAnswer.of(NotAChestXrayError(suggested_correction=left)))

    monkeypatch.setattr(module, "analysed", stand_in)
    analyst = Analyst()
    analyst.ask([source("a", b"1")], None)
    finish(analyst, "a")
    analyst.correct(source("a", b"1"), None, Correction(inverted=True))
    assert asked == [Correction(), Correction(inverted=True), wanted]
    assert analyst.result("a").analysis.correction == wanted
    assert suggestion(analyst.result("a")) is None


def test_correction_that_leads_in_a_circle_ends(monkeypatch):
    turned = []

    def stand_in(_key, _data, _engine, options=None, **_):
        turned.append(options)
        return Failure("k", NoAnswer.of(NotAChestXrayError(suggested_correction=Correction(quarter_turns=2))))

    monkeypatch.setattr(module, "analysed", stand_in)
    analyst = Analyst()
    analyst.ask([source("a", b"1")], None)
    finish(analyst, "a")
    analyst.correct(source("a", b"1"), None, Correction(quarter_turns=2))
    assert len(turned) == 2  # as it came, and rotated; to rotate it back leads nowhere
    assert suggestion(analyst.result("a")) is None


def test_forced_file_replaces_its_rejection_and_says_so_to_the_pipeline(calls):
    analyst = Analyst()
    analyst.ask([source("a", b"1")], None)
    finish(analyst, "a")
    analyst.force(source("a", b"1"), None)
    assert calls.found[-1] == (b"1", {"force": True})
    assert len(calls.found) == 2
