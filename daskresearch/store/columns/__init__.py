"""What a value is in a column of a table, and how it comes back as it was."""
