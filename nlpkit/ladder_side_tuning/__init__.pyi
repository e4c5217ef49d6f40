from .building import get_ladder_model as get_ladder_model
from .configuration import LadderConfig as LadderConfig
from .families import FAMILIES as FAMILIES
from .families import BlockFamily as BlockFamily
from .modeling import LadderModel as LadderModel
from .profiling import ladder_ways as ladder_ways
from .taps.cache import TapCache as TapCache
