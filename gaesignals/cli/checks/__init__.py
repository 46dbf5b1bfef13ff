"""What would fail after deployment, found before it: one module for each file or subject."""
