"""Open and closed VQA from question files to tables: formats, answers, baselines, metrics, figures and the page."""

import json
from collections import Counter

import pytest

from tests.data.roots import converted as convert
from tests.data.roots import pngs, row, write_subset
from workflow_scripts.core.answers import BadAnswer, Conventions, SourceAnswer
from workflow_scripts.core.config.report import Report
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.metrics import ROW_SCORE, ScoredAnswer
from workflow_scripts.core.rows import (
    Comparison,
    Convention,
    JudgedFinding,
    MetricValue,
    Outcome,
    Prediction,
    QuarantinedRow,
    Row,
    RowFact,
)
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part, normalise_task, tasks
from workflow_scripts.data.sft import conversation
from workflow_scripts.infer.baseline import answers_of
from workflow_scripts.judges.judgements import pairs_of
from workflow_scripts.report.figures import write_figures
from workflow_scripts.report.page import write_page
from workflow_scripts.report.plots.catalogue import read_figures
from workflow_scripts.report.tables import latex_table, markdown_table
from workflow_scripts.score.comparisons import write_comparisons
from workflow_scripts.score.metrics import write_metrics
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.tasks.closed_vqa import answers as closed
from workflow_scripts.tasks.open_vqa import answers as opened
from workflow_scripts.tasks.vqa.alternatives import alternatives_in


@pytest.mark.parametrize(
    ("spelling", "task"),
    [
        ("open vqa", "open_vqa"),
        ("Open-ended VQA", "open_vqa"),
        ("OPEN_VQA", "open_vqa"),
        ("closed vqa", "closed_vqa"),
        ("Closed-Ended VQA", "closed_vqa"),
        ("close ended vqa", "closed_vqa"),
        ("vqa", None),
    ],
)
def test_task_types_are_spelled_in_many_ways(spelling, task):
    assert normalise_task(spelling) == task


def test_the_two_tasks_follow_those_of_flare_and_no_judge_reads_their_answers():
    assert list(tasks())[7:9] == ["open_vqa", "closed_vqa"]
    assert not any(tasks()[name].free_text for name in ("open_vqa", "closed_vqa"))


def conventions_of(*pairs: tuple[str, object]) -> Conventions:
    """What a subset of these questions and answers shows."""
    learned = closed.conventions([SourceAnswer(*pair) for pair in pairs])
    return Conventions(
        (Convention("s", "closed_vqa", one.field, one.question, "", one.votes, one.rows, "training rows"), one.value)
        for one in learned
    )


def labels(question: str, *pairs: tuple[str, object]) -> set[str]:
    """The admissible words of a question in such a subset."""
    return set(closed.expected_format(question, conventions_of(*pairs)).labels)


SIDE = "Is the lesion left or right?"


@pytest.mark.parametrize(
    ("question", "pairs", "admissible"),
    [
        ("Is there a fracture?", (), {"yes", "no"}),
        ("Is there a fracture?", [("Is the heart large?", "Yes"), ("Is it clear?", "No")], {"Yes", "No"}),
        ("Is there a fracture?", [("Is the heart large?", "Yes")], {"Yes", "No"}),
        ("Is there a fracture?", [("Is there a fracture?", "not seen")], {"yes", "no", "not seen"}),
        ("In this image, are the lungs clear?", (), {"yes", "no"}),
        ("Is there a mass or a nodule?", (), {"yes", "no"}),
        (SIDE, (), {"left", "right", "yes", "no"}),
        (SIDE, [(SIDE, "Left")], {"left", "right", "yes", "no"}),
        (SIDE, [(SIDE, "Left"), (SIDE, "right")], {"Left", "right"}),
        (SIDE, [(SIDE, "both"), (SIDE, "left")], {"left", "right", "both"}),
        (SIDE, [(SIDE, "yes")], {"left", "right", "yes", "no"}),
        ("Which side, left or right?", (), {"left", "right"}),
        ("Is the heart enlarged, yes or no?", (), {"yes", "no"}),
        ("Which organ?", [("Which organ?", "liver"), ("which  organ?", "lung")], {"liver", "lung"}),
        ("Which organ?", [("Which organ?", "liver"), ("which  organ?", "Liver")], set()),
        ("Which rib?", [("Which rib?", 4), ("Which rib?", "5")], {"4", "5"}),
        ("Which organ?", (), set()),
        ("Which plane? Choose from: axial; coronal", (), {"axial", "coronal"}),
        ("这是肺吗？", [("这是肺吗？", "是"), ("这是肺吗？", "否")], {"是", "否"}),
    ],
)  # fmt: skip
def test_the_admissible_words_come_from_the_question_and_from_training_rows(question, pairs, admissible):
    assert labels(question, *pairs) == admissible


