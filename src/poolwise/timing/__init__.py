"""How anything is timed; knows nothing of pools."""
