"""Baselines that answer from training rows alone."""

from workflow_scripts.tasks.baselines import commonest_answer, no_text, own_answer

majority = constant = commonest_answer
empty = no_text
answer_of = own_answer
