"""Twenty X-rays read blind in a browser, the page loaded anew in the middle: nothing lost, figures counted by hand."""

import csv
import json

import cv2
import numpy as np
import pytest

from detector import words
from detector.run.blind import FOLDER_VARIABLE
from detector.schema import COVID19, NOT_COVID19
from tests.browser.conftest import served
from tests.browser.hands import drop
from tests.conftest import COMPOSITES, encode

pytestmark = [pytest.mark.browser, pytest.mark.systems]  # a whole session, the better part of a minute

CASES = 20
RELOADED_AT = 9
CHANGED = {3, 8, 14}  # places at which the reader goes over to the other answer
WRONG = {2, 3, 11, 17}  # places at which the first answer is wrong


@pytest.fixture(scope="module")
def x_rays():
    """Twenty pictures of three composites at different exposures, and a table that tells what they are."""
    names = ("covid19", "normal", "bacterial_pneumonia")
    pictures = {name: cv2.imread(str(COMPOSITES / f"{name}.png"), cv2.IMREAD_GRAYSCALE)[::2, ::2] for name in names}
    files, labels = [], []
    for number in range(CASES):
        name = names[number % len(names)]
        shown = np.clip(pictures[name] * (1 - 0.01 * number), 0, 255).astype(np.uint8)
        files.append((f"{number}.png", encode(shown)))
        labels.append(f"{number}.png,{name}\n")
    return [*files, ("manifest.csv", ("image,label\n" + "".join(labels)).encode())]


@pytest.fixture
def readings(tmp_path):
    return tmp_path / "readings"


@pytest.fixture
def page(tab, tmp_path, readings):
    with served(tmp_path / "log", **{FOLDER_VARIABLE: str(readings)}) as address:
        tab.goto(f"{address}/blind-read")
        yield tab


def pick(page, group, option):
    page.get_by_role("radiogroup", name=group, exact=True).get_by_text(option, exact=True).click()


def begun(readings):
    """The order of the read and its labels, as its file has them."""
    (path,) = readings.glob("*.jsonl")
    return path, json.loads(path.read_text().splitlines()[0])["begin"]


def read(page, place, label):
    """Answer one X-ray; returns both answers."""
    truth = COVID19 if label == COVID19 else NOT_COVID19
    other = NOT_COVID19 if truth == COVID19 else COVID19
    first = other if place in WRONG else truth
    second = (other if first == truth else truth) if place in CHANGED else first
    page.get_by_text(words.BLIND_PLACE.format(place=place, total=CASES)).wait_for()
    page.get_by_text("The program:").wait_for(state="detached")
    pick(page, words.BLIND_YOURS, words.CLASSES[first])
    pick(page, words.BLIND_SURE, words.BLIND_SURENESS[1 + place % 3])
    page.get_by_role("button", name=words.BLIND_SHOW).click()
    page.get_by_text("The program:").wait_for()
    if second != first:
        pick(page, words.BLIND_AFTER, words.CLASSES[second])
        again = page.get_by_role("radiogroup", name=words.BLIND_AFTER, exact=True)
        again.get_by_role("radio", name=words.CLASSES[second], exact=True, checked=True).wait_for()
    page.get_by_role("button", name=words.BLIND_NEXT).click()
    return first, second


def counted(lines):
    """The table by hand: plain counting over the CSV that the page gives."""
    covid = [line for line in lines if line["label"] == COVID19]
    others = [line for line in lines if line["label"] != COVID19]
    truth = {line["case"]: COVID19 if line["label"] == COVID19 else NOT_COVID19 for line in lines}

    def of(name, group, wanted):
        return words.percent(sum(line[name] == wanted for line in group) / len(group))

    def auroc(score):
        won = [(score(c) > score(o)) + (score(c) == score(o)) / 2 for c in covid for o in others]
        return sum(won) / len(won)

    agreed = sum(line["first"] == line["forced"] for line in lines) / len(lines)
    shares = [
        [sum(line[n] == c for line in lines) / len(lines) for c in (COVID19, NOT_COVID19)] for n in ("first", "forced")
    ]
    chance = sum(a * b for a, b in zip(*shares, strict=True))
    reader = auroc(lambda line: int(line["first_sure"]) * (1 if line["first"] == COVID19 else -1))
    program = auroc(lambda line: float(line["covid19"]))
    figures = {
        "reader_sensitivity": of("first", covid, COVID19),
        "reader_specificity": of("first", others, NOT_COVID19),
        "reader_after_sensitivity": of("second", covid, COVID19),
        "reader_after_specificity": of("second", others, NOT_COVID19),
        "program_sensitivity": of("forced", covid, COVID19),
        "program_specificity": of("forced", others, NOT_COVID19),
        "reader_auroc": f"{reader:.2f}",
        "program_auroc": f"{program:.2f}",
        "auroc_difference": f"{reader - program:.2f}",
        "agreement": words.percent(agreed),
        "kappa": f"{(agreed - chance) / (1 - chance):.2f}",
    }
    counts = {
        "changed": sum(line["first"] != line["second"] for line in lines),
        "right_to_wrong": sum(line["first"] == truth[line["case"]] != line["second"] for line in lines),
        "wrong_to_right": sum(line["first"] != truth[line["case"]] == line["second"] for line in lines),
        "cannot_tell": sum(line["program"] == "indeterminate" for line in lines),
    }
    return figures, counts


def test_twenty_cases_with_a_reload_in_the_middle(page, x_rays, readings):
    page.get_by_test_id("stFileUploaderDropzone").first.wait_for()
    drop(page, *x_rays)
    page.get_by_text(words.BLIND_READY.format(cases=CASES, labelled=CASES)).wait_for()
    page.get_by_role("button", name=words.BLIND_BEGIN).click()
    page.get_by_text(words.BLIND_PLACE.format(place=1, total=CASES)).wait_for()
    path, begin = begun(readings)
    answers = []
    for place, case in enumerate(begin["cases"], start=1):
        if place == RELOADED_AT:
            page.reload()
        answers.append((case, *read(page, place, begin["labels"][case])))
    page.get_by_role("button", name=words.BLIND_AGAIN).wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name=words.BLIND_SAVE).click()
    with download.value.path().open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    assert [(line["case"], line["first"], line["second"]) for line in lines] == answers  # nothing lost, nothing twice
    assert begun(readings)[0] == path
    rows = [row.locator("th, td").all_inner_texts() for row in page.locator(".st-key-blind_table tr").all()]
    shown = {what.strip(): value.strip() for what, value, _ in (row[-3:] for row in rows)}
    figures, counts = counted(lines)
    assert {name: shown[words.BLIND_FIGURES[name]].partition(" (")[0] for name in figures} == figures
    assert {name: int(shown[words.BLIND_COUNTS[name]]) for name in counts} == counts
