"""What the rules ask of systems: models, features, adapters, prompts, servers."""

from functools import cache

from workflow_scripts.core.config.models import READS_NO_IMAGES
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.config.systems.model import ModelSystem
from workflow_scripts.infer.shards import finished_shards
from workflow_scripts.tasks.boxes.model_sizes import OF_RESIZED_IMAGES


def load_group_of(system):
    """The shared-load group of a system, joined by `+`: those that one job answers with; most stand alone."""
    return next(("+".join(group) for group in CONFIG.inference.together if system in group), system)


def model_of(group):
    """The one model that the systems of a shared-load group have."""
    return ENTRIES[group.split("+")[0]].model


def base_of(system):
    """The system of the same model as a tuned one, untuned: with the same engine, prompt and so on if there is one."""
    entry = CONFIG.systems[system]
    bases = [
        name
        for name, other in CONFIG.systems.items()
        if isinstance(other, ModelSystem)
        and other.model == entry.model
        and other.recipe is None
        and other.adapter is None
    ]
    same = ("shots", "samples", "engine", "prompt", "constrained", "fp8")
    return max(
        bases,
        key=lambda name: [getattr(CONFIG.systems[name], key) == getattr(entry, key) for key in same].count(True),
        default=None,
    )


TUNED_FROM = {
    name: base_of(name) for name, entry in CONFIG.systems.items() if isinstance(entry, ModelSystem) and entry.recipe
}


def computes_features(system):
    """Whether a system's jobs look at pixels: its tower was tuned, or what a tower gives is too large to be stored."""
    entry = ENTRIES[system]
    tuned = entry.recipe is not None and CONFIG.recipes[entry.recipe].tunes_tower
    return tuned or not CONFIG.models[entry.model].stores_features


def features_of(systems, split):
    """The index of the split's features; nothing where jobs compute them: see `computes_features`."""
    if any(computes_features(system) for system in systems):
        return []
    return f"{R}/features/{ENTRIES[systems[0]].model}/{split}/index.parquet"


@with_signature
def features_option(wildcards, input):
    """The index of the vision features, where the job reads one."""
    return option("--features", input.get("features", []))


def shots_of(systems, split):
    """The answered rows that those of the systems show which show any."""
    return [f"{R}/shots/{split}/{system}.parquet" for system in systems if ENTRIES[system].shots]


def features_of_shots(system, split):
    """The index of the features of the images that a system's shots have; nothing where it needs none."""
    shots = ENTRIES[system].shots
    if shots is None or not shots.images or computes_features(system):
        return []
    return [f"{R}/shots/{split}/{system}.features.parquet"]


def shown_shots(system, split):
    """What a step has to know of a system's shots."""
    shots = CONFIG.systems[system].shots
    shown = {
        "rows": f"{R}/shots/{split}/{system}.parquet",
        "root": root_of(CONFIG.splits[shots.train].dataset),
        "shots": shots.model_dump(mode="json"),
    }
    return shown | {"features": index for index in features_of_shots(system, split)}


def prompts_options(system, split):
    """Flags of what the asking step has to know of a system's shots and samples; none where it has neither."""
    entry = CONFIG.systems[system]
    shots = option("--shots", canonical_json(shown_shots(system, split)) if entry.shots else [])
    return [*shots, *option("--samples", entry.samples.spec() if entry.samples else [])]


def prompts_in_words(systems):
    """What stands before questions, and how often they are answered, for a job's message; empty where nothing does."""
    entries = [CONFIG.systems[system] for system in systems]
    shots = [f", {entry.shots.count} shots of {entry.shots.train}" for entry in entries if entry.shots]
    draws = [f", {entry.samples.draws} answers a row" for entry in entries if entry.samples]
    return "".join(dict.fromkeys([*shots, *draws]))


def images_in_words(systems):
    """How a job sees images, for its message."""
    if CONFIG.models[ENTRIES[systems[0]].model].family in READS_NO_IMAGES:
        return "no images"
    return "images in the job" if computes_features(systems[0]) else "stored features"


def adapter_of(system):
    """The tuned system's weights, or the record of its published adapter; nothing for a base model."""
    entry = ENTRIES[system]
    if entry.adapter:
        return [f"{R}/models/adapters/{system}.json"]
    if entry.recipe is None:
        return []
    full = CONFIG.recipes[entry.recipe].weights is not None
    return [f"{R}/systems/{system}/adapter/{'weights' if full else 'adapter_model'}.safetensors"]


