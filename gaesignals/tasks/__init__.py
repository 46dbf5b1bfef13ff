"""Tasks that carry names or messages to the worker: what they are, and who adds them to a queue."""
