"""What a source says of its rows beside question and answer (hospital, scanner, sex, age band), and scores by it."""
