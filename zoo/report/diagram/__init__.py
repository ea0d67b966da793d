"""The way of the tokens as a drawing."""

from zoo.report.diagram.drawing import diagram

__all__ = ["diagram"]
