"""What is stored: values in, bytes out, and back. No store, no clock and no randomness of its own."""
