"""The page's parts. Each `render_*` draws one of them and returns what the user has chosen there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from detector import sandbox
from detector.calibration import BALANCED
from detector.card import DEFAULT_MODEL, MODELS, ModelCard, read_card
from detector.errors import ModelError, SampleDownloadError, SampleNetworkError
from detector.schema import BACTERIAL_PNEUMONIA, BINARY, COVID19, NORMAL, TASKS, Prediction, Task, task_by_mode
from detector.ui import figures, samples, texts
from detector.ui.session import Case, Failure, Session, escaped, evidence_sentence, literal, shown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.classifier import Classifier

_COMPOSITES = Path(__file__).resolve().parents[2] / "assets" / "composites"
_EXAMPLE_ORDER = (COVID19, BACTERIAL_PNEUMONIA, NORMAL)
_VIEWER = "viewer_box"
_CHART_CONFIG = {"displayModeBar": False}
_VIEWER_CONFIG = {"displaylogo": False, "scrollZoom": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}


@dataclass(frozen=True)
class Source:
    """A file to analyse: an identifier of the upload, its name, and how to get its bytes.

    The bytes are asked for once, when the file is new: a rerun of the page must not copy two hundred uploads.
    """

    identifier: str
    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Choices:
    """What is asked of every image on the page."""

    task: Task
    operating_point: str


def render_header() -> None:
    """Title, one line, disclaimer."""
    st.title(texts.TITLE, anchor=False)
    st.markdown(texts.SUBTITLE)
    st.caption(texts.DISCLAIMER)


def render_upload() -> list[Source]:
    """The upload and the samples button; returns what to analyse, in order of arrival, or the examples."""
    uploads = st.file_uploader(
        texts.UPLOAD, accept_multiple_files=True, help=texts.UPLOAD_HELP, key="uploads", max_upload_size=64
    )
    found = [Source(upload.file_id, upload.name, upload.getvalue) for upload in uploads]
    _render_samples_button()
    fetched = _session().samples
    if fetched:
        names = {name for name, _ in fetched}
        credited = [escaped(_credit(s)) for s in samples.listed_samples() if s.file in names]
        st.caption(f"{texts.SAMPLES_SHOWN}: {'; '.join(credited)}")
    found += [Source(f"sample:{name}", name, lambda data=data: data) for name, data in fetched]
    if not found:
        st.caption(texts.EXAMPLES)
    return found or _examples()


def render_choices(card: ModelCard) -> Choices:
    """The mode toggle, and the operating point of the binary mode."""
    mode = st.segmented_control(
        texts.MODE, [t.mode for t in TASKS], default=BINARY.mode, required=True, format_func=texts.MODES.get, key="mode"
    )
    task = task_by_mode(mode)
    chosen = st.segmented_control(
        texts.OPERATING_POINT,
        list(texts.OPERATING_POINTS),
        default=BALANCED,
        required=True,
        format_func=texts.OPERATING_POINTS.get,
        help=texts.OPERATING_POINT_HELP + _measured(card),
        disabled=task is not BINARY,  # drawn all the same, because a widget that is not drawn forgets its choice
        key="operating_point",
    )
    return Choices(task, chosen)


def render_analyses(sources: Sequence[Source], classifier: Classifier) -> list[Case | Failure]:
    """Analyse what is new, with progress; returns the results in order of arrival, each picture once."""
    session = _session()
    keys = [session.key(source.identifier, source.read) for source in sources]
    new = [i for i, key in enumerate(keys) if key not in session.results and key not in keys[:i]]
    progress = st.empty()
    for done, i in enumerate(new):
        if len(new) > 1:
            progress.progress(done / len(new), texts.ANALYSING.format(done=done + 1, total=len(new)))
        session.analyse(keys[i], sources[i].name, sources[i].read(), classifier)
    progress.empty()
    session.keep_only(set(keys))
    names = {key: source.name for key, source in zip(reversed(keys), reversed(sources), strict=True)}
    if len(names) < len(keys):
        st.caption(texts.DUPLICATE)
    # One picture may come back under another name; the answer is the same, the name is today's.
    return [_named(session.results[key], names[key]) for key in dict.fromkeys(keys)]


def _named(result: Case | Failure, name: str) -> Case | Failure:
    return result if result.name == name else replace(result, name=name)


def render_failures(results: Sequence[Case | Failure]) -> None:
    """One sentence for each file that has no answer."""
    for result in results:
        if isinstance(result, Failure):
            st.error(f"**{literal(result.name)}**: {result.message}", icon=":material/block:")


def render_worklist(cases: Sequence[Case], choices: Choices, card: ModelCard) -> Case:
    """The table of analysed images where there are several; returns the one to open."""
    if len(cases) == 1:
        return cases[0]
    predictions = [_predict(case, choices, card) for case in cases]
    covid = [prediction.probabilities[COVID19] for prediction in predictions]
    table = {
        texts.COLUMN_IMAGE: [case.thumbnail for case in cases],
        texts.COLUMN_NAME: [shown_name(case.name) for case in cases],
        texts.COLUMN_DECISION: [texts.DECISION_LABELS[prediction.decision] for prediction in predictions],
        texts.COLUMN_PROBABILITY: covid,
        texts.COLUMN_WARNINGS: [" ".join(case.warnings) for case in cases],
    }
    columns = {
        texts.COLUMN_IMAGE: st.column_config.ImageColumn(width="small"),
        texts.COLUMN_PROBABILITY: st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
    }
    session = _session()
    keys = [case.key for case in cases]
    opened = keys.index(session.opened) if session.opened in keys else 0
    picked = st.dataframe(
        table,
        column_config=columns,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row-required",
        selection_default={"selection": {"rows": [opened]}},
        # Another list is another widget: a row number kept over a new list would open another patient's image.
        key="worklist_" + hashlib.sha256("".join(keys).encode()).hexdigest()[:16],
        alt=texts.WORKLIST,
    )
    rows = picked.selection.rows
    case = cases[rows[0]] if rows and rows[0] < len(cases) else cases[opened]
    session.opened = case.key
    return case


def render_case(case: Case, choices: Choices, card: ModelCard, classifier: Classifier) -> None:
    """One image: decision, probabilities, warnings; X-ray and map side by side."""
    prediction = _predict(case, choices, card)
    answer, viewer = st.columns([2, 5], gap="medium")
    with answer:
        _render_answer(case, prediction)
        target, opacity = _render_map_choices(case, prediction)
    with viewer:
        _render_viewer(case, prediction, target=target, opacity=opacity, card=card)
    _render_details(case, card, classifier)


@st.cache_resource(show_spinner=False)
def load_classifier() -> Classifier:
    """The network, loaded once for all sessions. TensorFlow is imported here and not before.

    Raises:
        ModelError: if it is missing or damaged.
    """
    sandbox.warm_up()
    from detector.classifier import Classifier  # noqa: PLC0415

    return Classifier.load()


@st.cache_resource(show_spinner=False)
def load_card() -> ModelCard:
    """The network's card, which needs no TensorFlow.

    Raises:
        ModelError: if it is missing or damaged.
    """
    return read_card(MODELS / f"{DEFAULT_MODEL}.json")


def render_model_error(error: ModelError) -> None:
    """Say that there is no network, and the cure."""
    st.error(texts.MODEL_FAILED.format(cure=error.user_message), icon=":material/error:")


def _render_answer(case: Case, prediction: Prediction) -> None:
    st.subheader(texts.DECISIONS[prediction.decision], anchor=False)
    st.caption(literal(case.name))
    for warning in case.warnings:
        st.warning(warning, icon=":material/warning:")
    st.plotly_chart(
        figures.probability_chart(prediction),
        config=_CHART_CONFIG,
        theme=None,
        key="probabilities",
        alt=figures.probability_alt(prediction),
    )


def _render_map_choices(case: Case, prediction: Prediction) -> tuple[str, float]:
    """The class to explain and the opacity. The decision's class comes first until the reader chooses another."""
    task, chosen = prediction.task, _session().targets
    first = chosen.get((case.key, task.name), prediction.target_class)
    target = st.segmented_control(
        texts.EXPLAIN,
        task.classes,
        default=first,
        required=True,
        format_func=texts.CLASSES.get,
        key=f"explain_{case.key}_{task.name}_{prediction.target_class}",
    )
    if target != first:
        chosen[case.key, task.name] = target
    opacity = st.slider(texts.OPACITY, 0, 100, 60, step=5, format="%d %%", key="opacity")
    return target, opacity / 100


