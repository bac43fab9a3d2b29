"""A session as tables, pictures and images on one time axis, and its export."""
