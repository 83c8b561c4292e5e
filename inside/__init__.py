"""Look inside a model: values, lens, attention, attribution, edits, and where it fails.

``Engine.inside`` is the way in; each name here is loaded on first use. Neither torch nor onnx is
needed.
"""

from typing import TYPE_CHECKING

from gpt2edge._lazy import lazy_names

if TYPE_CHECKING:
    from gpt2edge.inside.attribution import Attribution, Unit, direct_logit_attribution
    from gpt2edge.inside.cache import ActivationCache
    from gpt2edge.inside.cache_file import load_activations, save_activations
    from gpt2edge.inside.detection import (
        DetectionScores,
        Percentiles,
        auc,
        binoculars,
        detection_scores,
        percentiles,
    )
    from gpt2edge.inside.edits import Edit, Edits, Positions
    from gpt2edge.inside.heads import HeadKind, head_scores
    from gpt2edge.inside.hooks import Hook, Name, NamesFilter, hook_names
    from gpt2edge.inside.lens import Lens, LensResult, logit_lens, logit_readout
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
    from gpt2edge.inside.tensors import Tensors

__all__ = [
    "ActivationCache",
    "Attribution",
    "Cell",
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
    "Pass",
    "PatchResult",
    "Percentiles",
    "Positions",
    "Question",
    "QuizResult",
    "Report",
    "Site",
    "Tensors",
    "TokenStatistics",
    "Unit",
    "activation_patch",
    "auc",
    "binoculars",
    "detection_scores",
    "direct_logit_attribution",
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
    "painted_page",
    "percentiles",
    "quiz_questions",
    "save_activations",
    "token_statistics",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and find a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "ActivationCache": "gpt2edge.inside.cache",
            "Attribution": "gpt2edge.inside.attribution",
            "Cell": "gpt2edge.inside.report",
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
            "Pass": "gpt2edge.inside.passes",
            "PatchResult": "gpt2edge.inside.patching",
            "Percentiles": "gpt2edge.inside.detection",
            "Positions": "gpt2edge.inside.edits",
            "Question": "gpt2edge.inside.quiz",
            "QuizResult": "gpt2edge.inside.quiz",
            "Report": "gpt2edge.inside.report",
            "Site": "gpt2edge.inside.patching",
            "Tensors": "gpt2edge.inside.tensors",
            "TokenStatistics": "gpt2edge.inside.statistics",
            "Unit": "gpt2edge.inside.attribution",
            "activation_patch": "gpt2edge.inside.patching",
            "auc": "gpt2edge.inside.detection",
            "binoculars": "gpt2edge.inside.detection",
            "detection_scores": "gpt2edge.inside.detection",
            "direct_logit_attribution": "gpt2edge.inside.attribution",
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
            "painted_page": "gpt2edge.inside.painting",
            "percentiles": "gpt2edge.inside.detection",
            "quiz_questions": "gpt2edge.inside.quiz",
            "save_activations": "gpt2edge.inside.cache_file",
            "token_statistics": "gpt2edge.inside.statistics",
        },
    )
