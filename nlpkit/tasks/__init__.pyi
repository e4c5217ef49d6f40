from . import classification as classification
from . import entities as entities
from . import linking as linking
from . import math as math
from . import similarity as similarity
