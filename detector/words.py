"""Every text of the page, in one place: a translation is another file like this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.schema import (
    BACTERIAL_PNEUMONIA,
    BINARY,
    COVID19,
    INDETERMINATE,
    NORMAL,
    NOT_COVID19,
    THREE_CLASS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# The page as a whole
TITLE = "Chest X-ray detector"
SUBTITLE = "Drag in frontal chest X-rays. See what a small network makes of them, and where it looked."
PAGE_ROOM, PAGE_QUALITY = "Reading room", "How good is it?"
DISCLAIMER = (
    "**Research demonstration. Not for diagnosis.** The network was trained on public collections and can be wrong, "
    "above all in a hospital that it has never seen. Your images stay on this computer."
)
WELCOME = "Before you begin"
WELCOME_IS = (
    "**What this is:** a research and teaching demonstration. A small network looks at one frontal chest X-ray at a "
    "time, gives calibrated probabilities, and shows which parts of the picture they come from."
)
WELCOME_IS_NOT = (
    "**What it is not:** a medical device, a second reader, or a test for COVID-19. It knows no history, no earlier "
    "image and no disease but COVID-19 and pneumonia. It was measured on public collections, not on your patients."
)
WELCOME_PRIVACY = "**Your images** stay in this computer's memory and are gone when the page is closed."
ACCEPT = "I understand, not for diagnosis"

# Upload
TAB_FILES, TAB_FOLDER = "Files", "A folder"
UPLOAD = "Drag chest X-rays here: PNG, JPEG or DICOM"
UPLOAD_FOLDER = "Drag or choose a folder of chest X-rays"
UPLOAD_HELP = (
    "Several files at once are fine. They are kept in memory while this page is open and go nowhere. "
    "One page holds up to {gigabytes} GB."
)
UPLOADS_FULL = (
    "Some files were not taken: one page holds up to {gigabytes} GB. Clear the list, then upload the rest of them."
)
CLEAR = "Clear the list"
REMOVE = "Remove the open image"
SAMPLES = "Fetch sample X-rays"
SAMPLES_HELP = (
    "Downloads six published chest X-rays (1.6 MB) from the ieee8023 covid-chestxray-dataset on GitHub and keeps them "
    "on this computer. The only thing on this page that goes to the internet."
)
SAMPLES_REMOVE = "Remove sample X-rays"
SAMPLES_FETCHING = "Fetching the sample X-rays …"
SAMPLES_SHOWN = "Sample X-rays from the covid-chestxray-dataset (Cohen et al. 2020)"
EXAMPLES = "Examples: composites, each the mean of several aligned X-rays of one class. No patient's picture."
EXAMPLE_NAMES = {
    COVID19: "Composite: COVID-19",
    BACTERIAL_PNEUMONIA: "Composite: bacterial pneumonia (children)",
    NORMAL: "Composite: normal",
}

# Question
MODE = "Question"
MODES = {BINARY.mode: "Binary", THREE_CLASS.mode: "Three-class"}
MODE_HELP = "Binary: COVID-19 or not. Three-class: normal, bacterial pneumonia or COVID-19."
OPERATING_POINT = "Operating point"
OPERATING_POINTS = {"balanced": "Balanced", "sensitive": "Sensitive", "specific": "Specific"}
OPERATING_POINT_HELP = (
    "Where the line between COVID-19 and not is drawn. Sensitive misses few and alarms often; "
    "specific alarms seldom and misses more. Answers close to the line are indeterminate. If every image "
    "is decided, on validation: "
)
OPERATING_POINT_MEASURED = "{name} finds {sensitivity:.0%} and clears {specificity:.0%}"

# Analysis
LOADING = "Loading the network. X-rays can be dragged in meanwhile."
ANALYSING = "{done} of {total} analysed{left}"
ANALYSING_ONE = "Analysing {name} …"
CANCEL, RESUME = "Stop", "Go on with the rest"
MODEL_FAILED = "The network cannot be loaded, so nothing can be analysed. {cure}"
MORE_FAILURES = "Without an answer, too: {count} more. The list says why."


def time_left(seconds: float | None) -> str:
    """The rest of a run in words; nothing while it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f", about {max(1, round(seconds))} s left"
    return f", about {round(seconds / 60)} min left"


