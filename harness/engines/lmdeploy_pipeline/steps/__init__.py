"""How one loaded LMDeploy is asked: a protocol of steps, and an implementation for each of its engines."""
