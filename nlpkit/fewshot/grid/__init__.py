"""Every method on every split and seed, into one file of results."""
