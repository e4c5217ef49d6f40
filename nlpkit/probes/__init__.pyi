from .step_memory import gradient_bytes as gradient_bytes
from .step_memory import optimizer_bytes as optimizer_bytes
from .step_memory import peak_bytes as peak_bytes
from .step_memory import saved_activation_bytes as saved_activation_bytes
from .tuning_profile import TuningProfile as TuningProfile
from .tuning_profile import profile_table as profile_table
from .tuning_profile import profile_tuning as profile_tuning
from .tuning_profile import standard_ways as standard_ways
