"""Small catalogues of many kinds to compare fine-tuning on: `python finetune_sets.py SET SOURCE OUT`.

Nothing is shipped; SOURCE is what each set is laid out from. Splits come from hashes of names below SOURCE, so they are
the same everywhere.

| set | SOURCE | group | the gate has |
| --- | --- | --- | --- |
| stamps | `usr/share/tuxpaint/stamps` of Debian's tuxpaint-stamps-default | two folders | seen groups |
| clipart | `usr/share/openclipart/png` of Debian's openclipart-png | two folders | seen groups |
| emoji, emoji-unseen | unpacked emoji-datasource-* as google, apple, twitter, facebook | kind | (un)seen emoji |
| emoji-many-unseen | the same, six times as many pictures | kind | unseen emoji |
| grocery-294, grocery-half, grocery-whole, grocery-fruit | Grocery Store as an ImageFolder | label | seen groups |
| grocery-shelves | the same; category paths and markup as shops export them | path's leaf | unseen products |
| animals | github.com/EliSchwartz/imagenet-sample-images | family | unseen kinds |
| furniture, furniture-2 | github.com/IvonaTau/ikea, two halves of the series | kind | unseen series |
| signs | github.com/ardamavi/Sign-Language-Digits-Dataset | digit | seen groups |
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import html
import json
import pickle
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

Row = dict[str, str]
SIZES = {"train": 300, "val": 90, "test": 300}
MANY = {"train": 2000, "val": 300, "test": 600}
FEWEST_OF_GROUP = 6


def bucket(word: str) -> float:
    """A number in [0, 1) that stays the word's own."""
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:6], "big") / 2**48


def shared_out(rows: Iterable[Row], key: Callable[[Row], str], sizes: dict[str, int] = SIZES) -> list[Row]:
    """Splits by hash of the key, in the shares of the sizes, and not more than these of each."""
    wanted = sum(sizes.values())
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: bucket(row["file"])):
        place = bucket("split " + key(row)) * wanted
        split = "train" if place < sizes["train"] else "val" if place < sizes["train"] + sizes["val"] else "test"
        parts[split].append({**row, "split": split})
    return [row for split, found in parts.items() for row in found[: sizes[split]]]


def of_large_groups(rows: list[Row]) -> list[Row]:
    counts = Counter(row["group"] for row in rows)
    return [row for row in rows if counts[row["group"]] >= FEWEST_OF_GROUP]


def spoken(stem: str) -> str:
    return re.sub(r"[_\W\d]+", " ", stem).strip()


def stamps(source: Path) -> list[Row]:
    rows = []
    for text in sorted(source.rglob("*.txt")):
        picture = text.with_suffix(".png")
        said = text.read_text(encoding="utf-8", errors="replace").splitlines()[:1]
        if picture.exists() and said:
            folders = text.relative_to(source).parts[:-1][:2]
            rows.append(
                {
                    "file": str(picture.relative_to(source)),
                    "group": spoken(folders[-1]),
                    "description": said[0].strip(),
                    "category": " > ".join(spoken(name) for name in folders),
                }
            )
    return shared_out(of_large_groups(rows), lambda row: row["file"])


def clipart(source: Path) -> list[Row]:
    rows = []
    for picture in sorted(source.rglob("*.png")):
        if picture.stat().st_size < 60_000:
            folders = picture.relative_to(source).parts[:-1][:2]
            name = re.sub(r"_[a-z]*_?\d+$", "", picture.stem)
            rows.append({"file": str(picture.relative_to(source)), "group": spoken(folders[-1]), "title": spoken(name)})
    rows = [row for row in rows if row["title"] and "star" not in row["group"] and bucket(row["file"]) < 0.25]
    return shared_out(of_large_groups(rows), lambda row: row["file"])


def emoji(source: Path, *, unseen: bool, share: float = 0.2, sizes: dict[str, int] = SIZES) -> list[Row]:
    rows = []
    for maker in ("google", "apple", "twitter", "facebook"):
        pictures = source / maker / "package" / "img" / maker / "64"
        for entry in json.loads((source / "google/package/emoji.json").read_text(encoding="utf-8")):
            picture = pictures / entry["image"]
            if picture.exists() and entry["category"] not in {"Flags", "Symbols"} and bucket(entry["name"]) < share:
                keywords = ", ".join(word.replace("_", " ") for word in entry["short_names"])
                rows.append(
                    {
                        "file": str(picture.relative_to(source)),
                        "group": entry["subcategory"].replace("-", " "),
                        "title": entry["name"].lower(),
                        "tags": keywords,
                    }
                )
    return shared_out(of_large_groups(rows), lambda row: row["title"] if unseen else row["file"], sizes)


def grocery_rows(source: Path) -> list[Row]:
    with (source / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in SIZES and not row["dup_of"]]
    return [{**row, "file": row["file_name"], "group": row["label"]} for row in rows]


def thinned(rows: list[Row], steps: dict[str, int]) -> list[Row]:
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        parts[row["split"]].append(row)
    return [row for split, step in steps.items() for row in parts[split][::step]]


def grocery_294(source: Path) -> list[Row]:
    return thinned(grocery_rows(source), {"train": 9, "val": 3, "test": 8})


def grocery_half(source: Path) -> list[Row]:
    return thinned(grocery_rows(source), {"train": 2, "val": 2, "test": 6})


def grocery_whole(source: Path) -> list[Row]:
    return grocery_rows(source)


def grocery_fruit(source: Path) -> list[Row]:
    fruit = [row for row in grocery_rows(source) if row["department"] == "Fruit"]
    return thinned(fruit, {"train": 3, "val": 2, "test": 4})


