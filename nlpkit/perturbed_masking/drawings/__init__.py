"""Trees and matrices as text and pictures."""
