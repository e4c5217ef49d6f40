"""Where a side network begins: at random, as a pruned copy of the backbone, or taught to give its states."""
