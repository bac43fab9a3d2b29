"""Where the images of a run go: each module is one way."""
