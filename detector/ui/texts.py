"""Every text of the page, in one place: a translation is another file like this one."""

from __future__ import annotations

from detector.schema import (
    BACTERIAL_PNEUMONIA,
    BINARY,
    COVID19,
    INDETERMINATE,
    NORMAL,
    NOT_COVID19,
    THREE_CLASS,
)

TITLE = "Chest X-ray detector"
SUBTITLE = "Drag in frontal chest X-rays. See what a small network makes of them, and where it looked."
DISCLAIMER = (
    "**Research demonstration. Not for diagnosis.** The network was trained on public collections and can be wrong, "
    "above all in a hospital that it has never seen. Your images stay on this computer."
)

UPLOAD = "Drag chest X-rays here: PNG, JPEG or DICOM"
UPLOAD_HELP = "Several files at once are fine. They are kept in memory while this page is open and go nowhere."
SAMPLES = "Fetch sample X-rays"
SAMPLES_HELP = (
    "Downloads six published chest X-rays (1.6 MB) from the ieee8023 covid-chestxray-dataset on GitHub and keeps them "
    "on this computer. The only thing on this page that goes to the internet."
)
SAMPLES_REMOVE = "Remove sample X-rays"
SAMPLES_FETCHING = "Fetching the sample X-rays …"
SAMPLES_SHOWN = "Sample X-rays from the covid-chestxray-dataset (Cohen et al. 2020)"

MODE = "Question"
MODES = {BINARY.mode: "Binary: COVID-19 or not", THREE_CLASS.mode: "Three-class"}
OPERATING_POINT = "Operating point"
OPERATING_POINTS = {"balanced": "Balanced", "sensitive": "Sensitive", "specific": "Specific"}
OPERATING_POINT_HELP = (
    "Where the line between COVID-19 and not is drawn. Sensitive misses few and alarms often; "
    "specific alarms seldom and misses more. Measured on validation images: "
)

LOADING = "Loading the network. X-rays can be dragged in meanwhile."
ANALYSING = "Analysing {done} of {total}"
EXAMPLES = "Examples: composites, each the mean of several aligned X-rays of one class. No patient's picture."
EXAMPLE_NAMES = {
    COVID19: "Composite: COVID-19",
    BACTERIAL_PNEUMONIA: "Composite: bacterial pneumonia (children)",
    NORMAL: "Composite: normal",
}
UNEXPECTED = "This file could not be analysed. The other files are not affected. Try another copy of it."
MODEL_FAILED = "The network cannot be loaded, so nothing can be analysed. {cure}"
DUPLICATE = "The same picture was dragged in more than once; it is listed once."

WORKLIST = "Worklist"
COLUMN_IMAGE, COLUMN_NAME, COLUMN_DECISION = "X-ray", "Name", "Decision"
COLUMN_PROBABILITY, COLUMN_WARNINGS = "P(COVID-19)", "Warnings"

CLASSES = {
    COVID19: "COVID-19",
    NOT_COVID19: "Not COVID-19",
    NORMAL: "Normal",
    BACTERIAL_PNEUMONIA: "Bacterial pneumonia",
}
DECISIONS = {
    COVID19: "COVID-19 likely",
    NOT_COVID19: "COVID-19 unlikely",
    NORMAL: "Normal likely",
    BACTERIAL_PNEUMONIA: "Bacterial pneumonia likely",
    INDETERMINATE: "Indeterminate: the network does not know",
}
DECISION_LABELS = {**CLASSES, INDETERMINATE: "Indeterminate"}
PROBABILITY_AXIS = "Calibrated probability"
PROBABILITY_ALT = "Bar chart of calibrated probabilities: {bars}."
THRESHOLD = "operating point {threshold:.0%}"

EXPLAIN = "Explain"
OPACITY = "Opacity"
XRAY_PANEL, MAP_PANEL = "X-ray", "Evidence for {name}"
COLOUR_BAR = "Evidence (logit units)"
VIEWER_ALT = "Left: the X-ray {name}. Right: the same X-ray with the evidence for {target} laid over it. {sentence}"
VIEWER_HINT = "Drag to zoom, both pictures follow. Double click to see all of it."
NOT_MEASURED = "Where the evidence lies relative to the lungs was not measured."
MAP_CAUTION = (
    "Orange speaks for the class, blue against it, on one scale for all pictures. "
    "The map says where the network looked, not where the disease is."
)

DETAILS = "Where this answer comes from"
PERFORMANCE = (
    "On {n} test images of the same collections: binary AUROC {binary}, three-class macro AUROC {three}. "
    "In another hospital, expect less."
)
PASSES = "The network has run {count} times since it was loaded."
