from .construction import new_mt5 as new_mt5
from .faithful_tokenizer import faithful_tokenizer as faithful_tokenizer
from .pseudo_summaries import common_subsequence as common_subsequence
from .pseudo_summaries import pseudo_summary as pseudo_summary
from .pseudo_summaries import split_sentences as split_sentences
from .summary_corpus import SummaryCorpus as SummaryCorpus
from .vocabulary import train_vocabulary as train_vocabulary
