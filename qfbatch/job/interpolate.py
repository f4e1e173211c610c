"""`${NAME}` and `${NAME:-default}` in the values of a job file.

As in a shell, `:-default` also stands in for an empty variable. `$${` is a literal `${`. A value that is
wholly one reference takes its type from what the variable holds, quoted or not: inside `{ }` YAML needs the
quotes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from qfbatch.job.problems import Findings
from qfbatch.job.secrets import reads_secret, refusal_of_reference
from qfbatch.job.tree import Loc, Scalar, Section, walk
from qfbatch.job.yaml_scalars import typed

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|\$\{")


def interpolate(findings: Findings, environ: Mapping[str, str]) -> set[str]:
    """Replace the references in every value of the tree.

    Args:
        findings: of the tree; receives what cannot be replaced.
        environ: variables by name.

    Returns:
        Names of the variables the file refers to.
    """
    names: set[str] = set()
    for loc, node in walk(findings.root):
        if isinstance(node, Scalar) and "${" in node.text:
            _interpolate_scalar(findings, loc, node, environ, names)
        elif isinstance(node, Section):
            for key in node.nodes:
                if "${" in key:
                    findings.add(
                        (*loc, key), "variables are read in values, not in keys", key=True, named=False
                    )
    return names


def _interpolate_scalar(
    findings: Findings, loc: Loc, node: Scalar, environ: Mapping[str, str], names: set[str]
) -> None:
    def replaced(match: re.Match[str]) -> str:
        """What one `${…}` stands for; records a variable that is missing and puts nothing in its place."""
        if match[0] == "$${":
            return "${"
        name = match["name"]
        if name is None:
            message = "a reference is written ${NAME} or ${NAME:-default}; for a literal ${ write $${"
            findings.add(loc, message)
            return ""
        names.add(name)
        if reads_secret(name):
            findings.add(loc, refusal_of_reference(name))
            return ""
        value = environ.get(name)
        if match["default"] is not None:
            value = value or match["default"][2:]
        if value is None:
            findings.add(
                loc,
                f"the environment variable {name} is not set; set it, or give a default: "
                f"${{{name}:-default}} (for a literal ${{ write $${{)",
            )
            return ""
        if any("\ud800" <= character <= "\udfff" for character in value):
            findings.add(loc, f"the environment variable {name} is not valid UTF-8")
            return ""
        return value

    whole = _REFERENCE.fullmatch(node.text)
    node.substituted = whole is not None and whole["name"] is not None
    node.text = _REFERENCE.sub(replaced, node.text)
    node.value = typed(node.text) if node.plain or node.substituted else node.text
