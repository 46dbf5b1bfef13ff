"""Interfaces of other frameworks, spoken by signals. Each module needs the framework that it is named after."""
