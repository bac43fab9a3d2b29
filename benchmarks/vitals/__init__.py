"""Vital signs of a synthesised person against the truth: ``python -m benchmarks.vitals``."""
