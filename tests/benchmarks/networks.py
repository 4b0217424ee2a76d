"""What we compare with. Each builder returns a function without arguments that does one unit of the work."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from detector.model.card import DEFAULT_MODEL, LUNG_MODEL, MODELS, load_card
from detector.model.flatbuffer import FLATBUFFER, load_flatbuffer

SIDE = 224
_ORIGINAL_STRIDES = {5: 2}  # stage to stride: where ours keeps the grid, EfficientNet-Lite0 halves it
_ORIGINAL_WIDTH = 32
FOLDER = 256  # images


def _noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def bare_forward():
    """One pass of EfficientNet-Lite0 at 224 pixels by LiteRT on one thread, and nothing else."""
    from detector.model.network import LITE0_STAGES, build_network

    stages = [
        dataclasses.replace(stage, stride=_ORIGINAL_STRIDES.get(place, stage.stride))
        for place, stage in enumerate(LITE0_STAGES)
    ]
    return _logits_of(build_network(input_size=SIDE, stages=stages, feature_channels=1280))


def logits_alone():
    """One pass of the shipped network that gives its logits and nothing else."""
    from detector.model.engine import Engine

    return _logits_of(Engine.load().network)


def _logits_of(network):
    from detector.model.flatbuffer import Flatbuffer
    from detector.training.fit.convert import constant, flatbuffer

    shape = network.input_shape[1:]
    run, image = Flatbuffer(flatbuffer(constant(network), shape)), _noise(*shape)
    return lambda: run(image)


def usual_way():
    """DenseNet121 at 224 pixels: model.predict, then an eager gradient tape through a view that is built once."""
    import keras

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
    from detector.model.network import FEATURE_LAYER
    from detector.training.fit import architectures

    return _original_way(architectures.build("original", input_size=SIDE), FEATURE_LAYER)


def _original_way(model, target_layer):
    import keras

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
    import keras
    from keras import layers

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
    from keras import layers

    return layers.ReLU()(layers.BatchNormalization()(x))


def _eager_grad_cam(view, image):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        activations, probabilities = view(tf.convert_to_tensor(image), training=False)
        score = probabilities[:, 0]
    weights = tf.reduce_mean(tape.gradient(score, activations), axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * activations, axis=-1)).numpy()


def networks_on_all_cores():
    """Both shipped networks over ready inputs, a thread a core, nothing read, nothing written."""
    runs = []
    for name in (LUNG_MODEL, DEFAULT_MODEL):
        card = load_card(MODELS / f"{name}.json")
        runs.append(load_flatbuffer(MODELS / f"{name}{FLATBUFFER}", card["tflite"], weights=card["sha256"]))
    image = _noise(160, 160, 1)
    pool = ThreadPoolExecutor(os.cpu_count())

    def one(_):
        for run in runs:
            run(image)

    return lambda: list(pool.map(one, range(FOLDER)))
