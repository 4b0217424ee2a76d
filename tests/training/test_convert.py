"""The flatbuffer that serves is the network that was trained, to 1e-4 in logits and in every decision."""

import hashlib

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from detector.answers.answer import decide_all
from detector.answers.pipeline import analyse_radiograph
from detector.errors import ModelError
from detector.model.card import DEFAULT_MODEL, LUNG_MODEL, read_card
from detector.model.engine import Engine
from detector.model.flatbuffer import PASSES_AT_ONCE, Flatbuffer
from detector.model.lungs import LungFields
from detector.model.network import load_network
from detector.paths import MODELS
from detector.read.image_io import read_radiograph
from detector.schema import TASKS
from detector.training.data.manifest import read_manifest
from detector.training.fit.convert import classifier_outputs, convert, flatbuffer, lung_outputs
from detector.training.measure.evaluate import answer_all
from tests.conftest import COMPOSITES, encode

ATOL = 1e-4  # of logits


def with_tensorflow(outputs):
    """What `Flatbuffer` does, by TensorFlow."""
    run = tf.function(outputs, autograph=False)
    return lambda image: {name: tensor.numpy() for name, tensor in run(tf.constant(image[np.newaxis])).items()}


@pytest.fixture(scope="module")
def tensorflow_engine(engine):
    """The shipped networks as TensorFlow runs them; all else is the engine's own."""
    path = MODELS / f"{LUNG_MODEL}.keras"
    lungs = load_network(path, hashlib.sha256(path.read_bytes()).hexdigest())
    lung_fields = LungFields(with_tensorflow(lung_outputs(lungs)))
    run = with_tensorflow(classifier_outputs(engine.network))
    return Engine(run, engine.card, lung_fields, engine.gate, weights=MODELS)


def made_up():
    """Composites as they are, and changed: other sides, exposures, noise, blank strips."""
    rng = np.random.default_rng(0)
    for path in sorted(COMPOSITES.glob("*.png")):
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        yield picture
        yield cv2.resize(picture, (700, 900), interpolation=cv2.INTER_CUBIC)
        yield (255 * (picture / 255) ** 1.6).astype(np.uint8)
        yield np.clip(picture + rng.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
        yield np.pad(picture, ((40, 0), (60, 20)))
        yield np.roll(picture, 30, axis=1)


def decisions(engine, logits):
    """Of images' logits, task name to (N, logits): every task at every operating point."""
    calibration = engine.card.calibration
    decided = [decide_all(logits, calibration, point) for point in calibration.operating_points]
    return [tasks[task.name].decision.tolist() for tasks in decided for task in TASKS]


def test_both_engines_answer_alike(engine, tensorflow_engine):
    radiographs = [read_radiograph(encode(picture)) for picture in made_up()]
    for radiograph in radiographs:
        ours, theirs = (analyse_radiograph(radiograph, one, force=True) for one in (engine, tensorflow_engine))
        one, other = ({name: values[np.newaxis] for name, values in a.logits.items()} for a in (ours, theirs))
        assert decisions(engine, one) == decisions(engine, other)
        assert ours.warnings == theirs.warnings
        assert ours.geometry == theirs.geometry
        for task in TASKS:
            np.testing.assert_allclose(ours.logits[task.name], theirs.logits[task.name], atol=ATOL)
            scale = engine.card.saliency_scale[task.name]
            np.testing.assert_allclose(ours.cams[task.name], theirs.cams[task.name], atol=1e-4 * scale)


def test_both_engines_answer_the_validation_split_alike(engine, tensorflow_engine, cxr_data):
    examples = read_manifest(cxr_data / "manifest.csv", split="val")
    ours, theirs = (answer_all(examples, cxr_data, one) for one in (engine, tensorflow_engine))
    for task in TASKS:
        np.testing.assert_allclose(ours.logits[task.name], theirs.logits[task.name], atol=ATOL)
    assert decisions(engine, ours.logits) == decisions(engine, theirs.logits)


def test_the_shipped_flatbuffers_are_of_the_shipped_weights(tmp_path):
    for name in (DEFAULT_MODEL, LUNG_MODEL):
        (tmp_path / f"{name}.keras").write_bytes((MODELS / f"{name}.keras").read_bytes())
    card = read_card(MODELS / f"{DEFAULT_MODEL}.json")
    assert convert(tmp_path, LUNG_MODEL)["weights"] == hashlib.sha256((MODELS / "lungs.keras").read_bytes()).hexdigest()
    assert card.tflite["weights"] == card.sha256


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"detector\.keras cannot be read"):
        convert(tmp_path, DEFAULT_MODEL)


class TestFlatbuffer:
    """A function of one image, converted and held to what it was."""

    @staticmethod
    def double(image):
        return {"doubled": 2 * image}

    def test_it_answers_as_the_function_did(self):
        served = Flatbuffer(flatbuffer(self.double, (2, 3)))
        image = np.arange(6, dtype=np.float32).reshape(2, 3)
        np.testing.assert_array_equal(served(image)["doubled"], 2 * image[np.newaxis])

    def test_one_function_is_one_file(self):
        assert flatbuffer(self.double, (2, 3)) == flatbuffer(self.double, (2, 3))

    def test_a_network_whose_weights_are_not_constants_is_refused(self):
        network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        with pytest.raises(ModelError):  # what the converter makes of it answers NaN
            flatbuffer(lambda image: {"answer": network(image)}, (4,))

    def test_an_answer_that_is_no_number_is_refused(self):
        with pytest.raises(ModelError, match="'root'"):
            flatbuffer(lambda image: {"root": tf.sqrt(image - 2)}, (4,))

    def test_no_more_interpreters_are_made_than_there_are_cores(self):
        served = Flatbuffer(flatbuffer(self.double, (2, 3)))
        assert served._idle.qsize() == PASSES_AT_ONCE

    @pytest.mark.parametrize("shape", [(3, 2), (2, 3, 1), (6,)], ids=str)
    def test_an_image_of_another_shape_is_refused_and_no_interpreter_is_lost(self, shape):
        served = Flatbuffer(flatbuffer(self.double, (2, 3)))
        for _ in range(PASSES_AT_ONCE + 1):
            with pytest.raises(ValueError, match=r"[Dd]imension|shape"):
                served(np.zeros(shape, np.float32))
        image = np.ones((2, 3), np.float32)
        np.testing.assert_array_equal(served(image)["doubled"], 2 * image[np.newaxis])
