"""A contract for import-linter: a room's private modules are its own."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.application import contract_utils


class PrivateModules(Contract):
    """Breaks where a module of one room imports a module of another room whose name begins with an underscore.

    A room is a module or package directly below the root package. What others may use of it, it exports.
    """

    type_name = "private"

    ignore_imports = fields.SetField(subfield=fields.ImportExpressionField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - import-linter's own signature
        """Return the imports that cross rooms."""
        ignored = self.ignore_imports or set()
        warnings = contract_utils.remove_ignored_imports(graph, ignored, unmatched_alerting=_Alert.ERROR)
        crossing = [
            (importer, imported)
            for imported in sorted(graph.modules)
            if any(part.startswith("_") and part != "__main__" for part in imported.split(".")[2:])
            for importer in sorted(graph.find_modules_that_directly_import(imported))
            if _room(importer) != _room(imported)
        ]
        return ContractCheck(kept=not crossing, warnings=warnings, metadata={"crossing": crossing})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print the imports that cross rooms, a line each."""
        for importer, imported in check.metadata["crossing"]:
            output.print_error(
                f"{importer} imports {imported}: export what it needs from {_room(imported)}", bold=False
            )


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


_Alert = contract_utils.AlertLevel
