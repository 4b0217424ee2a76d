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
    from collections.abc import Mapping, Sequence


def percent(share: float) -> str:
    """A share as every sentence and chart writes it: "97 %"; 0 and 100 only for exactly none and all."""
    if 0 < share < 0.005:
        return "< 1 %"
    if 0.995 < share < 1:
        return "> 99 %"
    return f"{100 * share:.0f} %"


# The page as a whole
TITLE = "Chest X-ray detector"
PAGE_ROOM, PAGE_QUALITY = "Reading room", "How good is it?"
NOTICE_LINE = "Research demonstration, not for diagnosis."
NOTICE_PRIVACY = "Your images stay on this computer."
ABOUT = "What this is"
WELCOME_IS = (
    "**What this is:** a research and teaching demonstration. A small network looks at one frontal chest X-ray at a "
    "time, gives calibrated probabilities, and shows which parts of the picture they come from."
)
WELCOME_IS_NOT = (
    "**What it is not:** a medical device, a second reader, or a test for COVID-19. It knows no history, no earlier "
    "image and no disease but COVID-19 and pneumonia. It was measured on public collections, not on your patients. In "
    "a hospital that it has never seen it can be wrong more often."
)
RELEASED = "released within two minutes after the page is closed"  # docs/privacy.md and docs/SECURITY.md say it alike
WELCOME_PRIVACY = f"**Your images** stay in this computer's memory and are {RELEASED}."
ACCEPT = "I understand, not for diagnosis"

# Upload
UPLOAD = "Drag chest X-rays here: PNG, JPEG or DICOM"
UPLOAD_FOLDER, FOLDER, ADD = "Choose folder", "Folder", "Add"
UPLOAD_HELP = (
    "Several files at once are fine. They are kept in memory while this page is open and go nowhere. "
    "One page holds up to {gigabytes} GB."
)
UPLOADS_FULL = "Some files were not added: one page holds up to {gigabytes} GB. Clear the list, then upload the rest."
CLEAR = "Clear list"
REMOVE = "Remove"
REMOVE_HELP = "Takes the open X-ray off the list and out of this computer's memory."
MORE = "More"
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
    "Where the threshold between COVID-19 and not lies. Sensitive misses few and has many false alarms; specific has "
    'few false alarms and misses more. Close to the threshold the answer is "can\'t tell". If every image is decided, '
    "on validation: "
)
OPERATING_POINT_MEASURED = "{name} finds {sensitivity} and clears {specificity}"

# Analysis
LOADING = "Loading the network. X-rays can be dragged in meanwhile."
ANALYSING = "{done} of {total} analysed{left}"
ANALYSING_ONE = "Analysing {name} …"
CANCEL, RESUME = "Stop", "Go on with the rest"
MODEL_FAILED = "The network cannot be loaded, so nothing can be analysed. {cure}"


def time_left(seconds: float | None) -> str:
    """The rest of a run in words; nothing while it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f", about {max(1, round(seconds))} s left"
    return f", about {round(seconds / 60)} min left"


# Worklist
WORKLIST = "Worklist"
TOTALS, ORDER = "Show", "Sort"
HEADS = {
    "number": ("#", "Sort by arrival"),
    "name": ("Name", "Sort by name"),
    "urgency": (
        "Answer",
        "Sort by what needs attention first: findings, can't tell, rejected, warned, the rest. Not triage.",
    ),
    "covid19": ("COVID-19", "Sort by the probability of COVID-19"),
    "warnings": ("▲", "Sort by the number of warnings"),
}
KINDS = {
    "all": "All",
    COVID19: "COVID-19",
    BACTERIAL_PNEUMONIA: "bacterial",
    NORMAL: "normal",
    NOT_COVID19: "not",
    INDETERMINATE: "can't tell",
    "rejected": "rejected",
    "failed": "failed",
    "waiting": "waiting",
    "left_out": "not analysed",
    "warned": "warned",
}
WAITING, LEFT_OUT, REJECTED, FAILED = "Waiting", "Not analysed", "Rejected", "Failed"
LEFT_OUT_HINT = "Not analysed, because the run was stopped. *Go on with the rest* analyses it."
ROW_WARNED = "{count} warnings"
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
NAMES = {
    COVID19: "COVID-19",
    NOT_COVID19: "“not COVID-19”",
    NORMAL: "normal",
    BACTERIAL_PNEUMONIA: "bacterial pneumonia",
}
HEADLINES = {
    COVID19: "COVID-19 pattern {probability}",
    NOT_COVID19: "No COVID-19 pattern",
    NORMAL: "Normal {probability}",
    BACTERIAL_PNEUMONIA: "Bacterial pneumonia pattern {probability}",
    INDETERMINATE: "Can't tell",
}
DECISION_LABELS = {**CLASSES, INDETERMINATE: "Can't tell"}


def headline(decision: str, probabilities: Mapping[str, float]) -> str:
    """The answer in a few words, with its own probability where it names a pattern."""
    return HEADLINES[decision].format(probability=percent(probabilities.get(decision, 0.0)))


def decision_line(decision: str, probabilities: Mapping[str, float]) -> str:
    """An answer as a line of a list: the decision with its own probability; "can't tell" with that of COVID-19."""
    if decision == INDETERMINATE:
        return f"{DECISION_LABELS[INDETERMINATE]} · {CLASSES[COVID19]} {percent(probabilities[COVID19])}"
    return f"{CLASSES[decision]} {percent(probabilities[decision])}"


def all_classes(probabilities: Mapping[str, float]) -> str:
    """All probabilities of a task, the largest first: "bacterial pneumonia 96 % · normal 3 % · COVID-19 1 %"."""
    ordered = sorted(probabilities, key=lambda name: -probabilities[name])
    return " · ".join(f"{NAMES[name].strip('“”')} {percent(probabilities[name])}" for name in ordered)


def own_task(mode: str, probabilities: Mapping[str, float]) -> str:
    """A task's probabilities in a line: "Three-class: normal 93 % · …"."""
    return OTHER_TASK.format(mode=MODES[mode], classes=all_classes(probabilities))


