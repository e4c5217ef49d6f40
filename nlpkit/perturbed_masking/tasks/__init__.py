"""What perturbed masking is evaluated on: gold, the decoders to choose among, baselines and scores of three tasks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
