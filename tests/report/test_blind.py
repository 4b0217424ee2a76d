"""Figures of a blind read: ten X-rays by hand, and what is left without labels."""

import csv
import io

import pytest

from detector import words
from detector.report.blind import Read, as_csv, changes, figures, roc_points, rows
from detector.schema import BINARY, THREE_CLASS

C, N = "covid19", "not_covid19"


def read(case, label, first, sure, program, p, second=None):
    forced = C if p >= 0.5 else N
    return Read(str(case), first, sure, program, forced, p, second or first, sure, label)


#: label, first answer, how sure, program, its probability, second answer
TEN = [
    read(0, "covid19", C, 3, C, 0.9),
    read(1, "covid19", C, 2, C, 0.8),
    read(2, "covid19", C, 1, "indeterminate", 0.45, N),  # right before, wrong afterwards
    read(3, "covid19", N, 1, C, 0.7, C),  # wrong before, right afterwards
    read(4, "normal", N, 3, N, 0.1),
    read(5, "normal", N, 2, N, 0.2),
    read(6, "normal", N, 2, N, 0.3),
    read(7, "bacterial_pneumonia", C, 1, N, 0.4, N),  # wrong before, right afterwards
    read(8, "viral_pneumonia", N, 1, C, 0.6, C),  # right before, wrong afterwards
    read(9, "normal", N, 1, "indeterminate", 0.55),
]


@pytest.mark.parametrize(
    ("name", "value", "n"),
    [
        ("reader_sensitivity", 3 / 4, 4),
        ("reader_specificity", 5 / 6, 6),
        ("reader_after_sensitivity", 3 / 4, 4),
        ("reader_after_specificity", 5 / 6, 6),
        ("program_sensitivity", 3 / 4, 4),
        ("program_specificity", 4 / 6, 6),
        # Ratings 3, 2, 1, -1 against -3, -2, -2, 1, -1, -1: of 24 pairs 6 + 6 + 5.5 + 4 are won, ties half
        ("reader_auroc", 21.5 / 24, 10),
        # 0.9, 0.8, 0.45, 0.7 against 0.1, 0.2, 0.3, 0.4, 0.6, 0.55: 6 + 6 + 4 + 6
        ("program_auroc", 22 / 24, 10),
        ("auroc_difference", -0.5 / 24, 10),
        ("agreement", 5 / 10, 10),
        # four of ten called COVID-19 by the reader, five by the program: by chance 0.4 × 0.5 + 0.6 × 0.5
        ("kappa", 0.0, 10),
    ],
)
def test_ten_x_rays_by_hand(name, value, n):
    figure = figures(TEN, BINARY)[name]
    assert figure.value == pytest.approx(value)
    assert figure.n == n


def test_changes_by_hand():
    found = changes(TEN, BINARY)
    assert (found.changed, found.right_to_wrong, found.wrong_to_right, found.cannot_tell) == (4, 2, 2, 2)


def test_paired_difference_has_an_interval_round_its_value():
    figure = figures(TEN, BINARY)["auroc_difference"]
    assert figure.ci_low < figure.value < figure.ci_high


def test_without_labels_the_agreement_is_left():
    blind = [Read(**{**vars(one), "label": None}) for one in TEN]
    told = {what: value for what, value, _ in rows(blind, BINARY)}
    assert words.BLIND_FIGURES["agreement"] in told
    assert words.BLIND_FIGURES["reader_sensitivity"] not in told
    assert words.BLIND_COUNTS["right_to_wrong"] not in told
    assert told[words.BLIND_COUNTS["changed"]] == "4"
    assert roc_points(blind, BINARY, reader=True) == []


def test_pneumonia_of_no_class_has_no_truth_in_three_classes():
    reads = [
        Read("a", "normal", 2, "normal", "normal", 0.1, "normal", 2, "normal"),
        Read("b", "bacterial_pneumonia", 2, C, C, 0.9, C, 2, "viral_pneumonia"),
        Read("c", C, 2, C, C, 0.9, C, 2, C),
    ]
    assert figures(reads, THREE_CLASS)["reader_specificity"].n == 1
    assert figures(reads, THREE_CLASS)["agreement"].n == 3


def test_reader_who_always_says_one_class_has_no_kappa():
    same = [Read(str(i), N, 1, N, N, 0.1, N, 1, "normal") for i in range(4)]
    found = figures(same, BINARY)
    assert found["kappa"].value is None
    assert found["reader_sensitivity"].value is None
    assert rows(same, BINARY)


def test_roc_runs_from_corner_to_corner_and_through_the_decision():
    points = roc_points(TEN, BINARY, reader=True)
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (1.0, 1.0)
    assert (pytest.approx(1 / 6), 3 / 4) in points


def test_csv_has_a_line_an_x_ray():
    lines = list(csv.DictReader(io.StringIO(as_csv(TEN).decode("utf-8-sig"))))
    assert [line["number"] for line in lines] == [str(n) for n in range(1, 11)]
    assert lines[2]["first"] == C
    assert lines[2]["second"] == N
    assert float(lines[2]["covid19"]) == 0.45
