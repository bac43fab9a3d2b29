"""The benchmark of the dashboard's live path."""
