"""From impact on neighbours to words."""
