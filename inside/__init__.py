"""Look inside a model: values, lens, attention, attribution, edits, and where it fails.

``Engine.inside`` is the way in; each name here is loaded on first use. Neither torch nor onnx is
needed.
"""

from typing import TYPE_CHECKING

from gpt2edge._lazy import lazy_names

if TYPE_CHECKING:
    from gpt2edge.inside.affine import AffineLens
    from gpt2edge.inside.attribution import Attribution, Unit, direct_logit_attribution
    from gpt2edge.inside.cache import ActivationCache
    from gpt2edge.inside.cache_file import load_activations, save_activations
    from gpt2edge.inside.choices import (
        ChoiceFigure,
        ChoiceReport,
        ChoiceScores,
        choose,
        evaluate_choices,
    )
    from gpt2edge.inside.cloze import ClozeFigures, ClozeReport, ClozeRow, probe
    from gpt2edge.inside.detection import (
        DetectionScores,
        Percentiles,
        auc,
        binoculars,
        detection_scores,
        percentiles,
    )
    from gpt2edge.inside.edits import Edit, Edits, Positions
    from gpt2edge.inside.glitch import (
        Category,
        UndertrainedToken,
        UndertrainedTokens,
        token_category,
        undertrained_tokens,
    )
    from gpt2edge.inside.heads import HeadKind, head_scores
    from gpt2edge.inside.hooks import Hook, Name, NamesFilter, hook_names
    from gpt2edge.inside.html_page import page, page_data
    from gpt2edge.inside.lens import Lens, LensResult, logit_lens, logit_readout
    from gpt2edge.inside.neurons import ActivationRecord, NeuronIndex, NeuronRecord, NeuronWeights
    from gpt2edge.inside.painting import painted_page
    from gpt2edge.inside.passes import GraphEdits, Pass
    from gpt2edge.inside.patching import (
        Importance,
        LogitDiff,
        Metric,
        PatchResult,
        Site,
        activation_patch,
        get_act_patch_attn_head_out_all_pos,
        get_act_patch_attn_out,
        get_act_patch_mlp_out,
        get_act_patch_resid_pre,
        importance,
    )
    from gpt2edge.inside.quiz import Question, QuizResult, quiz_questions
    from gpt2edge.inside.report import Cell, Look, Report
    from gpt2edge.inside.scope import HookFunction, Inside
    from gpt2edge.inside.statistics import TokenStatistics, token_statistics
    from gpt2edge.inside.steering import SteeringVector, steered, steering_options, steering_vector
    from gpt2edge.inside.tensors import Tensors

