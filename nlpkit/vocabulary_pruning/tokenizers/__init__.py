"""``tokenizer.json`` with fewer tokens: Unigram, BPE and WordPiece."""
