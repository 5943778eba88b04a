"""One run: what is to run, in which groups, with which options, and how it is recorded."""
