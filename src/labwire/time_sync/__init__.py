"""Time of several computers: Pupil Time Sync v1, as clock master and as follower."""
