"""Word-level Chinese BERT: tokenizer, vocabulary, model surgery, conversion."""
