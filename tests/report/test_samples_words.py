"""Several answers to a row: how the case browser counts their readings, and what the methods section says of them."""

from workflow_scripts.core.config.systems.model import Samples, Shots
from workflow_scripts.report.cases.payload import _samples
from workflow_scripts.report.methods.words import samples_words, shots_words


def test_readings_are_counted_the_commonest_first():
    assert _samples(["no", "yes", None, "yes", None, "yes"]) == [["yes", 3], [None, 2], ["no", 1]]
    assert _samples([7.0, ["edema"], 7.0]) == [["7.0", 2], ['["edema"]', 1]]


def test_the_methods_say_what_stands_before_questions():
    shots = Shots(count=1, train="lab", by="task", seed=3, balance=True, images=False)
    assert shots_words(shots) == (
        "shown 1 answered row of `lab` before each question, without their images (one set for each task, drawn with "
        "seed 3, classes of the answers in turn; none shares a case or an image with the evaluated rows)"
    )


def test_the_methods_say_how_answers_were_drawn_and_which_counts():
    assert samples_words("many", Samples(draws=1000, temperature=0.7, top_p=0.9), served=True) == (
        "`many` answered each row 1,000 times, behind an OpenAI-compatible server whose software is not recorded, at "
        "temperature 0.7 from the likeliest tokens of a probability of 0.9; the answer that counts is the commonest "
        "reading, or of numbers the lower median. "
    )
