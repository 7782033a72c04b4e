"""The projector: one stored embedding to K soft tokens of the language model.

Shape legend: N embeddings, D floats of one embedding, K soft tokens of one item, m <= K of them used, H language-model
width.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.errors import DataError, EncoderMismatchError, ModelError, UsageError
from pinembed.stored import typed_record_of
from pinembed.trimmed.checkpoint import read_json, write_json

STRENGTHS = tuple(10.0**power for power in range(-6, 2))  # of the ridge penalty, in the mean spread of an axis
TINY = 1e-9
MIN_ITEMS = 16


class LinearAdapter(nn.Module):
    """x W' + b, (N, D) to (N, E), brought to norm 1 as every embedding is."""

    def __init__(self, dim: int, old_dim: int) -> None:
        super().__init__()
        self.map = nn.Linear(dim, old_dim)

    def forward(self, embeddings_ND: Tensor) -> Tensor:
        """(N, E) of norm 1."""
        return F.normalize(self.map(embeddings_ND), dim=1)


def fit_adapter(new_ND: Tensor, old_NE: Tensor) -> LinearAdapter:
    """The ridge regression of the old embeddings on the new ones, of the same items in the same order.

    Its penalty is the one under which items that were left out are mapped best. Source: Allen 1974,
    doi:10.1080/00401706.1974.10489157.

    Raises:
        DataError: too few items for a map.
    """
    if len(new_ND) < MIN_ITEMS:
        raise DataError(
            f"The two sources share {len(new_ND)} training item(s); a map between encoders needs {MIN_ITEMS} or more.",
            remedy="Give the old source of the same catalogue, or train a new projector without --old-source.",
        )
    new_ND, old_NE = new_ND.double(), old_NE.double()
    mean_D, mean_E = new_ND.mean(dim=0), old_NE.mean(dim=0)
    centred_ND, wanted_NE = new_ND - mean_D, old_NE - mean_E
    spread_D, axes_DD = torch.linalg.eigh(centred_ND.T @ centred_ND)
    part_ND = centred_ND @ axes_DD
    found_DE = part_ND.T @ wanted_NE

    def shrunk(strength: float) -> Tensor:
        penalised_D: Tensor = spread_D.clamp_min(0) + strength * float(spread_D.mean())
        return penalised_D.reciprocal()

    def left_out_error(strength: float) -> float:
        """Mean square where each item is mapped by what the others tell: of a ridge regression, in closed form."""
        weight_ND: Tensor = part_ND * shrunk(strength)
        leverage_N = 1 / len(new_ND) + (weight_ND * part_ND).sum(dim=1)
        missed_NE = (wanted_NE - weight_ND @ found_DE) / (1 - leverage_N).clamp_min(TINY)[:, None]
        return float(missed_NE.square().mean())

    solved_DE = axes_DD @ (shrunk(min(STRENGTHS, key=left_out_error))[:, None] * found_DE)
    adapter = LinearAdapter(new_ND.shape[1], old_NE.shape[1])
    with torch.no_grad():
        adapter.map.weight.copy_(solved_DE.T)
        adapter.map.bias.copy_(mean_E - mean_D @ solved_DE)
    return adapter


@torch.inference_mode()
def mean_cosine(adapter: LinearAdapter, new_ND: Tensor, old_NE: Tensor) -> float:
    """How near the mapped embeddings come to the old ones; 1 is equal."""
    return float(F.cosine_similarity(adapter(new_ND.float()), old_NE.float(), dim=1).mean())


PROJECTOR_NAME = "projector.safetensors"
CONFIG_NAME = "projector_config.json"
RUN_NAME = "run.json"
FORMAT_VERSION = 1
MIN_STD = 1e-6
MLP_SCALE = 0.1  # the linear path leads at first: alone, the MLP learns a small catalogue by heart


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectorConfig:
    """Sizes and origin of a projector.

    Attributes:
        dim: D, of the source's embeddings.
        tokens: K.
        hidden: H.
        inner: width of the MLP.
        output_rms: root mean square of the language model's token embeddings, where the soft tokens start.
        encoder_fingerprint: the encoder whose embeddings the projector reads.
        old_dim: floats of the embeddings that it was trained on, where an adapter maps to them; None without one.
    """

    dim: int
    tokens: int
    hidden: int
    inner: int
    output_rms: float
    encoder_fingerprint: str
    old_dim: int | None = None

    def __post_init__(self) -> None:
        if min(self.dim, self.tokens, self.hidden, self.inner) < 1 or not self.output_rms > 0:
            raise ValueError(f"sizes and output_rms must be positive: {self}")


