"""What the page remembers: each picture once, names as harmless text, sentences about the map."""

import numpy as np
import pytest

from detector.evidence import FAINT_SENTENCE, OUTSIDE_WARNING
from detector.schema import BINARY, Geometry, ModelInfo
from detector.ui import texts
from detector.ui.session import Case, Failure, Session, evidence_sentence, literal, shown_name


@pytest.fixture
def make_case():
    """A case whose COVID-19 evidence is given on a 2 x 2 grid, with lungs in the left half of the picture."""

    def make(cam, *, lungs=True):
        geometry = Geometry(rows=8, columns=8, top=0, left=0, height=8, width=8, size=4)
        field = np.zeros((4, 4), bool)
        field[:, :2] = True
        cams = {"binary": np.stack([cam, -np.asarray(cam)]).astype(np.float32)}
        return Case(
            key="ab",
            name="x",
            image=np.zeros((8, 8), np.uint8),
            geometry=geometry,
            input_geometry=geometry,
            logits={"binary": np.zeros(1)},
            cams=cams,
            lung_field=field if lungs else None,
            warnings=(),
            file_format="PNG",
            model=ModelInfo("m", "cd", "1"),
            analysed_at="",
        )

    return make


def test_same_picture_twice_runs_the_network_once(classifier, composite):
    session, before = Session(), classifier.forward_passes
    for name in ("a.png", "b.png"):
        session.analyse(session.key(name, lambda: composite), name, composite, classifier)
    assert classifier.forward_passes == before + 1
    assert [case.name for case in session.results.values()] == ["a.png"]


def test_bad_file_becomes_a_sentence(classifier):
    session = Session()
    session.analyse("k", "a.png", b"", classifier)
    assert session.results["k"] == Failure(
        "k", "a.png", "The file is empty. Export the image again and upload the new file."
    )


def test_unexpected_failure_becomes_a_sentence_without_a_traceback():
    def broken(_):
        raise ZeroDivisionError

    session = Session()
    session.analyse("k", "a.png", (b"\x89PNG\r\n\x1a\n" + b"0" * 40), broken)
    assert isinstance(session.results["k"], Failure)


def test_what_left_the_page_is_forgotten(classifier, composite):
    session = Session()
    session.analyse("k", "a.png", composite, classifier)
    session.keep_only(set())
    assert session.results == {}


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "[x](http://y)", "**b** `c` $d$ :smile:", "a\x00b\u202egnp.exe"]
)
def test_hostile_names_stay_literal(name):
    shown = literal(name)
    assert all(character.isprintable() for character in shown)
    for mark in "<>[]()*`$:":
        assert shown.count(mark) == shown.count("\\" + mark)


def test_long_names_are_shortened_and_keep_their_ends():
    shown = shown_name("a" * 5000 + ".dcm")
    assert len(shown) == 61
    assert shown.endswith(".dcm")


def test_sentence_gives_the_share_of_the_lungs(make_case):
    sentence, distrust = evidence_sentence(make_case([[4, 0], [4, 0]]), BINARY, "covid19", full_scale=4)
    assert sentence == ("88 % of the evidence lies in the lungs (50 % of the picture), mostly right upper zone.")
    assert not distrust


def test_evidence_for_a_class_that_was_not_answered_may_lie_anywhere(make_case):
    case = make_case([[0, 4], [0, 4]])
    assert not evidence_sentence(case, BINARY, "covid19", full_scale=4, is_answer=False)[1]


def test_evidence_outside_the_lungs_is_a_reason_to_distrust(make_case):
    sentence, distrust = evidence_sentence(make_case([[0, 4], [0, 4]]), BINARY, "covid19", full_scale=4)
    assert distrust
    assert sentence.endswith(f". {OUTSIDE_WARNING}")


def test_map_with_next_to_no_evidence_says_so(make_case):
    sentence, distrust = evidence_sentence(make_case([[0.1, 0], [0, 0]]), BINARY, "covid19", full_scale=4)
    assert sentence == f"{FAINT_SENTENCE}."
    assert not distrust


def test_without_lung_fields_nothing_is_claimed(make_case):
    case = make_case([[4, 4], [4, 4]], lungs=False)
    assert evidence_sentence(case, BINARY, "covid19", full_scale=4) == (texts.NOT_MEASURED, False)
