"""What the page says before its cases: the verdict, the tables, and what a reader must bear in mind."""
