"""A consistency and regression harness for vision-language models."""
