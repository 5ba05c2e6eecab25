# %% [markdown]
# # 8. Quiz
#
# It marks itself. No answer is written down anywhere: each is computed from the results of the run that you look
# at, so that the quiz is another one on another configuration.

# %%
from lessons import open_course, show
from quiz import QUESTIONS, mark, questions

course = open_course("config/config.yaml")
# MedGemma (one GPU, HF_TOKEN): "config/minicourse.yaml"

# %%
show(questions())

# %% [markdown]
# Write your answers behind the numbers and run the cell. Two are filled in: one is right, the other counts the
# patches along one side of the image alone.

# %%
answers = {
    3: len(course.rows(course.split)),
    1: 64,
    # 2: …,
}
marks = mark(course, answers)
show(marks)
print(f"{(marks['mark'] == 'right').sum()} of {len(QUESTIONS)} right")
