"""The `feedloop` command (`python -m services` is the same). Thin: each command imports what it needs when it is called."""

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from deploy import SERVICES
from deploy.local.errors import LocalError
from deploy.local.rules import app as rules_app
from deploy.local.sources import app as sources_app
from shared.errors import FeedloopError, one_line

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
models_app = typer.Typer(no_args_is_help=True, help="What is live, offer an adapter or a neural head to the gate, roll back.")
app.add_typer(models_app, name="models")
app.add_typer(sources_app, name="sources")
app.add_typer(rules_app, name="rules")
Profile = Annotated[str, typer.Option(help="which state folder: `default` for `up`, `demo` for `demo`")]


@app.command()
def run(names: Annotated[list[str], typer.Argument(help=f"{', '.join(SERVICES)}; or `all`: a process each, restarted when one dies")]) -> None:
    """Run one service in this process, or several, a process each. Addresses come from the environment."""
    wanted = list(SERVICES) if names == ["all"] else names
    if unknown := set(wanted) - set(SERVICES):
        raise LocalError(f"no service {sorted(unknown)[0]!r}; there are {', '.join(SERVICES)}, and `all`")
    if len(wanted) > 1:
        from deploy.local.commands import run_services

        asyncio.run(run_services(wanted))
        return
    from importlib import import_module

    from shared import taxonomy
    from shared.logs import configure

    name = wanted[0]
    settings = import_module(f"services.{name}.settings").Settings()
    configure(name, settings.log_level)
    taxonomy.use(settings.labels)  # before anything is built: all of a service asks for label sets by name

    async def serve() -> None:  # built inside the loop: what is built may want it
        await import_module(f"services.{name}.app").build(settings).serve()

    asyncio.run(serve())


@app.command()
def topics(replication: Annotated[int, typer.Option(envvar="FEEDLOOP_REPLICATION")] = 1) -> None:
    """Create the Kafka topics that are missing (KAFKA_BOOTSTRAP_SERVERS)."""
    import os

    from shared.topics import create

    created = asyncio.run(create(os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"), replication))
    typer.echo(f"{len(created)} topics created" if created else "all topics are there")


@app.command()
def demo(
    report: Annotated[Path, typer.Option(help="where the closing figures go as JSON")] = Path("demo-report.json"),
    stay: Annotated[bool, typer.Option(help="keep running afterwards, until Ctrl-C")] = False,
) -> None:
    """The whole loop on the sample data: read, classify, ask, correct, train, swap, refuse, roll back."""
    from deploy.local.demo import Demo

    sys.exit(asyncio.run(Demo(report, stay).run()))


@app.command()
def up(
    config: Annotated[Path, typer.Option(help="your feeds and mailboxes; feedloop.example.yaml shows the form")] = Path("feedloop.yaml"),
    profile: Profile = "default",
) -> None:
    """Run everything on your own feeds and mailboxes, until Ctrl-C."""
    from deploy.local.commands import up as start

    asyncio.run(start(config, profile))


@app.command()
def ask(question: str, profile: Profile = "default") -> None:
    """Ask the documents; the answer cites its passages."""
    from deploy.local.commands import ask as put

    _talk(put(question, profile))


@app.command()
def classify(
    texts: Annotated[list[str] | None, typer.Argument(help="the texts; without any they are read from --input or standard input")] = None,
    input: Annotated[Path | None, typer.Option(help="a file: text, .jsonl ({text, title} a line) or .csv; `-` is standard input")] = None,
    format: Annotated[str, typer.Option(help="auto (by the file's ending; text else), text (the whole is one), lines, jsonl, csv")] = "auto",
    column: Annotated[str, typer.Option(help="the column, or JSON field, that holds the text; `text` if not given")] = "",
    collection: Annotated[str, typer.Option(help="the label set: news, wellbeing, or one of yours")] = "news",
    json: Annotated[bool, typer.Option("--json", help="a JSON object a line, with all probabilities")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="the words that mattered most to the neural head")] = False,
    llm: Annotated[bool, typer.Option("--llm", help="ask the language model too, as for a document: seconds a text")] = False,
    profile: Profile = "default",
) -> None:
    """Verdicts on texts, with the reasons, by rules and head of the running classifier, and the corrections given on the same text. They sort texts for a person to read; they are no diagnosis."""
    from deploy.local.classify import classify as judge
    from deploy.local.texts import form_of, texts_of

    given = texts_of(texts or [], input, form_of(format), column)
    _talk(judge(given, collection, profile, as_json=json, explain=explain, llm=llm))


@app.command()
def train(profile: Profile = "default", reason: str = "asked for on the command line") -> None:
    """Ask for a training run on all corrections, now."""
    from deploy.local.commands import train as start

    _talk(start(profile, reason))


@app.command()
def feedback(file: Path, profile: Profile = "default") -> None:
    """Give the corrections of a JSON Lines file: {"title", "text", "task", "correct", "incorrect", "why"} a line."""
    from deploy.local.commands import give

    _talk(give(file, profile))


@models_app.command("list")
def models_list(profile: Profile = "default") -> None:
    """What is live, and what came of each run."""
    from deploy.local.commands import models

    _talk(models(profile))


@models_app.command("rollback")
def models_rollback(profile: Profile = "default", role: str = "adapter", reason: str = "asked for on the command line") -> None:
    """Go back to the model before. It is still loaded: this is a flip."""
    from deploy.local.commands import rollback

    _talk(rollback(profile, role, reason))


@models_app.command("offer")
def models_offer(folder: Path, profile: Profile = "default") -> None:
    """Have the gate judge an adapter (a PEFT folder) or a neural head (what train_head wrote) that was made elsewhere."""
    from deploy.local.commands import offer

    _talk(offer(folder, profile))


def _talk(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def main() -> None:
    """Entry point: an error for a person is one line, and the exit status says that it went wrong."""
    try:
        app()
    except (LocalError, FeedloopError) as error:
        sys.exit(f"feedloop: {error}")
    except ValidationError as error:
        sys.exit(f"feedloop: {one_line(error)}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)


if __name__ == "__main__":
    main()
