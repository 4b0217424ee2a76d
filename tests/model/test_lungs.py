"""Lung fields: size of the network, and what is checked before its file is believed."""

import hashlib
import json

import keras
import numpy as np
import pytest

from detector.errors import ModelError
from detector.model.lungs import LungFields
from detector.model.network import build_lung_network
from detector.schema import Geometry, NetworkInput
from detector.training.fit.convert import convert

PREPROCESSING = "made-up-v1"


@pytest.fixture(scope="module")
def network():
    """A lung network on a small input; its layers are those of the large one."""
    keras.utils.set_random_seed(3)
    return build_lung_network(32)


@pytest.fixture
def folder(network, tmp_path):
    """A folder with ``lungs.keras``, ``lungs.tflite`` and the card that describes them."""
    path = tmp_path / "lungs.keras"
    network.save(path)
    entry = convert(tmp_path, "lungs")
    write_card(tmp_path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), tflite=entry)
    return tmp_path


def write_card(folder, **changes):
    path = folder / "lungs.json"
    card = json.loads(path.read_text()) if path.exists() else {"preprocessing": PREPROCESSING}
    path.write_text(json.dumps({**card, **changes}))


class TestBuildLungNetwork:
    def test_it_has_fewer_than_a_million_weights(self):
        assert build_lung_network(160).count_params() < 1e6

    def test_one_logit_a_pixel_of_the_input(self, network):
        assert network.output_shape == network.input_shape == (None, 32, 32, 1)


class TestLoad:
    def test_the_loaded_network_is_true_where_the_logit_is_positive(self, folder, network):
        pixels = np.random.default_rng(0).normal(size=(32, 32, 1)).astype(np.float32)
        logits = np.asarray(network(pixels[np.newaxis]))[0, ..., 0]
        assert logits.min() < 0 < logits.max()  # else the comparison below would be empty
        geometry = Geometry(rows=32, columns=32, top=0, left=0, height=32, width=32, size=32)
        field = LungFields.load(folder, PREPROCESSING)(NetworkInput(pixels, geometry, np.zeros((32, 32), bool)))
        assert field.dtype == bool
        assert field.shape == (32, 32)
        certain = np.abs(logits) > 1e-5
        np.testing.assert_array_equal(field[certain], logits[certain] > 0)

    @pytest.mark.parametrize("name", ["lungs.keras", "lungs.tflite", "lungs.json"])
    def test_a_missing_file_is_refused(self, folder, name):
        (folder / name).unlink()
        with pytest.raises(ModelError, match="cannot be read"):
            LungFields.load(folder, PREPROCESSING)

    @pytest.mark.parametrize("name", ["lungs.keras", "lungs.tflite"])
    def test_bytes_of_another_hash_are_refused(self, folder, name):
        path = folder / name
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(ModelError, match="not those of the card"):
            LungFields.load(folder, PREPROCESSING)

    def test_another_preprocessing_is_refused_and_both_are_named(self, folder):
        with pytest.raises(ModelError, match=r"'made-up-v1'.*'made-up-v2'"):
            LungFields.load(folder, "made-up-v2")

    @pytest.mark.parametrize("text", ["{", "[]", "null"], ids=["torn", "list", "null"])
    def test_a_card_that_is_no_object_is_refused(self, folder, text):
        (folder / "lungs.json").write_text(text)
        with pytest.raises(ModelError):
            LungFields.load(folder, PREPROCESSING)

    def test_bytes_that_are_no_network_are_refused_whatever_their_card_says(self, folder):
        (folder / "lungs.tflite").write_bytes(b"no network")
        card = json.loads((folder / "lungs.json").read_text())
        write_card(folder, tflite={**card["tflite"], "sha256": hashlib.sha256(b"no network").hexdigest()})
        with pytest.raises(ModelError, match="LiteRT cannot run"):
            LungFields.load(folder, PREPROCESSING)
