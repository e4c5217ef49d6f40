"""Everything that is probed of a model, on one page."""
