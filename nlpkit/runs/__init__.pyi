from .checkpoints import last_complete_checkpoint as last_complete_checkpoint
from .checkpoints import rows_per_step as rows_per_step
from .checkpoints import training_facts as training_facts
from .facts import settle_facts as settle_facts
from .metrics_log import MetricsLog as MetricsLog
from .metrics_log import read_metrics as read_metrics
from .recipe_arguments import FineTuningDefaults as FineTuningDefaults
from .recipe_arguments import parse_recipe_arguments as parse_recipe_arguments
