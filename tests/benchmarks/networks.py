"""What we compare with. Each builder returns a function without arguments that does one unit of the work."""

import dataclasses
import itertools
import threading

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from detector.model.card import LUNG_MODEL, MODELS, read_card
from detector.model.network import FEATURE_LAYER, LITE0_STAGES, build_network, load_network
from detector.training.fit import architectures

SIDE = 224
_ORIGINAL_STRIDES = {5: 2}  # stage to stride: where ours keeps the grid, EfficientNet-Lite0 halves it
_ORIGINAL_WIDTH = 32
_BATCH = 32


def _noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def _compiled(model, shape):
    return tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec(shape, tf.float32))


def bare_forward():
    """One compiled forward pass of EfficientNet-Lite0 at 224 pixels, and nothing else."""
    stages = [
        dataclasses.replace(stage, stride=_ORIGINAL_STRIDES.get(place, stage.stride))
        for place, stage in enumerate(LITE0_STAGES)
    ]
    run = _compiled(build_network(input_size=SIDE, stages=stages, feature_channels=1280), (1, SIDE, SIDE, 1))
    image = tf.constant(_noise(1, SIDE, SIDE, 1))
    return lambda: tf.nest.map_structure(lambda tensor: tensor.numpy(), run(image))


def usual_way():
    """DenseNet121 at 224 pixels: model.predict, then an eager gradient tape through a view that is built once."""
    model = keras.applications.DenseNet121(weights=None, input_shape=(SIDE, SIDE, 3), classes=2)
    view = keras.Model(model.input, [model.get_layer("relu").output, model.output])
    image = _noise(1, SIDE, SIDE, 3)

    def explain():
        model.predict(image, verbose=0)
        return _eager_grad_cam(view, image)

    return explain


def original_way():
    """Three units at 224 pixels: model.predict, then for each image a new gradient model and an eager tape."""
    return _original_way(_three_units(), "last")


def original_way_pooled():
    """The same with a lighter network, whose grid is halved after each unit while its width doubles."""
    return _original_way(architectures.build("original", input_size=SIDE), FEATURE_LAYER)


def _original_way(model, target_layer):
    image = _noise(1, *model.input_shape[1:])

    def explain():
        model.predict(image, verbose=0)
        view = keras.Model(model.input, [model.get_layer(target_layer).output, model.outputs[0]])
        return _eager_grad_cam(view, image)

    return explain


def _three_units():
    """Three times convolution, depthwise convolution, convolution, all at full resolution.

    The original's text gives neither widths nor strides. This is the simplest network of its kind that meets what was
    measured of it: two to three times slower to train than EfficientNet-Lite0, and for an image explained the
    original's way 16 times the bare pass of EfficientNet-Lite0.
    """
    x = image = keras.Input((SIDE, SIDE, 3))
    shared = {"padding": "same", "use_bias": False}
    for _ in range(3):
        x = _normalised(layers.Conv2D(_ORIGINAL_WIDTH, 3, **shared)(x))
        x = _normalised(layers.DepthwiseConv2D(3, **shared)(x))
        x = _normalised(layers.Conv2D(_ORIGINAL_WIDTH, 3, **shared)(x))
    x = layers.Activation("linear", name="last")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(2, activation="softmax")(x))


def _normalised(x):
    return layers.ReLU()(layers.BatchNormalization()(x))


def _eager_grad_cam(view, image):
    with tf.GradientTape() as tape:
        activations, probabilities = view(tf.convert_to_tensor(image), training=False)
        score = probabilities[:, 0]
    weights = tf.reduce_mean(tape.gradient(score, activations), axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * activations, axis=-1)).numpy()


def networks_in_batches(*, threads=1):
    """Both shipped networks over ready inputs in batches of 32, nothing read, nothing written.

    Args:
        threads: how many call at once, each with batches of its own.
    """
    card = read_card(MODELS / "detector.json")
    shape = (_BATCH, card.input_size, card.input_size, 1)
    lungs = load_network(MODELS / f"{LUNG_MODEL}.keras", _sha256_of_lungs())
    runs = [_compiled(load_network(MODELS / "detector.keras", card.sha256), shape)]
    runs.append(_compiled(lungs, (_BATCH, *lungs.input_shape[1:])))
    images = [tf.constant(_noise(_BATCH, *run.structured_input_signature[0][0].shape[1:])) for run in runs]

    def share(parts):
        for _, (run, image) in itertools.product(range(parts), zip(runs, images, strict=True)):
            tf.nest.map_structure(lambda tensor: tensor.numpy(), run(image))

    def work():
        workers = [threading.Thread(target=share, args=(BATCHED_IMAGES // _BATCH // threads,)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return work


BATCHED_IMAGES = 256


def _sha256_of_lungs():
    import json

    return json.loads((MODELS / f"{LUNG_MODEL}.json").read_text())["sha256"]
