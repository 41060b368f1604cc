"""YAML as rule files may use it: the safe part, without what makes a file say something else than it seems to."""

from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml's parser, where it is built in, is ten times as fast
    """Refuses a key that stands twice (YAML keeps the last without a word) and anchors used again (a small file could unfold into a huge one)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                said = "a list or a mapping can't be a key: write it in quotes, or fill in the template that {{ … }} stands for"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} stands twice in one place", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)  # type: ignore[no-any-return]

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node in self.constructed_objects:
            said = "a YAML alias (*name) is not taken here: put the phrases under `lists:` and name them as $name"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
        return super().construct_object(node, deep=deep)


def load(text: str) -> object:
    """Raises yaml.YAMLError, with line and column."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
