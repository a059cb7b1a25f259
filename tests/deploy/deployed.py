"""Reads a SAM template as JSON from standard input and prints it as CloudFormation would carry it out: transformed by SAM's own translator, and then, for the
parameters given as `Name=value` in addition to the required ones, with conditions decided and parameters filled in.

What only AWS knows stays as it is: attributes of resources (`Fn::GetAtt`), ids (`Ref` of a resource). The account, the
region and the stack's name are made up. Needs no network.
"""

import json
import os
import re
import sys

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::StackName": "flags",
}
NOTHING = object()
# The least that a deployment has to say: a database by IAM, keys by URL, no VPC.
LEAST = {
    "Release": "1.4.2",
    "AuthIssuer": "https://id.example.test",
    "AuthAudience": "flag-admin",
    "AuthJwksUrl": "https://id.example.test/jwks.json",
    "DatabaseHost": "db.example.test",
    "DatabaseName": "flags",
    "DatabaseResourceId": "db-ABCDEFGH",
    "DatabaseReaderUser": "flag_schedules_reader",
}


def refusal(parameter, value):
    """Why CloudFormation refuses this value of a parameter; nothing if it does not."""
    text = str(value)
    fits = (
        text in map(str, parameter.get("AllowedValues", [value]))
        and re.fullmatch(parameter.get("AllowedPattern", r"[\s\S]*"), text)
        and parameter.get("MinLength", 0) <= len(text) <= parameter.get("MaxLength", len(text))
    )
    return None if fits else parameter.get("ConstraintDescription", "is not allowed")


def long_form(value):
    """`Fn::GetAtt` as a list, which is what the translator understands."""
    if isinstance(value, dict):
        if isinstance(value.get("Fn::GetAtt"), str):
            return {"Fn::GetAtt": value["Fn::GetAtt"].split(".", 1)}
        return {key: long_form(item) for key, item in value.items()}
    return [long_form(item) for item in value] if isinstance(value, list) else value


class Deployment:
    def __init__(self, template, given):
        self.conditions = template.get("Conditions", {})
        self.values = dict(PSEUDO)
        self.refused = []
        for name, parameter in template["Parameters"].items():
            value = given.get(name, parameter.get("Default"))
            if value is None:
                sys.exit(f"the parameter {name} has no default, and is not given")
            if reason := refusal(parameter, value):
                self.refused.append(f"{name} {reason}")
            if parameter["Type"] == "CommaDelimitedList":
                value = str(value).split(",")
            self.values[name] = value
        unknown = set(given) - set(template["Parameters"])
        if unknown:
            sys.exit(f"there are no such parameters: {sorted(unknown)}")

    def holds(self, name):
        return self.resolved(self.conditions[name])

    def resolved(self, value):
        if isinstance(value, list):
            items = [self.resolved(item) for item in value]
            return [item for item in items if item is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), = value.items()
            function = getattr(self, name.replace("Fn::", "").lower() + "_", None)
            if function and (name.startswith("Fn::") or name in ("Ref", "Condition")):
                return function(argument)
        items = {key: self.resolved(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not NOTHING}

    def ref_(self, name):
        return NOTHING if name == "AWS::NoValue" else self.values.get(name, {"Ref": name})

    def condition_(self, name):
        return self.holds(name) if name in self.conditions else {"Condition": name}

    def if_(self, argument):
        name, yes, no = argument
        return self.resolved(yes if self.holds(name) else no)

    def equals_(self, argument):
        one, other = self.resolved(argument)
        return str(one) == str(other)

    def eachmemberequals_(self, argument):
        members, text = self.resolved(argument)
        return all(member == text for member in members)

    def not_(self, argument):
        return not self.resolved(argument)[0]

    def and_(self, argument):
        return all(self.resolved(argument))

    def or_(self, argument):
        return any(self.resolved(argument))

    def sub_(self, argument):
        text, own = argument if isinstance(argument, list) else (argument, {})
        values = self.values | self.resolved(own)

        def filled(match):
            value = values.get(match.group(1))
            return match.group(0) if value is None or isinstance(value, dict) else str(value)

        return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", filled, text)

    def join_(self, argument):
        separator, items = self.resolved(argument)
        return separator.join(items)

    def split_(self, argument):
        separator, text = self.resolved(argument)
        return text.split(separator)

    def select_(self, argument):
        index, items = self.resolved(argument)
        return items[int(index)]


def main():
    os.environ["AWS_DEFAULT_REGION"] = PSEUDO["AWS::Region"]
    template = long_form(json.load(sys.stdin))
    # As `sam package` leaves it: the code has been uploaded.
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
    # SAM itself fills in some of them, hence here too.
    given = LEAST | dict(argument.split("=", 1) for argument in sys.argv[1:])
    plain = Translator({}, Parser()).translate(template, given)
    deployment = Deployment(plain, given)
    resources = {}
    for name, resource in plain["Resources"].items():
        condition = resource.pop("Condition", None)
        if condition is None or deployment.holds(condition):
            resources[name] = deployment.resolved(resource)
    rules = {
        f"{name}: {assertion['AssertDescription']}": deployment.resolved(assertion["Assert"])
        for name, rule in plain.get("Rules", {}).items()
        if deployment.resolved(rule.get("RuleCondition", True))
        for assertion in rule["Assertions"]
    }
    broken = deployment.refused + [rule for rule, holds in rules.items() if not holds]
    json.dump({"Resources": resources, "BrokenRules": broken}, sys.stdout, default=str)


if __name__ == "__main__":
    main()
