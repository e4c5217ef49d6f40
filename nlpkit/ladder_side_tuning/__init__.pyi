from .answering import answer_together as answer_together
from .building import get_ladder_model as get_ladder_model
from .building import head_modules as head_modules
from .configuration import LadderConfig as LadderConfig
from .modeling import LadderModel as LadderModel
from .saving import load_ladder_model as load_ladder_model
from .taps.cache import TapCache as TapCache
from .taps.caching import cache_taps as cache_taps
