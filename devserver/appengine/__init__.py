"""App Engine's bundled services, for several processes on this machine."""
