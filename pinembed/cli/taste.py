"""`pinembed taste`: what users like, from a log of events."""

from __future__ import annotations

import typer

from pinembed.cli.command import add_command
from pinembed.cli.console import Console
from pinembed.cli.tables import interval
from pinembed.errors import GateError, TooManyFailuresError
from pinembed.reports.taste import TasteUpdateReport
from pinembed.settings.taste import (
    TasteEvaluateSettings,
    TasteExplainSettings,
    TasteForgetSettings,
    TasteInspectSettings,
    TasteRecommendSettings,
    TasteSimilarSettings,
    TasteUpdateSettings,
)

SHOWN = 10


def run_update(settings: TasteUpdateSettings, console: Console) -> None:
    """Take new events of a log into a taste store; no event counts twice, whatever log it came in."""
    from pinembed.jobs.taste_update import taste_update

    report = taste_update(settings, progress=console.progress, stop=console.stop)
    counts = {"added": report.added, "known": report.known, "late": report.late, "pruned": report.pruned}
    counts |= {"forgotten": report.forgotten, "bad": sum(report.bad.values()), "capped": report.capped}
    rows = [(name, f"{count:,}") for name, count in counts.items() if count or name == "added"]
    console.table(f"taste update of {report.store}", ["events", "count"], rows)
    console.say(
        f"{report.events:,} events of {report.users:,} users, {report.touched:,} worked out anew in "
        f"{report.seconds:.1f} s"
    )
    _say_troubles(console, report)
    error = TooManyFailuresError(
        f"{report.failure_rate:.0%} of the rows are no events; --max-failure-rate allows "
        f"{report.max_failure_rate:.0%}. What was good is stored.",
        remedy="Mend the log and run the same command again; its events count once.",
    )
    console.end(report, report.exit_code, error=error)


def _say_troubles(console: Console, report: TasteUpdateReport) -> None:
    if report.unknown_items:
        console.say(f"{report.unknown_items:,} items of events are not in the table; they wait until encode adds them.")
    if report.warning:
        console.say(report.warning, style="yellow")
    if report.bots:
        named = ", ".join(report.bots[:SHOWN])
        console.say(f"more than 1,000 events in an hour, the rest of which do not count: {named}", style="yellow")
    for path in report.waiting:
        console.say(f"{path}: the last line has no end yet and was left for the next run.", style="yellow")
    if report.bad:
        reasons = ", ".join(f"{reason} {count}" for reason, count in report.bad.items())
        console.say(f"rows that are no events: {reasons}", style="yellow")
        for row in report.bad_rows[:SHOWN]:
            console.say(f"  {row}")


def run_recommend(settings: TasteRecommendSettings, console: Console) -> None:
    """Items for a user, each with the reason for it: what the graph knows, new ones by likeness, some to the side."""
    from pinembed.jobs.taste_recommend import taste_recommend

    report = taste_recommend(settings, progress=console.progress)
    if report.out is not None:
        console.say(f"{report.out}: lists for {report.lists:,} users in {report.seconds:.1f} s")
    else:
        who = report.user or "somebody new"
        rows = [(f"{found.rank}", found.id, found.title, found.slot, found.reason) for found in report.results]
        console.table(f"for {who}", ["", "id", "title", "slot", "because"], rows, numeric_from=99)
        if report.user is not None and not report.known_user:
            console.say(f"No event names {report.user}; the list is that of somebody new.")
        console.say(f"{len(report.results)} items in {report.seconds * 1000:.0f} ms")
        if not report.results:
            console.say("Nothing is left: the user touched it all, --where picks none, or nobody chose anything yet.")
    if report.demoted:
        console.say(f"{report.demoted} flagged item(s) come last ({', '.join(report.demoted_checks)}).")
    if report.sheet is not None:
        console.say(f"contact sheet: {report.sheet}")
    console.report(report)


def run_explain(settings: TasteExplainSettings, console: Console) -> None:
    """Which items of a user speak for an item, and which slot of a list it could take."""
    from pinembed.jobs.taste_explain import taste_explain

    report = taste_explain(settings, progress=console.progress)
    rows = [(part.id, part.title, f"{part.part:.4f}", f"{part.weight:g}") for part in report.parts]
    console.table(f"{report.item} for {report.user}", ["because of", "title", "part", "weight"], rows, numeric_from=2)
    place = f"place {report.place:,} among {report.slot} items" if report.place else f"{report.state}: not recommended"
    console.say(f"{report.users:,} users, slot {report.slot}, score {report.score:.4f}, {place}")
    if report.now:
        console.say(f"being chosen now adds {report.now:.4f}")
    if report.board_path:
        console.say(f"lies on boards with {', '.join(report.board_path[:SHOWN])}")
    console.report(report)


def run_similar(settings: TasteSimilarSettings, console: Console) -> None:
    """Users who chose the same items, and which."""
    from pinembed.jobs.taste_similar import taste_similar

    report = taste_similar(settings, progress=console.progress)
    rows = [(found.user, ", ".join(found.shared), f"{found.score:.3f}") for found in report.results]
    console.table(f"like {report.user}", ["user", "both chose", "score"], rows, numeric_from=2)
    console.report(report)