def other_task(mode: str, decision: str, probabilities: Mapping[str, float]) -> str:
    """The other task's answer in a line, with "can't tell" where it is indeterminate."""
    said = OTHER_TASK_INDETERMINATE if decision == INDETERMINATE else OTHER_TASK
    return said.format(mode=MODES[mode], classes=all_classes(probabilities))


OTHER_TASK = "{mode}: {classes}"
OTHER_TASK_INDETERMINATE = "{mode}: can't tell ({classes})"
LOOKS_FOR_NOTHING_ELSE = "Looks for nothing else: no nodule, effusion or pneumothorax."
INDETERMINATE_NEAR = (
    "COVID-19 {value} lies between {low} and {high}, too close to the threshold of {threshold} to call."
)
INDETERMINATE_TWO = (
    "{first} {value}, {second} {other}: to be called, a class must be {times:.0f} times as probable as the next."
)
FORCED = "analysed although it was rejected"
TURNED, INVERTED = "rotated before the analysis", "inverted before the analysis"
BADGES = {TURNED: "ROTATED", INVERTED: "INVERTED", FORCED: "REJECTED"}
INDETERMINATE_CONTRADICTION = "Binary: COVID-19 {covid19}. Three-class: normal {normal}. They can't both be right."
PROBABILITY_AXIS = "Calibrated probability"
PROBABILITY_ALT = "Bar chart of calibrated probabilities: {bars}."
THRESHOLD = "threshold {threshold}; grey: too close to call"
THRESHOLD_ALT = "Threshold of COVID-19 at {threshold}."
WHISKER_ALT = "{name} stays between {low} and {high} when the picture changes a little."
STABILITY = "Check stability"
STABILITY_HELP = (
    "Rotates, shifts, brightens and blurs the picture a little and asks the network again. The whiskers show how far "
    "the answer moves."
)
STABILITY_RUNNING = "Asking the network again, with small changes …"
STABLE = "Whiskers: under {count} mild changes of the picture the answer spans at most {span:.0f} percentage points."

