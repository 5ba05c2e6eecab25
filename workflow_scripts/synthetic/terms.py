"""The words of the toy dataset and of the toy model's lessons, for questions, options, labels and reports.

The dataset asks about images in these words; the model has met the words and the answer formats, never which image
belongs to which word.
"""

LETTERS = "ABCDEFGHIJK"

SKIN = ("Nevus", "Melanoma", "Keratosis", "Carcinoma", "Angioma", "Lentigo", "Scar", "Unknown")
FUNDUS = ("No retinopathy", "Mild retinopathy", "Moderate retinopathy", "Severe retinopathy", "Proliferative")
BREAST = ("Benign", "Malignant", "Both")
POLYPS = ("Adenoma", "Hyperplastic polyp", "Inflammation", "Normal mucosa")
PLANES = ("Standard plane", "Oblique plane")
OPTION_FAMILIES = (SKIN, FUNDUS, BREAST, POLYPS, PLANES)

CHEST = ("Atelectasis", "Cardiomegaly", "Effusion", "Nodule", "Pneumothorax")
TEETH = (
    "Caries",
    "Crown",
    "Endodontic Treatment, Restorative Treatment, and Complications",
    "Periapical Lesion",
)
LABEL_FAMILIES = (CHEST, TEETH)

SENTENCES = (
    "Heart size is normal.",
    "Cardiomegaly.",
    "Large right pleural effusion.",
    "Small left pleural effusion.",
    "Right upper lobe nodule.",
    "Left pneumothorax.",
    "No acute cardiopulmonary abnormality.",
)

LOCATE_CORNERS = "Return the bounding boxes as [x_min, y_min, x_max, y_max]."
LOCATE_SIZE = "Return the bounding boxes as [x, y, width, height]."
LOCATE_INSTANCES = (
    "Return a JSON mapping class identifiers to their bounding box coordinates in [x, y, width, height] format."
)
LIST_COMMAS = "List all that apply, separated by commas."
LIST_SEMICOLONS = "List all that apply, separated by semicolons."


def with_options(question: str, options: tuple[str, ...], mark: str = ")") -> str:
    """`question` followed by lettered options, in FLARE's inline style (`A)`, `A.` or `A:`)."""
    return f"{question} Options: " + " ".join(f"{LETTERS[i]}{mark} {text}" for i, text in enumerate(options))


def with_labels(question: str, labels: tuple[str, ...], separator: str) -> str:
    """`question` followed by the label list and how to separate the answer (`,` or `;`)."""
    ending = LIST_SEMICOLONS if separator == ";" else LIST_COMMAS
    return f"{question} Choose from: {'; '.join(labels)}. {ending}"