class Projector(nn.Module):
    """LayerNorm, then a linear path and a parallel two-layer GELU MLP, D -> K x H, with the RMS of token embeddings.

    The input is first standardised feature by feature with the mean and spread of the source it was trained on: CLIP
    embeddings share a large common part, which would drown the differences between items.
    The first m <= K tokens can be used alone, since `align` trains with random m (Matryoshka Query Transformer, Hu et
    al. 2024, arXiv:2405.19315). The two-layer MLP: Liu et al. 2023, arXiv:2310.03744.
    """

    mean_D: Tensor
    std_D: Tensor

    def __init__(self, config: ProjectorConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.old_dim or config.dim
        self.adapter = None if config.old_dim is None else LinearAdapter(config.dim, config.old_dim)
        self.register_buffer("mean_D", torch.zeros(dim))
        self.register_buffer("std_D", torch.ones(dim))
        self.norm = nn.LayerNorm(dim)
        self.shortcut = nn.Linear(dim, config.tokens * config.hidden, bias=False)
        self.hidden = nn.Linear(dim, config.inner)
        self.output = nn.Linear(config.inner, config.tokens * config.hidden)
        with torch.no_grad():
            self.output.weight.mul_(MLP_SCALE)
        self.gain = nn.Parameter(torch.tensor(config.output_rms))

    def fit_input(self, embeddings_ND: Tensor) -> None:
        """Take mean and spread of the training items' embeddings for the standardisation."""
        self.mean_D.copy_(embeddings_ND.float().mean(dim=0))
        self.std_D.copy_(embeddings_ND.float().std(dim=0, correction=0).clamp_min(MIN_STD))

    def forward(self, embeddings_ND: Tensor, tokens: int | None = None) -> Tensor:
        """Soft tokens of each item.

        Args:
            embeddings_ND: any floating-point type.
            tokens: m, how many of the K tokens are wanted; None for all.

        Returns:
            (N, m, H) in the projector's type; every token has the RMS `gain`.

        Raises:
            UsageError: m is not in 1..K.
            EncoderMismatchError: the embeddings are of another size than D.
        """
        m = self.checked_tokens(tokens)
        if embeddings_ND.ndim != 2 or embeddings_ND.shape[1] != self.config.dim:
            raise EncoderMismatchError(
                f"The embeddings have the shape {tuple(embeddings_ND.shape)}; "
                f"the projector takes (N, {self.config.dim}).",
                remedy="Use the source of the encoder that the projector was trained with.",
            )
        embeddings_ND = embeddings_ND.to(self.mean_D)
        if self.adapter is not None:
            embeddings_ND = self.adapter(embeddings_ND)
        standard_ND = (embeddings_ND - self.mean_D) / self.std_D
        normal_ND = self.norm(standard_ND)
        inner_NI = F.gelu(self.hidden(normal_ND))
        rows = m * self.config.hidden
        tokens_NmH = F.linear(inner_NI, self.output.weight[:rows], self.output.bias[:rows])
        tokens_NmH = tokens_NmH + F.linear(normal_ND, self.shortcut.weight[:rows])
        tokens_NmH = tokens_NmH.view(-1, m, self.config.hidden)
        return F.rms_norm(tokens_NmH, (self.config.hidden,)) * self.gain

    def checked_tokens(self, tokens: int | None) -> int:
        """The number m that `tokens` asks for.

        Raises:
            UsageError: m is not in 1..K.
        """
        if tokens is None:
            return self.config.tokens
        if not 1 <= tokens <= self.config.tokens:
            raise UsageError(
                f"{tokens} tokens an item were asked for; the projector has 1 to {self.config.tokens}.",
                remedy="Ask for fewer, or run `pinembed align` with more --tokens.",
            )
        return tokens

    def check_source(self, fingerprint: str, *, origin: str) -> None:
        """Refuse a source whose embeddings another encoder made.

        Raises:
            EncoderMismatchError: the fingerprints differ.
        """
        if fingerprint != self.config.encoder_fingerprint:
            raise EncoderMismatchError(
                f"{origin} holds embeddings of the encoder {fingerprint}; the projector was trained on those of "
                f"{self.config.encoder_fingerprint}.",
                remedy="Give the source of that encoder, or run `pinembed align` on the new source; with --old-source "
                "it maps new embeddings to old ones instead of training.",
            )


def save_projector(projector: Projector, folder: Path) -> None:
    """Write projector.safetensors and projector_config.json into a folder."""
    weights = {name: tensor.detach().float().cpu().contiguous() for name, tensor in projector.state_dict().items()}
    save_file(weights, folder / PROJECTOR_NAME, metadata={"format": "pt"})
    write_json(folder / CONFIG_NAME, {"format": FORMAT_VERSION, **dataclasses.asdict(projector.config)})


def no_projector(origin: str) -> ModelError:
    """The error of a model that `align` has not given a projector; `origin` begins the sentence."""
    return ModelError(
        f"{origin} has no projector yet; wanted one that turns embeddings into soft tokens.",
        remedy="Train one: pinembed align DATA --model MODEL --source SOURCE --out OUT",
    )


def load_projector(folder: Path, *, hidden: int | None = None) -> Projector | None:
    """The projector of a trimmed model's folder in fp32; None where `align` has not run yet.

    `hidden` is the H of the language model that the projector has to fit; None compares nothing.

    Raises:
        ModelError: a part is missing or damaged, or config, weights and language model do not fit each other.
    """
    if not (folder / CONFIG_NAME).exists() and not (folder / PROJECTOR_NAME).exists():
        return None
    stored = read_json(folder / CONFIG_NAME, wanted="the projector's sizes and encoder")
    if stored.pop("format", None) != FORMAT_VERSION:
        raise ModelError(
            f"{folder / CONFIG_NAME} has another format than {FORMAT_VERSION}.",
            remedy="Run `pinembed align` again with this version of pinembed.",
        )
    try:
        weights = load_file(folder / PROJECTOR_NAME)
        with torch.device("meta"):  # the sizes may be anybody's; the file's tensors take their place or do not fit
            projector = Projector(typed_record_of(ProjectorConfig, stored, "its config"))
        projector.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines()]  # torch heads its list of what does not fit
        raise ModelError(
            f"{folder} holds a damaged projector: {lines[1] if lines[0].endswith(':') else lines[0]}",
            remedy="Run `pinembed align` again, or bring the folder back from a copy.",
        ) from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in projector.state_dict().values()):
        raise ModelError(f"{folder / PROJECTOR_NAME} holds NaN or inf.", remedy="Run `pinembed align` again.")
    if hidden is not None and projector.config.hidden != hidden:
        raise ModelError(
            f"The projector in {folder} makes tokens of {projector.config.hidden} floats; "
            f"the language model takes {hidden}.",
            remedy="Run `pinembed align` on this model.",
        )
    return projector.eval()