# Warnings about a file and its picture
OUTSIDE_WARNING = "Most of the evidence lies outside the lungs. Distrust this answer."
OTHER_DISAGREES = "The two questions disagree. {mode}: {decision}."
FORCED_WARNING = "Analysed although it was rejected: {reason}"
UPSIDE_DOWN_WARNING = "The picture may be upside down."
ON_ITS_SIDE_WARNING = "The picture may lie on its side."
INVERTED_WARNING = "The image seems inverted."
NO_LUNGS_WARNING = "No lungs were found in the picture."
CUT_OFF_WARNING = "The {edge} edge of the picture seems to cut off a lung."
NOT_FRONTAL_WARNING = "This may not be a frontal view."
NOT_PLAIN_WARNING = "This may not be a plain X-ray."
CHILD_WARNING = "This looks like a child's chest. The network knows only children aged one to five from one hospital."
UNUSUAL_WARNING = "The picture differs from the chest X-rays that the network has learnt from."
BURNED_IN_WARNING = "The file says that text is burned into the picture; it may name the patient."
RAW_WARNING = "The file holds raw detector values (FOR PROCESSING), not the picture meant for reading."
ROTATED_ON_REQUEST = "The picture was rotated on request."
INVERTED_ON_REQUEST = "Black and white were exchanged on request."
LOW_CONTRAST_WARNING = "The picture has very little contrast."
BLACK_WARNING = "More than half of the picture is black."
WHITE_WARNING = "More than half of the picture is white."
LONG_WARNING = "The picture is unusually long for a frontal chest X-ray; part of a chest may be missing."
SMALL_WARNING = "The picture is smaller than those that the network has learnt from (224 pixels)."
COLOUR_WARNING = "The picture contains colour; a radiograph does not."
GREY_LEVELS_WARNING = "The picture has only {levels} grey levels."
COLOUR_PALETTE_WARNING = "The picture was stored as a colour palette and was read as grey."
TRANSPARENCY_WARNING = "The picture has a transparency layer, which was ignored."
CMYK_WARNING = "The picture was stored as CMYK and was read as grey."
OWN_RANGE_WARNING = "The picture uses {bits} of 16 bits; its own range was used."
MISNAMED_WARNING = "The file is named like {promised} but holds {found}; it was read as {found}."
WINDOWS_WARNING = "The file has several windows; the first was used."
WINDOW_UNUSABLE_WARNING = "The file's display window is not usable; the range of its values was used."
SPACING_WARNING = "The file's pixel spacing is not usable; it was ignored."

# The first words of a warning, and how its chip says it; the gravest first.
CHIPS = (
    (OUTSIDE_WARNING, "Evidence outside the lungs"),
    (OTHER_DISAGREES.partition(".")[0], "The two questions disagree"),
    (FORCED_WARNING.partition(":")[0], "Analysed although rejected"),
    (UPSIDE_DOWN_WARNING, "May be upside down"),
    (ON_ITS_SIDE_WARNING, "May lie on its side"),
    (INVERTED_WARNING, "Seems inverted"),
    (NO_LUNGS_WARNING, "No lungs found"),
    (NOT_FRONTAL_WARNING, "Maybe not frontal"),
    (NOT_PLAIN_WARNING, "Maybe not a plain X-ray"),
    (CHILD_WARNING, "Looks like a child"),
    (UNUSUAL_WARNING, "Unlike the training X-rays"),
    (BURNED_IN_WARNING, "Text burned in"),
    (RAW_WARNING, "Raw detector values"),
    (ROTATED_ON_REQUEST, "Rotated on request"),
    (INVERTED_ON_REQUEST, "Inverted on request"),
)
MORE_CHIPS = "{count} more"
CHIP_LENGTH = 30  # characters; a longer sentence is shown in full when its chip is opened

# Files without an answer
REJECTED_TITLE, FAILED_TITLE = "No answer: rejected", "No answer: failed"
REJECTED_ALT = "The rejected picture {name}"
NO_PICTURE = "There is no picture to show."
NO_MAP = "No answer, so no map."
PICTURE_GONE = "This computer has no time or memory to decode the picture again just now. Try opening it again."
FORCE = "Analyse anyway"
FORCE_HELP = "The answer is marked wherever it goes. The network has learnt nothing about such pictures."
CORRECT_TURN, CORRECT_INVERT, CORRECT_BOTH = "Rotate and analyse", "Invert and analyse", "Rotate, invert and analyse"
CORRECT_HELP = "Where the picture is both rotated and inverted, both are corrected at once."
CORRECTION_REFUSED = "The picture was rejected when corrected as suggested, so it was left as it came."

# Judgement
PRE_TEST = "Pre-test probability of COVID-19"
PRE_TEST_HELP = (
    "How probable COVID-19 was before the X-ray: how common it is where the patient comes from, symptoms, contacts. "
    "Formula: post-test odds = pre-test odds × likelihood ratio, with odds = p / (1 - p)."
)
POST_TEST = "Post-test probability: **{value}** ({low} to {high})"
POST_TEST_WHY = (
    "Post-test odds = pre-test odds × LR. {kind} = {value} ({low} to {high}), measured in a hospital that "
    "the network had not seen: {hospital}."
)
POST_TEST_WHY_HERE = (
    "Post-test odds = pre-test odds × LR. {kind} = {value} ({low} to {high}), measured in your hospital: {hospital}."
)
LR_POSITIVE, LR_NEGATIVE = "LR+ of an answer above the threshold", "LR- of an answer below it"

