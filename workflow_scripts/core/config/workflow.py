"""The whole configuration, and how a wrong one is reported: one sentence that names the place and the remedy."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from workflow_scripts.core.config.datasets import Dataset, LocalDataset, Split
from workflow_scripts.core.config.engines import Container, Inference, ServerEngine
from workflow_scripts.core.config.judges import CheckpointJudge, Judge
from workflow_scripts.core.config.messages import sentence_of
from workflow_scripts.core.config.models import Checkpoint, HubModel, Model
from workflow_scripts.core.config.places import faults_of_places
from workflow_scripts.core.config.recipes import Recipe, Sweep, add_settings
from workflow_scripts.core.config.report import Publication, Report, Saliency
from workflow_scripts.core.config.scoring import Groups, Published, PublishedName, Scoring
from workflow_scripts.core.config.section import Name, Section
from workflow_scripts.core.config.systems.encoder import EncoderSystem
from workflow_scripts.core.config.systems.entry import System
from workflow_scripts.core.config.systems.model import ModelSystem
from workflow_scripts.core.config.systems.routed import RoutedSystem, TextEncoder
from workflow_scripts.core.groups.holdouts import Holdout, add_holdouts, held_out_by


class ConfigurationError(Exception):
    """The configuration cannot be used; the message names the place and what is allowed there."""


class Configuration(Section):
    """Everything that a run is made of."""

    results: str = Field("results", description="Folder of every output.")
    store: str | None = Field(
        None,
        description="Folder of the cache keyed by content, which checkouts may share: features, adapters, answers, "
        "judgements, explanation maps. null: `store` below the results.",
    )
    dataset_path: str | None = Field(None, description="Folder for `local` datasets whose path is null.")
    datasets: dict[Name, Dataset] = Field(
        description="Sources of rows: synthetic, local, on the hub, or tables, DICOM, volumes, signals and texts."
    )
    splits: dict[Name, Split] = Field(description="Named selections of rows.")
    holdouts: dict[Name, Holdout] = Field(
        {}, description="Hospitals, or other groups, held out in turns; `evaluate` and a system's `train` may name one."
    )
    models: dict[Name, Model] = Field(description="Networks at a full revision.")
    recipes: dict[Name, Recipe] = Field({}, description="Ways to tune.")
    sweeps: dict[Name, Sweep] = Field(
        {}, description="Settings of one recipe: each becomes a system, `SWEEP-b8-lr5e-5`, and the chosen one `SWEEP`."
    )
    engines: dict[Name, ServerEngine] = Field({}, description="Servers that answer for models which they hold.")
    systems: dict[Name, System] = Field(min_length=1, description="What is compared.")
    judges: dict[Name, Judge] = Field({}, description="Who reads reports and grades free responses.")
    evaluate: tuple[Name, ...] = Field(min_length=1, description="Splits on which the systems are compared.")
    submit: tuple[Name, ...] = Field(
        (), description="Splits that `challenge` answers instead of `evaluate`; they are neither scored nor reported."
    )
    inference: Inference = Inference()
    scoring: Scoring = Scoring()
    groups: Groups = Groups()
    published: dict[PublishedName, Published] = Field({}, description="Numbers of others, by what they are numbers of.")
    report: Report = Report()
    saliency: dict[Name, Saliency] = Field(
        {}, description="Explanation maps: what in the images speaks for a system's answers; nothing by default."
    )
    publish: dict[Name, Publication] = Field(
        {}, description="What `snakemake push` uploads to the hub, by tuned system; nothing by default."
    )
    container: Container = Container()
    tracking: Literal["none", "tensorboard", "trackio", "wandb"] = Field(
        "none", description="Where training logs besides its history; changes no result."
    )

    @field_validator("results", "store")
    @classmethod
    def _plain_path(cls, path: str | None) -> str | None:
        return None if path is None else os.path.normpath(Path(path).expanduser())

    @model_validator(mode="after")
    def _with_settings(self) -> "Configuration":
        add_settings(self.sweeps, self.recipes, self.systems)
        evaluate = add_holdouts(self.holdouts, self.splits, self.systems, self.evaluate, self.sweeps)
        object.__setattr__(self, "evaluate", evaluate)
        return self

    @model_validator(mode="after")
    def _one_model_for_a_name(self) -> "Configuration":
        weights_of: dict[tuple[str, str | None], tuple[str, str]] = {}
        for name, system in self.systems.items():
            if isinstance(system, ModelSystem) and system.engine is not None:
                weights = ("model", system.model) if system.recipe is None else ("adapter", name)
                if weights_of.setdefault((system.engine, system.served_as), weights) != weights:
                    raise ValueError(
                        f"systems.{name}.served_as: {system.served_as!r} on {system.engine!r} already stands for other "
                        "weights; serve each adapter under a name of its own"
                    )
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> "Configuration":
        for name, split in self.splits.items():
            _known(f"splits.{name}.dataset", split.dataset, "datasets", self.datasets)
        for name, system in {**self.trained(), **self.systems}.items():
            if isinstance(system, ModelSystem):
                self._check_model_system(name, system)
            if isinstance(system, RoutedSystem) and (fault := next(system.faults(name, self.systems), None)):
                raise ValueError(fault)
            if system.train is not None:
                self._check_training_split(f"systems.{name}.train", system.train)
        if both := sorted({*self.published} & {*self.systems}):
            raise ValueError(f"published: {both[0]!r} is a system of this run; call the published one otherwise")
        for name, maps in self.saliency.items():
            if fault := maps.fault(name, self.systems, self.models, self.evaluate):
                raise ValueError(fault)
            explained = self.systems[maps.system]
            if isinstance(explained, ModelSystem) and explained.fp8:
                raise ValueError(
                    f"saliency.{name}.system: {maps.system!r} answers in 8 bits, which have no gradients; name a "
                    "system without fp8"
                )
            if isinstance(explained, ModelSystem) and getattr(self.models[explained.model], "vision_fp8", False):
                raise ValueError(
                    f"saliency.{name}.system: the tower of {maps.system!r} is in 8 bits, which have no gradients; name "
                    "a system of a model without vision_fp8"
                )
        for group in self.inference.together:
            self._check_shared_load(group)
        for name in self.publish:
            if name not in self.tuned():
                allowed = ", ".join(self.tuned()) or "none"
                raise ValueError(f"publish: {name!r} is not a tuned system; allowed: {allowed}")
            for other in self.publish:
                if other < name and self.publish[other].repo.lower() == self.publish[name].repo.lower():
                    raise ValueError(
                        f"publish.{name}.repo: {self.publish[name].repo!r} is that of {other!r} too, which it would "
                        "overwrite; name a repository for each"
                    )
        loaded = [n for n, s in self.systems.items() if isinstance(s, ModelSystem) and s.engine is None]
        full = {name for name, recipe in self.recipes.items() if recipe.weights is not None}
        for name in self.container.systems:
            packed = self.systems.get(name)
            if isinstance(packed, ModelSystem) and (fault := packed.fault_of_packing(name)):
                raise ValueError(f"container.systems: {fault}")
        for name in sorted({*self.container.systems} - {*loaded}):
            routed = self.systems.get(name)
            if isinstance(routed, RoutedSystem):
                if fault := routed.fault_of_packing(name, self.systems, full):
                    raise ValueError(f"container.systems: {fault}")
                continue
            allowed = ", ".join(loaded) or "none"
            raise ValueError(f"container.systems: {name!r} is no system whose job loads a model; allowed: {allowed}")
        for evaluated in self.evaluate:
            _known("evaluate", evaluated, "splits", self.splits)
        for submitted in self.submit:
            self._check_submitted(submitted)
        for name, dataset in self.datasets.items():
            if isinstance(dataset, LocalDataset) and dataset.path is None and self.dataset_path is None:
                raise ValueError(
                    f"datasets.{name}.path: no folder given; set it, or add `--config dataset_path=FOLDER`"
                )
        return self

    def _check_training_split(self, place: str, split: str) -> None:
        _known(place, split, "splits", self.splits)
        for use, names in (("evaluate", self.evaluate), ("submit", self.submit)):
            if split in names:
                raise ValueError(f"{place}: split {split!r} is also in `{use}`")

    def _check_model_system(self, name: str, system: ModelSystem) -> None:
        _known(f"systems.{name}.model", system.model, "models", self.models)
        if system.engine is not None:
            _known(f"systems.{name}.engine", system.engine, "engines", self.engines)
        model = self.models[system.model]
        checks = (system.fault_of_serving, system.fault_of_grammar, system.fault_of_shots, system.fault_of_float8)
        faults = (check(name, model) for check in checks)
        if fault := next(filter(None, faults), None):
            raise ValueError(fault)
        if system.shots is not None:
            self._check_training_split(f"systems.{name}.shots.train", system.shots.source)
        if system.recipe is None:
            return
        _known(f"systems.{name}.recipe", system.recipe, "recipes", self.recipes)
        recipe, gpus = self.recipes[system.recipe], model.gpus
        if recipe.tunes_tower and isinstance(model, HubModel) and model.vision_fp8:
            raise ValueError(
                f"systems.{name}.recipe: {system.recipe!r} tunes the tower, and models.{system.model}.vision_fp8 "
                "holds it in 8 bits; name a model without it, or set lora.targets to language"
            )
        if fault := recipe.fault_of_float8(system.recipe, model.family, gpus):
            raise ValueError(fault)
        if gpus and recipe.batch % gpus:
            raise ValueError(
                f"recipes.{system.recipe}.batch: {recipe.batch} rows cannot be shared by the {gpus} GPUs of "
                f"{system.model!r}; choose a multiple"
            )
        if system.engine is not None and recipe.weights is not None:
            raise ValueError(
                f"systems.{name}.engine: recipe {system.recipe!r} trains weights in full, which no server adds to a "
                "base; answer without an engine, or serve the merged weights as a model of their own"
            )
        if system.engine is not None and recipe.tunes_tower:
            raise ValueError(
                f"systems.{name}.engine: servers leave out the vision tower's part of an adapter, which "
                f"recipe {system.recipe!r} tunes; answer without an engine"
            )

    def _check_submitted(self, split: str) -> None:
        _known("submit", split, "splits", self.splits)
        if split in self.evaluate:
            raise ValueError(f"submit: split {split!r} is also in `evaluate`; a split is scored or only answered")
        dataset = self.splits[split].dataset
        if self.datasets[dataset].policies.no_answer != "keep":
            raise ValueError(
                f"submit: rows of {split!r} without an answer would not be asked; "
                f"set datasets.{dataset}.policies.no_answer: keep"
            )

    def _check_shared_load(self, group: tuple[str, ...]) -> None:
        place = "inference.together"
        names = [name for other in self.inference.together for name in other]
        systems = []
        for name in group:
            _known(place, name, "systems", self.systems)
            if names.count(name) > 1:
                raise ValueError(f"{place}: {name} stands there twice; a system is answered by one job")
            system = self.systems[name]
            if not isinstance(system, ModelSystem) or system.engine is not None:
                raise ValueError(f"{place}: {name} loads no model in its job; leave it out")
            systems.append(system)
        if len(group) > 1 and any(system.train in held_out_by(self.holdouts) for system in systems):
            raise ValueError(f"{place}: {', '.join(group)}: those of a held-out value answer for it alone; part them")
        recipes = [system.recipe for system in systems if system.recipe is not None]
        if len({system.model for system in systems}) > 1:
            raise ValueError(f"{place}: {', '.join(group)}: expected systems of one model")
        if len({system.fp8 for system in systems}) > 1:
            raise ValueError(f"{place}: {', '.join(group)}: expected systems with one value of fp8; part them")
        if any(self.recipes[recipe].weights is not None for recipe in recipes) and len(group) > 1:
            raise ValueError(f"{place}: {', '.join(group)}: weights trained in full replace the base's; part them")
        if any(self.recipes[recipe].tunes_tower for recipe in recipes) and len(group) > 1:
            raise ValueError(f"{place}: {', '.join(group)}: a tuned vision tower shares no features; part them")

    def folder_of(self, dataset: str) -> Path:
        """The folder of a `local` dataset."""
        entry = self.datasets[dataset]
        assert isinstance(entry, LocalDataset)
        return Path(entry.path or self.dataset_path or "").expanduser()

    def loads(self, model: str) -> bool:
        """Whether a job loads the model: to answer, or to tune it for a server."""
        systems = (system for system in self.systems.values() if isinstance(system, ModelSystem))
        return any(s.model == model and (s.engine is None or s.recipe is not None) for s in systems)

    def tuned(self) -> list[str]:
        """The systems that have an adapter."""
        return [name for name, entry in self.systems.items() if isinstance(entry, ModelSystem) and entry.recipe]

    def trained(self) -> dict[str, ModelSystem]:
        """What is tuned, by name: tuned systems but those that a sweep chooses, and settings that are not evaluated."""
        systems = {name: entry for name, entry in self.systems.items() if isinstance(entry, ModelSystem)}
        own = {name: entry for name, entry in systems.items() if entry.recipe and name not in self.sweeps}
        for name, sweep in self.sweeps.items():
            own |= {setting: sweep.system(setting) for setting in sweep.names(name, self.recipes)}
        return own

    def to_merge(self) -> list[str]:
        """The systems whose weights can be merged.

        Raises:
            ConfigurationError: there are none, so that the target `merge` would do nothing.
        """
        models = {name: entry for name, entry in self.systems.items() if isinstance(entry, ModelSystem)}
        if not (merged := [name for name, entry in models.items() if entry.recipe or entry.adapter]):
            raise ConfigurationError("merge: no system has a recipe or an adapter, so that there is nothing to merge")
        return merged

    def to_push(self) -> list[str]:
        """The systems that `publish` names.

        Raises:
            ConfigurationError: there are none, so that the target `push` would do nothing.
        """
        if not self.publish:
            raise ConfigurationError(
                "push: `publish` is empty, so that nothing is uploaded; to upload a tuned system "
                f"({', '.join(self.tuned()) or 'there is none'}), name it: publish: {{SYSTEM: {{repo: OWNER/NAME}}}}"
            )
        return list(self.publish)

    def checkpoints(self) -> dict[str, Checkpoint]:
        """Every checkpoint that jobs may read, by its record: MODEL, adapters/SYSTEM, judges/JUDGE, encoders/…."""
        keys = {"checkpoint", "revision", "gated"}
        fetched = {name: model.to_fetch() for name, model in self.models.items() if isinstance(model, HubModel)}
        for name, system in self.systems.items():
            if isinstance(system, ModelSystem) and (adapter := system.adapter_to_fetch(self.models[system.model])):
                fetched[f"adapters/{name}"] = adapter
        for name, judge in self.judges.items():
            if isinstance(judge, CheckpointJudge):
                fetched[f"judges/{name}"] = Checkpoint(family="judge", **judge.model_dump(include=keys))
        if (encoder := self.scoring.bertscore) is not None:
            fetched["encoders/bertscore"] = Checkpoint(
                family="encoder", checkpoint=encoder.checkpoint, revision=encoder.revision
            )
        for name, system in self.systems.items():
            if isinstance(system, EncoderSystem):
                fetched[f"encoders/systems/{name}"] = Checkpoint(
                    family="encoder", checkpoint=system.encoder.checkpoint, revision=system.encoder.revision
                )
        for name, read in self.text_encoders().items():
            fetched[f"encoders/routers/{name}"] = Checkpoint(
                family="encoder", checkpoint=read.checkpoint, revision=read.revision
            )
        return fetched

    def text_encoders(self) -> dict[str, TextEncoder]:
        """The encoders that classify questions, by their routed system."""
        routed = {name: system.route for name, system in self.systems.items() if isinstance(system, RoutedSystem)}
        return {name: route.encoder for name, route in routed.items() if isinstance(route.encoder, TextEncoder)}


def _known(place: str, name: str, section: str, entries: Mapping[str, object]) -> None:
    if name not in entries:
        allowed = ", ".join(sorted(entries)) or "none"
        raise ValueError(f"{place}: {name!r} is not in `{section}`; allowed: {allowed}")


def load_configuration(raw: dict[str, object], origin: str) -> Configuration:
    """Validate `raw`, as read from `origin`.

    Raises:
        ConfigurationError: one line a fault, with its place and the allowed values.
    """
    try:
        configuration = Configuration.model_validate(raw)
    except ValidationError as error:
        sentences = (f"{origin}: {sentence_of(fault, Configuration)}" for fault in error.errors())
        raise ConfigurationError("\n".join(sentences)) from None
    if faults := [f"{origin}: {fault}" for fault in faults_of_places(configuration)]:
        raise ConfigurationError("\n".join(faults))
    return configuration


def read_configuration(path: Path) -> Configuration:
    """Read and validate a YAML file.

    Raises:
        ConfigurationError: the file is missing, is not a YAML mapping, or is not valid.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: there is no such configuration file") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: expected a mapping of sections")
    return load_configuration(raw, str(path))
