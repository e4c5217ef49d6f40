from .normalised import binary_cross_entropy as binary_cross_entropy
from .normalised import cross_entropy as cross_entropy
from .normalised import squared_error as squared_error
