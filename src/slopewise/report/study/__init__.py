"""Views of a study: its page, its summary on a terminal, its JSON, its records as files, and its progress."""
