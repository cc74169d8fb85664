"""The upgrade gate: two sides' answers to the same cases, judged, with everything a reader asks of it."""
