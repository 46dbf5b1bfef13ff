"""One delivery: claim what waits, run its handlers, and see to what became of it."""
