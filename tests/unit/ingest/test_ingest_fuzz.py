"""A short run of `make fuzz` on the repository's own samples, and that the fuzzer finds what is there to be found."""

import contextlib
from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz import running
from tests.fuzz.mutate import WEIGHTS, pick
from tests.fuzz.running import Tally, one, run, warm_up
from tests.fuzz.seeds import MOST, own
from tests.fuzz.targets import Ends, Targets

SEED, COUNT = 20_261_121, 300
CPU_S = 10.0  # a runner may be slow; `make fuzz` has 2


def test_mutations_end_as_documents_or_are_refused_by_name(tmp_path: Path) -> None:
    targets, pool, tally = Targets(tmp_path), own(), Tally()
    warm_up(targets, pool)
    for number in range(COUNT):
        kind, data = pick(SEED, number, pool)
        one(targets, kind, number, data, tally, CPU_S)
    assert not tally.findings, "\n".join(f"seed {SEED}, number {found.number}, {found.kind}: {found.what}" for found in tally.findings)
    assert tally.done == COUNT and tally.documents > COUNT / 2 and tally.refused.total() > COUNT / 10
    assert set(tally.kinds) == set(WEIGHTS)


def test_samples_as_they_are_become_documents(tmp_path: Path) -> None:
    targets = Targets(tmp_path)
    for kind, samples in own().items():
        ends = [targets.read(kind, data) for data in samples]
        assert sum(end.documents for end in ends) > 0 or kind in ("headers", "imap"), kind


def test_a_mutation_follows_from_its_seed_and_number() -> None:
    pool = own()
    first = [pick(1, number, pool) for number in range(200)]
    assert first == [pick(1, number, pool) for number in range(200)]
    assert len(Counter(first)) > 190 and first != [pick(2, number, pool) for number in range(200)]
    assert all(len(data) <= MOST for _, data in first)


class _Broken(Targets):
    """Stumbles over a byte, hangs at another and dies of a third."""

    def read(self, kind: str, data: bytes) -> Ends:
        if b"\x01" in data:
            raise KeyError("a mistake of ours")
        while b"\x02" in data:
            with contextlib.suppress(Exception):  # a time limit must not be caught by what it limits
                sum(range(1000))
        return super().read(kind, data)


def test_what_stumbles_and_what_hangs_is_found(tmp_path: Path) -> None:
    tally, targets = Tally(), _Broken(tmp_path)
    for number, data in enumerate((b"a", b"\x01", b"\x02")):
        one(targets, "links", number, data, tally, 0.2)
    assert [(found.number, found.what.splitlines()[-1]) for found in tally.findings[:1]] == [(1, "KeyError: 'a mistake of ours'")]
    assert tally.findings[1].number == 2 and tally.findings[1].what.startswith("took more than 0.2 s of CPU")
    assert tally.done == 3


def test_a_finding_is_written_down_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "Targets", _Broken)
    tally = Tally()
    one(_Broken(tmp_path), "links", 7, b"https://e.org/\x01", tally)
    command.tell(tally.findings[0], 3)
    said = capsys.readouterr().out
    assert "seed 3, number 7, links" in said and "python -m tests.fuzz build/fuzz/links-3-7" in said
    assert (tmp_path / "build/fuzz/links-3-7").read_bytes() == b"https://e.org/\x01"
    assert command.again([("links", 7, b"https://e.org/\x01")]) == 1 and command.again([("links", 7, b"https://e.org/")]) == 0


def test_several_processes_do_every_number_once() -> None:
    tally = run(1, 0, 40, {"links": own()["links"], **{kind: own()[kind] for kind in ("feed", "mail", "html", "opml")}}, 2, 1, lambda _: None)
    assert tally.done == 40 and not tally.findings


def test_processes_that_die_before_their_first_input_are_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(running, "warm_up", dies)
    with pytest.raises(RuntimeError, match="died with 1 outside of any input"):
        run(1, 0, 4, {kind: own()[kind] for kind in ("feed", "mail", "html", "opml")}, 1, 1, lambda _: None)