# What an answer is worth in a hospital that the network has not seen
WORTH_NOT_MEASURED = "What this answer is worth in a new hospital: not measured."
WORTH_UNKNOWN = (
    "What this answer is worth in a new hospital: not known (n = {covid19} COVID-19, {others} {others_are})."
)
WORTH_POSITIVE = "In a hospital it had not seen, a positive answer multiplied the odds by {value} ({low} to {high})"
WORTH_NEGATIVE = "In a hospital it had not seen, a negative answer multiplied the odds by {value} ({low} to {high})"
WORTH_NONE = "In a hospital it had not seen: no proven value (odds × {value}, {low} to {high})"
WORTH_COMPARED = "{said}, against {others_are} of one hospital, {others} of them."
COMPARED_WITH = {NORMAL: "normal X-rays", "others": "other X-rays"}

# X-ray and map
XRAY_PANEL, MAP_PANEL = "X-ray", "Evidence for {name}"
CONTRAST = "{name} rather than {other}"
VIEWER = {
    "viewer": "X-ray and map",
    "explain": "Class that the map explains",
    "rather_than": "rather than",
    "other_classes": "the other classes",
    "map": "Map",
    "xray": "X-ray",
    "panel": "What is shown",
    "style": "How the map is drawn",
    "colour": "Colour",
    "lines": "Lines",
    "opacity": "Opacity of the map",
    "grey": "Grey scale: window and level",
    "window": "Window",
    "level": "Level",
    "invert": "Invert",
    "out": "Zoom out",
    "in": "Zoom in",
    "fit": "Fit",
    "reset": "Reset window and zoom",
    "full": "Full screen",
    "help": "Keyboard and mouse",
    "keys_on": "Listen to these keys",
    "scale": "against ← → for (logit units)",
    "sides": "As displayed: the marker in the picture counts",
    "w": "W",
    "l": "L",
    "inverted": "inverted",
    "previous": "Previous",
    "next": "Next",
    "more": "More tools",
}
VIEWER_KEYS = (
    ("← →", "previous, next X-ray"),
    ("1 2 3", "class that the map explains"),
    ("M", "map on, off"),
    ("I", "invert"),
    ("F", "fit"),
    ("0", "reset window and zoom"),
    ("+ -", "zoom"),
    ("Ctrl+wheel", "zoom"),
    ("drag", "move"),
    ("right-drag", "window (across), level (down)"),
)


def map_title(target: str, against: str | None) -> str:
    """What a map explains: a class, or a class rather than another."""
    name = NAMES[target] if against is None else CONTRAST.format(name=NAMES[target], other=NAMES[against])
    return MAP_PANEL.format(name=name)


MAP_ALT = "The same X-ray with the evidence laid over it: {title}. {sentence}"
XRAY_ALT = "The X-ray {name}"
NOT_MEASURED = "The lungs were not found, so where the evidence lies was not measured."
FAINT = "There is next to no evidence for {name}; the map is nearly clear."
OPPOSED = "Mostly against {name}{zones}."
IN_LUNGS = "Mostly for {name}{zones}. {share} of that evidence lies in the lungs ({area} of the picture)."
CONTRASTED = "For {name} rather than {other}{zones}."
CONTRASTED_AGAINST = "For {other} rather than {name}{zones}."
ZONES_NAMED = ": {zones}"


