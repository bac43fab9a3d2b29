"""The version of labwire, where every module may read it (the package itself imports the client lazily)."""

__version__ = "0.1.0"
