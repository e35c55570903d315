"""poolwise."""
