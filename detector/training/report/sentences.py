"""Words of the evaluation report."""

from __future__ import annotations

from detector.model.calibration import BALANCED, SENSITIVE, SPECIFIC
from detector.training.measure.figures import COVERAGE, PREVALENCES, SPECIFICITIES
from detector.training.report.plots import percent

#: Figures at the top of the page, with their short names.
HEADLINES = (
    ("binary_auroc", "COVID-19 or not: area under ROC"),
    ("binary_balanced_sensitivity", "sensitivity, balanced point"),
    ("binary_balanced_specificity", "specificity, balanced point"),
    ("three_class_accuracy", "three classes: accuracy"),
    ("three_class_lowest_recall", "three classes: lowest recall"),
    (f"binary_error_at_coverage_{COVERAGE:.2f}", f"error at {percent(COVERAGE)} coverage"),
    ("binary_ece", "calibration error (ECE)"),
)

_POINT_NAMES = (BALANCED, SENSITIVE, SPECIFIC)
_AUROC = "Chance that an image with the disease gets a higher score than one without. 0.5 is a coin, 1 is perfect."
_AUPRC = (
    "Mean precision over all thresholds, at this cohort's share of COVID-19. That share itself is what chance gives."
)
_SENSITIVITY = "Share of the images with COVID-19 that are called so."
_SPECIFICITY = "Share of the images without COVID-19 that are not called so."
_RECALL = "Share of the images of this class that are recognised."
_BRIER = "Mean squared distance of the probabilities from what is true. 0 is perfect."
_LOG_LOSS = "Mean surprise at the truth, in nats. 0 is perfect; one sure and wrong answer costs a lot."
_ECE = (
    "Mean distance between the probability given and the share that turned out true, in bins of equally many images. "
    "0 is perfect, but chance alone keeps it above 0 in a sample, and its interval lies high."
)
_SLOPE = "1 is perfect; below 1 the probabilities are too extreme, above 1 too timid."
_INTERCEPT = "0 is perfect; above 0 COVID-19 was more frequent than the probabilities say, below 0 less."
_COVERAGE = "Share of the images that get an answer; the others are indeterminate."
_ERROR_ANSWERED = "Share of wrong answers among the images outside the indeterminate band of the card."
_ERROR_AT = f"Share of wrong answers among the surest {percent(COVERAGE)} of these images, by their rank here."
_AT_SPECIFICITY = "Largest sensitivity that this specificity leaves. The threshold is taken from this cohort itself."


def _calibration(task: str, *, intercept: bool) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for suffix, words in (("", ""), ("_before_temperature", ", before the temperature")):
        found |= {
            f"{task}_brier_score{suffix}": (f"Brier score{words}", _BRIER),
            f"{task}_log_loss{suffix}": (f"log-loss{words}", _LOG_LOSS),
            f"{task}_ece{suffix}": (f"calibration error (ECE){words}", _ECE),
            f"{task}_calibration_slope{suffix}": (f"calibration slope{words}", _SLOPE),
        }
        if intercept:
            found[f"{task}_calibration_intercept{suffix}"] = (f"calibration intercept{words}", _INTERCEPT)
    return found


def _decisions(task: str) -> dict[str, tuple[str, str]]:
    return {
        f"{task}_accuracy": ("accuracy", "Share of right answers where every image must get one."),
        f"{task}_coverage": ("coverage", _COVERAGE),
        f"{task}_error_when_answered": ("error when answered", _ERROR_ANSWERED),
        f"{task}_error_at_coverage_{COVERAGE:.2f}": (f"error at {percent(COVERAGE)} coverage", _ERROR_AT),
    }


_BINARY = {
    "binary_auroc": ("area under the ROC curve", _AUROC),
    "binary_auprc": ("area under the precision–recall curve", _AUPRC),
    **{
        f"binary_{name}_{kind}": (f"{kind}, {name} point", words)
        for name in _POINT_NAMES
        for kind, words in (("sensitivity", _SENSITIVITY), ("specificity", _SPECIFICITY))
    },
    **{
        f"binary_sensitivity_at_specificity_{least:.2f}": (f"sensitivity at specificity {least:.2f}", _AT_SPECIFICITY)
        for least in SPECIFICITIES
    },
    **_decisions("binary"),
    "binary_balanced_pneumonia_called_covid19": (
        "other pneumonias called COVID-19, balanced point",
        "Share of the images of another pneumonia that are called COVID-19: the confusion that matters most.",
    ),
    "binary_auroc_covid19_against_other_pneumonias": (
        "COVID-19 against other pneumonias, area under the ROC curve",
        "The harder question: normal images are left out.",
    ),
}
_THREE_CLASS = {
    "three_class_macro_auroc": ("area under the ROC curve, mean of classes", _AUROC),
    **_decisions("three_class"),
    "three_class_recall_normal": ("recall of normal", _RECALL),
    "three_class_recall_bacterial_pneumonia": ("recall of bacterial pneumonia", _RECALL),
    "three_class_recall_covid19": ("recall of COVID-19", _RECALL),
    "three_class_lowest_recall": ("lowest recall", "The smallest of the three recalls."),
    "three_class_auroc_pneumonia_against_normal": (
        "pneumonia against normal, area under the ROC curve",
        "Any pneumonia but COVID-19 against normal, scored by 1 - the probability of normal.",
    ),
}
_CALIBRATION = {"binary": _calibration("binary", intercept=True), "three": _calibration("three_class", intercept=False)}
_POINTS = {
    **{
        f"{kind}_at_prevalence_{share:.2f}": (f"{kind.upper()} where {percent(share)} have COVID-19", "")
        for share in PREVALENCES
        for kind in ("ppv", "npv")
    },
    "likelihood_ratio_positive": ("likelihood ratio of a positive answer", ""),
    "likelihood_ratio_negative": ("likelihood ratio of a negative answer", ""),
}

