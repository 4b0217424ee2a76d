"""The folder of results: what is kept, what is cut, what is refused; a state machine against a model of it."""

import copy
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from detector.answers.answer import NoAnswer, Question
from detector.errors import EmptyFileError, FolderInUseError, NotOurFileError, OutputError
from detector.report.rows import no_answer_row
from detector.run.files import write_whole
from detector.run.results import Request, Results, begins_a_row
from detector.schema import ModelInfo

MODEL = ModelInfo("detector", "ab" * 32, "1")
REQUEST = Request(Question(), explain=False)


def rejected_row(path, sha256="cd" * 32):
    told = NoAnswer.of(EmptyFileError("x"))
    return no_answer_row(path, told, mode="binary", model=MODEL, sha256=sha256)


def answered_row(path, sha256="cd" * 32, *, point="balanced", probability=0.9):
    row = rejected_row(path, sha256)
    row |= {
        "status": "ok",
        "reason": None,
        "code": None,
        "decision": "covid19",
        "warnings": ['it\'s "dark" \\ {half}, ['],
    }
    row["probabilities"] = {"covid19": probability, "not_covid19": 1 - probability}
    row["operating_point"] = {"name": point, "threshold": 0.5}
    return row


def encoded(row):
    return json.dumps(row).encode()


def opened(folder, *, resume=True, request=REQUEST):
    return Results(folder, request, MODEL.sha256, resume=resume)


@pytest.mark.parametrize("row", [answered_row("a \u20ac\udcff.png", probability=0.123), rejected_row("b", None)])
def test_every_beginning_of_a_row_is_recognised_and_the_row_itself_is_not_one(row):
    line = encoded(row)
    assert all(begins_a_row(line[:end]) for end in range(1, len(line)))
    assert not begins_a_row(line)


FOREIGN = [
    b"a note",
    b'{"path": "x", "note": "mine"',
    b'{"path": "x", "status": "ok"}',
    b'{"path": "x", "status": garbage',
    b'{"path": "x" and more',
    b'{"path": "x", "status": "ok", "reason": {}}',
    b"[1, 2",
    b'{"paths": 3',
    b"\xff\xfe",
    b"\x00",
    b"[" * 5000,
]


@pytest.mark.parametrize("tail", FOREIGN)
def test_a_last_line_that_is_not_ours_is_left_said_and_not_written_onto(tmp_path, tail, caplog):
    before = encoded(answered_row("a")) + b"\n" + tail
    (tmp_path / "results.jsonl").write_bytes(before)
    with opened(tmp_path) as results:
        assert (tmp_path / "results.jsonl").read_bytes() == before
        assert "line 2 is no result, so it was left alone" in caplog.text
        results.append(rejected_row("b"))
    lines = (tmp_path / "results.jsonl").read_bytes().split(b"\n")
    assert lines[:2] == before.split(b"\n")
    assert json.loads(lines[2])["path"] == "b"


def test_a_whole_last_row_without_its_newline_is_kept_and_passed_over(tmp_path):
    before = encoded(answered_row("a"))
    (tmp_path / "results.jsonl").write_bytes(before)
    with opened(tmp_path) as results:
        assert results.holds("a", "cd" * 32)
        results.append(answered_row("a"))
        assert (tmp_path / "results.jsonl").read_bytes() == before
        results.append(rejected_row("b"))
    assert (tmp_path / "results.jsonl").read_bytes().startswith(before + b'\n{"path": "b"')


def test_edited_row_stops_no_resume_and_is_answered_anew(tmp_path, caplog):
    edited = answered_row("a")
    edited["saliency"] = "none"
    (tmp_path / "results.jsonl").write_bytes(encoded(edited) + b"\n")
    with opened(tmp_path) as results:
        assert not results.holds("a", "cd" * 32)
        assert results.answers() == []
    assert "saliency must hold" in caplog.text


@pytest.mark.parametrize("target", ["there.txt", "not_there.txt"])
def test_a_link_in_the_place_of_the_results_is_not_followed(tmp_path, target):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "there.txt").write_bytes(b"precious, without a newline")
    (out / "results.jsonl").symlink_to(tmp_path / target)
    with pytest.raises(NotOurFileError):
        opened(out)
    assert (tmp_path / "there.txt").read_bytes() == b"precious, without a newline"
    assert not (tmp_path / "not_there.txt").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_in_the_place_of_the_results_is_refused(tmp_path, make):
    make(tmp_path / "results.jsonl")
    with pytest.raises(OutputError):
        opened(tmp_path)


def test_a_link_in_the_place_of_a_half_written_file_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (tmp_path / "map.npy.partial").symlink_to(precious)
    (tmp_path / "map.npy").symlink_to(precious)
    write_whole(tmp_path / "map.npy", np.arange(3))
    assert precious.read_bytes() == b"mine"
    assert np.load(tmp_path / "map.npy").tolist() == [0, 1, 2]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["map.npy", "precious"]


def test_half_written_files_of_a_killed_run_are_removed_and_no_others(tmp_path):
    for name in ("a.overlay.png.partial", "gallery.html.partial", "thesis.partial"):
        (tmp_path / name).write_bytes(b"half")
    with opened(tmp_path):
        assert [path.name for path in sorted(tmp_path.iterdir())] == ["results.jsonl", "thesis.partial"]


