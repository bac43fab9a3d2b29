"""One recording as a folder of open files: log, Player view, video, manifest, repair."""
