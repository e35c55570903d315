"""What users call: wires the rooms together."""
