"""What a run has to learn from and to be judged by, counted and told before the first step."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from pinembed.catalogue.captions import Captioner
from pinembed.catalogue.novelty import promises
from pinembed.catalogue.split_words import TEST, TRAIN, VALIDATION
from pinembed.catalogue.splits import group_name
from pinembed.images.near_duplicates import NearDuplicates
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Progress
from pinembed.reports.finetune import DataReport, Leak, LeakedPair, SplitCounts

ORDER = (TRAIN, VALIDATION, TEST)
FEW_GROUPS = 10
FEW_IMAGES = 30
LARGE_SHARE = 0.05


def report_data(
    items: Sequence[Item],
    splits: Mapping[str, Sequence[Item]],
    near: NearDuplicates,
    captioner: Captioner,
    *,
    columns: Sequence[str],
    group: str | None,
) -> DataReport:
    """Count the three splits.

    Args:
        items: of the catalogue; indices in `near` are indices in it.
        splits: items by split.
        near: near duplicates among them.
        captioner: items to texts.
        columns: of the metadata.
        group: column of the groups.
    """
    trained = splits.get(TRAIN, ())
    broken = {items[position].id for position in near.broken}
    counts = tuple(_counts(name, splits[name], broken, captioner, group=group) for name in ORDER if splits.get(name))
    return DataReport(
        splits=counts,
        leaks=_leaks(items, splits, near),
        copies=len({position for pair in near.pairs for position in pair}),
        warnings=(
            *_weaknesses(counts),
            *promises(trained, splits.get(VALIDATION, ()), splits.get(TEST, ()), columns=columns, group=group),
            *_crowd(items, near),
        ),
    )


def tell_data(report: DataReport, progress: Progress) -> None:
    """Say it, a line for each split."""
    for found in report.splits:
        groups = "" if found.groups is None else f" of {found.groups:,} groups"
        notes = [
            f"{count:,} {what}"
            for count, what in (
                (found.without_text, "without text"),
                (found.repeated, "with a text that others have too"),
                (found.broken, "broken"),
            )
            if count
        ]
        progress.say(f"{found.split}: {found.images:,} images{groups}, {found.texts:,} texts" + _listed(notes))
    for leak in report.leaks:
        example = leak.pairs[0]
        copies = f", {leak.identical} of them byte for byte" if leak.identical else ""
        progress.say(
            f"{len(leak.file_names)} image(s) of {leak.split} are also in {leak.also_in}{copies}, "
            f"e.g. {example.file_name} is {example.seen_as}"
        )
    for warning in report.warnings:
        progress.say(f"warning: {warning}")


def _listed(notes: Sequence[str]) -> str:
    return f" ({', '.join(notes)})" if notes else ""


def _counts(
    split: str, items: Sequence[Item], broken: set[str], captioner: Captioner, *, group: str | None
) -> SplitCounts:
    owners: dict[str, set[str]] = defaultdict(set)
    captions = [captioner.caption(item) for item in items]
    for item, caption in zip(items, captions, strict=True):
        owners[caption].add(group_name(item, group) or item.id)
    names = {name for item in items if (name := group_name(item, group))}
    return SplitCounts(
        split=split,
        images=len(items),
        broken=sum(item.id in broken for item in items),
        without_text=captions.count(""),
        texts=len(owners.keys() - {""}),
        repeated=sum(len(owners[caption]) > 1 for caption in captions if caption),
        groups=len(names) if group else None,
    )


def _leaks(items: Sequence[Item], splits: Mapping[str, Sequence[Item]], near: NearDuplicates) -> tuple[Leak, ...]:
    split_of = {item.id: name for name in ORDER for item in splits.get(name, ())}
    found: dict[tuple[str, str], list[LeakedPair]] = defaultdict(list)
    for pair in near.pairs:
        sides = [
            (ORDER.index(split_of[items[position].id]), items[position])
            for position in pair
            if items[position].id in split_of
        ]
        if len(sides) == 2 and sides[0][0] != sides[1][0]:
            (earlier, seen), (later, judged) = sorted(sides, key=lambda side: side[0])
            found[ORDER[later], ORDER[earlier]].append(
                LeakedPair(file_name=judged.file_name, seen_as=seen.file_name, identical=pair in near.identical)
            )
    return tuple(
        Leak(split=split, also_in=also_in, pairs=tuple(sorted(pairs, key=lambda pair: pair.file_name)))
        for (split, also_in), pairs in sorted(found.items())
    )


def _weaknesses(counts: Sequence[SplitCounts]) -> list[str]:
    found = []
    for name, task in ((VALIDATION, "choose weights"), (TEST, "tell a gain from luck")):
        split = next((one for one in counts if one.split == name), None)
        if split is None:
            continue
        if split.groups is not None and split.groups < FEW_GROUPS:
            found.append(f"{name} has {split.groups} group(s), few to {task} by.")
        elif split.images < FEW_IMAGES:
            found.append(f"{name} has {split.images} image(s), few to {task} by.")
    if not any(split.split == TEST for split in counts):
        found.append("there is no test split, so nothing judges the tuned encoder but the split that selects it.")
    train = next((split for split in counts if split.split == TRAIN), None)
    if train is not None and train.repeated > train.images / 2:
        found.append(
            f"{train.repeated:,} of {train.images:,} training images share their text with images of other "
            f"{'groups' if train.groups is not None else 'items'}: texts tell little apart."
        )
    return found


def _crowd(items: Sequence[Item], near: NearDuplicates) -> list[str]:
    """A picture that a good part of the catalogue shows is no product, but a placeholder."""
    seen = Counter(position for pair in near.pairs for position in pair)
    if not seen:
        return []
    position, others = seen.most_common(1)[0]
    if others < LARGE_SHARE * len(items):
        return []
    return [
        f"{others + 1:,} of {len(items):,} images show what {items[position].file_name} shows; if it is a placeholder, "
        "leave such items out."
    ]
