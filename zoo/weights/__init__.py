"""Weight files: safetensors, with the recipe they belong to."""

from zoo.weights.files import refuse_existing, write_initialised

__all__ = ["refuse_existing", "write_initialised"]
