"""Links between neighbouring characters out of counts over a corpus: no model, no labels."""
