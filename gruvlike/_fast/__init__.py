"""Faster training on a CPU: replacements for parts of Keras that give the same numbers in less time."""
