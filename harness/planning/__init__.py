"""What a suite can find: the smallest differences, and how many cases are missing for a stated goal."""
