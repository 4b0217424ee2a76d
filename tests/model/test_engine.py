"""Loading by hash, one forward pass an image, the same bits every time."""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest

from detector.errors import ModelError, NonFiniteError
from detector.model.card import DEFAULT_MODEL, MODELS
from detector.model.engine import Engine
from detector.model.lungs import LungFields
from detector.model.network import TEXTURE_LAYERS
from detector.model.preprocess import frame_picture, lung_crop, lung_input
from detector.schema import TASKS
from tests.conftest import COMPOSITES, ROOT


@pytest.fixture(scope="module")
def picture(composite_pixels):
    return composite_pixels.astype(np.float32) / 255


@pytest.fixture(scope="module")
def network_input(engine, picture):
    return engine.prepare(picture)


@pytest.fixture
def models(tmp_path):
    """A copy of the shipped models that a test may damage."""
    for path in MODELS.glob("*.*"):
        if path.suffix in {".keras", ".json", ".npz", ".tflite"}:
            shutil.copy(path, tmp_path)
    return tmp_path


class TestPrepare:
    def test_the_lungs_are_found_on_the_whole_picture_and_the_input_is_cut_to_them(self, engine, picture):
        prepared = engine.prepare(picture)
        frame = frame_picture(picture)
        by_hand = lung_crop(frame, engine.lung_fields(lung_input(frame)))
        assert prepared.geometry == by_hand.geometry
        np.testing.assert_array_equal(prepared.pixels, by_hand.pixels)
        np.testing.assert_array_equal(prepared.lung_field, by_hand.lung_field)

    def test_a_composite_is_cut_to_its_lungs_and_to_no_less(self, engine, picture):
        prepared = engine.prepare(picture)
        share = prepared.geometry.height * prepared.geometry.width / picture.size
        assert 0.3 <= share < 0.9
        found = engine.lung_fields(lung_input(frame_picture(picture))).mean()
        assert prepared.lung_field.mean() * share == pytest.approx(found, rel=0.03)

    def test_it_has_the_size_of_the_card(self, engine, picture):
        size = engine.card.input_size
        prepared = engine.prepare(picture)
        assert prepared.pixels.shape == (size, size, 1)
        assert prepared.lung_field.shape == (size, size)
        assert prepared.geometry.size == size

    @pytest.mark.parametrize("shape", [(64, 64), (70, 300), (300, 200)], ids=str)
    def test_a_flat_picture_of_any_shape_is_kept_whole(self, engine, shape):
        prepared = engine.prepare(np.full(shape, 0.5, np.float32))
        assert not prepared.pixels.any()
        assert (prepared.geometry.rows, prepared.geometry.columns) == shape

    def test_no_pass_of_the_network_is_taken_and_the_picture_is_left_as_it_was(self, engine, picture):
        given, before = picture.copy(), engine.forward_passes
        engine.prepare(given)
        assert engine.forward_passes == before
        np.testing.assert_array_equal(given, picture)

    def test_one_picture_gives_one_input_from_four_threads(self, engine, picture):
        found = []
        threads = [threading.Thread(target=lambda: found.append(engine.prepare(picture))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({prepared.pixels.tobytes() + prepared.lung_field.tobytes() for prepared in found}) == 1
        assert len(found) == 4


def test_one_pass_answers_both_tasks(engine, network_input):
    before = engine.forward_passes
    output = engine(network_input)
    assert {name: logits.shape for name, logits in output.logits.items()} == {"binary": (1,), "three_class": (3,)}
    assert output.features.shape[2:] == output.pooled_features.shape
    assert engine.forward_passes == before + 1


def test_average_of_the_features_is_what_the_dense_layers_read(engine, network_input):
    output = engine(network_input)
    np.testing.assert_allclose(output.features.mean(axis=(0, 1)), output.pooled_features, rtol=1e-4, atol=1e-5)


def test_texture_is_mean_and_deviation_of_each_channel_of_the_early_layers(engine, network_input):
    texture = engine(network_input).texture
    layers = [engine.network.get_layer(name).output for name in TEXTURE_LAYERS]
    maps = keras.Model(engine.network.input, layers).predict_on_batch(network_input.pixels[None])
    expected = np.concatenate([s for m in maps for s in (m[0].mean(axis=(0, 1)), m[0].std(axis=(0, 1)))])
    assert texture.shape == (2 * sum(m.shape[-1] for m in maps),)
    np.testing.assert_allclose(texture, expected, rtol=1e-3, atol=1e-3)


def test_same_input_gives_the_same_bits_from_eight_threads(engine, network_input):
    answers = []

    def ask():
        answers.extend(engine(network_input).logits["three_class"].tobytes() for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 40
    assert len(set(answers)) == 1


def test_an_answer_that_is_no_number_is_an_error_and_no_label(engine, network_input):
    broken = replace(network_input, pixels=np.full_like(network_input.pixels, np.nan))
    with pytest.raises(NonFiniteError):
        engine(broken)


WEIGHTS = [f"{name}.{kind}" for name in (DEFAULT_MODEL, "lungs") for kind in ("keras", "tflite")]


def flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize(
    "damage",
    [flipped, lambda _: b"", lambda _: b"version https://git-lfs.github.com/spec/v1\n", lambda data: data + b"x"],
    ids=["one-bit", "empty", "pointer-file", "longer"],
)
def test_a_damaged_network_is_refused(models, name, damage):
    path = models / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match="not those of the card"):
        Engine.load(folder=models)


@pytest.mark.parametrize("name", [*WEIGHTS, "lungs.json", f"{DEFAULT_MODEL}.json"])
def test_a_missing_file_is_refused(models, name):
    (models / name).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        Engine.load(folder=models)


@pytest.mark.parametrize("name", [DEFAULT_MODEL, "lungs"])
def test_a_flatbuffer_of_other_weights_is_refused(models, name):
    path = models / f"{name}.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "tflite": {**card["tflite"], "weights": "0" * 64}}))
    with pytest.raises(ModelError, match="was made from the weights 000"):
        Engine.load(folder=models)


def test_a_flatbuffer_of_another_network_is_refused(engine):
    with pytest.raises(ModelError, match="no classifier"):
        Engine(engine.lung_fields._run, engine.card, engine.lung_fields, None, weights=MODELS)


def test_nothing_that_serves_imports_tensorflow():
    script = "import sys; from detector.model.engine import Engine; from detector.answers.pipeline import analyse; "
    script += f"analyse(open({str(COMPOSITES / 'normal.png')!r}, 'rb').read(), Engine.load()); "
    script += "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
    assert (done.stdout, done.stderr) == (b"", b"")  # LiteRT would greet


def test_it_loads_where_there_is_no_standard_error():
    script = "from detector.model.engine import Engine; Engine.load(); print('loaded')"
    command = [sys.executable, "-c", script]
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *command], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    assert done.stdout == b"loaded\n"


def test_network_of_another_preprocessing_is_refused(models):
    path = models / f"{DEFAULT_MODEL}.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "preprocessing": "something-else-v0"}))
    with pytest.raises(ModelError, match="something-else-v0"):
        Engine.load(folder=models)


def test_lung_fields_of_another_preprocessing_are_refused(models):
    path = models / "lungs.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "preprocessing": "something-else-v0"}))
    with pytest.raises(ModelError, match="something-else-v0"):
        Engine.load(folder=models)


def test_a_gate_that_the_card_names_and_nobody_finds_is_refused(models, monkeypatch):
    monkeypatch.setattr(LungFields, "load", lambda *_: None)
    path = models / f"{DEFAULT_MODEL}.json"
    (models / "gate.npz").unlink(missing_ok=True)
    entry = {"sha256": "0" * 64, "refuse_below": 0.0, "warn_below": 1.0}
    path.write_text(json.dumps({**json.loads(path.read_text()), "gate": entry}))
    with pytest.raises(ModelError, match=r"gate\.npz cannot be read"):
        Engine.load(folder=models)


def test_the_shipped_classifier_has_a_gate_if_its_card_has_one(engine):
    assert (engine.gate is not None) == bool(engine.card.gate)


def test_passes_side_by_side_give_the_bits_of_one_alone(engine, composite_pixels):
    pictures = (np.roll(composite_pixels, shift, 1) / np.float32(255) for shift in range(0, 160, 8))
    inputs = [engine.prepare(picture) for picture in pictures]
    alone = [engine(network_input) for network_input in inputs]
    passes = engine.forward_passes
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(engine, inputs))
    assert engine.forward_passes == passes + len(inputs)
    for one, other in zip(alone, together, strict=True):
        assert one.features.tobytes() == other.features.tobytes()
        assert all(one.logits[task.name].tobytes() == other.logits[task.name].tobytes() for task in TASKS)


def test_an_equalised_copy_is_answered_alike(engine, cxr_data):
    """Half of the adult opacities came histogram-equalised: nothing of it may reach an answer."""
    from detector.training.data.manifest import read_manifest

    examples = read_manifest(cxr_data / "manifest.csv", split="val")
    chosen = np.random.default_rng(0).permutation(len(examples))[:200]
    differences = []
    for number in chosen:
        picture = cv2.imread(str(cxr_data / examples[number].image), cv2.IMREAD_GRAYSCALE)
        found = [engine(engine.prepare(copy)).logits for copy in (picture, cv2.equalizeHist(picture))]
        calibration = engine.card.calibration
        answers = [np.concatenate([calibration.probabilities(t, logits[t.name]) for t in TASKS]) for logits in found]
        differences.append(np.abs(answers[0] - answers[1]).max())
    assert np.mean(np.array(differences) <= 0.02) >= 0.95
    assert max(differences) <= 0.05
