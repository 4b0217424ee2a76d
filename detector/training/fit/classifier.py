"""Fits the network: balanced batches, averaged weights, checkpoints that a killed run goes on from.

Step n of a run is a function of the seed and of n alone, whatever was interrupted before it. Nothing here names
a backend: `keras.Model.train_on_batch` compiles for TensorFlow, JAX or torch, whichever Keras runs on.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from keras import ops
from sklearn.metrics import roc_auc_score

from detector.errors import ModelError
from detector.model.calibration import probabilities_of
from detector.model.network import GRID_STEP
from detector.model.preprocess import INPUT_SIZE, PREPROCESSING_ID
from detector.run.files import whole_file, write_whole
from detector.schema import BACTERIAL_PNEUMONIA, BINARY, COVID19, NORMAL, TASKS, THREE_CLASS
from detector.training.data.augmentation import cut_out, mix_amplitudes
from detector.training.data.views import LungMasks, change_picture, plain_view, read_working
from detector.training.fit import architectures
from detector.training.fit.ahead import made_ahead
from detector.training.fit.imagenet import load_imagenet_weights
from detector.training.fit.lung_focus import EVIDENCE, lung_cells, outside_share, swap_surroundings, with_evidence
from detector.training.fit.offset import HOSPITAL, Hospitals
from detector.training.fit.within import PAIRS, pair_loss, pair_targets, with_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from detector.schema import NetworkInput
    from detector.training.data.manifest import Example

_LOG = logging.getLogger(__name__)

#: Which three-class answers a label allows. The network is asked to put its probability on the allowed ones, so
#: "neither normal nor COVID-19" can be taught where the true class is none of the three: an adult pneumonia of
#: unknown germ, a viral one from before 2020. Without these "bacterial" would mean "child".
ALLOWED_CLASSES: dict[str, tuple[str, ...]] = {
    NORMAL: (NORMAL,),
    BACTERIAL_PNEUMONIA: (BACTERIAL_PNEUMONIA,),
    "pneumonia_unspecified": (BACTERIAL_PNEUMONIA,),
    "viral_pneumonia": (BACTERIAL_PNEUMONIA,),
    "other_pneumonia": (BACTERIAL_PNEUMONIA,),
    COVID19: (COVID19,),
}

IMAGENET = "imagenet"
RANDOM = "random"

_LOADER_THREADS = 2
_FORBIDDEN = -1e9  # added to the logit of a class that a label does not allow
_PREDICT_BATCH = 32
_GROUP = 10  # images of a hospital × finding, for its log-loss to be worth anything
_LEAST_WARMUPS = 6  # that a run is long
_TINY = 1e-12  # keeps the logarithm of a probability of 0 finite


@dataclass(frozen=True)
class FitConfig:
    """Everything that a run depends on, besides the manifest.

    Attributes:
        architecture: a name of `architectures.ARCHITECTURES`.
        batches: length of the run.
        batch_size: pictures a batch.
        peak_learning_rate: of AdamW, reached after `warmup_batches`, then falling along a cosine.
        warmup_batches: of rising learning rate, and at most a sixth of the run.
        weight_decay: of AdamW.
        averaging: decay of the exponential moving average of the weights.
        balance: weight of a hospital × finding group is its size to this power (1: as it comes, 0: all alike).
        frozen_units: the stem and this many units keep their ImageNet weights: edges and blobs are the same
            in every hospital, and what is not trained can't learn a scanner.
        validate_every: batches between checkpoints, each with a validation.
        initial: ``"imagenet"``, ``"random"``, or paths of ``.keras`` files of the same network, from the mean of whose
            weights the run goes on.
        lung_crop: whether pictures are cut to their lungs, as `detector.model.preprocess` does; False only for
            comparison.
        lung_weight: weight of the share of the evidence outside the lungs in the loss.
        pair_weight: weight of the pairs within one hospital in the loss (see `detector.training.fit.within`).
        hospital_offset: weight of the squared offsets of hospitals in the loss (see `detector.training.fit.offset`);
            None: there are none.
        swap_probability: of a picture's surroundings to come from another one of the batch.
        style: chance of a random convolution, and of a spectrum mixed with another picture's.
        patience: validations without a better mean over the groups after which the run ends.
        seed: of sampling, augmentation, dropout and initial weights.
    """

    architecture: str = "detector"
    batches: int = 2600
    batch_size: int = 32
    peak_learning_rate: float = 7e-4
    warmup_batches: int = 200
    weight_decay: float = 0.02
    averaging: float = 0.998
    balance: float = 0.35
    frozen_units: int = 3
    validate_every: int = 250
    initial: str | tuple[str, ...] = IMAGENET
    lung_crop: bool = True
    lung_weight: float = 2.0
    pair_weight: float = 0.5
    hospital_offset: float | None = None
    swap_probability: float = 0.3
    style: float = 0.3
    patience: int = 6
    seed: int = 20261123


def _pixels_of(view: NetworkInput) -> np.ndarray:
    return view.pixels


def fit(
    train: Sequence[Example],
    validation: Sequence[Example],
    images: Path,
    out: Path,
    config: FitConfig,
    *,
    lungs: LungMasks,
    resume: bool = False,
    transform: Callable[[NetworkInput], np.ndarray] = _pixels_of,
) -> keras.Model:
    """Train the network.

    Args:
        train: pictures to learn from.
        validation: pictures to watch; nothing is fitted to them here.
        images: folder that the examples' paths are relative to.
        out: folder of ``checkpoint.npz`` and ``training_log.jsonl``.
        config: the run.
        lungs: the lung fields of all pictures.
        resume: go on from the checkpoint in `out`, if there is one.
        transform: what is made of each input before the network sees it, e.g. for the audit's blacked-out lungs.

    Returns:
        The network with its averaged weights at the validation of the least `validate`'s ``balanced_log_loss``.

    Raises:
        ModelError: if the checkpoint belongs to another run.
        ManifestError: if a picture can't be read.
    """
    keras.utils.set_random_seed(config.seed)
    network = architectures.build(config.architecture, input_size=INPUT_SIZE)
    initialise(network, config.initial)
    freeze(network, units=config.frozen_units)
    hospitals = None if config.hospital_offset is None else Hospitals(train)
    run = _Run(network, config, out, hospitals)
    if resume:
        run.restore()
    else:
        run.forget_log()
    validation_inputs = load_inputs(validation, images, lungs, transform=transform, cut=config.lung_crop)
    clock = _Clock(run.step, config.batches)
    start = run.step if run.waited < config.patience else config.batches  # a run that patience ended stays ended
    for inputs, targets, chosen in _batches(train, images, config, lungs=lungs, start=start, transform=transform):
        shown = inputs if hospitals is None else {"image": inputs, HOSPITAL: hospitals.rows(chosen)}
        loss = run.train(shown, targets)
        clock.tick(run.step, loss)
        if run.step % config.validate_every == 0 or run.step == config.batches:
            with run.averaged():
                report = validate(network, validation, validation_inputs)
            run.keep_best(report["balanced_log_loss"])
            run.save()
            run.log({"step": run.step, "train_loss": clock.mean_loss(), **report})
            if run.waited >= config.patience:
                _LOG.info("no better since batch %d: the run ends", run.best_step)
                break
    run.finish()
    return network


def make_repeatable() -> None:
    """Have TensorFlow run one operation at a time, each on all cores; to be called before anything is computed.

    Operations that run beside each other add up gradients in the order in which they happen to end. Two runs of one
    seed then differ in the last bits after a few batches, and a resumed run from one that was not interrupted.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 - other backends come without it

        try:
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:
            _LOG.warning("TensorFlow runs already: this training can't be repeated to the bit")


