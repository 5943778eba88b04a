"""When two calls are one: the keys of units."""
