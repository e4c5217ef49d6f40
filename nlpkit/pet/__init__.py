"""PET: few-shot classification by filling masks, with its relatives."""
