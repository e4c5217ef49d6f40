"""Another tokenizer for a model: which rows its tokens begin with."""
