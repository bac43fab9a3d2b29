"""A rig: its file, its hub, its supervisor, and the demo."""
