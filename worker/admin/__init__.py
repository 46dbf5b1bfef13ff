"""What a person sees and does: pages, and the same as JSON."""
