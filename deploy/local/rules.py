"""`feedloop rules …`: check a folder of rule files, run the tests inside, say what the rules make of a text, publish them to all replicas."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.local.errors import LocalError

if TYPE_CHECKING:
    from services.classifier.rules import RuleSet

app = typer.Typer(no_args_is_help=True, help="The rule files: check, test, explain, publish.")
SHIPPED = Path(__file__).resolve().parents[2] / "services" / "classifier" / "rules"
Folder = Annotated[Path, typer.Argument(help="folder of the rule files", envvar="FEEDLOOP_RULES")]
Labels = Annotated[Path | None, typer.Option(help="your own label sets, as FEEDLOOP_LABELS", envvar="FEEDLOOP_LABELS")]
Drop = Annotated[
    bool, typer.Option("--drop-safety-rules", help="the folder may do without block rules that ship", envvar="FEEDLOOP_DROP_SAFETY_RULES")
]
Profile = Annotated[str, typer.Option(help="which state folder: `default` for `up`, `demo` for `demo`")]


@app.command()
def check(folder: Folder = SHIPPED, labels: Labels = None, drop_safety_rules: Drop = False) -> None:
    """Read the files as the classifier does. Errors, and exit status 1, where it would refuse them; warnings for what is only suspicious."""
    from services.classifier.rulebook import read_folder
    from shared import taxonomy

    taxonomy.use(labels)
    rules, warnings = read_folder(folder, taxonomy.label_set, drop_safety_rules=drop_safety_rules)
    for line in warnings:
        typer.echo(f"warning: {line}")
    for name in rules.expired():
        typer.echo(f"warning: rule {name!r} has expired and is silent")
    typer.echo(f"{len(rules)} rules are sound, {len(warnings)} warnings; digest {rules.digest}")


@app.command()
def test(folder: Folder = SHIPPED, labels: Labels = None) -> None:
    """Run the tests inside the files, all of them. Exit status 1 where one fails."""
    rules = _read(folder, labels, tests=False)
    failures = rules.failures()
    for line in failures:
        typer.echo(line, err=True)
    typer.echo(f"{rules.tests - len(failures)} of {rules.tests} tests of {len(rules)} rules pass")
    if failures:
        raise typer.Exit(1)


@app.command()
def explain(
    text: Annotated[list[str], typer.Argument(help="the text; - reads it from standard input")],
    folder: Annotated[Path, typer.Option("--rules", help="folder of the rule files", envvar="FEEDLOOP_RULES")] = SHIPPED,
    labels: Labels = None,
    collection: Annotated[str, typer.Option(help="whose label set: wellbeing, news, your own")] = "wellbeing",
    title: str = "",
) -> None:
    """Say which rules found their words in a text, which of them hit, which were voided, and why."""
    from shared.taxonomy import known, label_set

    rules = _read(folder, labels)
    given = sys.stdin.read() if text == ["-"] else " ".join(text)
    try:
        chosen = label_set(collection)
    except ValueError as error:
        raise LocalError(str(error)) from error
    if chosen.collection != collection:
        raise LocalError(f"there is no label set {collection!r}; there are {', '.join(known())}")
    looks = rules.look(title, given, chosen)
    if (read := rules.reads(f"{title}\n\n{given}")) != " ".join(f"{title}\n\n{given}".lower().split()):
        typer.echo(f"read as: {read}")
    for look in looks:
        rule = look.judge.rule
        says = f"{rule.task} {look.label}" if look.outcome in ("hit", "softer") else look.outcome
        typer.echo(f"{look.outcome:7} {rule.id} ({rule.kind}, {look.judge.file}): “{look.words}” -> {says}{f'; {look.why}' if look.why else ''}")
    hits = rules.hits(title, given, chosen)
    for hit in hits:
        typer.echo(f"says    {hit.rule.task} {hit.rule.label}: {hit.reason()}")
    silent = len(rules) - len(looks)
    typer.echo(
        f"{len(looks)} of {len(rules)} rules found their words, {len({hit.rule.id for hit in hits})} speak; {silent} did not find them or are for others"
    )


@app.command()
def publish(
    folder: Annotated[Path | None, typer.Argument(help="folder of the rule files; none: each replica goes back to its own folder")] = None,
    labels: Labels = None,
    reason: str = "published on the command line",
    by: Annotated[str, typer.Option(help="who")] = "command line",
    drop_safety_rules: Annotated[bool, typer.Option("--drop-safety-rules", help="the files may do without block rules that ship")] = False,
    profile: Profile = "default",
) -> None:
    """Put the files in force in every replica, over Kafka. The running classifier checks them first, and refuses them whole where one is bad."""

    async def work() -> None:
        from deploy.local.client import Client, addresses

        files = []
        if folder:
            from services.classifier.rule_files import read_files

            _read(folder, labels)  # what is wrong is said here, without a service
            files = [{"name": name, "text": data.decode("utf-8")} for name, data in read_files(folder)]
        async with Client(addresses(profile)) as client:
            answer = await client.post(
                "classifier", "/api/rules", {"files": files, "reason": reason, "by": by, "drop_safety_rules": drop_safety_rules}
            )
        for line in answer["warnings"]:
            typer.echo(f"warning: {line}")
        typer.echo(f"announced: {answer['digest'][:12]} ({answer['count']} rules)" if files else "announced: each replica's own folder")

    asyncio.run(work())


def _read(folder: Path, labels: Path | None, tests: bool = True) -> "RuleSet":
    """Raises ConfigError, which the command prints in one line with exit status 1."""
    from services.classifier.rule_files import read_files
    from services.classifier.rules import RuleSet
    from shared import taxonomy

    taxonomy.use(labels)
    return RuleSet(read_files(folder), taxonomy.label_set, tests=tests)
