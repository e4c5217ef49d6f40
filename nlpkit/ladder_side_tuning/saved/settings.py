"""Which settings of a model its states depend on, which its head alone, and which nothing that it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Names, precision and what is returned; the token ids that texts are made with, where positions counted from padding
#: are looked up in the model; sizes that the shapes of weights say; and what layers are made of that others list.
_NAMES = """
    _name_or_path name_or_path architectures transformers_version torchscript model_type is_encoder_decoder prefix
    dtype torch_dtype quantization_config gradient_checkpointing chunk_size_feed_forward use_cache
    output_attentions output_hidden_states output_past output_router_logits output_auxiliary_logits return_dict
    return_dict_in_generate output_scores
    bos_token_id eos_token_id pad_token_id _pad_token_id sep_token_id cls_token_id unk_token_id mask_token_id
    decoder_start_token_id forced_bos_token_id forced_eos_token_id
    vocab_size task_type_vocab_size head_dim output_embedding_size output_dim _sliding_window_pattern
    id2label label2id num_labels problem_type finetuning_task task_specific_params
"""
#: What only training sees: dropout, and the values that weights begin with.
_TRAINING = """
    dropout dropout_rate hidden_dropout hidden_dropout_prob attention_dropout attention_probs_dropout_prob
    activation_dropout attn_pdrop embd_pdrop resid_pdrop residual_dropout embedding_dropout mlp_dropout ffn_dropout
    final_dropout feat_proj_dropout text_enhancer_dropout fusion_dropout fusion_droppath drop_path_rate
    layerdrop encoder_layerdrop decoder_layerdrop
    classifier_dropout classifier_dropout_prob classifier_dropout_rate semantic_classifier_dropout seq_classif_dropout
    qa_dropout pooler_dropout summary_first_dropout summary_last_dropout
    init_std init_xavier_std initializer_range initializer_factor initializer_cutoff_factor alpha_initializer
    alphas_initializer_range initializer_bias_prior_prob init_cell_selection_weights_to_zero
    init_layernorm_from_vision_encoder label_smoothing label_noise_ratio positive_label_weight
    sparse_prediction sparse_pred_ignore_index tie_encoder_decoder
"""
#: What is made of the last states, behind all taps.
_HEADS = """
    logits_scaling output_multiplier final_logit_softcapping logit_scale lm_head_multiplier scale_decoder_outputs
    tie_word_embeddings _remove_final_layer_norm decoder_bias
    summary_type summary_use_proj summary_activation summary_proj_to_labels
    classifier_pooling classifier_activation classifier_bias classifier_proj_size
    pooler_act pooler_hidden_act pooler_hidden_size pooler_output_size head_config head_in_index question_token_id
    average_logits_per_cell num_aggregation_labels aggregation_labels no_aggregation_label_index
"""
#: Of heads, but part of the fingerprint of the states ever since there is one.
_IN_BOTH = {"final_logit_softcapping", "logit_scale", "lm_head_multiplier", "scale_decoder_outputs"}
_OF_HEADS = frozenset(_HEADS.split())
_WITHOUT_EFFECT = frozenset((_NAMES + _TRAINING).split()) | (_OF_HEADS - _IN_BOTH)


def settings_of_states(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that states may depend on: all but those that are known not to matter to them.

    Args:
        settings: of a model, by name.

    Example:
        >>> settings_of_states({"token_dropout": True, "dropout": 0.1, "logits_scaling": 3})
        {'token_dropout': True}
    """
    return {name: value for name, value in settings.items() if name not in _WITHOUT_EFFECT}


def settings_of_heads(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that shape what a head makes of the last states.

    Args:
        settings: of a model, by name; those of its parts may lie inside.

    Returns:
        Settings by name; those of a part behind the part's name.

    Example:
        >>> settings_of_heads({"text_config": {"logits_scaling": 3}, "dropout": 0.1})
        {'text_config.logits_scaling': 3}
    """
    found = {name: value for name, value in settings.items() if name in _OF_HEADS}
    for part, inner in settings.items():
        if isinstance(inner, Mapping) and part not in found:
            found |= {f"{part}.{name}": value for name, value in settings_of_heads(inner).items()}
    return found
