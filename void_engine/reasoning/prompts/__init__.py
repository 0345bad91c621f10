"""Prompts, as data: one file a version. A change is a new version."""