#: Figure name to what it is called and what it means.
EXPLAINED = {**_BINARY, **_THREE_CLASS, **_CALIBRATION["binary"], **_CALIBRATION["three"], **_POINTS}

#: Figures by source, age group and view: heading, and names.
PART_TABLES = (
    (
        "COVID-19 or not",
        (
            "binary_auroc",
            "binary_auprc",
            "binary_sensitivity_at_specificity_0.90",
            "binary_sensitivity_at_specificity_0.95",
            *(f"binary_{name}_{kind}" for name in _POINT_NAMES for kind in ("sensitivity", "specificity")),
            "binary_balanced_pneumonia_called_covid19",
            "binary_auroc_covid19_against_other_pneumonias",
            *_decisions("binary"),
            "binary_brier_score",
            "binary_ece",
            "binary_calibration_slope",
            "binary_calibration_intercept",
        ),
    ),
    (
        "Normal, bacterial pneumonia or COVID-19",
        (*_THREE_CLASS, "three_class_brier_score", "three_class_ece", "three_class_calibration_slope"),
    ),
)

#: Headings with the figures of their table, in order.
TABLES = (
    ("COVID-19 or not", tuple(_BINARY)),
    ("Normal, bacterial pneumonia or COVID-19", tuple(_THREE_CLASS)),
    ("Calibration, COVID-19 or not", tuple(_CALIBRATION["binary"])),
    ("Calibration, three classes", tuple(_CALIBRATION["three"])),
)

PART_TITLES = {"by_source": "source", "by_hospital": "hospital", "by_age_group": "age group", "by_view": "view"}

#: Start of a plot's name to a sentence on how to read it.
PLOT_WORDS = {
    "roc": "Each point is a threshold. The nearer to the upper left corner, the better.",
    "precision_recall": "How many of those called positive are so, as more of the positives are found.",
    "reliability": "On the line, a probability of 0.7 is right in 70 % of cases. Below it, the network is too sure.",
    "confusion": "Each row is a label; the colour is the share of its images that got each answer.",
    "coverage": "What is gained by leaving the least sure images unanswered.",
    "net_benefit": "Worth using where the line lies above both others. Benefit counts in true positives per image.",
    "training": "How the network learnt. Validation images are not those measured above, unless the page says so.",
}

GLOSSARY = (
    (
        "Operating point",
        "A threshold on the probability of COVID-19, fixed on validation: balanced, sensitive, specific.",
    ),
    ("Sensitivity, recall", _SENSITIVITY + " In the three-class task: of each class."),
    ("Specificity", _SPECIFICITY),
    ("PPV, NPV", "Chance that a positive answer is right, and that a negative one is, at a given share of COVID-19."),
    (
        "Likelihood ratio",
        "How much an answer multiplies the odds of COVID-19: above 10 or below 0.1 moves a mind, near 1 says nothing.",
    ),
    ("Prevalence", "Share of COVID-19 among those who are X-rayed."),
    ("Temperature", "The number that the network's logits are divided by so that probabilities mean what they say."),
    (
        "Indeterminate band",
        "Answers too near to turning into another are withheld: the network says that it does not know.",
    ),
    (
        "Patient-level interval",
        "Images of one patient are alike; drawing patients keeps the interval from being too narrow.",
    ),
    (
        "Exact interval",
        "Where a share is 0 or 1, drawing patients again can't vary it; the interval is then Clopper and Pearson's.",
    ),
    ("Source", "The collection that an image comes from. A network can learn it instead of the disease."),
)

#: Key of ``metrics.json`` to the heading of the earlier project's table beside ours.
ORIGINALS = {
    "original": "Beside the original project",
    "original_mix": "Beside the original project, on its own mix",
}

#: How adults with an opacity that is not COVID-19 are answered: key of ``metrics.json`` to words.
OPACITIES = {
    "called_covid19": "called COVID-19, balanced, forced",
    "three_class_called_covid19": "three-class, forced: called COVID-19",
    "three_class_called_normal": "three-class, forced: called normal",
    "three_class_called_bacterial_pneumonia": "three-class, forced: called bacterial",
    "binary_indeterminate": "can't tell, COVID-19 or not",
    "three_class_indeterminate": "can't tell, three classes",
}

#: Question of ``metrics.json`` to the words of its row.
QUESTIONS = {
    "covid19_against_other_pneumonias": (
        "COVID-19 against other pneumonias of the same source, area under the ROC curve: the source does not help"
    ),
    "pneumonia_called_covid19": "Other pneumonias called COVID-19 at the balanced point: share, to be low",
    "pneumonia_against_normal": (
        "Other pneumonias against normal of the same source by the three-class answer (1 - probability of normal), "
        "area under the ROC curve"
    ),
}
