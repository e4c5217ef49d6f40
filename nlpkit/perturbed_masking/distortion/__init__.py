"""How far a span can be taken out of its sentence: contextual distortion, for constituents."""
