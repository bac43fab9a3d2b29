"""The worker's side: the process that runs one driver, and what it takes from and says to a server."""
