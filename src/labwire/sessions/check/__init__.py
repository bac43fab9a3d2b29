"""After a session: prove what it holds, repair it, remove what is no longer kept."""
