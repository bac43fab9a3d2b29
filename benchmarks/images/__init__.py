"""How fast images go from a detector to a writer, beside what limits it."""
