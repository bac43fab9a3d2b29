"""Pictures as they come off the bus, and the videos that a session keeps of them."""
