"""The tables of a folder: parts that are written, merged and read."""
