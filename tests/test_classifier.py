"""Loading by hash, one forward pass an image, the same bits every time."""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from detector.card import DEFAULT_MODEL, MODELS, model_names, read_card
from detector.classifier import Classifier
from detector.errors import ModelError, NonFiniteError
from detector.preprocess import preprocess_pixels
from detector.schema import TASKS, NetworkInput
from tests.conftest import ROOT


@pytest.fixture
def network_input(composite_pixels):
    return preprocess_pixels(composite_pixels.astype(np.float32) / 255)


@pytest.fixture
def models(tmp_path):
    """A copy of the shipped models that a test may damage."""
    for path in MODELS.glob("*.*"):
        if path.suffix in {".keras", ".json"}:
            shutil.copy(path, tmp_path)
    return tmp_path


def test_one_pass_answers_both_tasks(classifier, network_input):
    before = classifier.forward_passes
    output = classifier(network_input)
    assert {name: logits.shape for name, logits in output.logits.items()} == {"binary": (1,), "three_class": (3,)}
    assert output.features.shape[2:] == output.pooled_features.shape
    assert classifier.forward_passes == before + 1


def test_average_of_the_features_is_what_the_dense_layers_read(classifier, network_input):
    output = classifier(network_input)
    np.testing.assert_allclose(output.features.mean(axis=(0, 1)), output.pooled_features, rtol=1e-4, atol=1e-5)


def test_same_input_gives_the_same_bits_from_eight_threads(classifier, network_input):
    answers = []

    def ask():
        answers.extend(classifier(network_input).logits["three_class"].tobytes() for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 40
    assert len(set(answers)) == 1


def test_an_answer_that_is_no_number_is_an_error_and_no_label(classifier, network_input):
    broken = NetworkInput(np.full_like(network_input.pixels, np.nan), network_input.geometry)
    with pytest.raises(NonFiniteError):
        classifier(broken)


@pytest.fixture
def several(network_input):
    """Eleven inputs: more than a batch, and no multiple of it."""
    shifts = [np.roll(network_input.pixels, 3 * i, axis=1) for i in range(11)]
    return np.stack(shifts)


def test_batch_answers_as_single_images_do(classifier, network_input, several):
    before = classifier.forward_passes
    outputs = classifier.run_batch(several)
    assert classifier.forward_passes == before + 11
    assert len(outputs) == 11
    for pixels, output in zip(several, outputs, strict=True):
        alone = classifier(NetworkInput(pixels, network_input.geometry))
        np.testing.assert_allclose(output.features, alone.features, atol=1e-4)
        for task in TASKS:
            np.testing.assert_allclose(output.logits[task.name], alone.logits[task.name], atol=1e-4)


def test_batch_does_not_depend_on_what_else_is_in_it(classifier, several):
    together, alone = classifier.run_batch(several), classifier.run_batch(several[:1])
    assert together[0].logits["three_class"].tobytes() == alone[0].logits["three_class"].tobytes()


def test_empty_batch_has_no_answers(classifier, several):
    assert classifier.run_batch(several[:0]) == []


def test_batch_of_another_shape_is_refused(classifier, several):
    with pytest.raises(ValueError, match=r"Received shape \(11, 160, 160\)"):
        classifier.run_batch(several[..., 0])


def test_batch_with_an_answer_that_is_no_number_is_an_error(classifier, several):
    several[4] = np.nan
    with pytest.raises(NonFiniteError):
        classifier.run_batch(several)


def test_weights_with_one_flipped_bit_are_refused(models):
    path = models / f"{DEFAULT_MODEL}.keras"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        Classifier.load(folder=models)


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\n"], ids=["empty", "pointer file"]
)
def test_weights_that_are_no_weights_are_refused(models, content):
    (models / f"{DEFAULT_MODEL}.keras").write_bytes(content)
    with pytest.raises(ModelError):
        Classifier.load(folder=models)


def test_missing_weights_are_refused(models):
    (models / f"{DEFAULT_MODEL}.keras").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        Classifier.load(folder=models)


def test_network_of_another_preprocessing_is_refused(models):
    path = models / f"{DEFAULT_MODEL}.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "preprocessing": "something-else-v0"}))
    with pytest.raises(ModelError, match="something-else-v0"):
        Classifier.load(folder=models)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"calibration": {}}'], ids=["empty", "list", "bare", "half"])
def test_card_that_lacks_an_entry_is_refused(tmp_path, text):
    path = tmp_path / "card.json"
    path.write_text(text)
    with pytest.raises(ModelError):
        read_card(path)


def test_card_survives_its_own_text(tmp_path):
    card = read_card(MODELS / f"{DEFAULT_MODEL}.json")
    path = tmp_path / "card.json"
    path.write_text(card.to_json())
    assert read_card(path) == card


def test_shipped_models_have_cards():
    assert DEFAULT_MODEL in model_names()


def test_shipped_network_is_as_useful_as_the_first_landing_asks(classifier):
    validation = classifier.card.performance["val"]
    assert validation["binary_auroc"]["value"] >= 0.93
    assert validation["three_class_macro_auroc"]["value"] >= 0.93


def test_shipped_card_is_fitted_for_every_task(classifier):
    calibration = classifier.card.calibration
    assert set(calibration.operating_points) == {"balanced", "sensitive", "specific"}
    for task in TASKS:
        assert calibration.temperatures[task.name] > 0
        assert classifier.card.saliency_scale[task.name] > 0


def test_passes_side_by_side_give_the_bits_of_one_alone(classifier, composite_pixels):
    inputs = [preprocess_pixels(np.roll(composite_pixels, shift, 1) / np.float32(255)) for shift in range(0, 160, 8)]
    alone = [classifier(network_input) for network_input in inputs]
    passes = classifier.forward_passes
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(classifier, inputs))
    assert classifier.forward_passes == passes + len(inputs)
    for one, other in zip(alone, together, strict=True):
        assert one.features.tobytes() == other.features.tobytes()
        assert all(one.logits[task.name].tobytes() == other.logits[task.name].tobytes() for task in TASKS)


def test_a_pass_stays_on_one_core():
    script = "import tensorflow as tf; from detector.classifier import Classifier; Classifier.load(); "
    script += "print(tf.config.threading.get_intra_op_parallelism_threads())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "1"
