"""Whether two engines were asked the same, and why not."""
