"""Results that show themselves: in a terminal by ``print``, in a notebook as HTML."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod

from rich.console import Console

WIDTH = 140
"""As wide as the widest table, nearly; wider ones are not cut."""

PAGE = '<pre style="white-space: pre; overflow-x: auto; line-height: 1.3">{code}</pre>'


class Shown(ABC):
    """Prints what the command line would."""

    @abstractmethod
    def print_to(self, console: Console) -> None:
        """Print it."""

    def __str__(self) -> str:
        file = io.StringIO()
        self.print_to(Console(file=file, width=WIDTH, highlight=False, color_system=None))
        return "\n".join(line.rstrip() for line in file.getvalue().rstrip().split("\n"))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        console = Console(file=io.StringIO(), width=WIDTH, highlight=False, record=True)
        self.print_to(console)
        return console.export_html(inline_styles=True, code_format=PAGE)