def _render_viewer(case: Case, prediction: Prediction, *, target: str, opacity: float, card: ModelCard) -> None:
    task, full_scale = prediction.task, card.saliency_scale[prediction.task.name]
    sentence, distrust = evidence_sentence(case, task, target, full_scale, is_answer=target == prediction.target_class)
    figure = figures.comparison_figure(
        case.image, case.heatmap(task, target), target_class=target, full_scale=full_scale, opacity=opacity
    )
    alt = texts.VIEWER_ALT.format(name=shown_name(case.name), target=texts.CLASSES[target], sentence=sentence)
    st.html(_phone_style(case))
    with st.container(key=_VIEWER):
        st.plotly_chart(figure, config=_VIEWER_CONFIG, theme=None, key="viewer", alt=alt)
    if distrust:
        st.warning(sentence, icon=":material/warning:")
    else:
        st.markdown(sentence)
    st.caption(f"{texts.MAP_CAUTION} {texts.VIEWER_HINT}")


def _phone_style(case: Case) -> str:
    """On a phone the pictures shrink with the width but Plotly keeps the height: cut off what stays empty below."""
    rows, columns = case.image.shape
    height = f"calc({50 * rows / columns:.1f}vw + {figures.VIEWER_HEAD}px)"
    rule = f".st-key-{_VIEWER} {{ max-height: {height}; overflow: hidden; }}"
    return f"<style>@media (max-width: 640px) {{ {rule} }}</style>"


