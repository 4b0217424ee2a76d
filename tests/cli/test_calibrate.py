"""``calibrate`` and ``--site`` as a hospital would run them, with composites in place of its X-rays."""

import json

import cv2
import numpy as np
import pytest

from detector.cli.common import EXIT_MODEL, EXIT_NO_TASK, EXIT_USAGE
from detector.cli.main import main
from tests.conftest import COMPOSITES


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A folder of 20 + 20 pictures: two composites at slightly different exposures, so that none is a repeat."""
    folder = tmp_path_factory.mktemp("hospital")
    for label, name in (("COVID-19", "covid19"), ("Normal", "normal")):
        (folder / label).mkdir()
        pixels = cv2.imread(str(COMPOSITES / f"{name}.png"), cv2.IMREAD_GRAYSCALE)[::2, ::2].astype(float)
        for number in range(20):
            shown = np.clip(pixels * (1 - 0.01 * number), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / label / f"{number}.png"), shown)
    return folder


@pytest.fixture(scope="module")
def site_file(labelled, tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "site.json"
    assert main(["calibrate", str(labelled), "--name", "North", "--out", str(out)]) == 0
    return out


def test_file_and_report_are_written(site_file):
    values = json.loads(site_file.read_text())
    assert values["name"] == "North"
    assert values["tasks"]["binary"]["counts"] == {"covid19": 20, "not_covid19": 20}
    assert values["tasks"]["three_class"] is None
    assert "Missing: 20 × Bacterial pneumonia" in values["reasons"]["three_class"]
    assert "North" in site_file.with_suffix(".html").read_text()


def test_predict_answers_by_the_site(site_file, labelled, capsys):
    picture = labelled / "COVID-19" / "0.png"
    assert main(["predict", str(picture), "--site", str(site_file), "--format", "jsonl"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["site"]["name"] == "North"
    assert row["prediction_set"] == ["covid19"]
    assert row["decision"] == "covid19"


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-40], lambda data: data.replace(b"North", b"South"), lambda _: b""]
)
def test_a_spoilt_site_file_ends_with_status_three(site_file, labelled, tmp_path, capsys, spoil):
    other = tmp_path / "site.json"
    other.write_bytes(spoil(site_file.read_bytes()))
    assert main(["predict", str(labelled / "Normal" / "0.png"), "--site", str(other)]) == EXIT_MODEL
    assert not capsys.readouterr().out


def test_a_missing_site_file_ends_with_status_three(labelled, tmp_path):
    assert main(["predict", str(labelled / "Normal" / "0.png"), "--site", str(tmp_path / "no.json")]) == EXIT_MODEL


def test_one_class_alone_writes_nothing_and_ends_with_status_five(labelled, tmp_path, capsys):
    only = tmp_path / "hospital"
    only.mkdir()
    (only / "Normal").symlink_to(labelled / "Normal")
    out = tmp_path / "site.json"
    assert main(["calibrate", str(only), "--out", str(out)]) == EXIT_NO_TASK
    assert "Missing: 20 × COVID-19" in capsys.readouterr().out
    assert not out.exists()


def test_neither_folder_nor_manifest_is_a_usage_error(tmp_path):
    assert main(["calibrate", "--out", str(tmp_path / "site.json")]) == EXIT_USAGE


def test_evaluate_reports_the_site_beside_the_network(site_file, labelled, tmp_path, capsys):
    assert main(["evaluate", str(labelled), "--site", str(site_file), "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["site"]["name"] == "North"
    found = json.loads((tmp_path / "metrics.json").read_text())["site"]["tasks"]
    assert found["binary"]["overall"]["coverage"]["n"] == 40
    assert "Missing" in found["three_class"]["reason"]


def test_evaluate_by_a_spoilt_site_file_ends_with_status_three_before_any_image(site_file, labelled, tmp_path):
    other = tmp_path / "site.json"
    other.write_bytes(site_file.read_bytes()[:-40])
    out = tmp_path / "out"
    assert main(["evaluate", str(labelled), "--site", str(other), "--out", str(out)]) == EXIT_MODEL
    assert not out.exists()
