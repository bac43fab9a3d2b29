"""What a session costs: recording beside plain writes, reading it back, exporting, replaying."""
