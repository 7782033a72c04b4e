"""Captions within an encoder's context: what does not fit is shortened by fields and sentences; the rest is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.context import Context
from pinembed.nouns.item import Item


def shorten(captioner: Captioner, contexts: Sequence[Context], items: Iterable[Item]) -> tuple[Captioner, str]:
    """The captioner whose texts fit all contexts, and a sentence about those that had to be changed; empty for none."""
    within = dataclasses.replace(captioner, fits=lambda text: all(context.fits(text) for context in contexts))
    texts = {captioner.caption(item): within.caption(item) for item in items}
    long = [text for text in texts if not _fit(text, contexts)]
    if not long:
        return within, ""
    said = [texts[text] for text in long]
    cut = [text for text in said if not _fit(text, contexts)]
    narrow = min(contexts, key=lambda context: context.places)
    equal = len(texts) - narrow.distinct(list(texts.values()))
    return within, (
        f"{len(long):,} of {len(texts):,} texts are longer than the {narrow.places} tokens that the encoder reads: "
        f"{len(long) - len(cut):,} are shortened to whole fields and sentences, {len(cut):,} are cut"
        + (f"; {equal:,} become equal to another one. Name short columns first with --text." if equal else ".")
    )


def _fit(text: str, contexts: Sequence[Context]) -> bool:
    return all(context.fits(text) for context in contexts)
