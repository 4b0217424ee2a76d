"""PDF reports: one page an image whatever it holds, hostile and foreign text, the same bytes for the same answer."""

import base64
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest

from detector.report.pdf import Bar, CasePage, ListPages, case_pdf, list_pdf
from detector.report.sheet import Panels

_ASCII85 = re.compile(rb"stream\r?\n(.*?)~>endstream", re.DOTALL)


def text_of(pdf):
    """Words drawn on all pages, in order."""
    found = []
    for stream in _ASCII85.findall(pdf):
        data = base64.a85decode(stream.strip())
        if data.startswith(b"\xff\xd8"):  # a picture
            continue
        content = zlib.decompress(data)
        found += re.findall(rb"\(((?:\\.|[^\\)])*)\)\s*Tj", content)
    whole = re.sub(rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8)]), b" ".join(found))
    return whole.decode("cp1252")


def pages(pdf):
    return len(re.findall(rb"/Type /Page\b", pdf))


def page(**changes):
    values = {
        "title": "COVID-19 pattern 90 %",
        "lines": ["Three-class: COVID-19 93 %", "not measured"],
        "subject": "X-ray 1",
        "asked": "Question: Binary.",
        "panels": Panels(
            np.full((60, 40), 90, np.uint8),
            np.full((60, 40, 3), 120, np.uint8),
            captions=("X-ray", "Evidence for COVID-19"),
            badges=("ROTATED",),
            full_scale=95.0,
            scale="against to for",
        ),
        "limits": ["Looks for nothing else."],
        "bars": [Bar("COVID-19", 0.9, "#E6803C", 0.8, 0.95), Bar("Not COVID-19", 0.1, "#7B8794")],
        "threshold": 0.3,
        "band": (0.1, 0.5),
        "findings": ["Most of it in the right lung."],
        "warnings": ["The picture has very little contrast."],
        "provenance": ["PNG, 60 × 40 pixels", "model 1"],
        "notice": "Research demonstration. Not for diagnosis.",
    }
    return CasePage(**{**values, **changes})


def test_page_holds_decision_probabilities_warning_provenance_and_notice():
    pdf = case_pdf(page())
    assert pdf.startswith(b"%PDF")
    text = text_of(pdf)
    for words in (
        "COVID-19 pattern",
        "Three-class",
        "90 %",
        "10 %",
        "ROTATED",
        "nothing else",
        "very little contrast",
        "right lung",
        "60 × 40",
        "Not for diagn",
    ):
        assert words in text


def test_same_answer_gives_the_same_bytes():
    assert case_pdf(page()) == case_pdf(page())


@pytest.mark.parametrize("shape", [(1024, 256), (256, 1024), (8, 8)])
def test_one_page_whatever_the_shape(shape):
    panels = replace(page().panels, image=np.zeros(shape, np.uint8), overlay=np.zeros((*shape, 3), np.uint8))
    many = ["A warning that is rather long, as warnings from a damaged header can be."] * 4
    pdf = case_pdf(page(panels=panels, warnings=many, findings=many))
    assert pages(pdf) == 1


@pytest.mark.parametrize("name", ["<b>bold</b> & <img src='x'>", "胸部 X 線.png", "a\x00b\u202e", "(((\\"])
def test_hostile_and_foreign_names_are_text(name):
    assert pages(case_pdf(page(subject=name, title=name))) == 1


def test_list_has_a_line_a_file_and_its_head_on_every_page():
    count = 40
    pdf = list_pdf(
        ListPages(
            title="Worklist",
            subject="Question: Binary.",
            columns=("X-ray", "", "Decision", "P", "Name", "Warnings"),
            rows=[(str(i), "Normal", "1.0%", f"X-ray {i}", "") for i in range(count)],
            thumbnails=[np.zeros((10, 20), np.uint8) if i % 2 else None for i in range(count)],
            notice="Research demonstration. Not for diagnosis.",
            provenance="model 1",
        )
    )
    text = text_of(pdf)
    assert pages(pdf) > 1
    assert text.count("Decision") == text.count("Not for diagnosis") == pages(pdf)
    assert "Question: Binary." in text
    assert all(f"X-ray {i}" in text for i in range(count))