def listed(names: Sequence[str]) -> str:
    """Names as a list in a sentence: "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


MAP_CAUTION = "The map says where the network looked, not where the disease is."

# Saving
COLUMN_IMAGE, COLUMN_NAME, COLUMN_DECISION = "X-ray", "Name", "Answer"
COLUMN_PROBABILITY, COLUMN_WARNINGS = "COVID-19", "Warnings"
BURNED_INVERTED = "SHOWN INVERTED"
SCALE_PRINTED = "against (blue) to for (orange), logit units"
SAVE_CASE, SAVE_LIST = "Save this answer", "Save the list"
SAVE_NAME = "Write the file's name into it"
SAVE_NAME_HELP = "File names often contain a patient's name or number. Otherwise, files are numbered."
SAVE_AS = {
    "pdf": "PDF report",
    "png": "PNG picture",
    "csv": "CSV table",
    "json": "JSON record",
    "zip": "DICOM objects, with the patient's name",
}
NEUTRAL_NAME = "X-ray {number}"
PRINTED_QUESTION, PRINTED_WHEN = "Question: {mode}.", "Answered by {when}."
PRINTED_POINT = "Operating point {name}: threshold {threshold}, chosen on {cohort}."

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
    "Good for showing how such a network answers and where it fails. On X-rays like those that it learnt from it is "
    "right most of the time; **in a hospital that it has never seen, this has not been shown.**"
)
QUALITY_BARS = "Telling COVID-19 from everything else"
AUROC_AXIS = "AUROC: 1 is perfect, 0.5 is chance; 95 % intervals"
OF_IMAGES = ", n = {n}"
SAME_COLLECTIONS = "Same collections, other patients"
UNSEEN_HOSPITAL = "Unseen hospital: {name}"
UNSEEN_COLLECTIONS = "Unseen collections (lowest to highest)"
CHANCE = "Chance"
COHORTS = {
    ("test", "source"): "{name}",
    ("test", "hospital"): "{name} (hospital)",
    ("external_test", "hospital"): "{name} (never seen)",
}
FREQUENCIES_TITLE = "In people, on X-rays like those that it learnt from"
FREQUENCY_ILL = "Of 100 people with COVID-19: {flagged} flagged, {missed} missed."
FREQUENCY_WELL = "Of 100 people without: {false} falsely flagged."
WORST_TITLE, WORST_GROUP = "Worst group", "{source}: AUROC {figure}, {n} images."
NEW_HOSPITAL_TITLE = "A positive answer in a new hospital"
TRUST_TITLE = "The maps"
MAPS_TRUSTED = (
    "{inside} of the evidence for COVID-19 lies in the lungs, its peak in a lung in {peak} of the cases; {said}."
)
MAPS_BETTER = "they point at what the answer rests on better than a map of the lungs' middle does"
MAPS_NO_BETTER = "they point at what the answer rests on no better than a map of the lungs' middle does"
NEVER_SEEN_TITLE = "Never seen, or hardly"
TABS = ("By source and hospital", "Calibration and curves", "Shortcut audit", "Rejections", "Methods")
ORIGINAL_TITLE = "Beside the original"
ORIGINAL_NOTE = (
    "The original project reported its figures on a small test set: COVID-19 from ieee8023 against children from "
    "kaggle. That mix flatters, because telling adults from children is nearly always enough. The next column has this "
    "network on the same mix, with our test patients; the last has it on all of our test split, adults with other "
    "pneumonias included. The binary figures are those of COVID-19 alone and the three-class figures the plain mean "
    "of the classes, which fits the original's. The images are not the same, so the columns can't be subtracted. A "
    "dash: not measured."
)
COLUMN_FIGURE, COLUMN_ORIGINAL = "Figure", "Original"
COLUMN_OURS_ON_ITS_MIX = "This network, on its mix (95 % interval)"
COLUMN_OURS = "This network, all of our test split"
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
REJECTED_WHAT, REJECTED_SHARE, REJECTED_OR_WARNED = "Pictures", "Rejected", "Rejected or warned about"
REJECTION_ROWS: dict[str, dict[str, tuple[str, ...] | None]] = {
    "Frontal chest X-rays (should pass)": {"false_refusals": None},
    "Rotated or inverted chest X-rays": {"turned_and_inverted": None},
    "Lateral views, CT slices, limbs": {
        "not_frontal_cross_validated": ("side_view", "slice", "other"),
        "side_views_slices_and_limbs_cross_validated": None,
    },
    "Photographs, pages, noise": {"held_out": None},
}
REJECTED_NOTE = (
    "Frontal X-rays should pass, all others should not. Measured on the validation split, from which the thresholds "
    "come, by gates that had seen no copy of the picture; lateral views, CT slices and limbs are few."
)
CANDIDATES_TITLE = "The networks that were compared"
CANDIDATES_NOTE = (
    "Each was trained for {batches} batches of the same pictures in the same order, so all are far from their best; "
    "measured on the validation split. In misleading surroundings: what lies around the lungs comes from a picture "
    "with the other answer, so a network that relies on it is wrong. 95 % intervals over patients."
)
CANDIDATES_SEEDS = (
    "Figures below each other are those of trainings that differ in their seed alone: what differs less than they do "
    "is chance."
)
CANDIDATES_PAIRS = (
    "After a second training without them, a pair of collections: the COVID-19 images of one against the other images "
    "of the other."
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
    "auroc_covid19_against_adult_opacities": "AUROC, COVID-19 against adults' opacities",
    "auroc_opacity_against_normal_nih": "AUROC, opacity against normal in one hospital (nih)",
    "auroc_covid19_against_other_pneumonias_ieee8023": "AUROC, COVID-19 against other pneumonias in ieee8023",
    "three_class_macro_auroc": "Three-class AUROC",
    "three_class_accuracy": "Three-class accuracy",
}
MAPS_IN_LUNGS = (
    "Of {n} COVID-19 decisions that are right, the median share of the evidence in the lungs is {share}, {times:.1f} "
    "times the lungs' share of the picture. On this grid a map equal to the lungs would keep {ceiling} there, a "
    "map without preference {by_chance}."
)
MAPS_PEAK = "The strongest evidence lies in a lung in {share} of them."
MAPS_CURVES = {
    "deletion": "Exchanging a picture's parts for another class's, the map's strongest first, lowers its probability",
    "insertion": "Putting its parts into another class's picture in that order raises the probability there",
}
MAPS_COMPARED = {"lung_prior": "the order of a map of the lungs' middle", "random": "a random order"}
MAPS_MORE, MAPS_LESS, MAPS_EITHER = "more than in", "less than in", "not demonstrably more or less than in"
MAPS_RANDOMISED = (
    "With random weights in the top layer a map's rank correlation with itself is {top:.2f} ({spots:.2f} if its sign "
    "is left out), with random weights in every layer {all_gone:.2f} without the sign: a map that stayed as it was "
    "would explain nothing."
)
AUDIT_NONE = "The audit's results are not shipped with this version."
AUDIT_NETWORKS = {
    "shipped_network": "The network",
    "shipped_network_in_misleading_surroundings": "The network, surroundings of another answer",
    "shipped_network_on_blacked_out_lungs": "The network, lungs blacked out",
    "lungs_blacked_out": "Trained on blacked-out lungs",
    "source_and_age": "Source and age alone",
    "border": "Border of the file alone",
    "border_of_the_input": "Border of its input alone",
    "spectrum": "Finest frequencies of the file alone",
    "spectrum_of_the_input": "Finest frequencies of its input alone",
}
AUDIT_LEFT_OUT = "Left out: {positive} against {negative}"
AUDIT_NOTE = (
    "What sees no lung should be near 0.5. Where one of these came within 0.05 of the network, or where the network "
    "itself is below 0.6 on collections left out of its training, the line is red."
)
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
    "AUROC, AUC": "the chance that of two pictures the one with the disease gets the higher score. 0.5 is chance.",
    "sensitivity, recall": "of those who have it, the share that is found.",
    "specificity": "of those who don't have it, the share that is cleared.",
    "precision": "of those who are called ill, the share that is.",
    "accuracy": "the share of right answers; it depends on how common the disease is among the test pictures.",
    "F1": "the harmonic mean of precision and recall.",
    "calibrated": "of the pictures given 80 %, about 80 in a hundred have it, if they are like the test pictures.",
    "ECE": "expected calibration error: how far, on average, probabilities lie from what turned out true.",
    "95 % interval": "what chance in the choice of test patients leaves open. Not what another hospital would change.",
    "operating point": "the probability at which the answer changes: balanced, sensitive or specific. Sensitivity and "
    'specificity are those of all pictures decided by it; for those too close to it the answer is "can\'t tell".',
    "can't tell": "too close to the operating point, or two classes too close together. JSON calls it indeterminate.",
    "likelihood ratio": "by how much an answer multiplies the odds; sensitivity / (1 - specificity) when positive.",
    "logit": "what the network adds up before it becomes a probability. Evidence is measured in it.",
    "validation, test": "pictures to choose settings with, and pictures to report on once.",
}

# What the networks can't do, as their cards say it
LIMITS = (
    "Not a medical device. No figure here was measured prospectively.",
    (
        "Every image of the test split comes from the collections that training saw, so its figures flatter: the "
        "sources can be told apart without looking at a lung, and another hospital may get much worse answers."
    ),
    (
        "Bacterial pneumonia was learnt from children of one to five and a few adults. Bacterial against other "
        "pneumonia was not tested in adults (24 pictures in all): there, it means pneumonia that is not COVID-19."
    ),
    (
        "Adults with another pneumonia come from one hospital that never has COVID-19: whoever knows the hospital "
        "is right about them. Whether networks that see no lung come near stands in the audit."
    ),
    "Viral pneumonia other than COVID-19 is none of the three classes; it was taught as neither normal nor COVID-19.",
    (
        "Frontal views only. The gate rejects most lateral views, CT slices, rotated and inverted pictures and "
        "photographs; what it lets pass, and which X-rays it rejects wrongly, was measured on few pictures."
    ),
    "Children were seen from one hospital only, so an answer about a child from another one is a guess.",
)
LUNG_LIMITS = (
    (
        "Trained and measured on children of one hospital and on adults of a collection of publications. The other "
        "collections have no masks, so how well the lungs of their adults are found was looked at and not measured."
    ),
    "A lung that is white throughout, or out of the picture, may be found in part.",
)

# DICOM results
DICOM_QUESTION = "Question: {mode}."
DICOM_POINT = "Operating point: {name}, threshold {threshold}."
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
SITE_WITHOUT_TASK = "Not calibrated at {name} for this question. {reason}"
SITE_POSITIVE = "There a positive answer multiplied the odds by {value} ({low} to {high})"
SITE_NEGATIVE = "There a negative answer multiplied the odds by {value} ({low} to {high})"
SITE_NONE = "There: no proven value (odds × {value}, {low} to {high})"
SITE_COMPARED = "{said}, {covid19} COVID-19 against {others} {others_are}."
SITE_RECALL = "There, {value} ({low} to {high}) of {n} X-rays of this class got it as their single answer."
SITE_REJECTED = "{name} was not accepted. {reason}"
SITE_SETTING = "The hospital's own calibration that this computer is set to"
SITE_REMOVE = "Stop using the calibration of {name}"
SITE_REMOVE_HELP = "Answers are the network's own again, as it was measured on public collections."
SITE_OLD = "More than a year ago: equipment and patients may have changed. Measure again."
SITE_TOO_FEW = "Not set: at least {least} X-rays of each class are needed. Missing: {wanted}."
SITE_ALLOWS = "{what}: known to ± {points:.0f} percentage points from {n} X-rays; {more} more would halve that."
SITE_LEFT_OUT = "Left out: {reason}, {count}."
LEFT_OUT_REJECTED = "rejected files"
LEFT_OUT_FAILED = "files that failed"
LEFT_OUT_REPEATS = "repeats of one picture"
LEFT_OUT_PATIENTS = "further pictures of one patient"

# Is a hospital like the collections?
LIKENESS_ALIKE = (
    "These {images} X-rays look to the network like those that it learnt from: their distance is {ratio:.1f}, and "
    "draws from its own collections stay below {limit:.1f} in 95 of 100 cases. Nearest: {nearest}. The test finds "
    "large differences; it does not prove that the answers are right here."
)
LIKENESS_DIFFERS = (
    "These {images} X-rays look to the network unlike those that it learnt from: their distance is {ratio:.1f}, and "
    "draws from its own collections stay below {limit:.1f} in 95 of 100 cases. Nearest: {nearest}. Expect its "
    "thresholds to be off here until they are measured on labelled X-rays of this hospital (cxr-detector calibrate)."
)
LIKENESS_TOO_FEW = "To compare X-rays with the collections at least {least} are needed. These are {images}."
LIKENESS_SHARES = {
    "ap": "AP view: {here} of {n} here that state a view, {there} of {others} in the collections.",
    "children": "Under 16 years: {here} of {n} here that state an age, {there} of {others} in the collections.",
    "equalised": "Histogram equalised: {here} of {n} here, {there} of {others} in the collections.",
}
LIKENESS_MIDDLES = {
    "longer_side": "Resolution: {here:.0f} pixels on the longer side here; in the collections mostly {low:.0f} to "
    "{high:.0f}.",
    "grey": "Tone: median grey {here:.2f} here; in the collections mostly {low:.2f} to {high:.2f} (0 black, 1 white).",
    "spread": "Contrast: grey values spread over {here:.2f} here; in the collections mostly {low:.2f} to {high:.2f}.",
}
LIKENESS_SHORT = {True: "Unlike the training X-rays", False: "Like the training X-rays"}
LIKENESS_CHECKED = "Of batches of 50 from the collections themselves, {false_alarms} are called different."
LIKENESS_LEFT_OUT = "Left out of the summary, called different (batches of 50): {shares}."

SITES_TITLE = "What a calibration of your own gives"
SITES_LINES = {
    "coverage": "Sets that hold the truth",
    "coverage_covid19": "Sets of COVID-19 that hold the truth",
    "coverage_not_covid19": "Sets of the others that hold the truth",
    "answered": "Single answers",
    "sensitivity_before": "Sensitivity before",
    "sensitivity_reached": "Sensitivity after",
}
SITES_AFTER = {"coverage", "sensitivity_reached"}
SITES_AXIS = "Share of X-rays, 95 % intervals"
SITES_NOTE = (
    "Prediction sets promise to hold the truth in 0.90, the sensitive point to find 0.95. 200 times, 50 X-rays of each "
    "class were drawn by patient to calibrate on, and the rest were measured. The network has learnt from these "
    "collections, though not from these patients. It has never seen Hannover and Actualmed, but they have too few "
    "normals to calibrate on, so there each patient was answered by a calibration on all others. The intervals hold "
    "95 % of the draws; those of Hannover and Actualmed are exact."
)

# Blind read
PAGE_BLIND = "Blind read"
BLIND_LEAD = (
    "Read the X-rays yourself first, see the program's answer afterwards, and compare the two at the end. Answers are "
    "kept on this computer, without pictures or names. A CSV table with the columns `image` and `label` among the "
    "X-rays gives the true labels; without it only the agreement is measured."
)
BLIND_READY = "{cases} X-rays to read, {labelled} with a known label."
BLIND_NONE = "Drop the X-rays that you want to read."
BLIND_BEGIN = "Begin the blind read"
BLIND_AGAIN = "Begin another read"
BLIND_MISSING = (
    "This read has {left} X-rays left that are no longer on the page. Drop the same files again to go on; nothing "
    "that you answered is lost."
)
BLIND_UNKNOWN = "The read that this address names is not on this computer, or was begun with another network."
BLIND_PLACE = "X-ray {place} of {total}"
BLIND_YOURS, BLIND_SURE = "Your answer", "How sure are you?"
BLIND_SURENESS = {1: "A guess", 2: "Fairly sure", 3: "Certain"}
BLIND_SHOW = "Show the program's answer"
BLIND_PROGRAM = "The program: {answer}"
BLIND_AFTER, BLIND_AFTER_SURE = "Your answer now", "How sure are you now?"
BLIND_NEXT = "Next"
BLIND_HIDDEN = "The program's answer and its map come after yours."
BLIND_SAVE = "Save all answers (CSV)"
BLIND_NOT_SAVED = "The answer is kept in memory only: {reason}"
BLIND_ROC, BLIND_READER, BLIND_THE_PROGRAM = "ROC of reader and program, same X-rays", "Reader", "Program"
BLIND_ROC_AXES = ("1 - specificity", "Sensitivity")
BLIND_COLUMNS = ("Figure", "Value (95 % interval)", "X-rays")
BLIND_NOTE = (
    "Sensitivity and specificity are for COVID-19. The program is measured on every X-ray by the class that it would "
    'name without its "can\'t tell". A small read says little: look at the intervals.'
)
BLIND_NO_LABELS = "no labels"
BLIND_NO_KAPPA = "not defined: both always name one class"
BLIND_FIGURES = {
    "reader_sensitivity": "Your sensitivity",
    "reader_specificity": "Your specificity",
    "reader_after_sensitivity": "Your sensitivity after seeing its answer",
    "reader_after_specificity": "Your specificity after seeing its answer",
    "program_sensitivity": "The program's sensitivity",
    "program_specificity": "The program's specificity",
    "reader_auroc": "Your area under the ROC curve",
    "program_auroc": "The program's area under the ROC curve",
    "auroc_difference": "Yours less the program's (paired)",
    "agreement": "You and the program agree",
    "kappa": "Cohen's kappa between you and the program",
}
BLIND_COUNTS = {
    "changed": "Answers that you changed",
    "right_to_wrong": "Right before, wrong after seeing its answer",
    "wrong_to_right": "Wrong before, right after seeing its answer",
    "cannot_tell": "The program could not tell",
}

SITE_FIGURES = {
    "coverage": "Prediction sets that hold the truth",
    "answered": "X-rays with a single answer",
    "wrong_of_answered": "Wrong among these",
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
    "The probabilities hold for a group in which the classes are as frequent as among these X-rays.",
)

PAGE_PACS = "From PACS"
PACS_VARIABLE = "CXR_PACS_URL"
PACS_LEAD = (
    "X-rays of the archive. Results go back into the X-ray's own study, as DICOM objects marked as research. Patients' "
    "names are shown only on this page and saved nowhere."
)
PACS_ADDRESS = "The archive's address in CXR_PACS_URL cannot be used: {why}"
PACS_DAY = "Day of the study"
PACS_STATION = "Station"
PACS_FIND = "Find"
PACS_FINDING = "Searching the archive"
PACS_MORE = "The archive has more: the first {count} are listed. Choose a day and a station."
PACS_NONE = "No X-rays listed."
PACS_NO_NAME = "(no name)"
PACS_ANALYSE = "Analyse"
PACS_SEND = "Send results back"
PACS_WORKING = "X-ray {number} of {count}"
PACS_SENT = "{count} objects sent back, {when}."
PACS_THERE = "The archive already held the results, {when}."
