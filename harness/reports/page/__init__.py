"""The report: one HTML file, and the document behind it."""
