"""How far a student's next token is from a teacher's, of which only the likeliest tokens are known.

Shape legend: B questions, T tokens, A tokens of all answers, S of them with a teacher's view, V vocabulary, k tokens
that the teacher's view names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pinembed.trimmed.prompts import IGNORED
from pinembed.trimmed.questions import Dialogue

TINY = 1e-6


def divergence(dialogues: Sequence[Dialogue], labels_BT: Tensor, logits_AV: Tensor) -> Tensor:
    """Mean KL divergence from teacher to student over the places that the teacher has seen.

    All tokens that the teacher's view does not name count as one, with what is left of either probability. That is
    never more than the divergence over the whole vocabulary, and 0 only where the two agree on the named tokens.

    Args:
        dialogues: some of them with a teacher's view.
        labels_BT: of the same batch; IGNORED outside of the answers.
        logits_AV: where a label is not IGNORED, in the batch's order.
    """
    length_B = (labels_BT != IGNORED).sum(dim=1).tolist()
    seen_SV = torch.cat(
        [
            logits_AV
            for dialogue, logits_AV in zip(dialogues, torch.split(logits_AV, length_B), strict=True)
            if dialogue.taught is not None
        ]
    )
    views = [dialogue.taught for dialogue in dialogues if dialogue.taught is not None]
    teacher_Sk = torch.cat([view.log_prob_Ak for view in views]).to(seen_SV)
    top_Sk = torch.cat([view.top_Ak for view in views]).long().to(seen_SV.device)
    student_Sk = seen_SV.log_softmax(dim=-1).gather(1, top_Sk)
    named_S = (teacher_Sk.exp() * (teacher_Sk - student_Sk)).sum(dim=1)
    teacher_rest_S = (1 - teacher_Sk.exp().sum(dim=1)).clamp_min(TINY)
    student_rest_S = (1 - student_Sk.exp().sum(dim=1)).clamp_min(TINY)
    return (named_S + teacher_rest_S * (teacher_rest_S / student_rest_S).log()).mean()
