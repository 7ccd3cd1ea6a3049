"""The configuration: its model, its text, its rules, its revisions."""