# Worklist
WORKLIST = "Worklist"
ORDER = "Order"
ORDERS = {"arrival": "As they came", "urgency": "What needs eyes first"}
ORDER_HELP = (
    "What needs eyes first: findings, the most probable on top; then what the network can't tell; then what it "
    "refused; then all-clears with a warning; then the others. An order to look through a list by, no triage: a grave "
    "disease that the network does not know comes last."
)
COLUMN_IMAGE, COLUMN_NAME, COLUMN_DECISION = "X-ray", "Name", "Decision"
COLUMN_PROBABILITY, COLUMN_WARNINGS = "P(COVID-19)", "Warnings"
COLUMN_NOTES, COLUMN_NOTES_HELP = "⚠", "How many warnings there are. They stand in the last column."
WAITING, LEFT_OUT, REFUSED, FAILED = "Waiting", "Not analysed", "Refused", "Failed"
LEFT_OUT_HINT = "This file was not analysed, because the run was stopped. *Go on with the rest* takes it up."
TWIN = "The same picture as number {number}."
PREVIOUS, NEXT = "Previous", "Next"
PLACE = "{place} of {total}"

# Answer
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
INDETERMINATE_NEAR = (
    "COVID-19 {value:.1%} lies between {low:.0%} and {high:.0%}, too close to the operating point of "
    "{threshold:.0%} to call."
)
INDETERMINATE_TWO = (
    "{first} {value:.1%}, {second} {other:.1%}: to be called, a class must be {times:.0f} times as probable as the "
    "next."
)
DECISION_LABELS = {**CLASSES, INDETERMINATE: "Indeterminate"}
FORCED = "analysed against the advice of the gate"
TURNED, INVERTED = "turned before the analysis", "inverted before the analysis"
OTHER_DISAGREES = "The other question disagrees. {mode}: {decision}."
INDETERMINATE_CONTRADICTION = (
    "Binary says COVID-19 ({covid19:.1%}), three-class says normal ({normal:.1%}). Both can't be."
)
PROBABILITY_AXIS = "Calibrated probability"
PROBABILITY_ALT = "Bar chart of calibrated probabilities: {bars}."
THRESHOLD = "operating point {threshold:.0%}; grey: too close to call"
THRESHOLD_ALT = "Operating point of COVID-19 at {threshold:.1%}."
WHISKER_ALT = "{name} stays between {low:.1%} and {high:.1%} when the picture changes a little."
STABILITY = "Check stability"
STABILITY_HELP = (
    "Turns, shifts, brightens and blurs the picture a little and asks the network again. The whiskers show how far "
    "the answer moves."
)
STABILITY_RUNNING = "Asking the network again, with small changes …"
STABLE = "Whiskers: {count} mild changes of the picture move the answer over {span:.1f} percentage points at most."

# Gate
GATE_TITLE = "No answer"
REFUSED_ALT = "The refused picture {name}"
PICTURE_GONE = "There is no time or room on this computer to decode the picture again just now. Open it once more."
FORCE = "Analyse anyway"
FORCE_HELP = "The answer is marked wherever it goes. The network has learnt nothing about such pictures."
CORRECT_TURN, CORRECT_INVERT, CORRECT_BOTH = "Turn and analyse", "Invert and analyse", "Turn, invert and analyse"
CORRECTION_REFUSED = "Turned or inverted as suggested, it was refused, so it stands as it came."

