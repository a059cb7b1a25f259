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


yaml.SafeLoader.add_multi_constructor("!", short_form)
with open(sys.argv[1], encoding="utf-8") as file:
    json.dump(yaml.safe_load(file), sys.stdout, default=str)
