"""Values to bytes and back: what a message may carry, and what types an application declares for it."""
