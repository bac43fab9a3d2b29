"""The log of a session, bus.mcap: written as it comes, read, repaired."""
