"""What a model can and cannot do, and what it costs."""

from nlpkit.probes.tuning_profile import TuningProfile, profile_table, profile_tuning

__all__ = ["TuningProfile", "profile_table", "profile_tuning"]
