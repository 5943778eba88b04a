"""One run: its experiments, groups and options, and how it is recorded."""