def initialise(network: keras.Model, initial: str | Sequence[str]) -> None:
    """Give a new network its first weights: ImageNet's, or the mean of those of earlier runs.

    Networks that were trained alike from one beginning lie in one basin, and the mean of their weights is better on
    what none of them saw than most of them (model soups; Wortsman et al. 2022, arXiv:2203.05482).

    Raises:
        ModelError: if a file is no network of the same structure.
    """
    if initial == RANDOM:
        return
    if initial == IMAGENET:
        _LOG.info("%d layers start from ImageNet", load_imagenet_weights(network))
        return
    paths = [initial] if isinstance(initial, str) else initial
    earlier = []
    for path in paths:
        try:
            network.set_weights(keras.saving.load_model(path, compile=False, safe_mode=True).get_weights())
        except (ValueError, OSError) as error:
            raise ModelError(f"{path} cannot be gone on from: {error}") from error
        earlier.append(network.get_weights())
    network.set_weights([np.mean(weights, axis=0) for weights in zip(*earlier, strict=True)])


def freeze(network: keras.Model, *, units: int) -> None:
    """Keep the stem and the first units as they are, their batch statistics included."""
    for layer in network.layers:
        number = layer.name[4:6] if layer.name.startswith("unit") else ""
        early = layer.name.startswith("stem") or (number.isdigit() and int(number) < units)
        layer.trainable = not (early and units > 0)