def test_no_single_answer_decides_the_words_of_another_question():
    known = conventions_of((SIDE, "left"), ("Is it clear?", "yes"))
    assert closed.expected_format("Is there a fracture?", known) == closed.expected_format(
        "Is there a fracture?", conventions_of((SIDE, "right"), ("Is it clear?", "yes"))
    )


@pytest.mark.parametrize(
    ("question", "named"),
    [
        (SIDE, ("left", "right")),
        ("Is this view axial, coronal or sagittal?", ("axial", "coronal", "sagittal")),
        ("Is this view axial, coronal, or sagittal?", ("axial", "coronal", "sagittal")),
        ("Is this a CT or an MRI?", ("CT", "MRI")),
        ("Which is larger: left lung or right lung?", ("left lung", "right lung")),
        ("Is it located in the liver or in the spleen?", ("liver", "spleen")),
        ("Is this T1 or T2 weighted?", ()),
        ("Why?", ()),
        ("or", ()),
        (" or ?", ()),
        ("left or", ()),
        ("Are the lungs clear or not?", ()),
        ("Are the lungs clear or not clear?", ()),
    ],
)
def test_alternatives_stand_around_the_last_or(question, named):
    assert alternatives_in(question) == named


def test_lettered_options_are_answered_by_letter_or_words_as_the_subset_does():
    question = "Which side? A) Left B) Right"
    by_letter = closed.expected_format(question, conventions_of((question, "B")))
    by_words = closed.expected_format(question, conventions_of((question, "Right")))
    assert (by_letter.answer_by, by_words.answer_by) == ("letter", "words")
    assert closed.parse("b) Right", by_letter).text == "B"
    assert closed.fault(closed.parse("C", by_letter), by_letter, 1, 1).reason == "answer_not_an_option"
    assert closed.fault(closed.parse("both", closed.expected_format(SIDE, Conventions())), by_words, 1, 1)


@pytest.mark.parametrize("part", [opened, closed])
def test_none_is_an_answer_and_nothing_is_none(part):
    expected = part.expected_format("What is abnormal?", Conventions())
    assert part.parse("None", expected).text == "None"
    assert part.parse(3, expected).text == "3"
    assert part.parse("  left \t lung\n", expected).text == "left lung"
    for missing in (None, "", " ", "nan", "N/A"):
        with pytest.raises(BadAnswer) as caught:
            part.parse(missing, expected)
        assert caught.value.reason == "no_answer"
    with pytest.raises(BadAnswer):
        part.parse(["left"], expected)


