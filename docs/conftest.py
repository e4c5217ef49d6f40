"""The examples are in the pages: the programs beside them need tools of the site that `make docs` does without."""

from importlib.util import find_spec

collect_ignore_glob = ["*.py"]
collect_ignore = [] if find_spec("tensorflow") else ["conversion.md"]  # CI has it: pip install '.[convert]'
