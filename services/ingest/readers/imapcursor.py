"""Where reading of each folder ended, to and from the strings of a cursor: `folder NAME` = "UID UIDVALIDITY", `stuck NAME` = "TRIES UID UIDVALIDITY"."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

FOLDER, STUCK = "folder ", "stuck "


@dataclass
class Place:
    """One folder: the highest UID read. `stuck` is the UID of a mail that was not handed out in `tries` polls."""

    validity: str
    uid: int = 0
    stuck: int = 0
    tries: int = 0


class Places:
    """All folders of a source."""

    def __init__(self, cursor: Mapping[str, str], first: str) -> None:
        self._places: dict[str, Place] = {}
        for key, value in cursor.items():
            if key.startswith(FOLDER):
                uid, _, validity = value.partition(" ")
                self._places[key.removeprefix(FOLDER)] = Place(validity, int(uid))
        if not self._places and "uid" in cursor:  # of a version that read one folder
            self._places[first] = Place(cursor.get("validity", ""), int(cursor["uid"]))
        for name, place in self._places.items():
            tries, uid, validity, *_ = *cursor.get(STUCK + name, "").split(" ", 2), "", "", ""
            if validity == place.validity and uid:
                place.stuck, place.tries = int(uid), int(tries)

    def of(self, name: str, validity: str) -> tuple[Place, bool]:
        """The place in a folder, and whether it begins anew there: the folder is new, or its server has numbered its mails anew."""
        place = self._places.get(name)
        if place is not None and place.validity == validity:
            return place, False
        place = self._places[name] = Place(validity)
        return place, True

    def keep(self, names: Collection[str]) -> None:
        """Forget the folders that are no more."""
        self._places = {name: place for name, place in self._places.items() if name in names}

    def cursor(self) -> dict[str, str]:
        found = {FOLDER + name: f"{place.uid} {place.validity}" for name, place in self._places.items()}
        stuck = {STUCK + name: f"{place.tries} {place.stuck} {place.validity}" for name, place in self._places.items() if place.stuck > place.uid}
        return found | stuck
