"""A few seconds of fuzzing in every run of the tests; ``make fuzz`` is the long one."""

from contextlib import suppress
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.errors import DecoderCrashError, DecodingLimitError, DetectorError
from detector.read import sandbox
from detector.read.image_io import read_radiograph
from detector.read.picture_header import read_picture_header
from tests.fuzz.mutate import FORMATS, cases, repaired, seeds

RUNS = 300


@pytest.mark.parametrize("kind", FORMATS)
def test_seeds_are_read(kind):
    readable = 0
    for data in seeds(kind):
        with suppress(DetectorError):
            readable += read_radiograph(data).rows == 64
    assert readable >= len(seeds(kind)) - 1  # an interlaced PNG and a JPEG 2000 frame have a header and odd pixels


@pytest.mark.parametrize("kind", FORMATS)
def test_changed_files_raise_nothing_but_our_errors(kind):
    outcomes = set()
    for data in islice(cases(kind, seed=20), RUNS):
        try:
            radiograph = sandbox.read_radiograph(data)
        except DetectorError as error:
            outcomes.add(error.code)
        else:
            outcomes.add("ok")
            assert radiograph.pixels.min() >= 0
            assert radiograph.pixels.max() <= 1
    assert {"ok", "unreadable"} <= outcomes
    assert not outcomes & {DecoderCrashError.code, DecodingLimitError.code}


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
