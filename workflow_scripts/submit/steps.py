"""The steps that `predict.sh` runs in a container, in their order; a changed line of any of them packs it anew."""

STEPS = (
    "workflow_scripts.submit.inputs",
    "workflow_scripts.data.inventory",
    "workflow_scripts.data.convert",
    "workflow_scripts.submit.formats",
    "workflow_scripts.cli.devices",
    "workflow_scripts.features.extract",
    "workflow_scripts.infer.answer",
    "workflow_scripts.infer.gather",
    "workflow_scripts.infer.export",
    "workflow_scripts.submit.outcome",
)
ROUTING = ("workflow_scripts.submit.experts", "workflow_scripts.infer.route")
"""Those that a routed system needs besides."""
