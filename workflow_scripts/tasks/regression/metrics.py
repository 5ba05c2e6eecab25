"""Metrics of regression: see `tasks.number_metrics`."""

from workflow_scripts.tasks.number_metrics import number_facts

facts = number_facts
