"""Instruments: a server that calls drivers in isolated worker processes. Source: instrument-ipc."""
