"""What lies beside images and is not read, although it says something of them or is a picture: it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pinembed.catalogue.metadata import METADATA_NAMES, read_of
from pinembed.catalogue.names import ARCHIVES, is_other_picture, shown

TEXT_SUFFIXES = (".txt", ".json")


@dataclass(kw_only=True, slots=True)
class Kind:
    """Files of one kind.

    Attributes:
        count: of them.
        first: name of one.
    """

    count: int = 0
    first: str = ""

    def take(self, prefix: str, names: Sequence[str]) -> None:
        """Count some more."""
        self.count += len(names)
        self.first = self.first or (prefix + min(names) if names else "")


@dataclass(kw_only=True, slots=True)
class Beside:
    """What a scan meets beside images; names are relative to the scanned folder.

    Attributes:
        metadata: the metadata files.
        other_metadata: files that are called metadata and are of another kind.
        texts: texts and JSON files with the name of an image beside them.
        pictures: of a format, or with a name, that is not read.
        archives: tars and the like, Parquet files too.
        linked_folders: links that are not followed.
    """

    metadata: list[str] = field(default_factory=list)
    other_metadata: list[str] = field(default_factory=list)
    texts: Kind = field(default_factory=Kind)
    pictures: Kind = field(default_factory=Kind)
    archives: Kind = field(default_factory=Kind)
    linked_folders: Kind = field(default_factory=Kind)

    def take(self, prefix: str, names: Sequence[str], images: Callable[[], Iterable[str]]) -> None:
        """Sort what one folder holds that is no image.

        Args:
            prefix: of its files' names.
            names: without hidden ones.
            images: gives the names of its images, where they are asked for.
        """
        self.metadata += [prefix + name for name in names if name in METADATA_NAMES]
        others = (name for name in names if name.partition(".")[0].lower() == "metadata")
        self.other_metadata += [prefix + name for name in others if name not in METADATA_NAMES]
        self.pictures.take(prefix, list(filter(is_other_picture, names)))
        archives = [name for name in names if name.lower().endswith(ARCHIVES) and name not in METADATA_NAMES]
        self.archives.take(prefix, archives)
        texts = {name.rpartition(".")[0]: name for name in names if name.lower().endswith(TEXT_SUFFIXES)}
        if texts:  # else the names of a folder's images need not be kept
            self.texts.take(prefix, [texts[stem] for stem in texts.keys() & _stems_of(images())])

    def unread(self, root: str) -> Iterator[str]:
        """A sentence about each kind of file that nobody reads.

        Args:
            root: the scanned folder, for messages.
        """
        read = read_of(self.metadata)
        if unread := sorted({*self.metadata} - {*read}):
            yield (
                f"{shown(unread)} in {root}: not read, for {shown(read)} is; "
                "wanted one metadata file at the top, or one in each folder below."
            )
        if self.other_metadata:
            yield f"{shown(sorted(self.other_metadata))} in {root}: not read; wanted {', '.join(METADATA_NAMES)}."
        if self.pictures.count:
            yield f"{root}: {pictures_not_read(self.pictures)}"
        if self.texts.count:
            yield (
                f"{root}: {self.texts.count} text or JSON file(s) beside the images, such as {self.texts.first}: not "
                "read; wanted what they say in columns of a metadata file, or the files in tars."
            )
        if self.archives.count:
            yield (
                f"{root}: {self.archives.count} tar, Parquet or packed file(s), such as {self.archives.first}: not "
                "read with image files; a .tar or .parquet can be IMAGES of its own."
            )
        if self.linked_folders.count:
            yield (
                f"{root}: {self.linked_folders.count} link(s) to folders, such as {self.linked_folders.first}: not "
                "followed; what lies there is read where metadata name it, or as IMAGES of its own."
            )


def pictures_not_read(pictures: Kind) -> str:
    """A sentence about pictures that no scan takes."""
    return (
        f"{pictures.count} picture(s) of other formats or names, such as {pictures.first}: not read; "
        "wanted JPEG, PNG, WebP, GIF, TIFF, AVIF, HEIC or another common format, and its suffix."
    )


def _stems_of(images: Iterable[str]) -> set[str]:
    """What the name of a text begins with that is about an image: `a` or `a.jpg` for `a.jpg`."""
    return {stem for name in images for stem in (name, name.rpartition(".")[0])}