# Judgement
PRE_TEST = "COVID-19 before the X-ray"
PRE_TEST_HELP = (
    "How probable COVID-19 was before the X-ray: how common it is where the patient comes from, symptoms, contacts. "
    "Formula: post-test odds = pre-test odds × likelihood ratio, with odds = p / (1 - p)."
)
POST_TEST = "After it: **{value:.0%}** ({ci_low:.0%} to {ci_high:.0%})"
POST_TEST_WHY = (
    "Post-test odds = pre-test odds × LR. {kind} = {value:.2g} ({low:.2g} to {high:.2g}), measured on {cohort}."
)
LR_POSITIVE, LR_NEGATIVE = "LR+ of an answer above the operating point", "LR- of an answer below it"
LR_FLATTERS = (
    "That cohort comes from the collections that the network learnt from, so it flatters. "
    "Elsewhere the X-ray tells less."
)
LR_MEASURED = (
    "Those are networks trained like this one, for a shorter time, and asked about two collections that they never saw."
)
LR_MAY_SAY_NOTHING = (
    "Its interval holds 1, at which an answer says nothing, so the probability stays as it was. By the ratio it would "
    "be {value:.0%} ({ci_low:.0%} to {ci_high:.0%})."
)
POST_TEST_UNCHANGED = "After it: **{value:.0%}**, as before"
POST_TEST_INDETERMINATE_WHY = "The network does not know, so the X-ray changes nothing."
POST_TEST_UNKNOWN = "After it: not known"
POST_TEST_UNKNOWN_WHY = "No likelihood ratio has been measured for this operating point."
POST_TEST_BINARY_ONLY = "After it: asked of the binary question only"
POST_TEST_BINARY_HINT = "Likelihood ratios belong to a yes or no. Choose the binary question for them."

# X-ray and map
EXPLAIN = "Explain"
AGAINST, AGAINST_NONE = "rather than", "the other classes"
AGAINST_HELP = "Compares two classes: what speaks for the one and not for the other."
STYLE, STYLES = "Map", {"colour": "Colour", "lines": "Lines"}
OPACITY = "Opacity"
GREYSCALE, LEVEL, WINDOW = "Grey scale", "Level", "Window"
INVERT, GREYSCALE_RESET = "Invert", "As it came"
XRAY_PANEL, MAP_PANEL = "X-ray", "Evidence for {name}"
CONTRAST = "{name} rather than {other}"


def map_title(target: str, against: str | None) -> str:
    """What a map explains: a class, or a class rather than another."""
    name = CLASSES[target] if against is None else CONTRAST.format(name=CLASSES[target], other=CLASSES[against])
    return MAP_PANEL.format(name=name)


COLOUR_BAR = "Evidence (logit units)"
VIEWER_ALT = "Left: the X-ray {name}. Right: the same X-ray with the evidence laid over it: {title}. {sentence}"
VIEWER_HINT = "Drag to move, wheel or pinch to zoom: both pictures follow. Double click to see all of it."
NOT_MEASURED = "The lungs were not found, so where the evidence lies was not measured."
FAINT = "There is next to no evidence for this class; the map is nearly clear."
OPPOSED = "There is next to no evidence for this class; what the map shows speaks against it."
IN_LUNGS = "{share:.0%} of the evidence lies in the lungs ({area:.0%} of the picture){zones}."
MOSTLY_IN = ", mostly {zones}"
OUTSIDE_WARNING = "Most of the evidence lies outside the lungs. Distrust this answer."
OUTSIDE_NOTE = "What evidence there is for COVID-19 lies mostly outside the lungs."


