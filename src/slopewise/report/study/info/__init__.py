"""Facts that the views of a study show, as plain data computed from its records: no markup, no colours."""
