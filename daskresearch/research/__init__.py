"""The user's face: `Research`, and what is asked of it when it has run."""