def test_two_runs_in_one_folder_are_told_so(tmp_path):
    pytest.importorskip("fcntl")
    with opened(tmp_path), pytest.raises(FolderInUseError) as raised:
        opened(tmp_path)
    assert "Another run" in raised.value.user_message
    assert "disk" not in raised.value.user_message
    with opened(tmp_path):
        pass


class FullDisk:
    """A file that takes so many bytes more."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        if not self._room:
            raise OSError(28, "No space left on device")
        taken = self._file.write(data[: self._room])
        self._room -= taken
        return taken


PATHS = st.sampled_from(["a.png", "b/\u5f71.png", 'c"\\\n.png'])
HASHES = st.sampled_from(["11" * 32, "22" * 32, None])
POINTS = st.sampled_from(["balanced", "specific"])


class ResultsMachine(RuleBasedStateMachine):
    """Writes, kills, edits, foreign lines, full disks, second writers; the model is the file's lines and its tail."""

    @initialize()
    def folder(self):
        self.home = Path(tempfile.mkdtemp())
        self.path = self.home / "results.jsonl"
        self.lines, self.tail, self.torn, self.results = [], b"", False, None

    def teardown(self):
        if self.results is not None:
            self.results.__exit__()
        shutil.rmtree(self.home)

    def key(self, row):
        point = (row["operating_point"] or {}).get("name", self.request.question.operating_point)
        return row["path"], row["input"]["sha256"], point

    def rows(self):
        """Every whole row that nobody has touched, or touched so that it is still a row."""
        for line in (*self.lines, self.tail):
            if line.startswith(b'{"path": ') and line.endswith(b"}") and b'"notice"' in line:
                row = json.loads(line)
                if isinstance(row["warnings"], list):
                    yield row

    def known(self):
        return {self.key(row) for row in self.rows()}

    @precondition(lambda self: self.results is None)
    @rule(resume=st.booleans(), point=POINTS)
    def open(self, resume, point):
        self.request = Request(Question(operating_point=point), explain=False)
        self.results = opened(self.home, resume=resume, request=self.request)
        self.resume = resume
        if self.torn:
            self.tail, self.torn = b"", False

    @precondition(lambda self: self.results is not None)
    @rule(path=PATHS, sha256=HASHES, answered=st.booleans())
    def write(self, path, sha256, answered):
        point = self.request.question.operating_point
        row = answered_row(path, sha256, point=point) if answered else rejected_row(path, sha256)
        known = self.known()
        assert self.results.holds(path, sha256) == (self.resume and self.key(row) in known)
        self.results.append(row)
        if self.key(row) not in known:
            self.lines += [*([self.tail] if self.tail else []), encoded(row)]
            self.tail = b""

    @precondition(lambda self: self.results is not None)
    @rule(path=PATHS, room=st.integers(0, 900))
    def write_to_a_full_disk(self, path, room):
        row = rejected_row(path, "33" * 32)
        if self.key(row) in self.known():
            return
        file = self.results._log._file
        self.results._log._file = FullDisk(file, min(room, len(encoded(row))))
        with pytest.raises(OutputError):
            self.results.append(row)
        self.results._log._file = file

    @precondition(lambda self: self.results is not None)
    @rule()
    def second_writer(self):
        with pytest.raises(FolderInUseError):
            opened(self.home)

    @precondition(lambda self: self.results is not None)
    @rule()
    def close(self):
        self.results.__exit__()
        self.results = None

    @precondition(lambda self: self.results is not None)
    @rule(data=st.data(), path=PATHS)
    def kill_within_a_row(self, data, path):
        row = answered_row(path, "44" * 32)
        line = encoded(row)
        self.results.__exit__()
        self.results = None
        if self.tail:
            return
        self.tail = line[: data.draw(st.integers(1, len(line)))]
        self.torn = len(self.tail) < len(line)
        with self.path.open("ab") as file:
            file.write(self.tail)

    @precondition(lambda self: self.results is None and not self.tail)
    @rule(text=st.sampled_from(FOREIGN), ended=st.booleans())
    def foreign_line(self, text, ended):
        with self.path.open("ab") as file:
            file.write(text + b"\n" * ended)
        if ended:
            self.lines.append(text)
        else:
            self.tail = text

    @precondition(lambda self: self.results is None and self.lines and not self.tail)
    @rule()
    def last_newline_is_lost(self):
        self.tail = self.lines.pop()
        self.path.write_bytes(self.path.read_bytes()[:-1])

    @precondition(lambda self: self.results is None and self.lines)
    @rule(data=st.data(), valid=st.booleans())
    def edit(self, data, valid):
        place = data.draw(st.integers(0, len(self.lines) - 1))
        try:
            row = copy.deepcopy(json.loads(self.lines[place]))
            if not isinstance(row.get("warnings", []), list):
                return  # whoever makes it a row again makes it the second one where the file was analysed meanwhile
            row["warnings"] = ["edited"] if valid else "edited"
        except (ValueError, AttributeError, RecursionError):
            return
        self.lines[place] = encoded(row)
        self.path.write_bytes(b"".join(line + b"\n" for line in self.lines) + self.tail)

    @invariant()
    def file_is_what_it_must_be(self):
        if self.lines or self.tail or self.results is not None:
            assert self.path.read_bytes() == b"".join(line + b"\n" for line in self.lines) + self.tail

    @invariant()
    def no_row_is_there_twice(self):
        found = [(row["path"], row["input"]["sha256"], str(row["operating_point"])) for row in self.rows()]
        assert len(found) == len(set(found))


ResultsMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, phases=[Phase.generate]
)
TestResultsMachine = ResultsMachine.TestCase