def compile_network(network: keras.Model, config: FitConfig) -> None:
    """Attach AdamW (Loshchilov and Hutter 2019), one loss a task, and those of lungs and pairs where they count."""
    warmup = min(config.warmup_batches, config.batches // _LEAST_WARMUPS)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, config.batches - warmup),
        warmup_target=config.peak_learning_rate,
        warmup_steps=warmup,
        alpha=0.01,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, clipnorm=1.0)
    losses = {
        BINARY.name: keras.losses.BinaryCrossentropy(from_logits=True),
        THREE_CLASS.name: allowed_class_loss,
    }
    weights = dict.fromkeys(losses, 1.0)
    if config.lung_weight:
        losses[EVIDENCE], weights[EVIDENCE] = outside_share, config.lung_weight
    if config.pair_weight:
        losses[PAIRS], weights[PAIRS] = pair_loss, config.pair_weight
    network.compile(optimizer, losses, loss_weights=weights, jit_compile=False)


def allowed_class_loss(allowed: Any, logits: Any) -> Any:  # tensors of the backend
    """Negative log of the probability that lies on the allowed classes.

    For one allowed class it is the cross-entropy; where all are allowed it is zero.

    Args:
        allowed: (N, classes), 1 where the label allows the class and 0 elsewhere.
        logits: (N, classes).

    Returns:
        (N,) in nats.
    """
    kept = logits + (1.0 - ops.cast(allowed, logits.dtype)) * _FORBIDDEN
    return ops.logsumexp(logits, axis=-1) - ops.logsumexp(kept, axis=-1)


def targets_for(examples: Sequence[Example]) -> dict[str, np.ndarray]:
    """Targets of both tasks: ``"binary": (N, 1)`` and ``"three_class": (N, 3)``, float32."""
    allowed = [[name in ALLOWED_CLASSES[e.label] for name in THREE_CLASS.classes] for e in examples]
    return {
        BINARY.name: np.array([[e.label == COVID19] for e in examples], np.float32),
        THREE_CLASS.name: np.array(allowed, np.float32),
    }


def sampling_weights(examples: Sequence[Example], balance: float) -> np.ndarray:
    """Chance of each example to be drawn, (N,): groups of one hospital and finding weigh their size to `balance`."""
    _, membership, counts = np.unique(hospital_findings(examples), return_inverse=True, return_counts=True)
    weights = (counts ** (balance - 1.0))[membership]
    return np.asarray(weights / weights.sum())


def hospital_findings(examples: Sequence[Example]) -> np.ndarray:
    """Hospital × finding of each example, (N,) names.

    All pneumonias that are not COVID-19 are one finding here: eight pictures that are a label of their own in a small
    source would otherwise be drawn until they are known by heart.
    """
    return np.array([f"{e.place}/{e.label if e.label in {NORMAL, COVID19} else 'pneumonia'}" for e in examples])


def load_inputs(
    examples: Sequence[Example],
    images: Path,
    lungs: LungMasks,
    *,
    transform: Callable[[NetworkInput], np.ndarray] = _pixels_of,
    cut: bool = True,
) -> np.ndarray:
    """Network inputs of examples as they are, (N, size, size, 1) float32; arguments as `fit`."""

    def load(example: Example) -> np.ndarray:
        return transform(plain_view(read_working(images / example.image), lungs[example.image], cut=cut))

    with ThreadPoolExecutor(_LOADER_THREADS) as pool:
        return np.stack(list(pool.map(load, examples)))


