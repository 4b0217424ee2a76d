"""``compare`` as a hospital would run it, with composites in place of its X-rays and a made-up summary."""

import shutil

import cv2
import numpy as np
import pytest

from detector.answers.likeness import SUMMARY
from detector.cli.common import EXIT_FAILED, EXIT_MODEL, EXIT_OK
from detector.cli.main import main
from detector.model.card import MODELS
from tests.conftest import COMPOSITES
from tests.training.test_collections import observed_of, summary_of


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twenty-two pictures: composites at slightly different exposures, one of them twice, and one file of text."""
    folder = tmp_path_factory.mktemp("hospital")
    for name in ("covid19", "normal"):
        pixels = cv2.imread(str(COMPOSITES / f"{name}.png"), cv2.IMREAD_GRAYSCALE)[::2, ::2].astype(float)
        for number in range(11):
            shown = np.clip(pixels * (1 - 0.01 * number), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{name}{number}.png"), shown)
    shutil.copy(folder / "normal0.png", folder / "normal0 again.png")
    (folder / "note.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory, engine):
    """The shipped network with a summary of made-up collections."""
    folder = tmp_path_factory.mktemp("models")
    for path in MODELS.iterdir():
        if path.is_file():
            shutil.copy(path, folder / path.name)
    channels = engine.kernels["binary"].shape[0]
    summary = summary_of(observed_of(np.random.default_rng(0), channels=channels), weights=engine.card.sha256)
    (folder / SUMMARY).write_bytes(summary.to_bytes())
    return folder


def test_folder_is_compared_and_what_took_no_part_is_counted(pictures, models, capsys):
    assert main(["compare", str(pictures), "--models", str(models)]) == EXIT_OK
    said = capsys.readouterr().out
    assert said.startswith("These 22 X-rays look to the network unlike those that it learnt from")
    assert "Left out: rejected files, 1." in said
    assert "Left out: repeats of one picture, 1." in said


def test_few_x_rays_are_said_to_be_too_few(models, capsys):
    assert main(["compare", str(COMPOSITES), "--models", str(models)]) == EXIT_OK
    assert "at least 20 are needed. These are 3." in capsys.readouterr().out


def test_summary_of_other_weights_or_none_ends_with_status_three(pictures, models, tmp_path, capsys):
    other = tmp_path / "models"
    shutil.copytree(models, other)
    summary = summary_of(observed_of(np.random.default_rng(0), channels=40), weights="0" * 64)
    (other / SUMMARY).write_bytes(summary.to_bytes())
    assert main(["compare", str(pictures), "--models", str(other)]) == EXIT_MODEL
    (other / SUMMARY).unlink()
    assert main(["compare", str(pictures), "--models", str(other)]) == EXIT_MODEL
    assert not capsys.readouterr().out


def test_file_that_fails_unexpectedly_is_counted_and_ends_with_status_one(pictures, models, monkeypatch, capsys):
    from detector.run import compare

    real, calls = compare.analyse, []

    def breaks_once(data, engine):
        calls.append(data)
        if len(calls) == 1:
            raise RuntimeError("a bug")
        return real(data, engine)

    monkeypatch.setattr(compare, "analyse", breaks_once)
    assert main(["compare", str(pictures), "--models", str(models)]) == EXIT_FAILED
    assert "Left out: files that failed, 1." in capsys.readouterr().out
