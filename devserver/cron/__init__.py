"""App Engine's cron on this machine."""
