"""What the log-probabilities of an answer's tokens say of the options that it was one of. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One token of an answer, and the log-probabilities of the likeliest tokens in its place (itself among them)."""

    token: str
    alternatives: list[tuple[str, float]]


def share_of(label: str, steps: Sequence[Step]) -> float:
    """The probability of a label, 0 to 1: at each step of the answer, the share of all tokens that go on towards it. A grammar lets a label be spelled
    in many ways ("vio|lin", "v|iolin"), and the one that was spoken may be a small part of them."""
    share, spoken = 1.0, ""
    for step in steps:
        if spoken == label:
            break  # what follows is the end token
        share *= sum(math.exp(logprob) for token, logprob in step.alternatives if token and label.startswith(spoken + token))
        spoken += step.token
    return min(1.0, share)


def all_shares(label: str, share: float, options: Sequence[str], steps: Sequence[Step]) -> dict[str, float]:
    """The probability of each option that the alternatives of the answer's tokens tell of, in the order of the options; `label` has `share`. Empty where
    they tell of none but the label. What is missing from 1 belongs to options that no alternative led to (the engine names the likeliest 20)."""
    told = _led_to(list(options), "", steps) if steps else {}
    others = {option: p for option, p in told.items() if option != label and p > 0}
    if not others:
        return {}
    scale = min(1.0, (1 - share) / sum(others.values()))
    return {option: share if option == label else round(others[option] * scale, 6) for option in options if option == label or option in others}


def _led_to(options: list[str], spoken: str, steps: Sequence[Step]) -> dict[str, float]:
    """How the answer's steps from here on divide the options, all of which begin with what has been spoken. A token that leads to several options and was
    not gone on with is divided as those are otherwise, evenly where nothing else is known of them."""
    if len(options) == 1 or not steps:
        return {option: 1 / len(options) for option in options}
    masses: dict[tuple[str, ...], float] = {}
    for token, logprob in steps[0].alternatives:
        goes_on = tuple(option for option in options if token and option.startswith(spoken + token))
        leads = goes_on or tuple(option for option in options if option == spoken)  # the end token: what has been spoken is an option itself
        masses[leads] = masses.get(leads, 0.0) + math.exp(logprob)
    masses.pop((), None)
    found = dict.fromkeys(options, 0.0)
    taken = tuple(option for option in options if steps[0].token and option.startswith(spoken + steps[0].token))
    for leads in sorted(masses, key=lambda leads: (len(leads) > 1, leads != taken, len(leads))):
        if leads == taken and len(taken) > 1:
            parts = _led_to(list(taken), spoken + steps[0].token, steps[1:])
        else:
            known = sum(found[option] for option in leads)
            parts = {option: found[option] / known if known else 1 / len(leads) for option in leads}
        for option, part in parts.items():
            found[option] += masses[leads] * part
    return found


def among(options: Sequence[str], steps: Sequence[Step]) -> dict[str, float]:
    """The probability of each option by the steps of `spelled`, where the log-probabilities are of all tokens and not only of those that an option goes on
    with: what leads to none of them is left out, and the rest adds up to 1. Empty where nothing leads to any."""
    found = _led_to([f'{option}"' for option in options], "", steps) if steps else {}
    whole = sum(found.values())
    return {option[:-1]: round(p / whole, 6) for option, p in found.items() if p > 0} if whole > 0 else {}


def spelled(label: str, steps: Sequence[Step]) -> list[Step]:
    """Of the tokens of {"label": "sport"} those that spell the label and the quote that ends it, cut to that. Empty where they can't be told apart: without
    log-probabilities, or where the label is escaped."""
    text = "".join(step.token for step in steps)
    key = text.find('"label"')
    begin = text.find(f'"{label}"', key + len('"label"')) + 1 if label and key >= 0 else 0
    found: list[Step] = []
    place = 0
    for step in steps if begin else ():
        after = place + len(step.token)
        if after > begin and place <= begin + len(label):
            before = step.token[: max(0, begin - place)]
            alternatives = [(_within(token[len(before) :]), p) for token, p in step.alternatives if token.startswith(before)]
            found.append(Step(_within(step.token[len(before) :]), alternatives))
        place = after
    return found


def _within(token: str) -> str:
    """A token as far as a closing quote, which tells that the label ends there."""
    label, quote, _ = token.partition('"')
    return label + quote
