"""Same input, same bits: again and again, from eight threads, and after a restart."""

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from detector.answers.answer import Question, answer
from detector.answers.pipeline import analyse
from detector.errors import NonFiniteError
from detector.report.rows import answer_row
from detector.run import predict
from detector.run.results import Request
from detector.schema import NOTICE, TASKS
from tests.conftest import COMPOSITES, ROOT, make_dicom

RESTART = """
import sys
from pathlib import Path
from detector.model.engine import Engine
from detector.answers.pipeline import analyse
from tests.run.test_integrity import fingerprint
print(fingerprint(analyse(Path(sys.argv[1]).read_bytes(), Engine.load())))
"""


def fingerprint(analysis):
    """SHA-256 of every logit, map and lung field of an analysis."""
    parts = [analysis.logits[task.name] for task in TASKS] + [analysis.cams[task.name] for task in TASKS]
    if analysis.lung_field is not None:
        parts.append(analysis.lung_field)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def test_hundred_repeats_from_eight_threads_give_the_same_bits(engine, composite):
    other = (COMPOSITES / "normal.png").read_bytes()
    with ThreadPoolExecutor(8) as pool:  # two pictures in turn, so that a mix-up would show
        found = list(pool.map(lambda data: fingerprint(analyse(data, engine)), [composite, other] * 100))
    assert set(found[::2]) == {fingerprint(analyse(composite, engine))}
    assert set(found[1::2]) == {fingerprint(analyse(other, engine))}
    assert found[0] != found[1]


def test_restart_gives_the_same_bits(engine, composite):
    command = [sys.executable, "-c", RESTART, str(COMPOSITES / "covid19.png")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=600)
    assert done.stdout.strip() == fingerprint(analyse(composite, engine))


@pytest.mark.parametrize("mode", ["binary", "three-class"])
def test_every_result_says_where_it_comes_from(engine, composite_pixels, mode, tmp_path):
    path = tmp_path / "image.dcm"
    path.write_bytes(make_dicom(composite_pixels, BurnedInAnnotation="YES"))
    (row,) = predict.predict_files([path], engine, Request(Question(mode), explain=True))
    assert row["input"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(row["input"]["pixel_sha256"]) == 64
    assert row["model"]["sha256"] == engine.card.sha256
    assert row["versions"]["preprocessing"] == engine.card.preprocessing
    assert {"detector", "python", "ai-edge-litert", "numpy", "pydicom"} <= row["versions"].keys()
    assert (row["operating_point"] is None) == (mode == "three-class")
    assert len(row["warnings"]) >= 1
    assert row["analysed_at"].endswith("+00:00")
    assert row["notice"] == NOTICE
    json.dumps(row, allow_nan=False)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_number_that_is_none_gives_no_result(engine, composite, bad, monkeypatch):
    run = engine._run

    def broken(pixels):
        outputs = run(pixels)
        return outputs | {"binary": outputs["binary"] * bad}

    monkeypatch.setattr(engine, "_run", broken)
    with pytest.raises(NonFiniteError):
        analyse(composite, engine)


def test_failed_row_has_no_number_and_keeps_its_origin(engine, tmp_path, composite, monkeypatch):
    path = tmp_path / "image.png"
    path.write_bytes(composite)

    def broken(*_args, **_options):
        raise NonFiniteError("NaN")

    monkeypatch.setattr(predict, "analyse", broken)
    (row,) = predict.predict_files([path], engine, Request(Question("binary"), explain=False))
    assert (row["status"], row["code"]) == ("error", "non_finite")
    assert row["probabilities"] is row["decision"] is row["saliency"] is None
    assert row["input"]["sha256"] == hashlib.sha256(composite).hexdigest()
    assert row["model"]["sha256"] == engine.card.sha256


def test_unrounded_probabilities_survive_the_row(engine, composite):
    told = answer(analyse(composite, engine), Question("three-class"))
    row = json.loads(json.dumps(answer_row("a", told)))
    assert row["probabilities"] == told.probabilities
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-12)
