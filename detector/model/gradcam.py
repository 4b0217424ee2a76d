"""Class activation maps: in closed form for the shipped network, by gradient for any Keras model.

A network that ends in global average pooling and one dense layer computes, for class k,
``logit_k = mean over cells of (features . W_k) + b_k``. So the map ``features . W_k`` is the logit, spread out
(CAM; Zhou et al. 2016, arXiv:1512.04150). Grad-CAM before its ReLU (Selvaraju et al. 2017, arXiv:1610.02391) and
HiResCAM (Draelos and Carin 2020, arXiv:2011.08891) give the same map divided by the number of cells; the tests
prove it with the gradient version below. Grad-CAM++ (Chattopadhay et al. 2018, arXiv:1710.11063) does not.

The gradient versions work on any layer with a grid as output, of any functional model. They change nothing in the
model, and import TensorFlow when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detector.schema import BINARY, TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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

    A softmax is unchanged when all logits grow by the same amount, so a single class's map is arbitrary up to a map
    that all classes share; the class minus the mean of the classes is not, and neither is the difference of two
    classes. The binary logit is the log-odds of COVID-19: its map is evidence for COVID-19, its negative evidence
    against it.

    Args:
        task: whose maps.
        cams: (task.logits, h, w) in logit units.

    Returns:
        (classes, h, w) float32 in the order of the task's classes; positive values are evidence for the class.
    """
    if task is BINARY:
        return np.concatenate([cams, -cams]).astype(np.float32)
    centred: np.ndarray = cams - cams.mean(axis=0, keepdims=True)
    return centred.astype(np.float32)


