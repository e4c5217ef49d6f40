"""A model that reads a text beside the description of an entity."""