def predict_logits(network: keras.Model, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Logits of both tasks for inputs (N, size, size, 1), in batches of one shape."""
    parts = []
    for start in range(0, len(inputs), _PREDICT_BATCH):
        batch = inputs[start : start + _PREDICT_BATCH]
        padded = np.concatenate([batch, np.zeros((_PREDICT_BATCH - len(batch), *batch.shape[1:]), np.float32)])
        outputs = network.predict_on_batch(padded)
        parts.append({name: np.asarray(value)[: len(batch)] for name, value in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def validate(network: keras.Model, examples: Sequence[Example], inputs: np.ndarray) -> dict[str, Any]:
    """Measure a network while it trains.

    Returns:
        Binary AUROC, three-class macro AUROC, the log-loss of each hospital × finding (both tasks added, each as it is
        trained) and its mean over those of ten images or more, where there are any: one odd picture must not decide.
    """
    logits = predict_logits(network, inputs)
    labels = np.array([e.label for e in examples])
    covid, by_class = (probabilities_of(task, logits[task.name].astype(float)) for task in TASKS)
    three = np.isin(labels, THREE_CLASS.classes)
    truth = np.array([THREE_CLASS.classes.index(label) for label in labels[three]], int)
    cost = -np.log(np.where(labels == COVID19, covid[:, 0], covid[:, 1]) + _TINY)
    cost -= np.log((by_class * targets_for(examples)[THREE_CLASS.name]).sum(axis=1) + _TINY)
    groups = hospital_findings(examples)
    losses = {str(g): float(cost[groups == g].mean()) for g in np.unique(groups)}
    weighty = [loss for g, loss in losses.items() if np.sum(groups == g) >= _GROUP]
    return {
        "binary_auroc": _auroc(labels == COVID19, covid[:, 0]),
        "three_class_auroc": _auroc(np.eye(len(THREE_CLASS.classes), dtype=bool)[truth], by_class[three]),
        "balanced_log_loss": float(np.mean(weighty or list(losses.values()))),
        "log_loss": losses,
    }


def _auroc(truth: np.ndarray, scores: np.ndarray) -> float | None:
    """AUROC of (N,), or the mean over the columns of (N, classes); None where a class or its opposite is absent."""
    absent = ~truth.any(axis=0) | truth.all(axis=0)
    return None if np.any(absent) else float(roc_auc_score(truth, scores))


class _Run:
    """A network being trained: its averaged weights, its step, its files."""

    def __init__(self, network: keras.Model, config: FitConfig, out: Path, hospitals: Hospitals | None = None) -> None:
        self.network, self.config, self.out = network, config, out
        self.trainer = with_evidence(network) if config.lung_weight else network  # a second view of one set of weights
        if config.pair_weight:
            self.trainer = with_pairs(self.trainer)
        self.offsets: list[keras.Variable] = []  # of the training alone; the network has none
        if config.hospital_offset is not None and hospitals is not None:
            self.trainer = hospitals.with_offsets(self.trainer, config.hospital_offset)
            own = {id(weight) for weight in network.weights}
            self.offsets = [weight for weight in self.trainer.weights if id(weight) not in own]
        compile_network(self.trainer, config)
        self.identity = json.dumps({**asdict(config), "preprocessing": PREPROCESSING_ID}, sort_keys=True)
        self.step = 0
        self.average = [np.array(w) for w in network.get_weights()]
        self.best, self.best_loss, self.best_step, self.waited = self.average, np.inf, 0, 0
        out.mkdir(parents=True, exist_ok=True)

    def train(self, inputs: np.ndarray | dict[str, np.ndarray], targets: dict[str, np.ndarray]) -> float:
        """One step; returns the loss of its batch."""
        _seed_dropout(self.network, self.config.seed, self.step)
        loss = self.trainer.train_on_batch(inputs, targets, return_dict=True)["loss"]
        self.step += 1
        decay = min(self.config.averaging, (1 + self.step) / (10 + self.step))  # young averages forget faster
        pairs = zip(self.average, self.network.get_weights(), strict=True)
        self.average = [kept + (1 - decay) * (new - kept) for kept, new in pairs]
        return float(loss)

    def averaged(self) -> _Averaged:
        """Use the averaged weights within a ``with`` block."""
        return _Averaged(self.network, self.average)

    def keep_best(self, loss: float) -> None:
        """Remember the averaged weights if their loss is the least so far; count the waiting otherwise."""
        if loss < self.best_loss:
            self.best, self.best_loss, self.best_step, self.waited = self.average, loss, self.step, 0
        else:
            self.waited += 1

    def finish(self) -> None:
        """Leave the network with the best of its averaged weights."""
        self.network.set_weights(self.best)

    def save(self) -> None:
        """Write the checkpoint, which takes the old one's place when it is whole."""
        arrays = {f"weight{i:04d}": w for i, w in enumerate(self.network.get_weights())}
        arrays |= {f"average{i:04d}": w for i, w in enumerate(self.average)}
        arrays |= {f"best{i:04d}": w for i, w in enumerate(self.best)}
        arrays |= {f"offset{i:04d}": ops.convert_to_numpy(v) for i, v in enumerate(self.offsets)}
        variables = self.trainer.optimizer.variables
        arrays |= {f"optimizer{i:04d}": ops.convert_to_numpy(v) for i, v in enumerate(variables)}
        progress = [self.step, self.best_step, self.waited]
        with whole_file(self.out / "checkpoint.npz") as file:
            np.savez(file, progress=progress, best_loss=self.best_loss, run=self.identity, **arrays)

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one.

        Raises:
            ModelError: if it was written by a run of another configuration.
        """
        path = self.out / "checkpoint.npz"
        if not path.exists():
            return
        with np.load(path) as saved:
            if str(saved["run"]) != self.identity:
                msg = f"{path} belongs to another run: {saved['run']}. Start in a new folder, or with its settings."
                raise ModelError(msg)
            self.trainer.optimizer.build(self.trainer.trainable_variables)
            self.network.set_weights([saved[k] for k in sorted(saved.files) if k.startswith("weight")])
            self.average = [saved[k] for k in sorted(saved.files) if k.startswith("average")]
            self.best = [saved[k] for k in sorted(saved.files) if k.startswith("best") and k != "best_loss"]
            stored = [saved[k] for k in sorted(saved.files) if k.startswith("optimizer")]
            stored += [saved[k] for k in sorted(saved.files) if k.startswith("offset")]
            for variable, value in zip([*self.trainer.optimizer.variables, *self.offsets], stored, strict=True):
                variable.assign(value)
            self.step, self.best_step, self.waited = saved["progress"].tolist()
            self.best_loss = float(saved["best_loss"])
        _LOG.info("resumed at batch %d", self.step)

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one line to the training log; a line of the same or a later step, from before a kill, gives way."""
        path = self.out / "training_log.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] < row["step"]] if row["step"] else []
        write_whole(path, ("\n".join([*kept, json.dumps(row)]) + "\n").encode())  # no torn line for a resumed run
        _LOG.info(
            "batch %d: binary AUROC %s, three-class AUROC %s, mean log-loss of hospital × finding %.3f",
            row["step"], _figure(row["binary_auroc"]), _figure(row["three_class_auroc"]), row["balanced_log_loss"],
        )  # fmt: skip

    def forget_log(self) -> None:
        """Drop the log of an earlier run in this folder."""
        (self.out / "training_log.jsonl").unlink(missing_ok=True)


class _Averaged:
    """Swaps other weights in, and the network's own back out, also after an exception."""

    def __init__(self, network: keras.Model, weights: list[np.ndarray]) -> None:
        self.network, self.weights = network, weights

    def __enter__(self) -> keras.Model:
        self.own = self.network.get_weights()
        self.network.set_weights(self.weights)
        return self.network

    def __exit__(self, *_: object) -> None:
        self.network.set_weights(self.own)


class _Clock:
    """Progress on the log: rate, loss and time left."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end, self.began = start, end, time.monotonic()
        self.losses: deque[float] = deque(maxlen=100)

    def tick(self, step: int, loss: float) -> None:
        self.losses.append(loss)
        if step % 50 == 0:
            pace = (time.monotonic() - self.began) / (step - self.start)
            left = pace * (self.end - step) / 60
            _LOG.info(
                "batch %d of %d, loss %.3f, %.2f s a batch, %.0f min left", step, self.end, self.mean_loss(), pace, left
            )

    def mean_loss(self) -> float:
        return float(np.mean(self.losses))


class _Batch(NamedTuple):
    """What the network is shown and asked, and of whom."""

    inputs: np.ndarray
    targets: dict[str, np.ndarray]
    chosen: list[Example]


def _batches(
    examples: Sequence[Example],
    images: Path,
    config: FitConfig,
    *,
    lungs: LungMasks,
    start: int,
    transform: Callable[[NetworkInput], np.ndarray] = _pixels_of,
) -> Iterator[_Batch]:
    """Yield the batches from `start` to the end, made a few ahead by threads."""
    weights = sampling_weights(examples, config.balance)

    def make(step: int) -> _Batch:
        rng = np.random.default_rng([config.seed, step])
        chosen = [examples[i] for i in rng.choice(len(examples), config.batch_size, p=weights)]
        pictures = ((read_working(images / e.image), lungs[e.image]) for e in chosen)
        views = [change_picture(*picture, rng, cut=config.lung_crop, style=config.style) for picture in pictures]
        inputs = np.stack([transform(view) for view in views])
        fields = np.stack([view.lung_field for view in views])
        inputs = swap_surroundings(inputs, fields, rng, probability=config.swap_probability)
        inputs = mix_amplitudes(inputs, rng, probability=config.style)
        targets = targets_for(chosen)
        if config.lung_weight:
            targets[EVIDENCE] = lung_cells(fields, INPUT_SIZE // GRID_STEP)
        if config.pair_weight:
            targets[PAIRS] = pair_targets(chosen)
        return _Batch(np.stack([cut_out(one, rng) for one in inputs]), targets, chosen)

    yield from made_ahead(make, range(start, config.batches))


def _seed_dropout(network: keras.Model, seed: int, step: int) -> None:
    """Make dropout a function of seed and step, so that a resumed run drops what the whole one would have."""
    generator = network.get_layer("dropout").seed_generator
    if generator is not None:
        generator.state.assign(np.array([seed & 0x7FFFFFFF, step], np.int64).astype(generator.state.dtype))


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