def listed(names: Sequence[str]) -> str:
    """Names as a list in a sentence: "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


MAP_CAUTION = (
    "Orange speaks for the class, blue against it, on one scale for all pictures. "
    "The map says where the network looked, not where the disease is."
)

# Saving
SAVE_CASE, SAVE_LIST = "Save this answer", "Save the list"
SAVE_NAME = "Write the file's name into it"
SAVE_NAME_HELP = "Names of files often hold a patient's name or number. Without it, files are numbered."
SAVE_AS = {"pdf": "PDF report", "png": "PNG picture", "csv": "CSV table", "json": "JSON record"}
NEUTRAL_NAME = "X-ray {number}"
PRINTED_QUESTION, PRINTED_WHEN = "Question: {mode}.", "Answered by {when}."
PRINTED_POINT = "Operating point {name}: {threshold:.1%}, chosen on {cohort}."

# Details
DETAILS = "Where this answer comes from"
PERFORMANCE = (
    "On {n} test images of the same collections: binary AUROC {binary}, three-class macro AUROC {three}. "
    "In another hospital, expect less."
)
PASSES = "The network has run {count} times since it was loaded."

# How good is it?
TASKS = {BINARY.name: "Binary", THREE_CLASS.name: "Three-class"}
QUALITY_LEAD = (
    "All figures are read from the files that the evaluation wrote. They were measured on the public collections that "
    "the network also learnt from, on other patients. **In a hospital that it has never seen, expect less.**"
)
ORIGINAL_TITLE = "Beside the original"
ORIGINAL_NOTE = (
    "The original project's figures are its own, on a small test set of the collections that it was trained on. It "
    "calls them weighted; but weighted by class size, recall is accuracy, and its recall is not. They fit COVID-19 "
    "alone for the binary question and the plain mean of the classes for the other, so the first of our columns is the "
    "one to read beside them. The images are not the same: nothing can be subtracted. A dash has not been measured."
)
COLUMN_FIGURE, COLUMN_ORIGINAL = "Figure", "Original"
COLUMN_OURS = "This network, COVID-19 alone or plain mean (95 % interval)"
COLUMN_OURS_WEIGHTED = "This network, weighted by class size"
FIGURES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1", "auc": "AUC"}
NOT_DEFINED = "–"
ESTIMATE = "{value:.3f} ({low:.3f} to {high:.3f})"
SOURCES_TITLE = "By source"
SOURCES_NOTE = "Test split, other patients than in training, 95 % intervals. A dash: not defined for this source."
COLUMN_SOURCE, COLUMN_IMAGES, ALL_SOURCES = "Source", "Images", "all"
MEASURES = {
    "binary_auroc": "Binary AUROC",
    "binary_balanced_sensitivity": "Sensitivity",
    "binary_balanced_specificity": "Specificity",
    "three_class_macro_auroc": "Three-class AUROC",
    "three_class_accuracy": "Three-class accuracy",
    "binary_ece": "Binary ECE",
}
NOTHING_MEASURED = "Nothing has been measured yet."
AUDIT_TITLE = "Does it look at the disease?"
AUDIT_LEAD = (
    "A network can score well without looking at a lung: by borders, markers, exposure or the patient's age, which "
    "tell the collections apart. The audit trains networks that see nothing else. Where one of them comes within "
    "0.05 AUROC of the real network, that split proves nothing."
)
SALIENCY_TITLE = "Can the maps be trusted?"
SALIENCY_PLOTS = "The figures behind it"
PASSING_TITLE = "What is refused"
PASSING_WHAT, PASSING_REFUSED, PASSING_WARNED = "Pictures", "Refused", "Refused or warned of"
PASSING_GROUPS = {
    "false_refusals": "frontal X-rays, {name}",
    "false_refusals_of_a_source_left_out": "frontal X-rays, {name}, by a gate that never saw this source",
    "turned_and_inverted": "X-rays, {name}",
    "side_views_slices_and_limbs_cross_validated": "{name}, by gates that saw no copy of it",
    "not_frontal_cross_validated": "{name}, by gates that saw no copy of it",
    "held_out": "{name}, not learnt from",
}
PASSING_NOTE = (
    "Frontal X-rays should pass, all others should not. Measured on the validation split, from which the thresholds "
    "come; side views, CT slices and limbs are few."
)
CANDIDATES_TITLE = "The networks that were compared"
CANDIDATES_NOTE = (
    "Each trained for {batches} batches of the same pictures in the same order, so all are far from their best; "
    "measured on the validation split, and on a pair of collections that a second training of it never saw: the "
    "COVID-19 images of the one against the other images of the other. In misleading surroundings: what lies around "
    "the lungs comes from a picture with the other answer, so that whoever goes by it is wrong. 95 % intervals over "
    "patients."
)
COLUMN_CANDIDATE = "Network"
CANDIDATE_LEFT_OUT = "AUROC where left out: {pair}"
CANDIDATE_OWN_SOURCE = "Within the first of them alone: {pair}"
CANDIDATE_MEASURES = {
    "binary_auroc": "Binary AUROC",
    "binary_auroc_in_misleading_surroundings": "In misleading surroundings",
    "evidence_in_lungs": "Evidence in the lungs",
}
CANDIDATE_MORE_MEASURES = {
    "auroc_covid19_against_other_pneumonias": "AUROC, COVID-19 against other pneumonias",
    "three_class_macro_auroc": "Three-class AUROC",
    "three_class_accuracy": "Three-class accuracy",
}
MAPS_IN_LUNGS = (
    "Of {n} COVID-19 decisions that are right, the median share of the evidence in the lungs is {share}, {times:.1f} "
    "times the lungs' share of the picture. On this grid a map equal to the lungs would keep {ceiling:.0%} there, a "
    "map without preference {by_chance:.0%}."
)
MAPS_PEAK = "The strongest evidence lies in a lung in {share} of them."
MAPS_CURVES = {
    "deletion": "Exchanging a picture's parts for another class's, the map's strongest first, lowers its probability",
    "insertion": "Putting its parts into another class's picture in that order raises the probability there",
}
MAPS_COMPARED = {"lung_prior": "the order of a map of the lungs' middle", "random": "a random order"}
MAPS_MORE, MAPS_LESS, MAPS_EITHER = "more than in", "less than in", "not for certain otherwise than in"
MAPS_RANDOMISED = (
    "With random weights in the top layer a map's rank correlation with itself is {top:.2f} ({spots:.2f} if its sign "
    "is left out), with random weights in every layer {all_gone:.2f} without the sign: a map that stayed as it was "
    "would explain nothing."
)
AUDIT_NONE = "The audit's results are not shipped with this version."
AUDIT_LINE = "{name}: {value}"
LIMITS_TITLE = "What it can't do"
PLOTS_TITLE = "Curves"
TRAINING_TITLE = "Validation along the training"
TRAINING_CURVES = {"binary_auroc": "binary AUROC", "three_class_auroc": "three-class AUROC"}
TRAINING_STEPS, TRAINING_VALUE = "Batches", "On validation"
ARCHITECTURE_TITLE = "How it is built"
ARCHITECTURE_ALT = (
    "The network from left to right: the picture, a first convolution, units of convolution, depthwise convolution "
    "and convolution on an ever coarser grid with ever more channels, the average over the grid, and two dense layers."
)
ARCHITECTURE_NOTE = (
    "Each block is as tall as its grid and as wide as its channels, on a logarithmic scale. The last map is averaged "
    "and read by one dense layer a question, so the map of a class is its logit, spread out."
)
TERMS_TITLE = "The words"
TERMS = {
    "AUROC, AUC": "the chance that of two pictures the one with the disease gets the higher score. 0.5 is a coin.",
    "sensitivity, recall": "of those who have it, the share that is found.",
    "specificity": "of those who don't have it, the share that is cleared.",
    "precision": "of those who are called ill, the share that is.",
    "accuracy": "the share of right answers; it depends on how common the disease is among the test pictures.",
    "F1": "the harmonic mean of precision and recall.",
    "calibrated": "of the pictures given 80 %, about 80 in a hundred have it, if they are like the test pictures.",
    "ECE": "expected calibration error: how far, on average, probabilities lie from what turned out true.",
    "95 % interval": "what chance in the choice of test patients leaves open. Not what another hospital would change.",
    "operating point": "the probability at which the answer turns: balanced, sensitive or specific. Sensitivity and "
    "specificity are those of all pictures decided by it; those too close to it are indeterminate all the same.",
    "indeterminate": "too close to the operating point, or two classes too close together. The network abstains.",
    "likelihood ratio": "by how much an answer multiplies the odds; sensitivity / (1 - specificity) when positive.",
    "logit": "what the network adds up before it becomes a probability. Evidence is measured in it.",
    "validation, test": "pictures to choose settings with, and pictures to report on once.",
}

# DICOM results
DICOM_QUESTION = "Question: {mode}."
DICOM_POINT = "Operating point: {name}, {threshold:.1%}."
DICOM_EVIDENCE = "Evidence for {name}:"
DICOM_XRAY_PANEL = "X-ray as it was analysed"
DICOM_MAP_PANEL = "Evidence for {name}: orange speaks for, blue against it; full colour at {full_scale:.2f} logit units"
DICOM_MAP_PANEL_AGAINST = "Evidence for {name} rather than {other}; full colour at {full_scale:.2f} logit units"
DICOM_LUNGS_LAYER = "Lung outlines, as the network found them"
DICOM_FOR_LAYER = "Evidence for {name}, {level:+.2f} logit units and more"
DICOM_AGAINST_LAYER = "Evidence against {name}, {level:+.2f} logit units and less"
DICOM_NOTES_LAYER = "Answer and notice"
DICOM_SC_DESCRIPTION = "X-ray beside the network's evidence, made from the referenced image"

# A hospital's own calibration
INDETERMINATE_SET = "By this hospital's calibration the X-ray may be: {names}."
INDETERMINATE_EMPTY_SET = "By this hospital's calibration the X-ray is like none of the classes."
SITE = "Calibrated at {name} on {images} X-rays, {month}."
SITE_OLD = "More than a year ago: equipment and patients may have changed. Measure again."
SITE_TOO_FEW = "Not set: at least {least} X-rays of each class are needed. Missing: {wanted}."
SITE_ALLOWS = "{what}: known to ± {points:.0f} percentage points from {n} X-rays; {more} more would halve that."
SITE_LEFT_OUT = "Left out: {count} {reason}."
LEFT_OUT_REJECTED = "rejected files"
LEFT_OUT_REPEATS = "repeats of one picture"
LEFT_OUT_PATIENTS = "further pictures of one patient"

SITE_FIGURES = {
    "coverage": "Prediction sets that hold the truth",
    "answered": "X-rays with a single answer",
    "slope": "Slope of the recalibration",
    "offset_covid19": "Offset, COVID-19",
    "offset_normal": "Offset, normal",
    "offset_bacterial_pneumonia": "Offset, bacterial pneumonia",
    "auroc": "Area under the ROC curve",
    "likelihood_ratio_positive": "Likelihood ratio of the answer COVID-19",
    "likelihood_ratio_negative": "Likelihood ratio of the answer not COVID-19",
    "balanced_sensitivity": "Sensitivity at the balanced threshold",
    "balanced_specificity": "Specificity at the balanced threshold",
    "sensitive_sensitivity": "Sensitivity at the sensitive threshold",
    "sensitive_specificity": "Specificity at the sensitive threshold",
    "specific_sensitivity": "Sensitivity at the specific threshold",
    "specific_specificity": "Specificity at the specific threshold",
}
SITE_CLASS_FIGURES = {
    "coverage": "{name}: prediction sets that hold the truth",
    "recall": "{name}: X-rays with a single, right answer",
}
SITE_REPORT_LEAD = (
    "Measured on {images} labelled X-rays of this hospital. Of further X-rays like these, at least {coverage:.0f} % of "
    'each class will get an answer, or a "can\'t tell", that does not exclude the truth.'
)
SITE_REPORT_NOTES = (
    "The promise holds for X-rays of the same kind: other equipment, other patients or another epidemic end it.",
    'A picture whose set holds more than one class, or none, is answered "can\'t tell".',
    "Figures of the prediction sets were measured with each X-ray left out of the quantiles that judge it.",
    "Figures at the three thresholds were measured on the X-rays that set them, so they flatter slightly.",
    "The probabilities speak for a group in which the classes are as frequent as among these X-rays.",
)

# Is this hospital like the collections?
LIKE = "Nothing in these {n} X-rays sets them apart from the collections that the network learnt from (p = {p:.2f})."
UNLIKE = (
    "These {n} X-rays look different from the collections that the network learnt from (p = {p:.3f}). Expect less of "
    "its answers here, and measure them: `cxr-detector calibrate`."
)
TOO_FEW_TO_COMPARE = "{least} X-rays are needed for a comparison. Received {n}."
SIGN_SIZE = "Smaller than 19 of 20 pictures of the collections: {count} of {n}."
SIGN_VIEW = "View AP: {share:.0f} % here, {other:.0f} % in the collections, where the header says."
SIGN_TONE = "Grey values spread unlike 19 of 20 pictures of the collections: {count} of {n}."
