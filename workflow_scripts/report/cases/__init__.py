"""The case browser of the page: every evaluated row with images, each system's answer, score, boxes and findings."""
