"""The demo: the whole way once, on the sample shop, with everything made on the spot.

image file -> pixels -> embedding -> table row -> source shard -> soft tokens -> answer
"""

from __future__ import annotations

import csv
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pinembed.assistant.says import Say
from pinembed.catalogue.folder import read_catalogue
from pinembed.encoder.encoder import load_encoder
from pinembed.encoder.save import save_encoder
from pinembed.errors import DataError
from pinembed.generation.build import link_or_copy
from pinembed.jobs.align import align
from pinembed.jobs.ask import ask
from pinembed.jobs.chat import chat
from pinembed.jobs.encode import encode
from pinembed.jobs.evaluate import evaluate
from pinembed.jobs.export import export
from pinembed.jobs.finetune import finetune
from pinembed.jobs.refresh import refresh
from pinembed.jobs.rollback import rollback
from pinembed.jobs.search import search
from pinembed.jobs.taste_recommend import taste_recommend
from pinembed.jobs.taste_update import taste_update
from pinembed.jobs.trim import trim
from pinembed.jobs.verify import verify
from pinembed.nouns.item import Item, text_of_value
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.outfolder import claimed_folder, staged_folder
from pinembed.reports.demo import DemoReport, DemoStep
from pinembed.reports.evaluate import EvaluateReport
from pinembed.reports.trimmed import AlignReport, AskReport, Question
from pinembed.settings.assistant import ChatSettings
from pinembed.settings.encoding import EncodeSettings, SearchSettings
from pinembed.settings.home import RefreshSettings, RollbackSettings
from pinembed.settings.measuring import DemoSettings
from pinembed.settings.model import AlignSettings, AskSettings, TrimSettings
from pinembed.settings.option import command_line
from pinembed.settings.source import ExportSettings, VerifySettings
from pinembed.settings.taste import TasteRecommendSettings, TasteUpdateSettings
from pinembed.settings.training import EvaluateSettings, FinetuneSettings
from pinembed.taste.shoppers import simulate_for, write_events
from pinembed.trimmed.tiny import TinyShape, write_scratch_model

BASE = "pinembed-tiny"
PACKAGE = Path(__file__).parents[1]
TEXT = ("category", "color", "pattern")
GROUP = "product"
FIELDS = TEXT
EPOCHS = 40
ALIGN_EPOCHS = 6
MODEL_SHAPE = TinyShape(layers=3)
SEARCH_TEXT = "a teal mug"
CHAT = ("mugs under 20 euros", "the first one, but in teal", "What is the color of the first one?")
SEED = 0
SHOPPERS, SHOPPER = 100, "shopper-0001"


def sample_shop() -> Path:
    """The folder of the sample shop: inside an installed wheel, beside the package in a source tree."""
    packed = PACKAGE / "sample_images"
    return packed if packed.is_dir() else PACKAGE.parent / "sample_images"


def demo(settings: DemoSettings, *, progress: Progress = SILENT, stop: Stop | None = None) -> DemoReport:
    """Fine-tune, evaluate, encode, search, recommend, export, verify, trim, align, ask and refresh; measure each step.

    Raises:
        DataError: the sample shop is not there.
        PinembedError: what the jobs raise.
    """
    catalogue = settings.data or sample_shop()
    if not catalogue.is_dir():
        raise DataError(
            f"The sample shop is not at {catalogue}; wheels and clones of pinembed bring it.",
            remedy="Install pinembed again, or give --data with the folder sample_images of a clone.",
        )
    with claimed_folder(settings.out, kind="demo", overwrite=settings.overwrite) as folder:
        return _Demo(catalogue, folder, progress, stop).run()


