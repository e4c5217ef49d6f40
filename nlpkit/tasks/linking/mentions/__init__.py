"""Where names of entities stand in a text, how often they are meant, and which of them go together."""
