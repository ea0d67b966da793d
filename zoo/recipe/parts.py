"""Parts of a validated recipe: each with all of its options and with the parts inside it, and runs of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, SerializeAsAny

from zoo.errors import PluginError, text_of
from zoo.kinds import KINDS
from zoo.part_entries import PartEntry
from zoo.recipe.versions import PartVersion
from zoo.signature import Options

Check = Callable[[Any], None]


class PartSpec(BaseModel):
    """A part with all of its options. It knows its class, so that a validated recipe is built without a registry.

    Attributes:
        entry: the part.
        options: those that hold values.
        parts: by name, those that hold parts; None where there is none.
    """

    model_config = ConfigDict(frozen=True)

    entry: Annotated[InstanceOf[PartEntry], Field(exclude=True, repr=False)]
    options: SerializeAsAny[BaseModel]
    parts: dict[str, PartSpec | None] = {}

    @property
    def type(self) -> str:
        """The part's name."""
        return self.entry.name

    def whole(self) -> Iterator[PartSpec]:
        """The part, and all those inside it."""
        yield self
        for spec in self.parts.values():
            if spec is not None:
                yield from spec.whole()

    @property
    def plugins(self) -> dict[str, str]:
        """The plug-ins that the part and those inside it are of, with their versions."""
        return {spec.entry.plugin.name: spec.entry.plugin.version for spec in self.whole()}

    @property
    def versions(self) -> tuple[PartVersion, ...]:
        """Of which plug-ins the part and those inside it are, and which versions of themselves."""
        entries = [spec.entry for spec in self.whole()]
        return tuple(
            PartVersion(kind=entry.kind, name=entry.name, plugin=entry.plugin.name, version=entry.version)
            for entry in entries
        )

    def create(self, supplied: Mapping[str, Any], check: Check | None = None) -> Any:
        """Construct the part from its options and from those of the ``supplied`` values that it asks for.

        Args:
            supplied: by name.
            check: is called with the part, and before with each one inside it, and may raise.

        Raises:
            NestedError: a part inside it refuses its options, or fails, or the check does.
        """
        parts = {name: Factory(name, spec, supplied, check) if spec else None for name, spec in self.parts.items()}
        made = self.entry.create(self.options, supplied, parts)
        if check is not None:
            check(made)
        return made

    def resolved(self) -> dict[str, Any]:
        """The part as a recipe would write it in full."""
        parts = {name: spec.resolved() if spec else None for name, spec in self.parts.items()}
        return {"type": self.type, **self.options.model_dump(mode="json"), **parts}

    def __reduce__(self) -> tuple[Any, ...]:
        # A class of options has no name to pickle by.
        return _part_spec, (self.entry, self.options.model_dump_json(), self.parts)


def _part_spec(entry: PartEntry, options: str, parts: dict[str, PartSpec | None]) -> PartSpec:
    return PartSpec(entry=entry, options=entry.signature.options.model_validate_json(options), parts=parts)


@dataclass(frozen=True)
class Factory:
    """Makes a part inside another: what the constructor around gets for an option of the type ``Part[...]``.

    Attributes:
        option: its name.
        spec: the part to make.
        around: what the part around is supplied with.
        check: is called with what is made, and may raise.
    """

    option: str
    spec: PartSpec
    around: Mapping[str, Any]
    check: Check | None = None

    def __call__(self, *values: Any) -> Any:
        """Make the part with the values that its kind is supplied with, in their order.

        Raises:
            NestedError: it refuses them or its options, or fails.
        """
        entry = self.spec.entry
        names = KINDS[entry.kind].supplied
        try:
            if len(values) > len(names):
                raise PluginError(f"is made with {len(values)} values, and its kind takes {', '.join(names)}")
            supplied = {**self.around, **dict(zip(names, values, strict=False))}
            missing = [name for name in entry.signature.supplied if name not in supplied]
            if missing:
                raise PluginError(
                    f"asks for {', '.join(missing)}, which the part around it neither gives nor has; let that give"
                    " it by name"
                )
            return self.spec.create(supplied, self.check)
        except Exception as error:
            raise NestedError(self.option, entry, error) from error


class NestedError(ValueError):
    """What a part raised that is being made inside another.

    Args:
        option: of the part around, which holds it.
        entry: the part.
        error: that it raised.
    """

    def __init__(self, option: str, entry: PartEntry, error: Exception) -> None:
        self.option, self.entry, self.error = option, entry, error
        super().__init__(f"{option}: {text_of(error)}")


class AsWritten(BaseModel):
    """Options that nobody here can check."""

    model_config = ConfigDict(extra="allow", frozen=True)


class KeptPart(BaseModel):
    """A part that is not needed and cannot be checked here, kept as zoo wrote it.

    Attributes:
        type: the part's name.
        options: as they were written.
        plugins: by name, the recorded versions of those that it may be of.
        versions: as it was recorded, if it was.
        problem: what there is to say where it is needed after all.
    """

    model_config = ConfigDict(frozen=True)

    type: str
    options: AsWritten
    plugins: dict[str, str]
    versions: tuple[PartVersion, ...]
    problem: str

    def create(self, supplied: Mapping[str, Any], check: Check | None = None) -> NoReturn:
        """Say that it cannot be constructed.

        Raises:
            PluginError: always.
        """
        raise PluginError(self.problem)

    def resolved(self) -> dict[str, Any]:
        """The part as zoo wrote it."""
        return {"type": self.type, **self.options.model_dump(mode="json")}


AnyPart = PartSpec | KeptPart


class BesideBlock(Options):
    """What stands beside ``type`` in a list of runs."""

    blocks: Annotated[int, Field(ge=1, description="blocks of this part that follow each other")]


class BesideLoss(Options):
    """What stands beside ``type`` in a list of losses."""

    weight: Annotated[float, Field(gt=0.0, le=1e6, description="what the term is multiplied by in the loss")] = 1.0


BESIDE: Mapping[str, type[Options]] = {"block": BesideBlock, "loss": BesideLoss}
"""What stands beside ``type`` in a list of parts of a kind, where something does."""


class Listed(BaseModel):
    """A part in a list, with what stands beside its type."""

    model_config = ConfigDict(frozen=True)

    part: AnyPart

    def resolved(self) -> dict[str, Any]:
        """The part as a list would hold it, which of blocks has several runs."""
        own = self.part.resolved()
        return {"type": own.pop("type"), **self.model_dump(mode="json", exclude={"part"}), **own}


class BlockRun(BesideBlock, Listed):
    """Blocks that are alike and follow each other."""


class Term(BesideLoss, Listed):
    """A term of the loss."""
