"""The trimmed model in memory: stored embeddings and a question in, an answer out.

Shape legend: B questions, T tokens, I items of all questions in order, D floats of one embedding, K soft tokens of one
item (m <= K of them used), H language-model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor

from pinembed.errors import ModelError, NonFiniteEmbeddingError, UsageError
from pinembed.generation.reading import hold
from pinembed.generation.record import MODEL
from pinembed.stores.fetch import local_copy
from pinembed.trimmed.chat_ids import Exchange
from pinembed.trimmed.checkpoint import import_transformers, read_checkpoint, without_bars
from pinembed.trimmed.families import Family, family_of
from pinembed.trimmed.projector import Projector, TaughtCalls, load_projector, no_projector, taught_calls
from pinembed.trimmed.prompts import CALL, PromptBatch, PromptWriter
from pinembed.trimmed.quantised import SCALE

Embeddings = Tensor | np.ndarray
WITHOUT_CALL = 32  # tokens, after which a model that was asked for one call will make none
DTYPES = ("auto", "float32", "bfloat16", "float16")
LOAD_ERRORS = (  # what transformers raises on a damaged or edited folder
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
    TypeError,
    ValueError,
)


class TrimmedModel:
    """A multimodal model without its vision tower, and the projector that feeds it.

    Attributes:
        projector: None until `align` has made one, or the caller sets one.
        calls: how `align` taught it to call tools, and how well.
    """

    def __init__(
        self,
        model: Any,
        writer: PromptWriter,
        projector: Projector | None = None,
        calls: TaughtCalls | None = None,
    ) -> None:
        self.model = model
        self.writer = writer
        self.projector = projector
        self.calls = calls or TaughtCalls()

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device = "cpu", dtype: str = "auto") -> TrimmedModel:
        """Load a folder that `trim` or `align` wrote, for answering.

        Args:
            folder: of the trimmed checkpoint, or a home of generations.
            device: torch device.
            dtype: `auto` for the type that the weights are stored in, or one of DTYPES.

        Raises:
            UsageError: an unknown dtype.
            ModelError: not a trimmed checkpoint, or damaged.
            MissingExtraError: the extra `vlm` is missing.
        """
        held = hold(folder)
        folder = local_copy(folder) if held is None else held.part(MODEL)
        if dtype not in DTYPES:
            raise UsageError(f"--dtype {dtype} is not one of {', '.join(DTYPES)}.", remedy="Give one of these.")
        if not read_checkpoint(folder).is_trimmed:
            raise ModelError(
                f"{folder} still has its vision tower; wanted a trimmed checkpoint.",
                remedy=f"Run: pinembed trim {folder} --out {folder.name}-trimmed",
            )
        model, writer = load_parts(folder, dtype=dtype)
        projector = load_projector(folder, hidden=model.config.text_config.hidden_size)
        return cls(model.to(device), writer, None if projector is None else projector.to(device), taught_calls(folder))

    @property
    def family(self) -> Family:
        """What kind of model it is."""
        family = family_of(self.model.config.to_dict())
        assert family is not None  # read_checkpoint refuses others
        return family

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def token_embeddings_VH(self) -> Tensor:
        """The language model's input embeddings."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight

    def require_projector(self) -> Projector:
        """The projector.

        Raises:
            ModelError: there is none yet.
        """
        if self.projector is None:
            raise no_projector("The trimmed model")
        return self.projector

    def soft_tokens(self, embeddings_ID: Embeddings, *, tokens: int | None = None) -> Tensor:
        """What the language model sees in the place of the items.

        Args:
            embeddings_ID: rows of an embedding source.
            tokens: m; None for K.

        Returns:
            (I, m, H) in the language model's type.

        Raises:
            NonFiniteEmbeddingError: a row holds NaN or inf.
            ModelError: no projector.
        """
        projector = self.require_projector()
        embeddings_ID = as_tensor(embeddings_ID)
        finite_I = torch.isfinite(embeddings_ID).all(dim=1)
        if not bool(finite_I.all()):
            raise NonFiniteEmbeddingError(
                f"{int((~finite_I).sum())} of {len(finite_I)} embeddings hold NaN or inf.",
                remedy="Run `pinembed verify` on the source; encode these items again.",
            )
        soft_ImH: Tensor = projector(embeddings_ID.to(self.device), tokens)
        return soft_ImH.to(self.token_embeddings_VH.dtype)

    def inputs(self, batch: PromptBatch, soft_ImH: Tensor) -> dict[str, Any]:
        """Keyword arguments of transformers' `forward` and `generate`."""
        batch = batch.to(self.device)
        texts = {"input_ids": batch.input_ids_BT, "attention_mask": batch.attention_mask_BT}
        if not len(soft_ImH):
            return texts
        return {
            **texts,
            "mm_token_type_ids": batch.item_mask_BT,
            "image_grid_thw": batch.grid_I3,
            "mm_encoder_outputs": {"image": image_outputs(soft_ImH)},
        }

    def write(
        self,
        questions: Sequence[str],
        embeddings: Sequence[Embeddings],
        tokens: int | None = None,
        earlier: Sequence[Sequence[Exchange]] | None = None,
    ) -> tuple[PromptBatch, Tensor]:
        """Prompts padded on the left, and the soft tokens of their items; arguments as for `generate`.

        Raises:
            UsageError: the two differ in number, or a question has no item.
        """
        counts = [len(rows) for rows in embeddings]
        behind = [sum(turn.items for turn in turns) for turns in earlier or [()] * len(counts)]
        if not questions or len(questions) != len(counts) or min(counts) < 1:
            raise UsageError(
                f"{len(questions)} question(s) came with items for {sum(map(bool, counts))}; each needs at least one.",
                remedy="Give one array of embeddings for each question.",
            )
        m = self.require_projector().checked_tokens(tokens)
        rows_ID = torch.cat([as_tensor(rows) for rows in embeddings])
        own = [count - before for count, before in zip(counts, behind, strict=True)]
        return self.writer.write(questions, own, tokens=m, earlier=earlier), self.soft_tokens(rows_ID, tokens=m)

    @torch.inference_mode()
    def logits(self, questions: Sequence[str], embeddings: Sequence[Embeddings]) -> Tensor:
        """(B, V) float32: what the model would say next after each question; arguments as for `generate`."""
        batch, soft_ImH = self.write(questions, embeddings)
        with without_bars(import_transformers("Answering")):
            logits_B1V: Tensor = self.model(**self.inputs(batch, soft_ImH), logits_to_keep=1).logits
        return logits_B1V[:, -1].float()

    @torch.inference_mode()
    def generate(
        self,
        questions: Sequence[str],
        embeddings: Sequence[Embeddings],
        *,
        tokens: int | None = None,
        earlier: Sequence[Sequence[Exchange]] | None = None,
        max_new_tokens: int = 128,
        beams: int = 1,
        on_text: Callable[[str], None] | None = None,
    ) -> list[str]:
        """Answer questions about items, greedily: the same input gives the same answer.

        Args:
            questions: B texts.
            embeddings: for each question an (n, D) array of its items, in the order the question means.
            tokens: m, soft tokens of one item; None for the projector's K.
            earlier: for each question the turns before it, whose items come first in its array.
            max_new_tokens: longest answer.
            beams: 1 for greedy search.
            on_text: called with each new piece of the answer; for one question and one beam.

        Returns:
            B answers.

        Raises:
            ModelError: no projector.
            UsageError: a question without an item, or with a special token in it.
            NonFiniteEmbeddingError, EncoderMismatchError: as for `soft_tokens`.
        """
        transformers = import_transformers("Answering")
        batch, soft_ImH = self.write(questions, embeddings, tokens, earlier)
        streamer = None
        if on_text is not None and beams == 1 and len(questions) == 1:
            streamer = _streamer(transformers, self.writer.tokenizer, on_text)
        with without_bars(transformers):
            made_BT = self.model.generate(
                **self.inputs(batch, soft_ImH), num_beams=beams, max_new_tokens=max_new_tokens, streamer=streamer
            )
        new_BT = made_BT[:, batch.input_ids_BT.shape[1] :]
        answers: list[str] = self.writer.tokenizer.batch_decode(new_BT, skip_special_tokens=True)
        return [answer.strip() for answer in answers]

    @torch.inference_mode()
    def say(self, messages: Sequence[dict[str, Any]], *, tools: Sequence[dict[str, Any]], max_new_tokens: int) -> str:
        """The next turn of a chat without items, greedily, calls of tools included.

        Args:
            messages: of text alone; the caller has kept special tokens out of them.
            tools: as JSON schemas, for templates that write them.
            max_new_tokens: longest answer; one that calls no tool is cut off after `WITHOUT_CALL`.
        """
        transformers = import_transformers("Answering")
        written = self.writer.render(messages, tools=list(tools), add_generation_prompt=True) + self.writer.form.closing
        tokenized = self.writer.tokenizer(written, add_special_tokens=False, return_tensors="pt")
        ids_1T = tokenized["input_ids"].to(self.device)
        with without_bars(transformers):
            made_1T = self.model.generate(
                input_ids=ids_1T,
                attention_mask=torch.ones_like(ids_1T),
                max_new_tokens=max_new_tokens,
                stopping_criteria=[self._calls_nothing(ids_1T.shape[1])],
            )
        text: str = self.writer.tokenizer.decode(made_1T[0, ids_1T.shape[1] :], skip_special_tokens=True)
        return text

    def _calls_nothing(self, prompt: int) -> Callable[..., Tensor]:
        """Whether so much has been written after a prompt of that many tokens without the beginning of a call."""

        def is_enough(ids_1T: Tensor, _: Tensor, **__: Any) -> Tensor:
            is_due = ids_1T.shape[1] == prompt + WITHOUT_CALL
            ends = is_due and CALL not in self.writer.tokenizer.decode(ids_1T[0, prompt:])
            return torch.tensor([ends], device=ids_1T.device)

        return is_enough


