"""View of a checkpoint's slopes on a terminal."""