class _Demo:
    """The steps, and the clock."""

    def __init__(self, data: Path, out: Path, progress: Progress, stop: Stop | None) -> None:
        self._data = data
        self._out = out
        self._progress = progress
        self._stop = stop
        self._steps: list[DemoStep] = []
        self._base = out / "base"
        self._encoder = out / "encoder"
        self._table = str(out / "catalog" / "shop")
        self._source = out / "source"
        self._model = out / "qwen3-vl-tiny"
        self._trimmed = out / "trimmed"
        self._aligned = out / "aligned"

    def run(self) -> DemoReport:
        began = time.perf_counter()
        self._make_base()
        self._finetune()
        evaluation = self._evaluate()
        for times in ("encode", "encode again"):
            self._encode(times)
        self._search()
        self._learn_taste()
        self._export()
        self._verify()
        self._make_model()
        self._trim()
        alignment = self._align()
        answered = self._ask()
        self._chat()
        self._live_three_nights()
        return DemoReport(
            data=self._data,
            out=self._out,
            steps=tuple(self._steps),
            evaluation=evaluation,
            fields=alignment.fields,
            answers=answered.answers,
            seconds=time.perf_counter() - began,
        )

    @contextmanager
    def _step(self, name: str, asked: object, path: Path | None = None) -> Iterator[list[str]]:
        """Time a step, of a command with these settings or another; the block puts its outcome into the list."""
        command = asked if isinstance(asked, str) else command_line(asked)
        self._progress.say(f"{len(self._steps) + 1:>2}. {name}")
        began = time.perf_counter()
        result: list[str] = []
        yield result
        self._progress.finish()
        seconds = time.perf_counter() - began
        self._steps.append(DemoStep(name=name, seconds=seconds, result=result[0], path=path, command=command))
        self._progress.say(f"    {result[0]}  [{seconds:.1f} s]")

    def _make_base(self) -> None:
        name, command = "make a tiny encoder with random weights", "(part of finetune; kept to compare with)"
        with self._step(name, command, self._base) as said, staged_folder(self._base, kind="encoder") as folder:
            encoder = load_encoder(BASE, random_init=True, seed=SEED)
            save_encoder(encoder, folder)
            parameters = sum(parameter.numel() for parameter in encoder.model.parameters())
            said.append(f"{parameters / 1e6:.1f} M parameters, {encoder.dim}-d, knows nothing")

    def _finetune(self) -> None:
        settings = FinetuneSettings(
            data=self._data,
            base=BASE,
            random_init=True,
            out=self._encoder,
            text=TEXT,
            group=GROUP,
            epochs=EPOCHS,
            seed=SEED,
        )
        with self._step("fine-tune it on the training products", settings, self._encoder) as said:
            report = finetune(settings, progress=_WithoutWords(self._progress))
            said.append(
                f"{report.train_images} images, {len(report.epochs) - 1} epochs, {report.images_per_s:.0f} images/s; "
                f"kept epoch {report.best_epoch}"
            )

    def _evaluate(self) -> EvaluateReport:
        settings = EvaluateSettings(
            data=self._data, encoder=str(self._encoder), against=(str(self._base),), text=TEXT, group=GROUP
        )
        with self._step("measure both on products that training never saw", settings) as said:
            report = evaluate(settings, progress=self._progress)
            said.append(f"{report.images} images of the test split")
        return report

    def _encode(self, name: str) -> None:
        settings = EncodeSettings(images=self._data, table=self._table, encoder=str(self._encoder))
        with self._step(name, settings, Path(f"{self._table}.lance")) as said:
            report = encode(settings, progress=self._progress, stop=self._stop)
            counts = report.counts
            said.append(f"{counts.added} added, {counts.unchanged} unchanged, {counts.failed} failed")

    def _search(self) -> None:
        sheet = self._out / "search.png"
        settings = SearchSettings(table=self._table, text=SEARCH_TEXT, k=12, sheet=sheet)
        with self._step(f"search for '{SEARCH_TEXT}'", settings, sheet) as said:
            report = search(settings, progress=self._progress)
            best = report.results[0]
            said.append(
                f"best of {report.rows}: {best.title}, {best.score:.2f}; found in {report.seconds * 1e3:.0f} ms"
            )

    def _learn_taste(self) -> None:
        """Shoppers are drawn: this shows the mechanics, and nothing of how good lists are for people."""
        log, users, sheet = self._out / "events.csv", str(self._out / "catalog" / "taste"), self._out / "taste.png"
        shop = simulate_for(self._data / "metadata.csv", shoppers=SHOPPERS)
        write_events(shop.events, log)
        settings = TasteUpdateSettings(events=log, table=self._table, users=users)
        with self._step("learn what simulated shoppers like", settings, log) as said:
            learned = taste_update(settings, progress=self._progress, stop=self._stop)
            said.append(f"{learned.events} drawn events of {learned.users} shoppers")
        planted = next(shopper for shopper in shop.shoppers if shopper.user == SHOPPER)
        wanted = TasteRecommendSettings(table=self._table, users=users, user=SHOPPER, k=12, sheet=sheet)
        with self._step(f"recommend to one of them, who likes {_listed(planted.interests)}", wanted, sheet) as said:
            found = taste_recommend(wanted, progress=self._progress)
            told = "; ".join(f"{each.title} ({each.reason})" for each in found.results[:2])
            said.append(f"{len(found.results)} in {found.seconds * 1e3:.0f} ms, each with its reason: {told}")

    def _export(self) -> None:
        settings = ExportSettings(table=self._table, out=self._source)
        with self._step("export the table as an embedding source", settings, self._source) as said:
            report = export(settings, progress=self._progress)
            per_item = report.size_bytes / report.items
            said.append(f"{report.items} items, {report.size_bytes} bytes, {per_item:.0f} an item")

    def _verify(self) -> None:
        settings = VerifySettings(folder=self._source)
        with self._step("verify every byte of it", settings) as said:
            report = verify(settings, progress=self._progress)
            said.append("whole" if not report.findings else f"{len(report.findings)} finding(s)")

    def _make_model(self) -> None:
        name, command = "make a tiny Qwen3-VL with random weights", "(a checkpoint of yours takes its place)"
        with self._step(name, command, self._model) as said:
            write_scratch_model(data=self._data, out=self._model, fields=FIELDS, seed=SEED, shape=MODEL_SHAPE)
            said.append("the published architecture and file layout, small")

    def _trim(self) -> None:
        settings = TrimSettings(model=str(self._model), out=self._trimmed, verify=True)
        with self._step("take its vision tower out", settings, self._trimmed) as said:
            report = trim(settings, progress=self._progress)
            equal = sum(check.equal for check in report.parity)
            said.append(
                f"{report.parameters_removed} of {report.parameters} parameters removed; "
                f"{equal} of {len(report.parity)} comparisons with the full model equal"
            )

    def _align(self) -> AlignReport:
        settings = AlignSettings(
            data=self._data,
            model=self._trimmed,
            source=self._source,
            out=self._aligned,
            fields=FIELDS,
            epochs=ALIGN_EPOCHS,
            seed=SEED,
        )
        with self._step("teach it to read stored embeddings", settings, self._aligned) as said:
            report = align(settings, progress=_WithoutWords(self._progress), stop=self._stop)
            said.append(
                f"{report.accuracy:.0%} right on {report.held_out_items} unseen items "
                f"(a linear probe on the embeddings: {report.probe:.0%})"
            )
        return report

    def _ask(self) -> AskReport:
        shown: dict[object, Item] = {}
        for item in read_catalogue(self._data):
            if item.split == "test":
                shown.setdefault(item.fields[FIELDS[0]], item)
        asked = [(item, field) for item in shown.values() for field in FIELDS]
        questions = [
            Question(id=f"{field} of {item.id}", text=f"What is the {field} of this item?", items=(item.id,))
            for item, field in asked
        ]
        first = asked[0][0]
        settings = AskSettings(model=self._aligned, source=self._source, question=questions[0].text, items=(first.id,))
        with self._step(f"ask about an unseen product of each {FIELDS[0]}, without its picture", settings) as said:
            report = ask(settings, questions=questions, progress=self._progress)
            answers = [answer.answer or "nothing" for answer in report.answers]
            values = [text_of_value(item.fields[field]) for item, field in asked]
            right = sum(answer == value for answer, value in zip(answers, values, strict=True))
            told = ", ".join(answers[: len(FIELDS)])
            said.append(f"{right} of {len(asked)} answers right; of {first.fields['title']} it says: {told}")
        return report

    def _chat(self) -> None:
        """Three turns, planned by the rules and answered from the table and the source."""
        settings = ChatSettings(
            table=self._table, group=GROUP, model=self._aligned, source=self._source, encoder=str(self._encoder)
        )
        command = f"printf '%s\\n' {shlex.join(CHAT)} | {command_line(settings)}"
        with self._step("talk about the catalogue, three turns", command) as result:
            says = [Say(conversation="demo", say=line) for line in CHAT]
            turns = chat(settings, says=says, progress=self._progress).turns
            answer = turns[-1].answer.splitlines()[-1] if turns[-1].cites else turns[-1].answer
            result.append(f"{', '.join(str(turn.act['name']) for turn in turns)}; '{CHAT[-1]}': {answer}")

    def _live_three_nights(self) -> None:
        """A home of its own, which begins with the untrained encoder so that there is something to win."""
        nights, rival = self._out / "nights", self._out / "other-base"
        config, home, shop = nights / "CONFIG.toml", nights / "home", nights / "shop"
        nights.mkdir()
        with staged_folder(rival, kind="encoder") as folder:
            save_encoder(load_encoder(BASE, random_init=True, seed=SEED + 1), folder)
        rows = _read_metadata(self._data)
        config.write_text(CONFIG.format(base=self._base.resolve(), group=GROUP, text=list(TEXT)), encoding="utf-8")
        _write_shop(shop, self._data, rows[:-NEW_IMAGES])
        self._refresh("begin a home of generations with the untrained encoder", config, home)
        changed = [{**rows[0], "price": "1.00"}, *rows[1:]]
        _write_shop(shop, self._data, changed)
        self._refresh("first night: new products, and another price", config, home)
        self._refresh("second night: another untrained encoder wants its place", config, home, challenger=rival)
        self._refresh("third night: so does the fine-tuned one", config, home, challenger=self._encoder)
        settings = RollbackSettings(home=home)
        with self._step("go back to the generation before", settings, home) as said:
            back = rollback(settings)
            said.append(f"generation {back.now} is in use again, the link changed in {back.switch_ms:.0f} ms")

    def _refresh(self, name: str, config: Path, home: Path, *, challenger: Path | None = None) -> None:
        settings = RefreshSettings(config=config, challenger=None if challenger is None else str(challenger))
        with self._step(name, settings, home) as said:
            report = refresh(settings, progress=_WithoutWords(self._progress), stop=self._stop)
            counts = report.counts
            made = f"generation {report.serves}: {counts.added} added, {counts.updated} changed, {counts.rows} rows"
            said.append(f"kept out: {report.reason}" if report.kept else made)


NEW_IMAGES = 8  # the last products, four views each
CONFIG = """home = "home"
images = "shop"
encoder = "{base}"
[encode]
backend = "torch"
[finetune]
group = "{group}"
text = {text}
"""


def _listed(groups: Sequence[str]) -> str:
    """`rustic mug` and others as words; one more is an s."""
    plural = [f"{group}s" for group in groups]
    return f"{', '.join(plural[:-1])} and {plural[-1]}"


def _read_metadata(data: Path) -> list[dict[str, str]]:
    with (data / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write_shop(shop: Path, data: Path, rows: Sequence[dict[str, str]]) -> None:
    """A catalogue of these rows; their images are linked."""
    for row in rows:
        place = shop / row["file_name"]
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(data / row["file_name"], place)
    with (shop / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class _WithoutWords:
    """The watcher of a long step: its bar is shown, its lines are not."""

    def __init__(self, inner: Progress) -> None:
        self.start = inner.start
        self.advance = inner.advance
        self.finish = inner.finish

    def say(self, text: str) -> None: ...
