"""Between texts with spans of characters and what a model reads: units, batches, pieces of long texts, files."""
