"""Views of a watched run: its page and its summary on a terminal."""
