"""Drivers that labwire ships: SCPI over VISA, simulated instruments."""