def image_outputs(soft_ImH: Tensor) -> Any:
    """Soft tokens as transformers takes them in the place of the tower's output, the same in all families.

    The DeepStack levels get zeros: what they carry in the full model comes from the tower's inner layers. One level is
    enough, and none at all breaks beams in transformers 5.23; families without DeepStack pass over it.
    """
    modeling = import_transformers("Running a trimmed model").models.qwen3_vl.modeling_qwen3_vl
    return modeling.BaseModelOutputWithDeepstackFeatures(
        pooler_output=list(soft_ImH), deepstack_features=[list(torch.zeros_like(soft_ImH))]
    )


def as_tensor(embeddings_ND: Embeddings) -> Tensor:
    """A tensor of its own: rows of a source are mapped read-only, which torch does not know."""
    if isinstance(embeddings_ND, Tensor):
        return embeddings_ND
    return torch.from_numpy(np.array(embeddings_ND))


def load_parts(folder: Path, *, dtype: str = "auto") -> tuple[Any, PromptWriter]:
    """Transformers' model in evaluation mode and the prompt writer of a checkpoint, trimmed or not.

    Raises:
        ModelError: transformers cannot load the folder.
        MissingExtraError: the extra `vlm` is missing.
    """
    checkpoint = read_checkpoint(folder)
    transformers = import_transformers("Loading a trimmed model")
    with without_bars(transformers):
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            if checkpoint.is_quantised:
                config.quantization_config["dequantize"] = True  # FP8 arithmetic needs kernels that few machines have
            model, info = transformers.AutoModelForImageTextToText.from_pretrained(
                folder,
                config=config,
                dtype=checkpoint.dtype if dtype == "auto" else dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except LOAD_ERRORS as error:
            raise ModelError(
                f"transformers cannot load {folder}: {' '.join(str(error).split())[:240]}",
                remedy="Check that config, weights and tokenizer belong together, or trim the checkpoint again.",
            ) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} tensor(s) of the language model: {', '.join(missing[:3])}.",
            remedy="Trim the checkpoint again from a whole one.",
        )
    if scales := [name for name in info["unexpected_keys"] if name.endswith(SCALE)]:
        raise ModelError(
            f"transformers does not apply {len(scales)} scale(s) of quantised weights in {folder}: {scales[0]} ...",
            remedy="Give the checkpoint in BF16.",
        )
    if checkpoint.is_quantised:
        model = model.to(getattr(torch, checkpoint.dtype if dtype == "auto" else dtype))  # scales decided it
    writer = PromptWriter(tokenizer, folder)
    if model.config.image_token_id != writer.pad_id:
        raise ModelError(
            f"{folder} puts images at the token {model.config.image_token_id}, "
            f"its tokenizer writes {writer.pad_id} for them.",
            remedy="Bring config.json and the tokenizer back from one checkpoint.",
        )
    model.generation_config = _greedy(transformers, model, writer, folder)
    return model.eval(), writer


def _greedy(transformers: ModuleType, model: Any, writer: PromptWriter, folder: Path) -> Any:
    """Generation settings of which the checkpoint decides the ends of a turn alone.

    Transformers fills what a caller leaves out from the model's own settings, penalties included.
    """
    stored = model.generation_config.eos_token_id
    ends = stored if isinstance(stored, list | tuple) else [] if stored is None else [stored]
    vocabulary = model.config.text_config.vocab_size
    for end in ends:
        if not isinstance(end, int) or not 0 <= end < vocabulary:
            raise ModelError(
                f"generation_config.json in {folder} ends answers at the token {end!r}; "
                f"wanted numbers below {vocabulary}.",
                remedy="Copy the file of the checkpoint into the folder.",
            )
    tokenizer = writer.tokenizer
    return transformers.GenerationConfig(
        do_sample=False,
        eos_token_id=sorted({*ends, writer.end_id}),
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
    )


def _streamer(transformers: ModuleType, tokenizer: Any, on_text: Callable[[str], None]) -> Any:
    class Streamer(transformers.TextStreamer):  # type: ignore[name-defined, misc]
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            on_text(text)

    return Streamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
