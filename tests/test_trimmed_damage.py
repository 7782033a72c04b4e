"""Model folders that somebody edited or cut short: refused in a sentence, whatever the damage; nothing is written."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pinembed.errors import ModelError, PinembedError
from pinembed.jobs.trim import trim
from pinembed.settings.model import TrimSettings
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.projector import CONFIG_NAME, PROJECTOR_NAME, new_projector, save_projector

D = 8
ODD_VALUES = (None, "x", -1, 0, 10**12, [], {}, 1.5)


@pytest.fixture(scope="module")
def whole(trimmed_qwen3vl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trimmed model with a projector."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    shutil.copytree(trimmed_qwen3vl, folder)
    embeddings_VH = TrimmedModel.load(folder).token_embeddings_VH
    save_projector(
        new_projector(dim=D, tokens=2, token_embeddings_VH=embeddings_VH, encoder_fingerprint="f", seed=0), folder
    )
    return folder


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(whole, tmp_path / "model")
    return tmp_path / "model"


def edit(path: Path, keys: tuple[str, ...], value: Any) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))
    inner = stored
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(stored), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "keys", "value", "told"),
    [
        (
            "config.json",
            ("text_config", "hidden_size"),
            "wide",
            "gives text_config.hidden_size as 'wide'; wanted a number",
        ),
        ("config.json", ("text_config", "hidden_size"), 10**12, "wanted a number from 1 to 1000000"),
        ("config.json", ("vision_config", "patch_size"), 0, "gives vision_config.patch_size as 0"),
        (
            "config.json",
            ("vision_config", "deepstack_visual_indexes"),
            3,
            "deepstack_visual_indexes as 3; wanted a list",
        ),
        ("config.json", ("text_config", "rope_parameters", "mrope_section"), [1, 2], "mrope_section as .1, 2."),
        ("config.json", ("text_config", "rms_norm_eps"), "x", "transformers cannot load"),
        ("config.json", ("image_token_id",), 3, "puts images at the token 3, its tokenizer writes"),
        ("generation_config.json", ("eos_token_id",), {}, "ends answers at the token"),
        ("generation_config.json", ("eos_token_id",), [-1], "ends answers at the token -1; wanted numbers below"),
        ("tokenizer_config.json", ("model_max_length",), "x", "write no prompt"),
    ],
)
def test_a_model_with_an_edited_entry_is_refused(
    model: Path, file: str, keys: tuple[str, ...], value: Any, told: str
) -> None:
    edit(model / file, keys, value)
    with pytest.raises(ModelError, match=told) as caught:
        TrimmedModel.load(model)
    assert caught.value.remedy


def test_a_projector_config_with_an_entry_missing_names_it(model: Path) -> None:
    stored = json.loads((model / CONFIG_NAME).read_text(encoding="utf-8"))
    del stored["inner"]
    (model / CONFIG_NAME).write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(ModelError, match="holds a damaged projector: its config has no inner"):
        TrimmedModel.load(model)


def test_a_chat_template_that_is_no_template_is_refused(model: Path) -> None:
    (model / "chat_template.jinja").write_text("{% for", encoding="utf-8")
    with pytest.raises(ModelError, match=r"Tokenizer and chat template in .* write no prompt"):
        TrimmedModel.load(model)


class Opened:
    """Writes a file when it is unpickled."""

    def __init__(self, index: Path) -> None:
        self._place = index

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._place,))


@pytest.mark.parametrize("name", ["model.safetensors", PROJECTOR_NAME])
def test_a_pickle_in_the_place_of_weights_is_refused_and_never_opened(model: Path, tmp_path: Path, name: str) -> None:
    (model / name).write_bytes(pickle.dumps(Opened(tmp_path / "ran")))
    with pytest.raises(ModelError):
        TrimmedModel.load(model)
    assert not (tmp_path / "ran").exists()


def test_a_chat_template_cannot_reach_python(model: Path, tmp_path: Path) -> None:
    reach = "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ cycler.__init__.__globals__ }}"
    (model / "chat_template.jinja").write_text(reach, encoding="utf-8")
    with pytest.raises(ModelError, match="write no prompt"):
        TrimmedModel.load(model)


def leaves(stored: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in stored.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from leaves(value, (*before, key))


def test_trim_of_a_config_with_any_odd_value_ends_in_a_folder_or_a_sentence(tiny_qwen3vl: Path, tmp_path: Path) -> None:
    drawn = random.Random(0)
    shutil.copytree(tiny_qwen3vl, tmp_path / "full")
    config = (tmp_path / "full" / "config.json").read_text(encoding="utf-8")
    indices = list(leaves(json.loads(config)))
    refused = 0
    for number in range(60):
        (tmp_path / "full" / "config.json").write_text(config, encoding="utf-8")
        edit(tmp_path / "full" / "config.json", drawn.choice(indices), drawn.choice(ODD_VALUES))
        try:
            trim(TrimSettings(model=tmp_path / "full", out=tmp_path / f"out{number}"))
        except PinembedError:
            refused += 1
            assert not (tmp_path / f"out{number}").exists()
    assert 0 < refused < 60


@pytest.mark.parametrize("name", ["model.safetensors", PROJECTOR_NAME, CONFIG_NAME, "tokenizer.json"])
def test_a_model_with_any_file_cut_short_is_refused(model: Path, name: str) -> None:
    content = (model / name).read_bytes()
    for part in (0.0, 0.01, 0.5, 0.99):
        (model / name).write_bytes(content[: int(part * len(content))])
        with pytest.raises(ModelError):
            TrimmedModel.load(model).generate(["what"], [np.zeros((1, D), np.float32)])


def test_a_projector_of_more_floats_than_memory_is_refused_before_it_is_made(model: Path) -> None:
    edit(model / CONFIG_NAME, ("tokens",), 10**9)
    with pytest.raises(ModelError, match="holds a damaged projector"):
        TrimmedModel.load(model)
