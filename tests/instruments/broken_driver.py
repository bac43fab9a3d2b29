"""A driver whose import fails."""

X = 1 / 0
