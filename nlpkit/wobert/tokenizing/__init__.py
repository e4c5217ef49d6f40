"""From words to rows of ids and back: the tokenizer."""
