"""A session, or a recording of Pupil Player, back onto a bus."""
