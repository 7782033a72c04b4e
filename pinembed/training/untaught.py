"""The weights of before validation's images taught, beside an encoder that they did teach.

A later training begins with them: under the others the base would know the images that select, so that nothing that is
tuned anew could be as good on them, and a nightly training would keep its champion for ever. The gate still judges
beside the encoder as it is used, on images that taught neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pinembed.encoder.encoder import Encoder
from pinembed.errors import EncoderError
from pinembed.nouns.progress import Progress

PLACE = Path("untaught/weights.safetensors")
"""In the encoder's folder; not beside its weights, where loaders would take it for them."""


def write_untaught(folder: Path, weights: Mapping[str, Tensor], untaught: Mapping[str, Tensor]) -> None:
    """Store what differs from the encoder's weights; nothing where nothing does."""
    differing = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in untaught.items()
        if not torch.equal(tensor, weights[name])
    }
    if differing:
        (folder / PLACE).parent.mkdir()
        save_file(differing, folder / PLACE)


def put_untaught(encoder: Encoder, progress: Progress) -> dict[str, Tensor] | None:
    """Let the model hold the weights of before, where its folder has them; a copy of those that it held, or None.

    Raises:
        EncoderError: the file is damaged, or of another encoder.
    """
    folder = encoder.files.folder
    if folder is None or not (folder / PLACE).is_file():
        return None
    held = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    try:
        encoder.model.load_state_dict({**held, **load_file(folder / PLACE)})
    except (SafetensorError, OSError, RuntimeError) as error:
        raise EncoderError(
            f"{folder / PLACE} does not hold weights of the encoder beside it: {str(error).splitlines()[0]}.",
            remedy=f"Delete {folder / PLACE.parent}: training then begins with the encoder's own weights.",
        ) from None
    progress.say(f"training begins with the weights of {folder} from before validation's images taught them")
    return held
