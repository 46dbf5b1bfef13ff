"""Cloud Tasks on this machine."""