QUESTIONS = {
    "Is there a pleural effusion?": ("closed vqa", ["no", "no", "yes"]),
    SIDE: ("Closed-ended VQA", ["left", "right", "left"]),
    "What organ is shown?": ("Open VQA", ["lung", "lung", "liver"]),
    "What is abnormal?": ("open-ended vqa", ["left lower lobe consolidation", "none", "pleural effusion"]),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for the dataset."""
    return tmp_path_factory.mktemp("vqa")


@pytest.fixture(scope="module")
def converted_rows(place) -> list[Row]:
    """A training and a validation folder of the same questions, six images each, converted."""
    for folder in ("training", "validation-public"):
        records = [
            row(f"imagesTr/{image}.png", question, given[image % len(given)], task)
            for image in range(6)
            for question, (task, given) in QUESTIONS.items()
        ]
        write_subset(place / "root", records, pngs(6), folder=folder, name="rad")
    result = convert(place / "root", place)
    assert result.quarantine == [] and len(result.rows) == 48
    return result.rows


def of_folder(rows: list[Row], folder: str) -> list[Row]:
    return [entry for entry in rows if entry.folder == folder]


def test_every_reference_is_read_as_itself_strictly_and_leniently(converted_rows):
    assert Counter(entry.task for entry in converted_rows) == {"open_vqa": 24, "closed_vqa": 24}
    for entry in converted_rows:
        reading = load_part(entry.task, "reading")
        for read in (reading.read_strict, reading.read_lenient):
            assert read(entry.expected, entry.answer) == reading.reference(entry) == entry.answer


def test_the_expected_format_depends_on_no_answer_of_the_evaluated_rows(converted_rows):
    formats = {(entry.folder, entry.question): entry.expected for entry in converted_rows}
    for question in QUESTIONS:
        assert formats["training", question] == formats["validation-public", question]
    assert set(formats["training", SIDE].labels) == {"left", "right"}


def test_baselines_answer_by_question_and_in_an_admissible_form(converted_rows):
    train = of_folder(converted_rows, "training")
    groups = {name: [entry for entry in train if entry.task == name] for name in ("open_vqa", "closed_vqa")}
    by_question = {entry.question: entry for entry in converted_rows}
    usual = {baseline: {q: answers_of(baseline, e.task, groups[e.task])(e) for q, e in by_question.items()}
             for baseline in ("majority", "empty", "constant", "nearest")}  # fmt: skip
    assert usual["majority"] == {
        "Is there a pleural effusion?": "no", SIDE: "left", "What organ is shown?": "lung",
        "What is abnormal?": "left lower lobe consolidation",
    }  # fmt: skip
    assert usual["empty"] | {"Is there a pleural effusion?": "no", SIDE: "left"} == dict.fromkeys(QUESTIONS, "") | {
        "Is there a pleural effusion?": "no", SIDE: "left",
    }  # fmt: skip
    assert {usual["constant"][q] for q in ("What organ is shown?", "What is abnormal?")} == {"lung"}
    for baseline in usual:
        for question, answer in usual[baseline].items():
            entry = by_question[question]
            if answer:
                assert load_part(entry.task, "reading").read_strict(entry.expected, answer) == answer


GIVEN = {
    "Is there a pleural effusion?": ["no", "Yes.", "yes", "I cannot tell.", "The lungs are normal.", "no"],
    SIDE: ["left", "right", "It is on the left.", "left or right", "", "left"],
    "What organ is shown?": ["lung", "the lung", "heart\n\nAnswer: liver", "lung and heart", "", "liver"],
    "What is abnormal?": ["left lobe", "None", "effusion", "I'm not able to answer this.", "no", "pleural effusion"],
}


@pytest.fixture(scope="module")
def scored(converted_rows, tmp_path_factory):
    """Tables of two systems over the validation rows: one that is right, and one that answers as `GIVEN`."""
    folder = tmp_path_factory.mktemp("scored")
    rows = of_folder(converted_rows, "validation-public")
    split = folder / "split.parquet"
    write_rows(split, rows, Row)
    place: Counter[str] = Counter()
    messy = []
    for entry in rows:
        messy.append(GIVEN[entry.question][place[entry.question]])
        place[entry.question] += 1
    texts = {"right": [entry.answer for entry in rows], "messy": messy}
    outcomes = []
    for system, written in texts.items():
        answers = folder / f"{system}.answers"
        pairs = [
            Prediction(r.uid, system, t, "stop") for r, t in zip(rows, written, strict=True) if t or r.task[0] == "o"
        ]
        write_rows(answers, pairs, Prediction)
        outcomes.append(folder / f"{system}.outcomes")
        write_outcomes(split=split, predictions=answers, system=system, out=outcomes[-1])
    metrics, facts = folder / "metrics.parquet", folder / "facts.parquet"
    write_metrics(outcomes=outcomes, scoring=Scoring(resamples=100), out=metrics, facts=facts)
    comparisons, agreement = folder / "comparisons.parquet", folder / "agreement.parquet"
    write_comparisons(outcomes=outcomes, report_scores=[], rule_based_judges=[], scoring=Scoring(resamples=100),
                      out=comparisons, agreement=agreement)  # fmt: skip
    return {"folder": folder, "split": split, "outcomes": outcomes, "metrics": metrics, "facts": facts,
            "comparisons": comparisons, "agreement": agreement, "rows": rows}  # fmt: skip


def value_of(values, task, metric, system="messy", reading=None, stratum=None):
    """The one value of a metric on the subset."""
    wanted = (task, metric, system, reading, stratum, "rad")
    (value,) = [v for v in values if (v.task, v.metric, v.system, v.reading, v.stratum, v.subset) == wanted]
    return value


def test_what_became_of_each_answer(scored):
    outcomes = {outcome.uid: outcome for outcome in read_rows(scored["outcomes"][1], Outcome)}
    became: dict[str, list[str]] = {}
    for entry in scored["rows"]:
        became.setdefault(entry.question, []).append(outcomes[entry.uid].outcome)
    assert became == {
        "Is there a pleural effusion?": ["valid", "malformed", "valid", "refused", "malformed", "valid"],
        SIDE: ["valid", "valid", "malformed", "malformed", "missing", "valid"],
        "What organ is shown?": ["valid", "valid", "malformed", "valid", "malformed", "valid"],
        "What is abnormal?": ["valid", "valid", "valid", "refused", "valid", "valid"],
    }


def test_a_right_system_scores_one_under_every_protocol(scored):
    values = [v for v in read_rows(scored["metrics"], MetricValue) if v.system == "right"]
    names = {v.metric for v in values}
    assert len([name for name in names if "_" in name]) > 20
    # A count; and upstream's accuracy knows no closed answer but yes and no, which half of the rows have.
    others = {"wrong_format": 0, "llava_med_closed_accuracy_2023_as_published": 0.5}
    others |= {"llava_med_closed_accuracy_as_published": 0.5}
    for v in values:
        assert v.value == pytest.approx(others.get(v.metric, 1)), (v.task, v.metric)


def test_the_primary_metrics_are_those_of_the_reader_and_the_protocols_stand_beside_them(scored):
    values = read_rows(scored["metrics"], MetricValue)
    primary = {(v.task, v.metric, v.reading) for v in values if v.primary}
    assert primary == {("open_vqa", "token_f1", "strict"), ("closed_vqa", "accuracy", "strict")}
    accuracy = value_of(values, "closed_vqa", "accuracy", reading="strict")
    assert (accuracy.value, accuracy.rows, accuracy.unread) == (5 / 12, 12, 6)
    assert accuracy.valid_share == 6 / 12 and accuracy.low <= accuracy.value <= accuracy.high
    lenient = value_of(values, "closed_vqa", "accuracy", reading="lenient")
    assert (lenient.value, lenient.unread) == (6 / 12, 4)
    yes_no = value_of(values, "closed_vqa", "accuracy", reading="strict", stratum="yes or no")
    choice = value_of(values, "closed_vqa", "accuracy", reading="strict", stratum="choice")
    assert (yes_no.value, yes_no.rows, yes_no.unread) == (2 / 6, 6, 3)
    assert (choice.rows, choice.unread) == (6, 3)
    assert yes_no.value * 6 + choice.value * 6 == accuracy.value * 12
    assert value_of(values, "open_vqa", "medevalkit_f1_as_published").value is None  # an empty answer ends it
    assert value_of(values, "open_vqa", "medevalkit_f1").value is not None
    for task in ("open_vqa", "closed_vqa"):
        definitions = {v.definition for v in values if v.task == task}
        assert {"LLaVA-Med 1.0", "MedEvalKit 9b12e3b", "lmms-eval 75571cf"} <= definitions
        assert len({v.metric for v in values if v.task == task}) >= 10


def test_the_row_score_is_the_primary_metric_of_a_row(scored):
    facts = [fact for fact in read_rows(scored["facts"], RowFact) if fact.system == "messy" and fact.fact == ROW_SCORE]
    values = read_rows(scored["metrics"], MetricValue)
    for task, metric in (("open_vqa", "token_f1"), ("closed_vqa", "accuracy")):
        scores = [fact.value for fact in facts if fact.task == task]
        assert len(scores) == 12 and all(0 <= score <= 1 for score in scores)
        assert sum(scores) / 12 == pytest.approx(value_of(values, task, metric, reading="strict").value)


def test_the_systems_are_compared_on_both_tasks(scored):
    compared = [c for c in read_rows(scored["comparisons"], Comparison) if c.subset == "macro"]
    assert {(c.task, c.metric) for c in compared} == {("open_vqa", "token_f1"), ("closed_vqa", "accuracy")}
    assert all(c.system_a == "right" and c.difference < 0 for c in compared)


def test_tables_figures_and_page_hold_both_tasks(scored, place, tmp_path):
    values, compared = read_rows(scored["metrics"], MetricValue), read_rows(scored["comparisons"], Comparison)
    systems = ["right", "messy"]
    markdown = markdown_table(values, systems)
    assert "open vqa" in markdown.replace("_", " ") and "closed vqa" in markdown.replace("_", " ")
    assert "token" in latex_table(values, systems, compared, "validation", Scoring())
    figures = tmp_path / "figures"
    shared = {key: scored[key] for key in ("split", "metrics", "comparisons", "agreement", "outcomes")}
    write_figures(systems=systems, results=tmp_path, out=figures, pairs=["right:messy"], **shared)
    drawn = {figure.name: figure for figure in read_figures(figures)}
    assert "outcomes" in drawn and "closed vqa" in drawn["outcomes"].description
    assert any(name.startswith("confusion") and "closed" in name for name in drawn)
    for name, kind in (("findings", JudgedFinding), ("quarantine", QuarantinedRow)):
        write_rows(tmp_path / f"{name}.parquet", [], kind)
    write_page(
        report=Report(title="VQA"), systems=systems, facts=scored["facts"], root=place / "root",
        predictions=[path.with_suffix(".answers") for path in scored["outcomes"]],
        findings=[tmp_path / "findings.parquet"] * 2, quarantine=tmp_path / "quarantine.parquet",
        out=tmp_path / "page/index.html", images=tmp_path / "page/images", workers=1, **shared,
    )  # fmt: skip
    page = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    assert "open vqa" in page and "closed vqa" in page and "token_f1" in page


def test_no_judge_is_given_an_answer_and_sft_learns_the_sources_words(scored):
    rows = scored["rows"]
    assert pairs_of(rows, {entry.uid: "x" for entry in rows}) == {}
    for entry in rows[:4]:
        turn = json.dumps(conversation(entry, None, "prompt-completion")["completion"])
        assert json.dumps(entry.answer)[1:-1] in turn


def test_a_system_that_always_says_yes_and_no_is_never_right():
    metrics = load_part("closed_vqa", "metrics")
    facts = metrics.facts(
        [ScoredAnswer("u", "s", "c", "malformed", None, None, reference, "yes no") for reference in ("yes", "no")]
    )
    sums = facts.unpacked(facts.packed().sum(axis=0))
    by_name = {m.name: float(m.value(sums)) for m in facts.metrics if m.reading != "lenient" and m.stratum is None}
    assert by_name["accuracy"] == by_name["llava_med_closed_accuracy"] == by_name["medevalkit_yes_no_accuracy"] == 0
    assert by_name["llava_med_closed_accuracy_as_published"] == 1  # both words lie in the answer
