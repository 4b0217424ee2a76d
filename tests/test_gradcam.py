"""Maps: one case by hand, and the proof that the closed form is Grad-CAM on the shipped network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from detector.gradcam import class_evidence, closed_form_cam, grad_cam, hires_cam
from detector.image_io import read_radiograph
from detector.network import FEATURE_LAYER
from detector.schema import BINARY, THREE_CLASS

BY_GRADIENT = {"Grad-CAM": grad_cam, "HiResCAM": hires_cam}


@pytest.fixture(scope="module")
def network_input(classifier, composite):
    return classifier.prepare(read_radiograph(composite).pixels)


@pytest.fixture
def hand_model():
    """Two channels, 2 x 2 cells: a 1 x 1 convolution, the average, one dense unit; all weights known."""
    image = keras.Input((2, 2, 1))
    features = keras.layers.Conv2D(2, 1, use_bias=False, name="target")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    model = keras.Model(image, keras.layers.Dense(1, name="logit")(pooled))
    model.get_layer("target").set_weights([np.array([[[[1.0, -2.0]]]], np.float32)])
    model.get_layer("logit").set_weights([np.array([[3.0], [0.5]], np.float32), np.array([0.25], np.float32)])
    return model


HAND_IMAGE = np.array([[1.0, 2.0], [-3.0, 4.0]], np.float32)[None, ..., None]
# Features of a pixel p are (p, -2p); the dense layer gives 3p - p = 2p; the gradient of the mean is a quarter of it.
HAND_CAM = np.array([[2.0, 4.0], [-6.0, 8.0]], np.float32)


def test_closed_form_of_the_hand_computed_case():
    features = np.stack([HAND_IMAGE[0, ..., 0], -2 * HAND_IMAGE[0, ..., 0]], axis=-1)
    cam = closed_form_cam(features, np.array([[3.0], [0.5]], np.float32))
    np.testing.assert_allclose(cam, HAND_CAM[None])
    assert cam.mean() + 0.25 == pytest.approx(2.25)  # the logit: 2 x mean(1, 2, -3, 4) + bias


@pytest.mark.parametrize("method", BY_GRADIENT.values(), ids=BY_GRADIENT)
def test_gradient_version_of_the_hand_computed_case(hand_model, method):
    cam = method(hand_model, HAND_IMAGE, target_layer="target", target=lambda y: y[:, 0], relu=False)
    np.testing.assert_allclose(cam, HAND_CAM[None] / 4, rtol=1e-6)


@pytest.mark.parametrize("method", BY_GRADIENT.values(), ids=BY_GRADIENT)
def test_relu_leaves_positive_evidence_alone(hand_model, method):
    cam = method(hand_model, HAND_IMAGE, target_layer="target", target=lambda y: y[:, 0])
    np.testing.assert_allclose(cam, np.maximum(HAND_CAM, 0)[None] / 4, rtol=1e-6)


@pytest.mark.parametrize("method", BY_GRADIENT.values(), ids=BY_GRADIENT)
@pytest.mark.parametrize("task", [BINARY, THREE_CLASS], ids=lambda task: task.name)
def test_closed_form_is_the_gradient_map_times_the_cells_on_the_shipped_network(
    classifier, network_input, method, task
):
    closed = closed_form_cam(classifier(network_input).features, classifier.kernels[task.name])
    cells = closed[0].size
    for index in range(task.logits):
        by_gradient = method(
            classifier.network,
            network_input.pixels[None],
            target_layer=FEATURE_LAYER,
            target=lambda y, index=index: y[task.name][:, index],
            relu=False,
        )[0]
        difference = np.abs(by_gradient * cells - closed[index]).max()
        assert difference <= 1e-5 * np.abs(closed[index]).max()


@pytest.mark.parametrize("task", [BINARY, THREE_CLASS], ids=lambda task: task.name)
def test_mean_of_the_map_plus_bias_is_the_logit(classifier, network_input, task):
    output = classifier(network_input)
    cams = closed_form_cam(output.features, classifier.kernels[task.name])
    bias = classifier.network.get_layer(task.name).get_weights()[1]
    np.testing.assert_allclose(cams.mean(axis=(1, 2)) + bias, output.logits[task.name], rtol=1e-4, atol=1e-4)


def test_gradient_works_on_an_earlier_layer_of_another_grid(classifier, network_input):
    pixels = network_input.pixels[None]
    cam = grad_cam(classifier.network, pixels, target_layer="unit04_add", target=lambda y: y["binary"][:, 0])
    assert cam.shape == (1, 20, 20)
    assert (cam >= 0).all()
    assert cam.max() > 0


def test_binary_evidence_against_is_the_negative_of_evidence_for():
    evidence = class_evidence(BINARY, np.array([[[1.0, -2.0]]]))
    np.testing.assert_array_equal(evidence, [[[1.0, -2.0]], [[-1.0, 2.0]]])


def test_three_class_evidence_does_not_change_with_what_all_classes_share():
    cams = np.array([[[1.0]], [[2.0]], [[6.0]]])
    np.testing.assert_allclose(class_evidence(THREE_CLASS, cams)[:, 0, 0], [-2, -1, 3])
    np.testing.assert_allclose(class_evidence(THREE_CLASS, cams + 100)[:, 0, 0], [-2, -1, 3])


def test_model_is_left_as_it_was_also_after_an_exception(hand_model):
    def fail(_outputs):
        raise RuntimeError("target")

    weights = [w.copy() for w in hand_model.get_weights()]
    trainable = [layer.trainable for layer in hand_model.layers]
    with pytest.raises(RuntimeError, match="target"):
        grad_cam(hand_model, HAND_IMAGE, target_layer="target", target=fail)
    for before, after in zip(weights, hand_model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert [layer.trainable for layer in hand_model.layers] == trainable


def test_target_layer_without_a_grid_is_refused(hand_model):
    with pytest.raises(ValueError, match="must give"):
        grad_cam(hand_model, HAND_IMAGE, target_layer="logit", target=lambda y: y[:, 0])


def test_target_that_does_not_depend_on_the_layer_is_refused(hand_model):
    with pytest.raises(ValueError, match="does not depend"):
        grad_cam(hand_model, HAND_IMAGE, target_layer="target", target=lambda _: tf.constant([1.0]))


@pytest.mark.parametrize(("features", "kernel"), [((2, 2), (2, 1)), ((2, 2, 3), (2, 1)), ((2, 2, 3), (3,))])
def test_closed_form_refuses_shapes_that_do_not_fit(features, kernel):
    with pytest.raises(ValueError, match="Received"):
        closed_form_cam(np.zeros(features), np.zeros(kernel))
