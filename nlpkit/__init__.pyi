from .ladder_side_tuning.building import get_ladder_model as get_ladder_model
from .ladder_side_tuning.configuration import LadderConfig as LadderConfig
from .ladder_side_tuning.modeling import LadderModel as LadderModel
from .perturbed_masking.perturbed_masking import PerturbedMasking as PerturbedMasking
from .pet.classifiers.pet_classifier import PetClassifier as PetClassifier
from .pet.classifiers.sentinels import SentinelClassifier as SentinelClassifier
from .pet.clozes.pattern import Pattern as Pattern
from .pet.clozes.verbalizer import Verbalizer as Verbalizer
from .pet.objectives.trainer import PetTrainer as PetTrainer
from .pet.objectives.trainer import PetTrainingArguments as PetTrainingArguments
from .sources import model_path as model_path
from .wobert.configuration import WoBertConfig as WoBertConfig
from .wobert.conversion.conversion import convert_checkpoint as convert_checkpoint
from .wobert.modeling import WoBertForMaskedLM as WoBertForMaskedLM
from .wobert.modeling import WoBertForPreTraining as WoBertForPreTraining
from .wobert.modeling import WoBertForSequenceClassification as WoBertForSequenceClassification
from .wobert.modeling import WoBertForTokenClassification as WoBertForTokenClassification
from .wobert.modeling import WoBertModel as WoBertModel
from .wobert.questions import WoBertForMultipleChoice as WoBertForMultipleChoice
from .wobert.questions import WoBertForQuestionAnswering as WoBertForQuestionAnswering
from .wobert.tagging.tagging import WoBertCharacterConfig as WoBertCharacterConfig
from .wobert.tagging.tagging import WoBertForCharacterClassification as WoBertForCharacterClassification
from .wobert.tokenizing.tokenizer import WoBertTokenizer as WoBertTokenizer
from .wobert.wordifying.wordify import wordify as wordify
from .wobert.words.vocabulary import build_vocabulary as build_vocabulary

__version__: str
