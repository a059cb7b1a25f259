"""Prints a YAML file as JSON, with CloudFormation's short forms (`!Ref x`) written out (`{"Ref": "x"}`).

PyYAML is there because cfn-lint, which is pinned in requirements.txt, needs it.
"""

import json
import sys

import yaml


def short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else "Fn::" + suffix: value}


def load(path):
    yaml.SafeLoader.add_multi_constructor("!", short_form)
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


if __name__ == "__main__":
    json.dump(load(sys.argv[1]), sys.stdout, default=str)
