"""Text encoders that are tuned for tasks and answer them: tags, classes, numbers and places instead of words."""
