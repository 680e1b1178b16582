"""YAML whose text means one thing."""

import re
from typing import Any, NoReturn

import yaml

MAX_INT = 40  # characters of a whole number; converting a long one takes quadratic time
# What loading raises for text that is not YAML; `!!int ''` is one of the stranger ways.
YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


class StrictLoader(yaml.SafeLoader):
    """Loads plain YAML and refuses duplicate keys, references, and numbers that are very long or mean two things.

    Of duplicate keys, YAML would silently keep the last. Ten lines of references can stand for a billion values. 010
    is 8 in YAML 1.1 and 10 elsewhere, 1:30 is 90.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.refuse(f"a reference, *{self.peek_event().anchor}", self.peek_event())
        return super().compose_node(parent, index)

    def construct_short_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MAX_INT:
            self.refuse(f"a number of {len(node.value)} characters", node)
        self.check_decimal(node)
        return self.construct_yaml_int(node)

    def construct_decimal_float(self, node: yaml.ScalarNode) -> float:
        self.check_decimal(node)
        return self.construct_yaml_float(node)

    def check_decimal(self, node: yaml.ScalarNode) -> None:
        if not is_decimal(node.value):
            self.refuse(f"{node.value!r}, which is not the same number to every program", node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key.value, str)):
            if key.value in seen:
                self.refuse(f"{key.value!r} is duplicated", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def refuse(self, problem: str, found: yaml.Node | yaml.Event) -> NoReturn:
        mark: Any = found.start_mark  # the stubs know of another loader's marks
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


StrictLoader.add_constructor("tag:yaml.org,2002:int", StrictLoader.construct_short_int)
StrictLoader.add_constructor("tag:yaml.org,2002:float", StrictLoader.construct_decimal_float)


def load_yaml(text: str) -> Any:
    """Returns what YAML `text` stands for; raises one of YAML_ERRORS."""
    return yaml.load(text, StrictLoader)


def is_decimal(number: str) -> bool:
    """Whether a number, as text, is not octal, hexadecimal, binary or sexagesimal to anyone."""
    return not re.match(r"[-+]?0[0-9_box]|.*:", number)
