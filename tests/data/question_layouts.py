"""Published sets of medical questions with options imitated: their files, columns and quirks."""

import io
import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.roots import png

LETTERS = "ABCDEFGHIJ"
SUBJECTS = (
    *("anatomy", "clinical_knowledge", "college_biology", "college_medicine", "medical_genetics"),
    *("professional_medicine", "astronomy"),
)
"""Subjects of MMLU: the medical ones, and one that is none."""


def _lines(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _parquet(rows: list[dict]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def medqa(count: int = 8) -> dict[str, bytes]:
    """MedQA with four options: JSON lines of options by letter, the answer's words and its letter."""

    def rows(first: int) -> bytes:
        listed = []
        for number in range(first, first + count):
            options = {letter: f"drug {number * 7 + place}" for place, letter in enumerate("ABCD")}
            letter = LETTERS[number % 4]
            question = {"question": f"A man of {30 + number} years has a cough. What is given?", "options": options}
            answer = {"answer": options[letter], "answer_idx": letter}
            listed.append(
                question | answer | {"meta_info": ("step1", "step2&3")[number % 2], "metamap_phrases": ["cough"]}
            )
        return _lines(listed)

    return {
        "README.md": b"",
        "phrases_no_exclude_train.jsonl": rows(0),
        "phrases_no_exclude_test.jsonl": rows(1000),
    }


def medmcqa(count: int = 8) -> dict[str, bytes]:
    """MedMCQA: options in four columns, the right one by its index; -1 in the split whose answers are not published."""

    def rows(first: int, *, known: bool = True) -> bytes:
        return _parquet(
            [
                {
                    **{"id": f"q{number}", "question": f"Which nerve has the number {number}?"},
                    **{f"op{letter}": f"nerve {number} {letter}" for letter in "abcd"},
                    **{"cop": number % 4 if known else -1, "choice_type": "single", "exp": None},
                    **{"subject_name": ("Anatomy", "Surgery")[number % 2], "topic_name": None},
                }
                for number in range(first, first + count)
            ]
        )

    return {
        "data/train-00000-of-00001.parquet": rows(0),
        "data/validation-00000-of-00001.parquet": rows(100),
        "data/test-00000-of-00001.parquet": rows(200, known=False),
    }


def mmlu(count: int = 4) -> dict[str, bytes]:
    """MMLU: a folder a subject, choices as a list, the right one by its index."""
    files = {}
    for place, subject in enumerate(SUBJECTS):
        for split, first in (("dev", 0), ("validation", 100), ("test", 200)):
            files[f"{subject}/{split}-00000-of-00001.parquet"] = _parquet(
                [
                    {
                        **{"question": f"{subject}: what is {number}?", "subject": subject},
                        **{"choices": [f"{number + i}" for i in range(4)], "answer": number % 4},
                    }
                    for number in range(first + 1000 * place, first + 1000 * place + count)
                ]
            )
    return files


def medxpertqa(count: int = 5) -> dict[str, bytes]:
    """MedXpertQA: questions that end in their choices, which are a column too; images in a zip."""
    files: dict[str, bytes] = {}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for folder, letters in (("Text", LETTERS), ("MM", LETTERS[:5])):
            for split, first in (("dev", 0), ("test", 100)):
                rows = []
                for number in range(first, first + count):
                    options = {letter: f"finding {letter.lower()}{number}" for letter in letters}
                    choices = " ".join(f"({letter}) {text}" for letter, text in options.items())
                    row = {
                        **{
                            "id": f"{folder}-{number}",
                            "question": f"What is shown, {number}?\nAnswer Choices: {choices}",
                        },
                        **{"options": options, "label": letters[number % len(letters)]},
                        **{"medical_task": "Diagnosis", "body_system": "Nervous", "question_type": "Reasoning"},
                    }
                    if folder == "MM":
                        names = [f"MM-{number}-{part}.jpeg" for part in "ab"[: 1 + number % 2]]
                        for part, name in enumerate(names):
                            packed.writestr(f"images/{name}", png(6000 + 2 * number + part, 40, 32))
                        row["images"] = names
                    rows.append(row)
                files[f"{folder}/{split}.jsonl"] = _lines(rows)
    return files | {"images.zip": archive.getvalue()}
