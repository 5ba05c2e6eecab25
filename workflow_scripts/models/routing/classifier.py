"""Classifiers of questions for a router: words weighted by TF-IDF, or a text encoder, below one linear layer.

What was learned is kept in safetensors and JSON, and read back to the same probabilities; nothing is pickled.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from workflow_scripts.core.files import BadFile, read_json, write_json

FEATURES = 20_000
"""Most words and pairs of words that TF-IDF counts: the commonest."""
STRENGTH = 100.0
"""Inverse of the penalty on weights: questions follow templates, and vectors of length one need large weights."""
STEPS = 1000
"""Most steps of the optimiser."""

DESCRIPTION = "router.json"
"""In a router's folder: the column that decides, the classes' shares of the rows, parameters of each classifier."""

ENCODER, TFIDF, MAJORITY = "encoder", "tfidf", "majority"
"""Names of the classifiers in tables."""


class Classifier(Protocol):
    """What tells the classes of questions apart."""

    classes: tuple[str, ...]
    parameters: int

    def probabilities(self, questions: Sequence[str]) -> np.ndarray:
        """Of each class for each question, (questions, classes)."""


@dataclass(frozen=True)
class Head:
    """Multinomial logistic regression: softmax of `x Wᵀ + b`, W (classes, width), b (classes,)."""

    classes: tuple[str, ...]
    weight: np.ndarray
    bias: np.ndarray

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return int(self.weight.size + self.bias.size)

    def probabilities(self, vectors: Any) -> np.ndarray:
        """Of each class for each vector: dense or sparse (vectors, width) to (vectors, classes)."""
        logits = np.asarray(vectors @ self.weight.T) + self.bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    @staticmethod
    def fit(vectors: Any, labels: Sequence[str], weights: np.ndarray) -> "Head":
        """Learn from vectors (dense or sparse) with a label and a weight each."""
        classes = tuple(sorted(set(labels)))
        if len(classes) == 1:
            return Head(classes, np.zeros((1, vectors.shape[1])), np.zeros(1))
        model = LogisticRegression(C=STRENGTH, max_iter=STEPS).fit(vectors, labels, sample_weight=weights)
        weight, bias = model.coef_, model.intercept_
        if len(classes) == 2:  # one line of weights there, of the second class
            weight, bias = np.vstack([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])
        return Head(tuple(map(str, model.classes_)), weight, bias)


@dataclass(frozen=True)
class Examples:
    """Distinct questions with a label each, and what each counts."""

    questions: list[str]
    labels: list[str]
    weights: np.ndarray

    @staticmethod
    def of(questions: Sequence[str], labels: Sequence[str]) -> "Examples":
        """Equal questions with equal labels once, weighted by their number; every label counts as much as another."""
        counts = Counter(zip(questions, labels, strict=True))
        of_label = Counter(labels)
        pairs = sorted(counts)
        share = len(labels) / len(of_label)
        weights = np.array([counts[pair] * share / of_label[pair[1]] for pair in pairs])
        return Examples([question for question, _ in pairs], [label for _, label in pairs], weights)


class TfIdfClassifier:
    """Words and pairs of words, weighted by TF-IDF, below a linear layer."""

    def __init__(self, vocabulary: Sequence[str], idf: np.ndarray, head: Head) -> None:
        self._vectoriser = _vectoriser(vocabulary={word: place for place, word in enumerate(vocabulary)})
        self._vectoriser.idf_ = idf
        self._vocabulary, self._idf, self.head = list(vocabulary), idf, head
        self.classes = head.classes
        self.parameters = head.parameters + len(idf)

    @staticmethod
    def fit(examples: Examples) -> "TfIdfClassifier":
        """Learn from questions with their labels."""
        vectoriser = _vectoriser(max_features=FEATURES)
        vectors = vectoriser.fit_transform(examples.questions)
        head = Head.fit(vectors, examples.labels, examples.weights)
        return TfIdfClassifier(list(vectoriser.get_feature_names_out()), vectoriser.idf_, head)

    def probabilities(self, questions: Sequence[str]) -> np.ndarray:
        """Of each class for each question, (questions, classes)."""
        return self.head.probabilities(self._vectoriser.transform(questions))

    def save(self, folder: Path) -> None:
        """Write `tfidf.safetensors` and `tfidf.json`."""
        save_head(folder / f"{TFIDF}.safetensors", self.head, idf=self._idf)
        write_json(folder / f"{TFIDF}.json", {"classes": list(self.classes), "vocabulary": self._vocabulary})

    @staticmethod
    def load(folder: Path) -> "TfIdfClassifier":
        """What `save` wrote.

        Raises:
            BadFile: a file is missing or damaged.
        """
        described = read_description(folder / f"{TFIDF}.json")
        tensors = read_tensors(folder / f"{TFIDF}.safetensors")
        head = Head(tuple(described["classes"]), tensors["weight"], tensors["bias"])
        return TfIdfClassifier(described["vocabulary"], tensors["idf"], head)


def _vectoriser(**options: Any) -> TfidfVectorizer:
    """Words of letters and digits, in lower case, alone and in pairs; a long question counts no more than a short."""
    return TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True, **options)


class MajorityClassifier:
    """The commonest class of the training rows, whatever is asked."""

    parameters = 0

    def __init__(self, shares: dict[str, float]) -> None:
        self.classes = tuple(shares)
        self._shares = np.array([shares[name] for name in self.classes])

    def probabilities(self, questions: Sequence[str]) -> np.ndarray:
        """Each class's share of the training rows, for every question."""
        return np.tile(self._shares, (len(questions), 1))


def save_head(file: Path, head: Head, **others: np.ndarray) -> None:
    """Write a head's weights, and further arrays, as safetensors."""
    arrays = {"weight": head.weight, "bias": head.bias, **others}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, file)


def read_tensors(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file.

    Raises:
        BadFile: it is missing or damaged.
    """
    try:
        arrays: dict[str, np.ndarray] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadFile(f"{file} cannot be read as weights ({error}); delete its folder and run again") from None
    return arrays


def read_description(file: Path) -> dict[str, Any]:
    """A JSON object that describes a classifier.

    Raises:
        BadFile: it is missing, damaged, or no object.
    """
    described = read_json(file)
    if not isinstance(described, dict):
        raise BadFile(f"{file} is not the description of a router; delete its folder and run again")
    return described