__all__ = [
    "ActivationCache",
    "ActivationRecord",
    "AffineLens",
    "Attribution",
    "Category",
    "Cell",
    "ChoiceFigure",
    "ChoiceReport",
    "ChoiceScores",
    "ClozeFigures",
    "ClozeReport",
    "ClozeRow",
    "DetectionScores",
    "Edit",
    "Edits",
    "GraphEdits",
    "HeadKind",
    "Hook",
    "HookFunction",
    "Importance",
    "Inside",
    "Lens",
    "LensResult",
    "LogitDiff",
    "Look",
    "Metric",
    "Name",
    "NamesFilter",
    "NeuronIndex",
    "NeuronRecord",
    "NeuronWeights",
    "Pass",
    "PatchResult",
    "Percentiles",
    "Positions",
    "Question",
    "QuizResult",
    "Report",
    "Site",
    "SteeringVector",
    "Tensors",
    "TokenStatistics",
    "UndertrainedToken",
    "UndertrainedTokens",
    "Unit",
    "activation_patch",
    "auc",
    "binoculars",
    "choose",
    "detection_scores",
    "direct_logit_attribution",
    "evaluate_choices",
    "get_act_patch_attn_head_out_all_pos",
    "get_act_patch_attn_out",
    "get_act_patch_mlp_out",
    "get_act_patch_resid_pre",
    "head_scores",
    "hook_names",
    "importance",
    "load_activations",
    "logit_lens",
    "logit_readout",
    "page",
    "page_data",
    "painted_page",
    "percentiles",
    "probe",
    "quiz_questions",
    "save_activations",
    "steered",
    "steering_options",
    "steering_vector",
    "token_category",
    "token_statistics",
    "undertrained_tokens",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and find a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "ActivationCache": "gpt2edge.inside.cache",
            "ActivationRecord": "gpt2edge.inside.neurons",
            "AffineLens": "gpt2edge.inside.affine",
            "Attribution": "gpt2edge.inside.attribution",
            "Category": "gpt2edge.inside.glitch",
            "Cell": "gpt2edge.inside.report",
            "ChoiceFigure": "gpt2edge.inside.choices",
            "ChoiceReport": "gpt2edge.inside.choices",
            "ChoiceScores": "gpt2edge.inside.choices",
            "ClozeFigures": "gpt2edge.inside.cloze",
            "ClozeReport": "gpt2edge.inside.cloze",
            "ClozeRow": "gpt2edge.inside.cloze",
            "DetectionScores": "gpt2edge.inside.detection",
            "Edit": "gpt2edge.inside.edits",
            "Edits": "gpt2edge.inside.edits",
            "GraphEdits": "gpt2edge.inside.passes",
            "HeadKind": "gpt2edge.inside.heads",
            "Hook": "gpt2edge.inside.hooks",
            "HookFunction": "gpt2edge.inside.scope",
            "Importance": "gpt2edge.inside.patching",
            "Inside": "gpt2edge.inside.scope",
            "Lens": "gpt2edge.inside.lens",
            "LensResult": "gpt2edge.inside.lens",
            "LogitDiff": "gpt2edge.inside.patching",
            "Look": "gpt2edge.inside.report",
            "Metric": "gpt2edge.inside.patching",
            "Name": "gpt2edge.inside.hooks",
            "NamesFilter": "gpt2edge.inside.hooks",
            "NeuronIndex": "gpt2edge.inside.neurons",
            "NeuronRecord": "gpt2edge.inside.neurons",
            "NeuronWeights": "gpt2edge.inside.neurons",
            "Pass": "gpt2edge.inside.passes",
            "PatchResult": "gpt2edge.inside.patching",
            "Percentiles": "gpt2edge.inside.detection",
            "Positions": "gpt2edge.inside.edits",
            "Question": "gpt2edge.inside.quiz",
            "QuizResult": "gpt2edge.inside.quiz",
            "Report": "gpt2edge.inside.report",
            "Site": "gpt2edge.inside.patching",
            "SteeringVector": "gpt2edge.inside.steering",
            "Tensors": "gpt2edge.inside.tensors",
            "TokenStatistics": "gpt2edge.inside.statistics",
            "UndertrainedToken": "gpt2edge.inside.glitch",
            "UndertrainedTokens": "gpt2edge.inside.glitch",
            "Unit": "gpt2edge.inside.attribution",
            "activation_patch": "gpt2edge.inside.patching",
            "auc": "gpt2edge.inside.detection",
            "binoculars": "gpt2edge.inside.detection",
            "choose": "gpt2edge.inside.choices",
            "detection_scores": "gpt2edge.inside.detection",
            "direct_logit_attribution": "gpt2edge.inside.attribution",
            "evaluate_choices": "gpt2edge.inside.choices",
            "get_act_patch_attn_head_out_all_pos": "gpt2edge.inside.patching",
            "get_act_patch_attn_out": "gpt2edge.inside.patching",
            "get_act_patch_mlp_out": "gpt2edge.inside.patching",
            "get_act_patch_resid_pre": "gpt2edge.inside.patching",
            "head_scores": "gpt2edge.inside.heads",
            "hook_names": "gpt2edge.inside.hooks",
            "importance": "gpt2edge.inside.patching",
            "load_activations": "gpt2edge.inside.cache_file",
            "logit_lens": "gpt2edge.inside.lens",
            "logit_readout": "gpt2edge.inside.lens",
            "page": "gpt2edge.inside.html_page",
            "page_data": "gpt2edge.inside.html_page",
            "painted_page": "gpt2edge.inside.painting",
            "percentiles": "gpt2edge.inside.detection",
            "probe": "gpt2edge.inside.cloze",
            "quiz_questions": "gpt2edge.inside.quiz",
            "save_activations": "gpt2edge.inside.cache_file",
            "steered": "gpt2edge.inside.steering",
            "steering_options": "gpt2edge.inside.steering",
            "steering_vector": "gpt2edge.inside.steering",
            "token_category": "gpt2edge.inside.glitch",
            "token_statistics": "gpt2edge.inside.statistics",
            "undertrained_tokens": "gpt2edge.inside.glitch",
        },
    )
