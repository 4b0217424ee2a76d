"""Codes and sentences of what goes wrong: stable, one of each, and listed for the user."""

import ast
import re

import pytest

from detector.errors import DetectorError, NotAChestXrayError, RejectedError, refusals
from tests.conftest import ROOT

INPUTS = (ROOT / "docs" / "inputs.md").read_text("utf-8")
STABLE_CODES = {
    "aspect_ratio",
    "decoder_crash",
    "decoding_limit",
    "empty_file",
    "no_contrast",
    "not_a_chest_xray",
    "several_frames",
    "too_large",
    "too_small",
    "transparent",
    "unreadable",
    "unreadable_path",
    "unsupported_dicom",
    "unsupported_format",
    "unsupported_transfer_syntax",
}


def below(error):
    for child in error.__subclasses__():
        yield child
        yield from below(child)


def classes_elsewhere():
    """Every class that a module but `detector.errors` defines, with the names of its bases; modules are not run."""
    for path in sorted((ROOT / "detector").rglob("*.py")):
        if path.name != "errors.py":
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef):
                    yield f"{path.name}: {node.name}", {ast.unparse(base).rpartition(".")[2] for base in node.bases}


def test_codes_that_results_carry_do_not_change():
    assert refusals().keys() >= STABLE_CODES


def test_refusals_are_defined_in_one_place():
    refused = {"RejectedError"} | {error.__name__ for error in refusals().values()}
    assert not [name for name, bases in classes_elsewhere() if bases & refused]


def test_each_error_has_a_code_of_its_own():
    """The gate's refusals share one, which its children only say in other words."""
    codes = [error.code for error in below(DetectorError) if "code" in vars(error)]
    assert len(codes) == len(set(codes))
    assert {error.code for error in below(NotAChestXrayError)} == {"not_a_chest_xray"}


@pytest.mark.parametrize("code", sorted(refusals()))
def test_code_and_sentence_are_in_the_documents(code):
    assert f"| `{code}` |" in INPUTS
    assert refusals()[code].user_message in INPUTS


def test_documents_name_no_code_that_is_not_there():
    assert set(re.findall(r"^\| `(\w+)` \|", INPUTS, re.MULTILINE)) == refusals().keys()


@pytest.mark.parametrize("code", sorted(refusals()))
def test_sentence_says_what_happened_and_what_to_do(code):
    message = refusals()[code].user_message
    assert message.endswith(".")
    assert message != RejectedError.user_message
    assert len(message) < 200
