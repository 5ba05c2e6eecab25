"""What the report shows by group: lines of its tables, and its figures."""
