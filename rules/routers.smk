"""What the rules ask of routed systems."""

from workflow_scripts.core.config.systems.model import ModelSystem

from workflow_scripts.core.config.systems.routed import TextEncoder


def base_of_route(system):
    """The untuned model that a routed system's experts are compared with: its default, or the base of an expert."""
    named = (ROUTED[system].default, *ROUTED[system].systems)
    candidates = [name for expert in named if expert for name in (expert, TUNED_FROM.get(expert)) if name]
    models = (name for name in candidates if isinstance(CONFIG.systems[name], ModelSystem))
    return next((name for name in models if CONFIG.systems[name].recipe is None), None)


def encoder_of_router(system):
    """The record of the text encoder that a routed system's classifier has."""
    has = isinstance(ROUTED[system].encoder, TextEncoder)
    return [f"{R}/models/encoders/routers/{system}.json"] if has else []


def gpus_of_router(system):
    """GPUs of a job that reads questions for a routed system."""
    encoder = ROUTED[system].encoder
    return encoder.gpus if isinstance(encoder, TextEncoder) else 0


@with_signature
def routing(wildcards):
    """What a routed system's answers are put together from."""
    route = ROUTED[wildcards.system]
    chosen_by = {
        "classifier": {
            "router": f"{R}/systems/{wildcards.system}/router/router.json",
            "encoder": encoder_of_router(wildcards.system),
        },
        "oracle": {"facts": f"{R}/scores/{wildcards.split}/experts.parquet"},
        "rule": {},
    }
    predictions = [f"{R}/predictions/{wildcards.split}/{expert}.parquet" for expert in route.systems]
    return {"predictions": predictions, **chosen_by[route.by]}


def answering_in(system):
    """The systems that answer in the container of a system: itself, or the experts of a routed one."""
    return list(ROUTED[system].systems) if system in ROUTED else [system]


def model_in(system):
    """The one model that a container holds."""
    return model_of(answering_in(system)[0])


def gpus_in(system):
    """GPUs that answering in a container needs."""
    return one(CONFIG.models[model_in(system)].gpus)


def routing_in(system):
    """Flags of what a container needs to route questions."""
    if system not in ROUTED:
        return []
    folder = option("--router", f"{R}/systems/{system}/router" if system in CLASSIFIED else [])
    return [*option("--route", ROUTED[system].spec()), *folder, *option("--encoder", encoder_of_router(system))]
