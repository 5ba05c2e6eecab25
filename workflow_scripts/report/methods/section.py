"""A methods section for a paper, from the configuration and the sidecars of the results: nothing in it is a guess.

What no file of the results says is called "not recorded".
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import ValidationError

from workflow_scripts.core.config.datasets import HubDataset, SyntheticDataset
from workflow_scripts.core.config.judges import CheckpointJudge, RecordedJudge, RuleBasedJudge, ServerJudge, Validity
from workflow_scripts.core.config.models import HubModel
from workflow_scripts.core.config.recipes import Recipe
from workflow_scripts.core.config.systems.encoder import EncoderSystem
from workflow_scripts.core.config.systems.entry import BaselineSystem, ImportedSystem
from workflow_scripts.core.config.systems.model import ModelSystem
from workflow_scripts.core.config.systems.routed import RoutedSystem, TextEncoder
from workflow_scripts.core.config.workflow import Configuration
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.provenance import circumstances
from workflow_scripts.report.escaping import markdown_cell
from workflow_scripts.report.lineage import read_object
from workflow_scripts.report.methods.words import (
    UNKNOWN,
    choice_words,
    counted,
    counts_of,
    groups_words,
    hardware_words,
    last_step,
    listed,
    number_of,
    object_of,
    samples_words,
    shots_words,
    software_words,
    training_words,
)

REARRANGEMENTS = 10
"""Of a paired test, for each resample of an interval, as the comparisons are computed."""

TOWERS = {
    "adapted": ", converted with the vision tower that was adapted in its training",
    "clip": ", converted with stock CLIP in the place of its adapted vision tower, as its authors' loader has it",
}

BASELINES = {
    "majority": "gives the commonest answer of the training rows of the same subset and task (mode, median, median "
    "box)",
    "empty": "gives an empty answer",
    "constant": "gives one fixed answer (the whole image as a box, a normal report)",
    "nearest": "gives the answer of the training row whose question is most similar",
}


def methods_text(results: Path, split: str, systems: Sequence[str], stands_on: Mapping[str, Any]) -> str:
    """The methods section of a split as Markdown, a paragraph each for data, systems, answers, judges and statistics.

    Args:
        results: results folder.
        split: name of the split.
        systems: the systems in their order.
        stands_on: what `lineage` says of them.

    Raises:
        BadFile: the configuration beside the results is not one of this version.
    """
    try:
        configuration = Configuration.model_validate(stands_on["configuration"])
    except ValidationError as error:
        raise BadFile(
            f"{results / 'configuration.json'} is not a configuration of this version ({error.errors()[0]['msg']}); "
            "run the workflow again"
        ) from None
    facts = _Facts(results, configuration, stands_on["revisions"])
    entries = [configuration.systems[name] for name in systems]
    shots = {entry.shots.source for entry in entries if isinstance(entry, ModelSystem) and entry.shots is not None}
    training_splits = sorted(shots | {entry.train for entry in entries if entry.train})
    paragraphs = {
        "Data": facts.data_of(split, training_splits),
        "Systems": [facts.system(name) for name in systems],
        "Answers": [facts.answers(systems)],
        "Judges": [facts.judge(name) for name in configuration.judges] or ["No judge was configured."],
        "Statistics": [facts.statistics()],
        "Software": [software_words(circumstances(), stands_on["configuration_sha256"])],
    }
    body = "\n\n".join(f"## {name}\n\n{' '.join(sentences)}" for name, sentences in paragraphs.items())
    return f"# Methods, split {markdown_cell(split)}\n\n{body}\n"


class _Facts:
    """What the files of the results say, in sentences."""

    def __init__(self, results: Path, configuration: Configuration, revisions: Mapping[str, str]) -> None:
        self.results = results
        self.configuration = configuration
        self.revisions = revisions

    def data_of(self, split: str, training_splits: Iterable[str]) -> list[str]:
        """The evaluated split and the training ones; a dataset's conversion is described once."""
        described: set[str] = set()
        texts = []
        for name in (split, *training_splits):
            dataset = self.configuration.splits[name].dataset
            texts.append(self.data(name, evaluated=name == split, converted=dataset not in described))
            described.add(dataset)
        return texts

    def data(self, split: str, *, evaluated: bool, converted: bool) -> str:
        """Source, size, and what was left out, of a split."""
        entry = self.configuration.splits[split]
        use = "Systems were evaluated" if evaluated else "Training and baselines used"
        text = f"{use}{' on' if evaluated else ''} the split `{split}`: {self._size(split)}, drawn from the folder "
        text += f"`{entry.folder}` of {self._source(entry.dataset)}"
        if entry.only:
            text += f", subsets {listed(map(markdown_cell, entry.only))} alone"
        if entry.tasks:
            text += f", of {listed(task.replace('_', ' ') for task in entry.tasks)} alone"
        for groups, how in ((entry.where, ""), (entry.where_not, "other than ")):
            for name, values in groups.items():
                text += f", rows of {markdown_cell(name)} {how}{listed(map(markdown_cell, values))}"
        if entry.part:
            text += f", the part from {entry.part.start:g} to {entry.part.stop:g} of the cases (seed {entry.part.seed})"
        if entry.limit:
            text += f", at most {entry.limit} rows"
        left_out = counts_of(self.results / f"splits/{split}/left_out.parquet", "reason")
        if left_out is None:
            text += f". How many rows were left out of it is {UNKNOWN}."
        elif left_out:
            text += f". Left out of it were {counted(left_out, 'row')}."
        else:
            text += "."
        if converted:
            text += f" {self._conversion(entry.dataset)}"
        return text

    def _size(self, split: str) -> str:
        file = self.results / f"splits/{split}/rows.parquet"
        if not file.is_file():
            return f"number of rows {UNKNOWN}"
        table = pq.read_table(file, columns=["case_id", "task"])
        cases = len(set(table["case_id"].to_pylist()))
        tasks = Counter(table["task"].to_pylist())
        shares = listed(f"{count:,} {name.replace('_', ' ')}" for name, count in tasks.most_common())
        return f"{number_of(table.num_rows, 'question')} on {number_of(cases, 'case')} ({shares})"

    def _source(self, dataset: str) -> str:
        entry = self.configuration.datasets[dataset]
        if isinstance(entry, SyntheticDataset):
            return (
                f"the synthetic dataset `{dataset}` (drawn by the workflow, seed {entry.seed}, scale {entry.scale:g})"
            )
        if isinstance(entry, HubDataset):
            manifest = self.results / f"data/{dataset}/manifest.json"
            source = read_object(manifest)["source"] if manifest.is_file() else {}
            commit = f"commit {source['revision']}" if source.get("revision") else f"commit {UNKNOWN}"
            return f"the dataset {markdown_cell(entry.repo)} ({commit})"
        return f"the local dataset `{dataset}` (version {UNKNOWN})"

    def _conversion(self, dataset: str) -> str:
        file = self.results / f"data/{dataset}/rows.parquet"
        reasons = counts_of(self.results / f"data/{dataset}/quarantine.parquet", "reason")
        if reasons is None or not file.is_file():
            return f"How many source rows were converted and quarantined is {UNKNOWN}."
        converted = pq.read_metadata(file).num_rows
        if not reasons:
            return f"All {number_of(converted, 'source row')} of the dataset were converted."
        return (
            f"Of {number_of(converted + sum(reasons.values()), 'source row')} of the dataset {converted:,} were "
            f"converted; {sum(reasons.values()):,} were quarantined: {counted(reasons, '')}."
        )

    def system(self, name: str) -> str:
        """What a system is: model and revision, recipe, training, hardware; or what a baseline does."""
        entry = self.configuration.systems[name]
        if isinstance(entry, BaselineSystem):
            return f"`{name}` is a baseline that looks at no image: it {BASELINES[entry.baseline]}."
        if isinstance(entry, ImportedSystem):
            return f"`{name}` stands for imported predictions; how they were generated is {UNKNOWN} here."
        if isinstance(entry, RoutedSystem):
            return self._route(name, entry)
        if isinstance(entry, EncoderSystem):
            return self._encoder(name, entry)
        text = f"`{name}` is {self._model(entry.model)}"
        prompt = entry.prompt.system
        worded = "without a system prompt" if prompt is None else f"with the system prompt “{markdown_cell(prompt)}”"
        if entry.prompt.by_task:
            named = listed(task.replace("_", " ") for task in entry.prompt.by_task)
            worded += f" and system prompts of their own for {named}"
        if entry.shots is not None:
            worded += f", {shots_words(entry.shots)}"
        if entry.adapter is not None:
            return f"{text}, with {self._published(name)}, {worded}; nothing of it was tuned here."
        if entry.recipe is None:
            return f"{text}, as published, {worded}."
        recipe = entry.recipe
        if name in self.configuration.sweeps:
            choice = object_of(self.results / f"systems/{name}/selection.json")
            recipe = choice.get("chosen", recipe)
            worded += f", {choice_words(choice)}"
        return f"{text}, tuned {worded}. {self._training(name, entry, self.configuration.recipes[recipe])}"

    def _route(self, name: str, entry: RoutedSystem) -> str:
        """Whose answers a routed system has, and what chooses them."""
        route = entry.route
        text = f"`{name}` has for each row the answer of one of {listed(f'`{other}`' for other in route.systems)}: "
        if route.by == "oracle":
            return f"{text}the one that scores best against the reference, an upper bound that no router can know of."
        if route.by == "rule":
            return f"{text}by the {route.on} of the row."
        reader = "TF-IDF of words and pairs of words"
        if isinstance(route.encoder, TextEncoder):
            commit = self.revisions.get(f"encoders/routers/{name}") or route.encoder.revision or UNKNOWN
            reader = f"the text encoder {markdown_cell(route.encoder.checkpoint)} ({commit})"
        return (
            f"{text}by the {route.on} that a linear classifier on {reader}, learned from the questions of "
            f"`{route.train}`, reads off the question; below a probability of {route.threshold:g}, `{route.default}` "
            "answers."
        )

    def _encoder(self, name: str, entry: EncoderSystem) -> str:
        """Which encoder was tuned, for which tasks, on what and how."""
        commit = self.revisions.get(f"encoders/systems/{name}") or entry.encoder.revision or UNKNOWN
        local = Path(entry.encoder.checkpoint).expanduser().is_dir()
        read = "of a local folder" if local else markdown_cell(entry.encoder.checkpoint)
        heads = object_of(self.results / f"systems/{name}/encoder/encoder.json").get("heads", {})
        tuned_for = listed(f"{task.replace('_', ' ')} ({head['rows']:,} rows)" for task, head in sorted(heads.items()))
        tuning = entry.tuning
        return (
            f"`{name}` is the text encoder {read} ({commit}), which writes no text: "
            f"its tags, classes, numbers and places become answers. For each task a network of its own, all weights of "
            f"it, was tuned on `{entry.train}`: {tuned_for or UNKNOWN}. Optimiser AdamW, peak learning rate "
            f"{tuning.learning_rate:g}, linear schedule after a warm-up of {tuning.warmup:.0%} of the steps, weight "
            f"decay {tuning.weight_decay:g}, gradient norm clipped at {tuning.max_grad_norm:g}, batches of "
            f"{tuning.batch} windows of at most {entry.encoder.length} tokens, {tuning.epochs:g} passes over the rows, "
            f"seed {tuning.seed}."
        )

    def _model(self, model: str) -> str:
        entry = self.configuration.models[model]
        known = self.revisions.get(model)
        if not isinstance(entry, HubModel):
            return f"the toy model that ships with the workflow (files' hash {known or UNKNOWN})"
        side = entry.image.size
        steps = ["padded with black to a square"] if entry.image.pad else []
        steps += [f"resized to {side} × {side} pixels (Lanczos)"] if side else []
        seen = f", each image {' and '.join(steps)} first" if steps else ""
        seen = TOWERS.get(entry.vision_tower or "", "") + seen
        if entry.vision_fp8:
            seen += ", the vision tower's matrix products in 8-bit floating point (e4m3, scaled by row and by channel)"
        if Path(entry.checkpoint).expanduser().is_dir():
            return f"the local checkpoint `{model}` of the family {entry.family} (files' hash {known or UNKNOWN}){seen}"
        commit = known or entry.revision or UNKNOWN
        return f"{markdown_cell(entry.checkpoint)} (commit {commit}, family {entry.family}){seen}"

    def _published(self, system: str) -> str:
        """The adapter that somebody published, at its commit."""
        adapter = self.configuration.checkpoints()[f"adapters/{system}"]
        known = self.revisions.get(f"adapters/{system}") or adapter.revision or UNKNOWN
        if adapter.revision is None:
            return f"a published adapter from a local folder (files' hash {known})"
        return f"the published adapter {markdown_cell(adapter.checkpoint)} (commit {known})"

    def _training(self, name: str, entry: ModelSystem, recipe: Recipe) -> str:
        folder = self.results / f"systems/{name}"
        seen = object_of(folder / "adapter/provenance.json")
        rows = f"{seen['rows']:,}" if "rows" in seen else f"number {UNKNOWN}"
        text = f"Training on the rows of `{entry.train}` ({rows}) was by {training_words(recipe)}. "
        if recipe.sampling:
            text += "Epochs were balanced: what each group's rows were drawn stands in the weights' provenance. "
        momentum = f" (momentum {recipe.momentum:g})" if recipe.momentum else ""
        text += (
            f"The loss counted the tokens of answers alone. Optimiser {recipe.optimiser}{momentum}, "
            f"peak learning rate {recipe.learning_rate:g}, {recipe.schedule} schedule after a warm-up of "
            f"{recipe.warmup:.0%} of the steps, weight decay {recipe.weight_decay:g}, gradient norm "
            f"clipped at {recipe.max_grad_norm:g}, batches of {recipe.batch} rows, seed {recipe.seed}; "
        )
        text += f"{recipe.steps:,} steps" if recipe.steps else f"{recipe.epochs:g} passes over the rows"
        steps = last_step(folder / "history.parquet")
        text += f", the last logged step being {steps:,}." if steps else f", number of steps {UNKNOWN}."
        if recipe.evaluation:
            patience = recipe.evaluation.patience
            text += (
                f" The loss on about {recipe.evaluation.rows} rows that were held back was computed every "
                f"{recipe.evaluation.every} steps, and the {recipe.evaluation.keep} checkpoint was taken"
                + (f"; training stopped after {patience} evaluations without a better one." if patience else ".")
            )
        return f"{text} {hardware_words(folder, seen)}"

    def answers(self, systems: Iterable[str]) -> str:
        """How answers were generated, and within which limits."""
        entries = {name: self.configuration.systems[name] for name in systems}
        models = {name: entry for name, entry in entries.items() if isinstance(entry, ModelSystem)}
        encoders = [f"`{name}`" for name, entry in entries.items() if isinstance(entry, EncoderSystem)]
        tagged = f"Answers of {listed(encoders)} were composed of what its heads say; no text was generated. "
        if not models:
            return tagged.strip() if encoders else "No model answered here."
        several = {name: entry.samples for name, entry in models.items() if entry.samples is not None}
        greedy = {name: entry for name, entry in models.items() if entry.engine is None and name not in several}
        local = [f"`{name}`" for name, entry in greedy.items() if not entry.fp8]
        local_float8 = [f"`{name}`" for name, entry in greedy.items() if entry.fp8]
        remote = [f"`{name}`" for name, entry in models.items() if entry.engine is not None and name not in several]
        with_grammar = [f"`{name}`" for name, entry in models.items() if entry.constrained]
        float8 = [f"`{name}`" for name, entry in models.items() if entry.fp8]
        text = tagged if encoders else ""
        if local:
            text += f"Answers of {listed(local)} were decoded greedily, with the base at its own precision and any "
            text += "adapter beside it. "
        if local_float8:
            text += f"Answers of {listed(local_float8)} were decoded greedily. "
        if float8:
            text += f"The language model's matrix products of {listed(float8)} were computed in 8-bit floating point "
            text += "(e4m3, scaled by row and by output channel); an adapter's kept the precision of 16 bits. "
        if remote:
            text += f"{listed(remote)} answered behind an OpenAI-compatible server at temperature 0; the server's "
            text += f"software is {UNKNOWN}. "
        text += "".join(
            samples_words(name, samples, models[name].engine is not None) for name, samples in several.items()
        )
        if with_grammar:
            text += f"A grammar of the expected format bounded the answers of {listed(with_grammar)}. "
        limits = self.configuration.inference.max_new_tokens
        text += "Limits of new tokens: "
        text += listed(f"{task.replace('_', ' ')} {limit}" for task, limit in limits.items())
        return f"{text}. The hardware that answers were generated on is {UNKNOWN}."

    def judge(self, name: str) -> str:
        """Who a judge is, at which revision."""
        entry = self.configuration.judges[name]
        if isinstance(entry, RuleBasedJudge):
            return (
                f"Reports were judged by `{name}`, deterministic rules over a vocabulary of chest X-ray findings: it "
                "is neither CRIMSON's nor GREEN's own judge."
            )
        tries = f"up to {entry.retries} further tries of an invalid reply"
        if entry.metric == "rubric":
            what = "Free responses were graded"
            settings = f"a prompt that holds each row's rubric, {tries}{self._validity_of(entry.validity)}"
        else:
            what, settings = "Reports were judged", f"prompt and formula of {entry.metric.upper()}, {tries}"
        if isinstance(entry, ServerJudge):
            model = f"{markdown_cell(entry.model)} (revision {markdown_cell(entry.revision)}) behind a server"
        elif isinstance(entry, RecordedJudge):
            model = f"recorded replies, whose model is {UNKNOWN}"
        else:
            assert isinstance(entry, CheckpointJudge)
            revision = self.revisions.get(f"judges/{name}") or UNKNOWN
            local = Path(entry.checkpoint).expanduser().is_dir()
            checkpoint = "a local checkpoint" if local else markdown_cell(entry.checkpoint)
            model = f"{checkpoint} ({'hash' if local else 'commit'} {revision})"
        return f"{what} by `{name}`: {model}; {settings}."

    @staticmethod
    def _validity_of(validity: Validity | None) -> str:
        """How a judge of rubrics was compared with people."""
        if validity is None:
            return "; it was not compared with human scores, and its columns decide nothing"
        measure = validity.measure.replace("_", " ")
        return f"; it is relied on where its {measure} with human scores is {validity.at_least:g} or more"

    def statistics(self) -> str:
        """Intervals and tests."""
        scoring = self.configuration.scoring
        return (
            "A task's primary metric is computed for each subset, and averaged over subsets without weights (macro). "
            f"Intervals of {100 * scoring.confidence:g}% are bias-corrected percentiles of {scoring.resamples:,} "
            "bootstrap resamples of cases within each subset. Two systems are compared by a two-sided paired "
            "randomisation test over whole cases, the larger p of two: the answers to a case are exchanged, or the "
            "sign of its influence on the difference is turned, with "
            f"{REARRANGEMENTS * scoring.resamples:,} rearrangements; baselines are not compared among themselves. "
            "Holm's correction is over all macro comparisons of the split as one family, and over all others as "
            f"another. Seed {scoring.seed}. An answer that cannot be read counts as the metric's definition says, and "
            "is never left out of the count of questions."
        ) + groups_words(self.configuration.groups, scoring)
