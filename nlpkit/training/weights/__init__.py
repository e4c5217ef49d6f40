"""How parameters are grouped, frozen, averaged and moved."""
