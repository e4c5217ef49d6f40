"""From text to words: normalise, segment, split, and the vocabulary."""
