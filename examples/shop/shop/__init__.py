"""A shop: its frontend sends signals, its receivers handle them in the worker."""
