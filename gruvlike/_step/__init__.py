"""One step of a stack, from a frame and its memory to the next frame, and the compiled loops around it."""
