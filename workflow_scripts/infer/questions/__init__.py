"""What is asked: the requests of rows, the answered rows that stand before them, and the cache of their answers."""
