from .attention import sdpa_in_fp32 as sdpa_in_fp32
from .masked_lm import MaskedLMTrainer as MaskedLMTrainer
from .masked_lm import metrics_by_domain as metrics_by_domain
from .precision import bf16_is_fast as bf16_is_fast
from .precision import fast_arithmetic as fast_arithmetic
from .precision import refuse_fp16_training as refuse_fp16_training
