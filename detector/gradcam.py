"""Class activation maps: in closed form for the shipped network, by gradient for any Keras model.

A network that ends in global average pooling and one dense layer computes, for class k,
``logit_k = mean over cells of (features . W_k) + b_k``. The map ``features . W_k`` therefore is the logit, spread out
(CAM; Zhou et al. 2016, arXiv:1512.04150). Grad-CAM before its ReLU (Selvaraju et al. 2017, arXiv:1610.02391) and
HiResCAM (Draelos and Carin 2020, arXiv:2011.08891) give the same map divided by the number of cells; the tests
prove it with the gradient version below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detector.schema import BINARY, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras
    import tensorflow as tf


def closed_form_cam(features: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Spread each logit out over the cells that it comes from.

    Args:
        features: (h, w, C) float, the feature map that is averaged.
        kernel: (C, logits) of the dense layer behind the average.

    Returns:
        (logits, h, w): the mean of each map over its cells, plus the bias, is the logit.

    Raises:
        ValueError: if the shapes don't fit.
    """
    if features.ndim != 3 or kernel.ndim != 2 or features.shape[2] != kernel.shape[0]:
        msg = f"features must be (h, w, C), kernel (C, logits). Received {features.shape} and {kernel.shape}."
        raise ValueError(msg)
    return np.moveaxis(features @ kernel, -1, 0)


def class_evidence(task: Task, cams: np.ndarray) -> np.ndarray:
    """Turn a map per logit into signed evidence per class.

    A softmax is unchanged when all logits grow alike, so a single class's map is arbitrary up to a map that all
    classes share; the class minus the mean of the classes is not, and neither is the difference of two classes.
    The binary logit is the log-odds of COVID-19: its map speaks for COVID-19, its negative against it.

    Args:
        task: whose maps.
        cams: (task.logits, h, w) in logit units.

    Returns:
        (classes, h, w) float32 in the order of the task's classes; positive speaks for the class.
    """
    if task is BINARY:
        return np.concatenate([cams, -cams]).astype(np.float32)
    return (cams - cams.mean(axis=0, keepdims=True)).astype(np.float32)


def grad_cam(
    model: keras.Model,
    inputs: np.ndarray,
    *,
    target_layer: str,
    target: Callable[[object], tf.Tensor],
    relu: bool = True,
) -> np.ndarray:
    """Grad-CAM: channels weighted by the spatial mean of their gradient.

    Args:
        model: any functional model; it is left as it was.
        inputs: (N, …) as the model takes them.
        target_layer: name of a layer with a 4-D output (N, h, w, C).
        target: takes the model's outputs and gives the (N,) scores to explain, e.g. ``lambda y: y["binary"][:, 0]``.
        relu: keep positive evidence only, as the paper does.

    Returns:
        (N, h, w) float32, on the layer's grid, unscaled.

    Raises:
        ValueError: if there is no such layer, its output is not 4-D, or the target does not depend on it.
    """
    activations, gradients = _activations_and_gradients(model, inputs, target_layer, target)
    weights = gradients.mean(axis=(1, 2), keepdims=True)  # equation 1 of the paper
    return _finish(weights * activations, relu=relu)


def hires_cam(
    model: keras.Model,
    inputs: np.ndarray,
    *,
    target_layer: str,
    target: Callable[[object], tf.Tensor],
    relu: bool = True,
) -> np.ndarray:
    """HiResCAM: each activation weighted by its own gradient; arguments, result and errors as `grad_cam`."""
    activations, gradients = _activations_and_gradients(model, inputs, target_layer, target)
    return _finish(gradients * activations, relu=relu)


def _finish(contributions: np.ndarray, *, relu: bool) -> np.ndarray:
    cam = contributions.sum(axis=-1)
    return np.maximum(cam, 0) if relu else cam


def _activations_and_gradients(
    model: keras.Model, inputs: np.ndarray, target_layer: str, target: Callable[[object], tf.Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """One forward and one backward pass through a second view of the same layers."""
    # Imported here, so that the closed form, which is all that the app needs, comes without TensorFlow.
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    layer = model.get_layer(target_layer)
    if len(layer.output.shape) != 4:
        msg = f"target_layer must give (N, h, w, C). {target_layer!r} gives {layer.output.shape}."
        raise ValueError(msg)
    view = keras.Model(model.input, [layer.output, model.outputs])
    with tf.GradientTape() as tape:
        activations, flat = view(tf.convert_to_tensor(inputs), training=False)
        tape.watch(activations)
        score = target(keras.tree.pack_sequence_as(model.output, list(flat)))
    gradients = tape.gradient(score, activations)
    if gradients is None:
        msg = f"The target does not depend on {target_layer!r}."
        raise ValueError(msg)
    return activations.numpy(), gradients.numpy()
