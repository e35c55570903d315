"""Running: draws calls, sends them down lanes, puts outcomes into order. Cannot render."""
