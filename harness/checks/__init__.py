"""Pure functions on recordings. Each returns a result that prints itself and is true if nothing is wrong."""