def projector_sha256(folder: Path) -> str:
    """sha256 of projector.safetensors: what a server's cache key of an item must hold as well as the item."""
    return hashlib.sha256((folder / PROJECTOR_NAME).read_bytes()).hexdigest()


def new_projector(
    *, dim: int, tokens: int, token_embeddings_VH: Tensor, encoder_fingerprint: str, seed: int
) -> Projector:
    """A projector with seeded random weights and an MLP that is H wide.

    Its output has the RMS of the model's token embeddings.
    """
    hidden = token_embeddings_VH.shape[1]
    rms = float(token_embeddings_VH.detach().float().square().mean().sqrt())
    config = ProjectorConfig(
        dim=dim,
        tokens=tokens,
        hidden=hidden,
        inner=hidden,
        output_rms=rms,
        encoder_fingerprint=encoder_fingerprint,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Projector(config)


def adapted(projector: Projector, adapter: LinearAdapter, *, encoder_fingerprint: str) -> Projector:
    """The same projector behind a map from another encoder's embeddings, in the place of a map that it has."""
    config = dataclasses.replace(
        projector.config,
        dim=adapter.map.in_features,
        old_dim=projector.config.old_dim or projector.config.dim,
        encoder_fingerprint=encoder_fingerprint,
    )
    made = Projector(config)
    weights = {name: tensor for name, tensor in projector.state_dict().items() if not name.startswith("adapter.")}
    made.load_state_dict({**weights, **adapter.state_dict(prefix="adapter.")})
    return made


@dataclass(frozen=True, kw_only=True, slots=True)
class TaughtCalls:
    """What the run of `align` tells of a model's calls of tools.

    Attributes:
        right: share of those that judged it; None where nothing is known.
        by_heart: it was taught them without tools and columns in the prompt.
    """

    right: float | None = None
    by_heart: bool = False


def taught_calls(folder: Path) -> TaughtCalls:
    """Of the model in a folder.

    Where `align` taught the whole language model without calls, none are right: what it could before is written over.

    Raises:
        ModelError: the file is damaged.
    """
    if not (folder / RUN_NAME).is_file():
        return TaughtCalls()
    run = read_json(folder / RUN_NAME, wanted="the run of align")
    found, settings = run.get("calls"), run.get("settings")
    right = found.get("right") if isinstance(found, dict) else None
    settings = settings if isinstance(settings, dict) else {}
    if isinstance(right, int | float):
        return TaughtCalls(right=float(right), by_heart=settings.get("calls_by_heart") is True)
    was_written_over = settings.get("language_lr") and not settings.get("lora_rank")
    return TaughtCalls(right=0.0 if was_written_over else None)
