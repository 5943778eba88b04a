"""What we learned: tables of results, with filters."""

from daskresearch.results.results import ResearchResults

__all__ = ["ResearchResults"]