def _render_details(case: Case, card: ModelCard, classifier: Classifier) -> None:
    with st.expander(texts.DETAILS):
        test = card.performance.get("test")
        if test:
            st.markdown(_performance(test))
        for limit in card.limits:
            st.markdown(f"- {limit}")
        geometry = case.input_geometry
        st.caption(
            f"{case.file_format}, {geometry.rows} × {geometry.columns} pixels, SHA-256 {case.key[:16]}…  \n"
            f"{case.model.name} {case.model.version}, SHA-256 {case.model.sha256[:16]}…, {card.preprocessing}, "
            f"{case.analysed_at}  \n{texts.PASSES.format(count=classifier.forward_passes)}  \n{card.licence}"
        )


def _performance(test: dict) -> str:
    binary, three = test["binary_auroc"], test["three_class_macro_auroc"]
    return texts.PERFORMANCE.format(n=binary["n"], binary=_with_interval(binary), three=_with_interval(three))


def _with_interval(estimate: dict) -> str:
    return f"{estimate['value']:.3f} ({estimate['ci_low']:.3f} to {estimate['ci_high']:.3f})"


def _measured(card: ModelCard) -> str:
    points = card.calibration.operating_points.values()
    return "; ".join(
        f"{texts.OPERATING_POINTS[p.name].lower()} finds {p.sensitivity:.0%} and clears {p.specificity:.0%}"
        for p in points
    )


def _predict(case: Case, choices: Choices, card: ModelCard) -> Prediction:
    logits = case.logits[choices.task.name]
    return card.calibration.predict(choices.task, logits, operating_point=choices.operating_point)


def _session() -> Session:
    return st.session_state.setdefault("session", Session())


def _examples() -> list[Source]:
    return [
        Source(f"example:{label}", texts.EXAMPLE_NAMES[label], (_COMPOSITES / f"{label}.png").read_bytes)
        for label in _EXAMPLE_ORDER
    ]


def _render_samples_button() -> None:
    session = _session()
    if session.samples:
        if st.button(texts.SAMPLES_REMOVE, icon=":material/close:", key="remove_samples"):
            session.samples, session.sample_notes = [], ()
            st.rerun()
    elif st.button(texts.SAMPLES, help=texts.SAMPLES_HELP, icon=":material/download:", key="samples"):
        _fetch_samples(session)
        st.rerun()
    for sentence in session.sample_notes:
        st.error(sentence, icon=":material/cloud_off:")


def _fetch_samples(session: Session) -> None:
    """Fetch what can be fetched, and note what can't."""
    fetched, notes = [], {}
    with st.spinner(texts.SAMPLES_FETCHING):
        for sample in samples.listed_samples():
            try:
                fetched.append((sample.file, samples.fetch(sample)))
            except SampleNetworkError as error:  # the other addresses would keep the reader waiting as long
                notes[error.user_message] = None
                break
            except SampleDownloadError as error:
                notes[error.user_message] = None
    session.samples, session.sample_notes = fetched, tuple(notes)


def _credit(sample: samples.Sample) -> str:
    return f"{sample.file} ({texts.CLASSES[sample.label]}, {sample.licence})"
