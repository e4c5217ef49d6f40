from .blocks.block_family import BlockFamily as BlockFamily
from .blocks.families import FAMILIES as FAMILIES
from .building import get_ladder_model as get_ladder_model
from .configuration import LadderConfig as LadderConfig
from .modeling import LadderModel as LadderModel
from .profiling import ladder_ways as ladder_ways
from .taps.cache import TapCache as TapCache
from .tuning import tune_from as tune_from
