"""The folder that Pupil Player opens, beside the log."""
