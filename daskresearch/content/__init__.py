"""When two values are one: the content of values and of code, as hashes."""
