"""Test kit for labwire and for those who build on it."""
