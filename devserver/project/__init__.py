"""The application that the local cloud runs."""
