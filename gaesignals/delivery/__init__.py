"""One delivery: claim what waits, run its handlers, and settle what became of it."""
