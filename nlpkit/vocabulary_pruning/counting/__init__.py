"""Which tokens a corpus needs."""
