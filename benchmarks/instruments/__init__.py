"""The instrument server against its limits: ``python -m benchmarks.instruments``."""
