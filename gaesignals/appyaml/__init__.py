"""App Engine's yaml files, read as the SDK reads them."""
