"""Maps: one case by hand, and the proof that the closed form is Grad-CAM on the shipped network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from detector.model.gradcam import class_evidence, closed_form_cam, contrast, grad_cam, grad_cam_plus_plus, hires_cam
from detector.model.network import FEATURE_LAYER
from detector.read.image_io import read_radiograph
from detector.schema import BINARY, THREE_CLASS

BY_GRADIENT = {"Grad-CAM": grad_cam, "HiResCAM": hires_cam}
EVERY = BY_GRADIENT | {"Grad-CAM++": grad_cam_plus_plus}


@pytest.fixture(scope="module")
def network_input(engine, composite):
    return engine.prepare(read_radiograph(composite).pixels)


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
def test_closed_form_is_the_gradient_map_times_the_cells_on_the_shipped_network(engine, network_input, method, task):
    closed = closed_form_cam(engine(network_input).features, engine.kernels[task.name])
    cells = closed[0].size
    for index in range(task.logits):
        by_gradient = method(
            engine.network,
            network_input.pixels[None],
            target_layer=FEATURE_LAYER,
            target=lambda y, index=index: y[task.name][:, index],
            relu=False,
        )[0]
        difference = np.abs(by_gradient * cells - closed[index]).max()
        assert difference <= 1e-5 * np.abs(closed[index]).max()


@pytest.mark.parametrize("task", [BINARY, THREE_CLASS], ids=lambda task: task.name)
def test_mean_of_the_map_plus_bias_is_the_logit(engine, network_input, task):
    output = engine(network_input)
    cams = closed_form_cam(output.features, engine.kernels[task.name])
    bias = engine.network.get_layer(task.name).get_weights()[1]
    np.testing.assert_allclose(cams.mean(axis=(1, 2)) + bias, output.logits[task.name], rtol=1e-4, atol=1e-4)


def test_gradient_works_on_an_earlier_layer_of_another_grid(engine, network_input):
    pixels = network_input.pixels[None]
    cam = grad_cam(engine.network, pixels, target_layer="unit04_add", target=lambda y: y["binary"][:, 0])
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


@pytest.fixture
def uneven_model():
    """Two ReLU channels on 1 x 2 cells, read cell by cell: gradients differ between cells, and between methods."""
    image = keras.Input((1, 2, 2))
    features = keras.layers.Activation("relu", name="target")(image)
    score = keras.layers.Dense(1, use_bias=False, name="score")(keras.layers.Flatten()(features))
    model = keras.Model(image, score)
    model.get_layer("score").set_weights([np.array([[2.0], [-1.0], [4.0], [1.0]], np.float32)])
    return model


UNEVEN_IMAGE = np.array([[[[1.0, 3.0], [2.0, -5.0]]]], np.float32)  # cells (1, 3) and (2, 0 after the ReLU)
UNEVEN_MAPS = {
    # Mean gradients: channel 0 (2 + 4) / 2 = 3, channel 1 (-1 + 1) / 2 = 0.
    "Grad-CAM": [3 * 1 + 0 * 3, 3 * 2 + 0 * 0],
    # Each activation times its own gradient.
    "HiResCAM": [2 * 1 - 1 * 3, 4 * 2 + 1 * 0],
    # Sums of the channels: 3 and 3. alpha = g^2 / (2 g^2 + sum g^3): channel 0 4/32 and 16/224, channel 1 (where the
    # gradient is positive) 1/5. Weights: 4/32 * 2 + 16/224 * 4 = 15/28 and 1/5.
    "Grad-CAM++": [15 / 28 * 1 + 1 / 5 * 3, 15 / 28 * 2 + 1 / 5 * 0],
}


@pytest.mark.parametrize("name", EVERY)
def test_uneven_gradients_tell_the_methods_apart(uneven_model, name):
    cam = EVERY[name](uneven_model, UNEVEN_IMAGE, target_layer="target", target=lambda y: y[:, 0], relu=False)
    np.testing.assert_allclose(cam[0, 0], UNEVEN_MAPS[name], rtol=1e-6)
    assert cam.dtype == np.float32


@pytest.mark.parametrize("name", EVERY)
def test_no_gradient_gives_zeros_and_not_nan(uneven_model, name):
    cam = EVERY[name](uneven_model, UNEVEN_IMAGE, target_layer="target", target=lambda y: 0 * y[:, 0])
    np.testing.assert_array_equal(cam, np.zeros((1, 1, 2)))


def test_images_of_a_batch_are_explained_apart(uneven_model):
    cam = grad_cam_plus_plus(
        uneven_model, np.concatenate([0 * UNEVEN_IMAGE, UNEVEN_IMAGE]), target_layer="target", target=lambda y: y[:, 0]
    )
    np.testing.assert_allclose(cam[:, 0], [[0, 0], UNEVEN_MAPS["Grad-CAM++"]], rtol=1e-6)


def test_contrast_of_the_shipped_network_is_the_log_odds_of_two_classes(engine, composite):
    output = engine(engine.prepare(read_radiograph(composite).pixels))
    cams = closed_form_cam(output.features, engine.kernels["three_class"])
    bias = engine.network.get_layer("three_class").get_weights()[1]
    between = contrast(cams, 2, 1)
    logits = output.logits["three_class"]
    assert between.mean() + bias[2] - bias[1] == pytest.approx(logits[2] - logits[1], rel=1e-4, abs=1e-4)


def test_contrast_does_not_change_with_what_all_classes_share():
    rng = np.random.default_rng(0)
    cams, shared = rng.normal(size=(3, 4, 4)), rng.normal(size=(4, 4))
    np.testing.assert_allclose(contrast(cams + shared, 0, 2), contrast(cams, 0, 2))
    np.testing.assert_allclose(contrast(class_evidence(THREE_CLASS, cams), 0, 2), contrast(cams, 0, 2), atol=1e-6)
    np.testing.assert_array_equal(contrast(cams, 0, 2), -contrast(cams, 2, 0))


def test_contrast_refuses_a_single_map():
    with pytest.raises(ValueError, match=r"\(classes, h, w\)\. Received shape \(4, 4\)"):
        contrast(np.zeros((4, 4)), 0, 1)


def state_of(model):
    """Everything about a model that an explanation must not change."""
    layers = [(layer.name, layer.trainable, layer.get_config()) for layer in model.layers]
    return repr(layers), [w.copy() for w in model.get_weights()], len(model.trainable_weights)


def fail(_outputs):
    raise RuntimeError("target")


@pytest.mark.parametrize("trainable", [True, False], ids=["trainable", "frozen"])
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("target", [lambda y: y[:, 0], fail], ids=["done", "after an exception"])
def test_model_is_left_as_it_was(uneven_model, name, target, trainable):
    uneven_model.get_layer("score").trainable = trainable
    before, answer = state_of(uneven_model), np.asarray(uneven_model(UNEVEN_IMAGE))
    try:
        cam = EVERY[name](uneven_model, UNEVEN_IMAGE, target_layer="target", target=target)
    except RuntimeError:
        assert target is fail
    else:
        assert cam.any()
    after = state_of(uneven_model)
    assert after[0] == before[0]
    assert after[2] == before[2]
    for one, other in zip(before[1], after[1], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.asarray(uneven_model(UNEVEN_IMAGE)), answer)


def test_statistics_of_a_batch_normalisation_are_left_as_they_were():
    image = keras.Input((4, 4, 1))
    features = keras.layers.BatchNormalization(name="target")(image)
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(features))
    before = [w.copy() for w in model.get_weights()]
    grad_cam(model, np.full((3, 4, 4, 1), 7, np.float32), target_layer="target", target=lambda y: y[:, 0])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_sequential_models_and_several_inputs_are_explained():
    sequential = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Conv2D(1, 1, name="target")])
    image = np.ones((1, 2, 2, 1), np.float32)
    assert grad_cam(sequential, image, target_layer="target", target=lambda y: y[:, 0, 0, 0]).shape == (1, 2, 2)
    inputs = [keras.Input((2, 2, 1)), keras.Input((2, 2, 1))]
    both = keras.Model(inputs, keras.layers.Add(name="target")(inputs))
    cam = hires_cam(both, [image, 2 * image], target_layer="target", target=lambda y: keras.ops.sum(y, axis=(1, 2, 3)))
    np.testing.assert_array_equal(cam, np.full((1, 2, 2), 3))


def test_of_a_layer_that_is_called_twice_the_first_call_is_explained():
    image, layer = keras.Input((2, 2, 1)), keras.layers.ReLU(negative_slope=0.5, name="twice")
    model = keras.Model(image, layer(layer(image)))
    cam = hires_cam(
        model, HAND_IMAGE, target_layer="twice", target=lambda y: keras.ops.sum(y, axis=(1, 2, 3)), relu=False
    )
    np.testing.assert_allclose(cam[0], [[1, 2], [-0.75, 4]])  # -3 halved is -1.5, and its gradient is a half


def test_layer_that_is_not_there_is_refused(hand_model):
    with pytest.raises(ValueError, match="no_such_layer"):
        grad_cam(hand_model, HAND_IMAGE, target_layer="no_such_layer", target=lambda y: y[:, 0])


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
