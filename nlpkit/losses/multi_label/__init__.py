"""Any number of classes per row."""
