"""Plain text that was broken into lines for the way (RFC 3676, format=flowed), put together again."""


def unflow(text: str, delete_space: bool = False) -> str:
    """Lines that end in a space go on in the next one of the same quote depth. `delete_space` is DelSp=yes: the space was put there for breaking.

    Space-stuffing is undone, the signature's "-- " stays a line of its own.
    """
    out: list[str] = []
    open_depth = -1  # quote depth of the line before, where it goes on
    for line in text.replace("\r\n", "\n").split("\n"):
        own = line.lstrip(">")
        depth = len(line) - len(own)
        own = own.removeprefix(" ")
        if own == "-- ":
            out.append(("> " if depth else "") + own)
            open_depth = -1
            continue
        if depth == open_depth and out:
            out[-1] += own
        else:
            out.append(f"{'>' * depth} {own}" if depth else own)
        open_depth = depth if own.endswith(" ") else -1
        if open_depth >= 0 and delete_space:
            out[-1] = out[-1][:-1]
    return "\n".join(out)