def grocery_shelves(source: Path) -> list[Row]:
    rows = []
    for row in grocery_rows(source):
        body = f"<p>{html.escape(row['description'])}</p><ul><li>{html.escape(row['origin'])}&nbsp;</li></ul>"
        path = f"Groceries > {row['department']} > {row['coarse_label']}"
        rows.append(
            {"file": row["file"], "group": row["coarse_label"], "title": row["label"], "category": path, "body": body}
        )
    products: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        products[row["group"]].add(row["title"])
    wanted = [row for row in rows if len(products[row["group"]]) > 2]
    return shared_out(wanted, lambda row: row["title"])


FAMILIES = {
    "fish": range(7), "bird": (*range(7, 25), *range(80, 101), *range(127, 147)), "frog or salamander": range(25, 33),
    "turtle": range(33, 38), "lizard or crocodile": range(38, 52), "snake": range(52, 69), "spider": range(69, 79),
    "marsupial or sea creature": range(103, 127), "hound": range(151, 179), "terrier": range(179, 205),
    "working dog": range(205, 269), "wild dog": range(269, 281), "cat": range(281, 294), "bear": range(294, 298),
    "insect": range(300, 327), "rodent or rabbit": range(330, 339), "hoofed animal": range(339, 355),
    "weasel or sloth": range(356, 365), "monkey": range(365, 385),
}  # fmt: skip


def animals(source: Path) -> list[Row]:
    pictures = sorted(source.glob("n0*.JPEG"))
    rows = []
    for family, numbers in FAMILIES.items():
        for number in numbers:
            name = spoken(pictures[number].stem.partition("_")[2])
            rows.append({"file": pictures[number].name, "group": family, "title": name})
    return shared_out(rows, lambda row: row["title"])


class PlainUnpickler(pickle.Unpickler):
    """Of dictionaries, lists and words alone; a pickle from elsewhere may not call anything."""

    def find_class(self, module: str, name: str) -> None:
        raise pickle.UnpicklingError(f"{module}.{name} is neither a dictionary, a list nor a word")


def furniture(source: Path, *, half: int) -> list[Row]:
    with (source / "text_data" / "products_dict.p").open("rb") as file:
        products = PlainUnpickler(file, encoding="latin1").load()
    rows = []
    for product in products.values():
        picture = source / product["img"]
        kind = re.split(r",| with | and |/", re.sub(r"\d+ ", "", product["type"]))[0].strip().lower()
        if picture.exists() and (bucket("half " + product["name"]) < 0.5) == (half == 0):
            texts = {name: product[key].strip() for name, key in (("color", "color"), ("size", "size"))}
            body = product["desc"].removeprefix("View more product information").strip()
            rows.append(
                {
                    "file": str(picture.relative_to(source)),
                    "group": kind,
                    "title": product["type"],
                    **texts,
                    "description": body,
                    "series": product["name"],
                }
            )
    return shared_out(of_large_groups(rows), lambda row: row["series"])


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def signs(source: Path) -> list[Row]:
    pictures = sorted(source.glob("Dataset/*/*.JPG"))
    rows = [
        {
            "file": str(picture.relative_to(source)),
            "group": DIGITS[int(picture.parent.name)],
            "title": f"hand sign for {picture.parent.name}",
        }
        for picture in pictures
    ]
    return shared_out(rows, lambda row: row["file"])


SETS: dict[str, Callable[[Path], list[Row]]] = {
    "stamps": stamps,
    "clipart": clipart,
    "emoji": lambda source: emoji(source, unseen=False),
    "emoji-unseen": lambda source: emoji(source, unseen=True),
    "emoji-many-unseen": lambda source: emoji(source, unseen=True, share=0.5, sizes=MANY),
    "grocery-294": grocery_294,
    "grocery-half": grocery_half,
    "grocery-whole": grocery_whole,
    "grocery-fruit": grocery_fruit,
    "grocery-shelves": grocery_shelves,
    "animals": animals,
    "furniture": lambda source: furniture(source, half=0),
    "furniture-2": lambda source: furniture(source, half=1),
    "signs": signs,
}
GROCERY_TEXT = "label,coarse_label,title,description"
TEXTS = {
    "stamps": "description,category", "clipart": "title,group", "animals": "title,group",
    **dict.fromkeys(("emoji", "emoji-unseen", "emoji-many-unseen"), "title,tags,group"),
    **dict.fromkeys(("grocery-294", "grocery-half", "grocery-whole", "grocery-fruit"), GROCERY_TEXT),
    "grocery-shelves": "title,category,body", "signs": "title",
    **dict.fromkeys(("furniture", "furniture-2"), "title,color,description,size"),
}  # fmt: skip


def lay_out(rows: list[Row], source: Path, out: Path) -> None:
    """A folder of links with metadata.csv."""
    out.mkdir(parents=True)
    columns = [name for name in rows[0] if name not in {"file", "file_name", "split"}]
    with (out / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file_name", "split", *columns], extrasaction="ignore")
        writer.writeheader()
        for number, row in enumerate(rows):
            name = f"{number:05d}{Path(row['file']).suffix.lower()}"
            (out / name).symlink_to((source / row["file"]).resolve())
            writer.writerow({**row, "file_name": name})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=sorted(SETS))
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    rows = SETS[arguments.set](arguments.source)
    lay_out(rows, arguments.source, arguments.out)
    counts = Counter(row["split"] for row in rows)
    print(f"{arguments.set}: {dict(counts)}, {len({row['group'] for row in rows})} groups")  # noqa: T201


if __name__ == "__main__":
    main()
