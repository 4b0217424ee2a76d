"""A few seconds of fuzzing in every run of the tests; ``make fuzz`` is the long one."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.errors import DecoderCrashError, DecodingLimitError, DetectorError
from detector.read import sandbox
from detector.read.image_io import read_radiograph
from detector.read.picture_header import read_picture_header
from tests.fuzz import __main__ as fuzz
from tests.fuzz.mutate import FORMATS, cases, repaired, seeds

RUNS = 2000


@pytest.mark.parametrize("kind", FORMATS)
def test_seeds_are_read(kind):
    readable = 0
    for data in seeds(kind):
        with suppress(DetectorError):
            readable += read_radiograph(data).rows == 64
    assert readable >= len(seeds(kind)) - 1  # an interlaced PNG and a JPEG 2000 frame have a header and odd pixels


@pytest.mark.parametrize("kind", FORMATS)
def test_changed_files_raise_nothing_but_our_errors(kind):
    with ThreadPoolExecutor(2) as pool:  # two children at once
        outcomes = set(pool.map(outcome, islice(cases(kind, seed=20), RUNS)))
    assert {"ok", "unreadable"} <= outcomes
    assert not outcomes & {DecoderCrashError.code, DecodingLimitError.code}


def outcome(data):
    try:
        pixels = sandbox.read_radiograph(data).pixels
    except DetectorError as error:
        return error.code
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    return "ok"


def test_long_run_keeps_a_file_for_each_new_reason_and_goes_on_from_it(tmp_path):
    codes, reasons = fuzz.run("png", 1, runs=300, out=tmp_path)
    kept = list((tmp_path / "corpus" / "png").iterdir())
    assert codes.total() == reasons.total() == 300
    assert len(kept) == len(reasons) > 3
    assert not any(character.isdigit() for reason in reasons for character in reason)
    again, _ = fuzz.run("png", 1, runs=300, out=tmp_path)
    assert again != codes  # it began with what was kept


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8\xff\xdb", bytes(128) + b"DICM", b""]),
    st.binary(),
)
def test_any_bytes_behind_a_signature_raise_nothing_but_our_errors(signature, rest):
    with suppress(DetectorError):
        read_radiograph(signature + rest)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_repaired_chunks_pass_the_checksums(body):
    png = repaired(
        seeds("png")[1][:33] + len(body).to_bytes(4, "big") + b"teXt" + body + bytes(4) + seeds("png")[1][33:]
    )
    assert read_picture_header(png).rows == 64


def test_cases_repeat_for_a_seed_and_differ_between_seeds():
    first, again, other = (list(islice(cases("jpeg", seed), 20)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
