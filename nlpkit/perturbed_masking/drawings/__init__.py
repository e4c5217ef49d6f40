"""Pictures of influence matrices and trees, for pages (SVG, PNG) and for terminals."""
