"""The command line over what a folder may hold, and with models that are none: rows 15 to 21, 40 and 42."""

import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from detector.cli.main import main
from detector.errors import ModelError
from detector.model.card import MODELS
from detector.model.engine import Engine
from detector.model.network import load_network
from detector.schema import TASKS
from tests.conftest import ROOT
from tests.hostile import make
from tests.hostile.catalogue import CATALOGUE, GOOD

#: The two files of line 41 are as large as all others together; tests/hostile/test_catalogue.py has them.
MIXED = [line for line in CATALOGUE if line.number != "41"]


def rows_of(text):
    return {Path(row["path"]).name: row for row in map(json.loads, text.splitlines())}


def test_whole_catalogue_among_ten_good_files_gives_ten_answers_and_reasons_for_the_rest(tmp_path):
    for line in (*MIXED, *GOOD):
        (tmp_path / line.name).write_bytes(line.make())
    command = [sys.executable, "-m", "detector", "predict", tmp_path, "--format", "jsonl", "--explain"]
    command += ["--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False)
    rows = rows_of(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(rows) == len(MIXED) + len(GOOD)
    for line in MIXED:
        row = rows[line.name]
        if line.outcome != "ok":
            assert (row["status"], row["code"]) == ("rejected", line.outcome), line.id
            assert row["reason"].endswith(".")
            assert row["probabilities"] is None
        elif row["status"] == "ok" and line.warning:  # the gate may have its own reason to refuse an unusual picture
            assert any(line.warning in warning for warning in row["warnings"]), line.id
    assert [rows[line.name]["status"] for line in GOOD] == ["ok"] * 10


HOSTILE_NAMES = (
    "<script>alert(1)</script>.png".replace("/", "\u2215"),
    "[x](http:\u2215\u2215y).png",
    "**b** `c` $d$ :smile:.png",
    "a\u202egnp.exe.png",
    "..%2F..%2Fx.png",
    "line\nbreak.png",
    "-rf.png",
    "=cmd().png",
    "+1.png",
    "@SUM(A1).png",
    "x" * 240 + ".png",
    "影.png",
)


@pytest.fixture
def call(engine, monkeypatch, capsysbinary):
    """The command within this process, with the network of the other tests."""
    monkeypatch.setattr(Engine, "load", lambda *_: engine)

    def call(*arguments):
        assert main(["predict", *map(str, arguments)]) == 0
        return capsysbinary.readouterr().out.decode()

    return call


@pytest.fixture
def named(tmp_path):
    """Good files of hostile names in a folder."""
    images = tmp_path / "images"
    images.mkdir()
    for name in HOSTILE_NAMES:
        (images / name).write_bytes(make.png())
    return images


def test_hostile_names_are_literal_and_write_nothing_elsewhere(named, tmp_path, call):
    out = tmp_path / "out"
    assert rows_of(call(named, "--format", "jsonl", "--explain", "--out", out)).keys() == set(HOSTILE_NAMES)
    assert {path.name for path in tmp_path.iterdir()} == {"images", "out"}
    assert len(list(out.glob("*.overlay.png"))) == len(HOSTILE_NAMES)
    assert {path.name for path in named.iterdir()} == set(HOSTILE_NAMES)


def test_table_shows_a_name_on_one_line(named, call):
    table = call(named)
    assert "line\\nbreak.png" in table
    assert "\u202e" not in table


def test_formulas_in_csv_are_neutralised(named, call, monkeypatch):
    monkeypatch.chdir(named)
    text = call(*(name for name in HOSTILE_NAMES if name[0] in "=+@"), "--format", "csv")
    paths = [row["path"] for row in csv.DictReader(io.StringIO(text))]
    assert sorted(paths) == ["'+1.png", "'=cmd().png", "'@SUM(A1).png"]


def test_folder_of_things_that_are_no_files_is_finished_and_each_is_said(tmp_path, call, caplog):
    """Row 40."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "circle").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "itself.png").symlink_to(tmp_path / "itself.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "unreadable.png").symlink_to("/proc/self/mem")  # a file that answers every read with an error
    (tmp_path / "good.png").write_bytes(make.png())
    rows = rows_of(call(tmp_path, "--format", "jsonl"))
    assert "Traceback" not in caplog.text
    assert rows["good.png"]["status"] == "ok"
    for name in ("pipe.png", "itself.png", "endless.png", "gone.png"):
        assert name in caplog.text
        assert name not in rows
    if Path("/proc/self/mem").exists():
        assert (rows["unreadable.png"]["code"], rows["unreadable.png"]["status"]) == ("unreadable_path", "rejected")


@pytest.fixture
def models(tmp_path):
    """A copy of the shipped models, to be damaged."""
    folder = tmp_path / "models"
    shutil.copytree(MODELS, folder, ignore=shutil.ignore_patterns("evaluation"))
    return folder


def flip_one_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "one bit flipped": flip_one_bit,
    "pointer file": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("name", ["detector.keras", "detector.tflite", "lungs.keras", "lungs.tflite"])
def test_damaged_model_exits_3_without_an_answer(models, damage, name, capsys):
    """Row 42."""
    damage(models / name)
    assert main(["predict", str(ROOT / "assets" / "composites"), "--models", str(models), "--format", "jsonl"]) == 3
    assert capsys.readouterr().out == ""


def test_model_with_a_lambda_layer_is_not_loaded_even_when_its_hash_is_the_card_s(models, capsys):
    """A Lambda layer holds code, which `safe_mode` refuses to run; what serves was made from other weights anyway."""
    image = keras.Input((224, 224, 1), name="image")
    code = keras.layers.Lambda(lambda x: x + __import__("os").getpid())(image)
    pooled = keras.layers.GlobalAveragePooling2D()(code)
    heads = {task.name: keras.layers.Dense(task.logits, name=task.name)(pooled) for task in TASKS}
    path = models / "detector.keras"
    keras.Model(image, heads).save(path)
    card = json.loads((models / "detector.json").read_text())
    card["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (models / "detector.json").write_text(json.dumps(card))
    assert main(["predict", str(ROOT / "assets" / "composites"), "--models", str(models), "--format", "jsonl"]) == 3
    assert capsys.readouterr().out == ""
    with pytest.raises(ModelError, match="Lambda"):
        load_network(path, card["sha256"])
