"""The files of a folder, on this machine or behind a URL."""
