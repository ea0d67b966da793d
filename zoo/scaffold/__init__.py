"""``zoo new-plugin``: a package of parts that passes its own tests as it is. Imports no torch."""

from zoo.scaffold.names import Names
from zoo.scaffold.package import files_of, write_package

__all__ = ["Names", "files_of", "write_package"]