def member(system, split=None):
    """What the answering step has to know of a system; without a split, leaving out its shots."""
    entry = CONFIG.systems[system]
    form = CONFIG.models[entry.model].box_form
    published = f"{R}/models/adapters/{system}.json" if entry.adapter else None
    return (
        {
            "system": system,
            "adapter": f"{R}/systems/{system}/adapter" if entry.recipe else published,
            "prompt": entry.prompt.model_dump(mode="json"),
            "constrained": entry.constrained,
        }
        | ({"boxes": form.model_dump(mode="json")} if form.convention else {})
        | ({"shots": shown_shots(system, split)} if entry.shots and split else {})
        | ({"samples": entry.samples.model_dump(mode="json")} if entry.samples else {})
        | ({"fp8": True} if entry.fp8 else {})
    )


@cache
def member_spec(system, split):
    """`member` as JSON: the same for all shards of a split."""
    return canonical_json(member(system, split))


def boxes_option(model):
    """The flag of a model's own form of boxes; nothing where it takes the dataset's."""
    form = CONFIG.models[model].box_form
    return option("--boxes", form.spec() if form.convention else [])


def record_of_boxes(system):
    """The record of a model whose boxes depend on how its files say that images are resized."""
    entry = CONFIG.systems[system]
    if CONFIG.models[entry.model].box_form.convention not in OF_RESIZED_IMAGES:
        return []
    return f"{R}/models/{entry.model}.json" if entry.engine is None else record_of_served(system)


@with_signature
def answering(wildcards):
    """The model, the features and the adapters that a shared-load group answers with."""
    systems = wildcards.group.split("+")
    files = {
        "record": f"{R}/models/{CONFIG.systems[systems[0]].model}.json",
        "features": features_of(systems, wildcards.split),
        "shots": shots_of(systems, wildcards.split),
        "features_of_shots": [index for system in systems for index in features_of_shots(system, wildcards.split)],
        "adapter": [adapter for system in systems for adapter in adapter_of(system)],
        # The chosen setting's answers are then those of the setting itself, in the store.
        "settings": [
            f"{R}/predictions/{wildcards.split}/{setting}.parquet"
            for system in systems
            for setting in SETTINGS.get(system, ())
            if setting in CONFIG.systems
        ],
    }
    return {name: value for name, value in files.items() if value}


def shards_of_system(wildcards):
    """The shards that hold a system's answers: as many as are configured, or as finished answers were written with."""
    folder = f"{R}/predictions/{wildcards.split}/{load_group_of(wildcards.system)}"
    items = finished_shards(Path(f"{R}/predictions/{wildcards.split}/{wildcards.system}.parquet"), Path(folder))
    return [f"{folder}/{item}.parquet" for item in items] or gather.infer(f"{folder}/{{scatteritem}}.parquet")


def engine_of(wildcards):
    """The server that answers for a system."""
    return CONFIG.engines[CONFIG.systems[wildcards.system].engine]


def served_model(wildcards):
    """The model that a system's server is to hold, as JSON."""
    return canonical_json(
        CONFIG.models[CONFIG.systems[wildcards.system].model].model_dump(mode="json", exclude={"gpus", "boxes"})
    )


def record_of_served(system):
    """The record of a local checkpoint that a server is to hold; nothing for a repository, which its commit names."""
    model = CONFIG.systems[system].model
    return [f"{R}/models/{model}.json"] if model in CHECKPOINTS and CHECKPOINTS[model].local else []


def splits_of(system):
    """The splits that a system is evaluated on."""
    return [split for split in CONFIG.evaluate if on_split([system], split)]


def joined_on_split(pairs, form):
    """For params: `form` of the pairs whose systems are evaluated on a job's split; a constant where that is all."""
    if not ALONE:
        return form(pairs)
    return with_signature(lambda w: form([pair for pair in pairs if len(on_split(pair, w.split)) == len(pair)]))


def trained_on(path):
    """For input: `path` for each training split of a system that is evaluated on a job's split."""
    if not ALONE:
        return expand(path, trained=TRAINING_SPLITS)
    return lambda w: expand(path, trained=[name for name in TRAINING_SPLITS if HELD_OUT.get(name, w.split) == w.split])


# By split, the entries of `saliency` that are computed on it.
EXPLAINED = {
    split: [
        name for name, maps in CONFIG.saliency.items() if maps.split in (None, split) and on_split([maps.system], split)
    ]
    for split in CONFIG.evaluate
}
EXPLAINED = {split: names for split, names in EXPLAINED.items() if names}


def maps_on_split(table):
    """For input: `table` of each entry of `saliency` on a job's split; nothing where there is none."""
    return with_signature(
        lambda w: [
            f"{R}/saliency/{w.split}/{CONFIG.saliency[name].system}/{name}/{table}.parquet"
            for name in EXPLAINED.get(w.split, ())
        ]
    )
