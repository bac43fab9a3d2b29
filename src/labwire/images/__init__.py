"""Image streams: what sends images, what stores them, and what is in between."""
