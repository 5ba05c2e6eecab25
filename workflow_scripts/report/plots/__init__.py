"""The report's figures: each function makes a chart from typed rows, or none where its data do not exist."""
