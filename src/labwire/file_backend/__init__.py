"""The file backend: JSON Lines envelopes and JPEG frames (file-ipc)."""
