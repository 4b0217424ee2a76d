"""The command line as its users run it: streams, exit statuses, what stays on the disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.cli.main import main
from detector.model.engine import Engine
from detector.run import predict
from tests.conftest import COMPOSITES, ROOT, encode, make_dicom


def run(*arguments, **options):
    """Run the command in its own process, as a user does."""
    command = [sys.executable, "-m", "detector", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False, **options)


@pytest.fixture
def call(engine, monkeypatch, capsysbinary):
    """The command within this process, with the network of the other tests: what needs no process of its own."""
    monkeypatch.setattr(Engine, "load", lambda *_: engine)

    def call(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, capsysbinary.readouterr().out.decode()

    return call


@pytest.fixture
def folder(tmp_path, composite, composite_pixels):
    """Good files of three formats among bad ones, one of them below."""
    images = tmp_path / "images"
    (images / "below").mkdir(parents=True)
    (images / "a.png").write_bytes(composite)
    (images / "b.dcm").write_bytes(make_dicom(composite_pixels))
    (images / "below" / "a.jpg").write_bytes(encode(composite_pixels, ".jpg"))
    (images / "empty.png").write_bytes(b"")
    (images / "notes.png").write_text("not an image")
    (images / "torn.png").write_bytes(composite[: len(composite) // 2])
    return images


def rows_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_one_json_line_a_file_and_nothing_else_on_standard_output(folder):
    done = run("predict", folder, "--mode", "three-class", "--format", "jsonl")
    rows = rows_of(done.stdout)
    assert done.returncode == 0
    assert len(rows) == 6
    by_name = {os.path.relpath(row["path"], folder): row for row in rows}
    assert {name for name, row in by_name.items() if row["status"] == "ok"} == {"a.png", "b.dcm", "below/a.jpg"}
    codes = {name: by_name[name]["code"] for name in ("empty.png", "notes.png", "torn.png")}
    assert codes == {"empty.png": "empty_file", "notes.png": "unsupported_format", "torn.png": "unreadable"}
    assert all(row["reason"].endswith(".") for row in rows if row["status"] == "rejected")


@pytest.mark.parametrize(
    ("mode", "meant"), [("Binary", "binary"), ("Three-Class", "three-class"), ("Multi-Label", "three-class")]
)
def test_mode_is_accepted_as_it_was_typed_before(mode, meant, call):
    status, printed = call("predict", COMPOSITES / "normal.png", "--mode", mode, "--format", "jsonl")
    assert status == 0
    assert json.loads(printed)["mode"] == meant


def test_explain_writes_overlay_and_heatmap_of_the_image_s_own_size(tmp_path, call):
    picture = np.zeros((300, 400), np.uint8)
    picture[20:280, 60:340] = cv2.resize(cv2.imread(str(COMPOSITES / "covid19.png"), 0), (280, 260))
    path = tmp_path / "framed.png"
    path.write_bytes(encode(picture))
    out = tmp_path / "out"
    status, printed = call("predict", path, "--explain", "--out", out, "--format", "jsonl")
    assert status == 0
    row = json.loads(printed)
    heatmap = np.load(out / "framed.heatmap.npy")
    assert heatmap.shape == (300, 400)
    assert heatmap.dtype == np.float32
    assert np.isfinite(heatmap).all()
    assert (heatmap[:18] == 0).all()  # the black frame is cut off before the network
    assert heatmap[150].any()
    assert cv2.imread(row["saliency"]["overlay"]).shape == (300, 400, 3)
    assert row["saliency"]["target_class"] == "covid19"
    assert 0 <= row["saliency"]["in_lung_fraction"] <= 1
    assert 0.1 < row["saliency"]["lung_area_fraction"] < 0.6


def test_two_inputs_of_one_name_do_not_overwrite_each_other(folder, tmp_path, call):
    out = tmp_path / "out"
    printed = call("predict", folder / "a.png", folder / "below", "--explain", "--out", out, "--format", "jsonl")[1]
    overlays = [row["saliency"]["overlay"] for row in rows_of(printed)]
    assert len(set(overlays)) == 2
    assert all(Path(path).exists() for path in overlays)


def test_resume_passes_over_what_is_there_and_repairs_a_torn_line(folder, tmp_path):
    out = tmp_path / "out"
    assert run("predict", folder, "--out", out, "--format", "jsonl").returncode == 0
    results = out / "results.jsonl"
    whole = results.read_bytes()
    lines = whole.splitlines(keepends=True)
    results.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    done = run("predict", folder, "--out", out, "--resume", "--format", "jsonl")
    assert [row["path"] for row in rows_of(done.stdout)] == [json.loads(line)["path"] for line in lines[3:]]
    paths = [json.loads(line)["path"] for line in results.read_bytes().splitlines()]
    assert paths == [json.loads(line)["path"] for line in lines]


def test_resume_analyses_again_what_has_changed_or_is_asked_otherwise(folder, tmp_path, call):
    out = tmp_path / "out"
    target = folder / "a.png"
    for arguments in ([], ["--mode", "three-class"], ["--operating-point", "specific"], ["--explain"]):
        assert call("predict", target, "--out", out, "--resume", *arguments)[1]
    assert len((out / "results.jsonl").read_bytes().splitlines()) == 4
    assert call("predict", target, "--out", out, "--resume") == (0, "")
    target.write_bytes((COMPOSITES / "normal.png").read_bytes())
    assert call("predict", target, "--out", out, "--resume")[1]


def test_same_file_named_twice_or_asked_again_has_one_row(folder, tmp_path, call):
    out = tmp_path / "out"
    for _ in range(2):
        assert call("predict", folder, folder / "a.png", "--out", out)[0] == 0
    paths = [row["path"] for row in rows_of((out / "results.jsonl").read_text())]
    assert len(paths) == len(set(paths)) == 6


def test_results_below_the_images_are_not_analysed(folder, call):
    out = folder / "results"
    for _ in range(2):
        assert call("predict", folder, "--explain", "--out", out, "--resume")[0] == 0
    assert len(rows_of((out / "results.jsonl").read_text())) == 6
    assert len(list(out.glob("*.overlay.png"))) == 3


def test_maps_of_two_modes_stand_beside_each_other(tmp_path, call):
    out = tmp_path / "out"
    for mode in ("binary", "three-class"):
        call("predict", COMPOSITES / "normal.png", "--mode", mode, "--explain", "--out", out)
    overlays = {row["saliency"]["overlay"] for row in rows_of((out / "results.jsonl").read_text())}
    assert len(overlays) == 2
    assert all(Path(path).exists() for path in overlays)


def test_lines_that_are_no_results_are_left_alone(tmp_path, call):
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.jsonl").write_text('123\n{"path": "a"}\nsome note\n')
    assert call("predict", COMPOSITES / "normal.png", "--out", out, "--resume")[0] == 0
    assert (out / "results.jsonl").read_text().startswith('123\n{"path": "a"}\nsome note\n{"path"')


def test_second_run_into_the_same_folder_is_refused(tmp_path, call):
    fcntl = pytest.importorskip("fcntl")
    out = tmp_path / "out"
    out.mkdir()
    with (out / "results.jsonl").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert call("predict", COMPOSITES / "normal.png", "--out", out) == (4, "")


def test_long_names_in_any_script_are_written(tmp_path, call):
    path = tmp_path / ("影" * 80 + ".png")
    path.write_bytes((COMPOSITES / "normal.png").read_bytes())
    assert call("predict", path, "--explain", "--out", tmp_path / "out")[0] == 0
    assert len(list((tmp_path / "out").glob("*.overlay.png"))) == 1


def test_standard_output_that_is_full_exits_4():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "detector", "predict", str(COMPOSITES), "--format", "jsonl"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False, timeout=60
        )
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


def test_failure_while_explaining_costs_one_row(folder, call, monkeypatch):
    def broken(*_):
        raise RuntimeError("lungs")

    monkeypatch.setattr(predict, "answer", broken)
    status, printed = call("predict", folder, "--explain", "--format", "jsonl")
    assert status == 1
    assert sorted(row["status"] for row in rows_of(printed)) == ["error"] * 3 + ["rejected"] * 3


def test_terminated_run_ends_with_143_and_whole_rows(folder, tmp_path):
    for number in range(400):
        (folder / f"copy{number:03d}.png").write_bytes((COMPOSITES / "normal.png").read_bytes())
    out = tmp_path / "out"
    command = [sys.executable, "-m", "detector", "predict", str(folder), "--out", str(out), "--format", "jsonl"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and not (
            (out / "results.jsonl").exists() and (out / "results.jsonl").stat().st_size
        ):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 143
    rows = rows_of((out / "results.jsonl").read_text())
    assert 0 < len(rows) < 406


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict"],
        ["predict", "no/such/file.png"],
        ["predict", ".", "--mode", "quaternary"],
        ["predict", ".", "--resume"],
    ],
    ids=["no path", "path that is not there", "unknown mode", "resume without out"],
)
def test_usage_errors_exit_2(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("files", [{}, {"detector.json": b"{}", "detector.keras": b""}], ids=["missing", "damaged"])
def test_missing_or_damaged_model_exits_3_without_an_answer(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    done = run("predict", COMPOSITES / "normal.png", "--models", tmp_path, "--format", "jsonl")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Install the app again" in done.stderr


def test_output_that_cannot_be_written_exits_4(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    done = run("predict", COMPOSITES / "normal.png", "--out", blocked / "below", "--format", "jsonl")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


def test_full_disk_exits_4_with_earlier_rows_whole(tmp_path):
    out = tmp_path / "out"
    assert run("predict", COMPOSITES / "normal.png", "--out", out).returncode == 0
    size = (out / "results.jsonl").stat().st_size
    limited = f"trap '' XFSZ; ulimit -f {size // 1024 + 1}; exec \"$@\""
    command = [sys.executable, "-m", "detector", "predict", str(COMPOSITES), "--out", str(out), "--format", "jsonl"]
    done = subprocess.run(
        ["/bin/bash", "-c", limited, "bash", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=120,
    )
    assert done.returncode == 4, done.stderr
    rows = rows_of((out / "results.jsonl").read_text())
    assert rows[0]["path"].endswith("normal.png")


def test_folder_with_a_pipe_and_a_link_in_a_circle_is_finished(folder):
    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to(folder, target_is_directory=True)
    done = run("predict", folder, "--format", "jsonl")
    assert done.returncode == 0
    assert len(rows_of(done.stdout)) == 6
    assert "pipe" in done.stderr


def test_models_lists_hash_and_measured_performance(capsys):
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert "sha256" in printed
    assert "binary_auroc" in printed


def test_real_samples_give_one_valid_line_a_file_and_twins_alike(samples):
    done = run("predict", samples, "--mode", "three-class", "--format", "jsonl")
    rows = {Path(row["path"]).name: row for row in rows_of(done.stdout)}
    assert set(rows) == {path.name for path in samples.iterdir()}
    twins = (rows["rsna_adult.dcm"]["probabilities"], rows["rsna_adult_monochrome1.dcm"]["probabilities"])
    for name in twins[0]:
        assert twins[0][name] == pytest.approx(twins[1][name], abs=1e-3)