def run_inspect(settings: TasteInspectSettings, console: Console) -> None:
    """Coverage, staleness and drift of a taste store, and the interests of a user."""
    from pinembed.jobs.taste_inspect import taste_inspect

    report = taste_inspect(settings, progress=console.progress)
    rows = [
        ("events", f"{report.events:,}"),
        ("newest event", report.newest),
        ("events that users do not know of", f"{report.waiting:,}"),
        ("users", f"{report.users:,}"),
        ("interests a user", f"{report.interests:.1f}"),
        ("users forgotten", f"{report.forgotten:,}"),
        ("items of the table", f"{report.catalogue:,}"),
        ("with any user", f"{report.touched_share:.1%}"),
        ("in the graph", f"{report.graph_share:.1%}"),
        ("items not in the table", f"{report.unknown_items:,}"),
        (f"drift of {report.drift_users:,} users", f"{report.drift:.2f}"),
        ("moved over a half", f"{report.moved_share:.1%}"),
    ]
    console.table(report.store, ["", "value"], rows)
    if report.user is not None:
        shown = [
            (found.item, found.title, found.stage, f"{found.weight:.0%}", f"{found.items}")
            for found in report.user_interests
        ]
        title = f"{report.user}: {report.user_events:,} events"
        console.table(title, ["interest", "title", "stage", "weight", "items"], shown, numeric_from=3)
    console.report(report)


def run_evaluate(settings: TasteEvaluateSettings, console: Console) -> None:
    """Cut a log at a moment, and judge every way of making lists by what users chose after it.

    The exit code is 4 where the blend does not beat the best single arm for certain.
    """
    from pinembed.jobs.taste_evaluate import taste_evaluate

    report = taste_evaluate(settings, progress=console.progress)
    rows = [
        (
            found.arm,
            f"{found.recall.value:.4f}",
            interval(found.recall, ""),
            *("" if one is None else f"{one.value:.4f}" for one in (found.warm, found.thin, found.cold)),
            f"{found.coverage:.1%}",
            f"{found.novelty:.1f}",
            f"{found.diversity:.2f}",
        )
        for found in report.arms
    ]
    title = f"recall@{report.k} of {report.users:,} users from {report.at} on, {report.items:,} items"
    columns = ["arm", "all", "95 %", "warm", "thin", "cold", "coverage", "novelty", "diversity"]
    console.table(title, columns, rows)
    dial = [
        (
            f"{point.fresh:g}",
            *("" if one is None else f"{one.value:.4f}" for one in (point.recall, point.warm, point.cold)),
        )
        for point in report.dial
    ]
    console.table("the blend over --fresh", ["fresh", "all", "warm", "cold"], dial)
    change = report.difference
    console.say(
        f"blend minus {report.best_arm}: {change.value:+.4f} (95 %: {change.low:+.4f} to {change.high:+.4f}); "
        f"default: {report.default}{', kept in the store' if report.stored else ''}"
    )
    console.say(
        f"what is chosen now has {report.now:.0%} of a known score, and items with under five users {report.fresh:.0%} "
        "of the blend's slots, as lists before the cut taught"
    )
    if report.warning:
        console.say(report.warning, style="yellow")
    error = GateError(
        f"The blend does not beat {report.best_arm} for certain.",
        remedy=f"Use it alone (taste recommend --arm {report.default}), or look at the curve of --fresh.",
    )
    console.end(report, report.exit_code, error=error)


def run_forget(settings: TasteForgetSettings, console: Console) -> None:
    """Take a user out of every table, of the graph and of old versions on the disk, for good."""
    from pinembed.jobs.taste_forget import taste_forget

    report = taste_forget(settings, progress=console.progress)
    console.say(f"{report.store}: {report.events:,} events of {report.user} are forgotten, {report.seconds:.1f} s")
    if report.verified:
        looked = f"{report.versions} versions opened, {report.files} files of {report.size_bytes / 1e6:.1f} MB searched"
        console.say(f"{looked}: {'the name stands in' if report.traces else 'no trace is left'}")
        if not report.files:
            console.say("Files were not searched: so short a name may stand in any.")
        for trace in report.traces:
            console.say(f"  {trace}", style="yellow")
    console.end(report, report.exit_code)


app = typer.Typer(help="What users like: interests, recommendations with reasons.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Keeps every command of taste a sub-command, however many there are."""


add_command(app, "update", TasteUpdateSettings, run_update)
add_command(app, "recommend", TasteRecommendSettings, run_recommend)
add_command(app, "explain", TasteExplainSettings, run_explain)
add_command(app, "similar", TasteSimilarSettings, run_similar)
add_command(app, "inspect", TasteInspectSettings, run_inspect)
add_command(app, "evaluate", TasteEvaluateSettings, run_evaluate)
add_command(app, "forget", TasteForgetSettings, run_forget)
