"""What a CI system is told: GitHub, JUnit, environment files."""
