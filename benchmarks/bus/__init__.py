"""The bus against its peers: ``python -m benchmarks.bus``."""