def evidence_maps(features: np.ndarray, kernels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Maps of every class of every task from one forward pass.

    Args:
        features: (h, w, C) float, the feature map that is averaged.
        kernels: task name to (C, logits).

    Returns:
        Task name to (classes, h, w) float32, as `class_evidence` gives them.
    """
    return {t.name: class_evidence(t, closed_form_cam(features, kernels[t.name])) for t in TASKS}


def contrast(cams: np.ndarray, a: int, b: int) -> np.ndarray:
    """Contrastive map: evidence for one class rather than another, e.g. COVID-19 rather than bacterial pneumonia.

    For a head that is linear in the averaged features it is the difference of the two classes' maps, and its spatial
    mean is the difference of their logits less that of their biases: the log-odds of the two. Unlike a single class's
    map it is well defined under a softmax: a map added to every class's map changes each of them but no difference. It
    is the same for the logits' maps and for those that `class_evidence` makes from them.

    Args:
        cams: (classes, h, w) in logit units, of a task with a logit for every class. The binary task has one logit,
            the log-odds; its map already is the contrast of its two classes.
        a: index of the class that positive values are evidence for.
        b: index of the class that they are evidence against.

    Returns:
        (h, w) in logit units; swapping `a` and `b` changes its sign.

    Raises:
        ValueError: if the maps are not (classes, h, w).
        IndexError: if there is no such class.
    """
    if cams.ndim != 3:
        msg = f"cams must be (classes, h, w). Received shape {cams.shape}."
        raise ValueError(msg)
    difference: np.ndarray = cams[a] - cams[b]
    return difference


def grad_cam(
    model: keras.Model,
    inputs: Any,
    *,
    target_layer: str,
    target: Callable[[Any], tf.Tensor],
    relu: bool = True,
) -> np.ndarray:
    """Grad-CAM: channels weighted by the spatial mean of their gradient (Selvaraju et al. 2017, arXiv:1610.02391).

    Args:
        model: any functional (or built Sequential) model; it is left as it was.
        inputs: (N, …) floats as the model takes them; a list or dict of them if it takes several.
        target_layer: name of a layer of the model with a 4-D output (N, h, w, C); if the layer is called several
            times, its first call.
        target: takes the model's outputs and gives the (N,) scores to explain, e.g. ``lambda y: y["binary"][:, 0]``.
            Use scores before a softmax: after it, one class's gradient contains the other classes' too.
        relu: keep positive evidence only, as the paper does.

    Returns:
        (N, h, w) float32, on the layer's grid, unscaled.

    Raises:
        ValueError: if there is no such layer, its output is not 4-D or not single, or the target does not depend on it.
    """
    activations, gradients = _activations_and_gradients(model, inputs, target_layer, target)
    weights = gradients.mean(axis=(1, 2), keepdims=True)  # equation 1 of the paper
    return _finish(weights * activations, relu=relu)


def grad_cam_plus_plus(
    model: keras.Model,
    inputs: Any,
    *,
    target_layer: str,
    target: Callable[[Any], tf.Tensor],
    relu: bool = True,
) -> np.ndarray:
    """Grad-CAM++ (Chattopadhay et al. 2018, arXiv:1710.11063); arguments, result and errors as for `grad_cam`.

    Channels are weighted by their positive gradients, and each cell's gradient by a closed form of the second and third
    derivative (equation 19) that holds for the exponential of a score that is piecewise linear in the activations. The
    factor exp(score), which all weights of an image share, is left out: it only scales the map and can overflow.
    Weights are 0 or more, so `relu` matters only where activations can be negative, and evidence against does not show.
    """
    activations, gradients = _activations_and_gradients(model, inputs, target_layer, target)
    sums = activations.sum(axis=(1, 2), keepdims=True)
    denominator = 2 * gradients**2 + sums * gradients**3
    denominator[denominator == 0] = np.inf  # a gradient of 0 weighs nothing, not 0/0
    weights = (gradients**2 / denominator * np.maximum(gradients, 0)).sum(axis=(1, 2), keepdims=True)
    return _finish(weights * activations, relu=relu)


def hires_cam(
    model: keras.Model,
    inputs: Any,
    *,
    target_layer: str,
    target: Callable[[Any], tf.Tensor],
    relu: bool = True,
) -> np.ndarray:
    """HiResCAM (Draelos and Carin 2020, arXiv:2011.08891); arguments, result and errors as for `grad_cam`.

    Each activation is weighted by its own gradient. So for a score that is linear in the layer (or piecewise linear,
    without biases) the map's sum is the score, which is not always true of Grad-CAM.
    """
    activations, gradients = _activations_and_gradients(model, inputs, target_layer, target)
    return _finish(gradients * activations, relu=relu)


def _finish(contributions: np.ndarray, *, relu: bool) -> np.ndarray:
    cam: np.ndarray = contributions.sum(axis=-1)
    return np.maximum(cam, 0) if relu else cam


def _activations_and_gradients(
    model: keras.Model, inputs: Any, target_layer: str, target: Callable[[Any], tf.Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """One forward and one backward pass through a second view of the same layers; float32 (N, h, w, C) each."""
    # Imported here, so that the closed form, which is all that the app needs, works without TensorFlow.
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    view = keras.Model(model.inputs, [_grid_of(model, target_layer), model.outputs])
    tensors = [tf.convert_to_tensor(part) for part in keras.tree.flatten(inputs)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)  # otherwise nothing would be recorded for a model whose weights are all frozen
        activations, flat = view(tensors, training=False)
        score = target(keras.tree.pack_sequence_as(getattr(model, "output", model.outputs[0]), list(flat)))
    gradients = tape.gradient(score, activations)
    if gradients is None:
        msg = f"The target does not depend on {target_layer!r}."
        raise ValueError(msg)
    return np.asarray(activations, np.float32), np.asarray(gradients, np.float32)


def _grid_of(model: keras.Model, target_layer: str) -> Any:
    """Symbolic output (N, h, w, C) of a layer."""
    output = model.get_layer(target_layer).output
    if len(getattr(output, "shape", ())) != 4:
        msg = f"target_layer must give (N, h, w, C). {target_layer!r} gives {getattr(output, 'shape', output)}."
        raise ValueError(msg)
    return output
