"""The version, in a module that imports nothing: the package, its rooms and its build all read it here."""

from __future__ import annotations

__version__ = "0.1.0"
