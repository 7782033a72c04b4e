"""Captions within an encoder's context: what does not fit is shortened by fields and sentences; the rest is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.context import Context, told_lengths
from pinembed.nouns.item import Item


def shorten(captioner: Captioner, contexts: Sequence[Context], items: Iterable[Item]) -> tuple[Captioner, str]:
    """The captioner whose texts fit all contexts, and a sentence about those that had to be changed; empty for none."""
    within = dataclasses.replace(captioner, fits=lambda text: all(context.fits(text) for context in contexts))
    texts = {captioner.caption(item): within.caption(item) for item in items}
    long = [text for text in texts if not _fit(text, contexts)]
    if not long:
        return within, ""
    cut = [texts[text] for text in long if not _fit(texts[text], contexts)]
    narrow = min(contexts, key=lambda context: context.places)
    return within, told_lengths(
        len(texts),
        narrow,
        shortened=len(long) - len(cut),
        cut=len(cut),
        equal=len(texts) - narrow.distinct(list(texts.values())),
        remedy="Name short columns first with --text.",
    )


def _fit(text: str, contexts: Sequence[Context]) -> bool:
    return all(context.fits(text) for context in contexts)
