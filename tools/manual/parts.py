"""An index of the kinds, and a page for each: its contract, its parts, what they cost."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from manual import contract
from manual.costs import BASES, as_it_is, cost_table
from manual.examples import example
from manual.options import HEADS, model_rows, options_table
from manual.packages import ROOT, registry
from manual.text import code, docstring, escaped, page, table
from zoo.attributes import GIVEN_BY, WORDS, mistakes
from zoo.kinds import KINDS, Kind, base_of, key_of, kind_of_base
from zoo.part_entries import PartEntry
from zoo.parts import ModulePart
from zoo.recipe.parts import BESIDE
from zoo.sites import ENUMERATORS, Site
from zoo.testing.laws import LAWS, laws_of

SOURCES = re.compile(r"(zoo|plugins)/.*")

SHARED = ("needs", "uses", "gives", "refuses", "axes")
"""What every part with a forward pass may say of itself."""


def index() -> str:
    """The kinds in a table, and what all parts with a forward pass have in common."""
    rows = [
        (f"[{kind}]({kind}.md)", docstring(base_of(kind)).first, _where(kind), str(len(registry().entries(kind))))
        for kind in KINDS
    ]
    return page(
        "# Parts",
        "A part is a named component that a recipe can swap; its kind is the role that it fills. Each kind has a page:"
        " what authors promise, and the parts there are, built in or in one of the [packages](../packages.md).",
        "`zoo parts` prints what is installed, `zoo parts --kind block,mlp` some of it.",
        "## Kinds",
        table(("kind", "what it is", "in a recipe", "parts"), rows),
        "## Parts with a forward pass",
        docstring(ModulePart).whole("Attributes"),
        "### What a part may say of itself",
        table(("attribute", "default", "what it says"), _shared_attributes()),
        table(("fact", "what it is", "given by"), _facts()),
        *contract.methods(ModulePart, "###"),
    )


def _where(kind: str) -> str:
    record = KINDS[kind]
    if record.section:
        return f"`{record.section}.{key_of(kind)}`" + (", a list" if record.many else "")
    return "inside " + ", ".join(dict.fromkeys(holder for holder, _ in holders(kind)))


def holders(kind: str) -> Iterator[tuple[str, str]]:
    """The parts that hold parts of a kind, each with the option that does."""
    for entry in registry().entries():
        for option, nested in entry.signature.parts.items():
            if nested.kind == kind:
                yield f"[{entry.kind} {entry.name}]({entry.kind}.md#{entry.name})", option


def _shared_attributes() -> Iterator[tuple[str, str, str]]:
    for each in contract.attributes_of(ModulePart):
        default = "`{1, 2, 3}`" if each.name == "axes" else "none"
        yield f"`{each.name}`", default, each.said or docstring(ModulePart).sections["Attributes"][each.name]


def _facts() -> Iterator[tuple[str, str, str]]:
    for fact, words in WORDS.items():
        givers = [f"[{kind}]({kind}.md)" for kind, facts in GIVEN_BY.items() if fact in facts]
        yield f"`{fact}`", words, ", ".join(givers) or "the way down to a coarser patch"


def kind_page(kind: str, *, costs: bool = True) -> str:
    """All that authors and users of a kind's parts want to know."""
    record, base, entries = KINDS[kind], base_of(kind), registry().entries(kind)
    said = docstring(base)
    return page(
        f"# {kind}",
        said.whole("Attributes"),
        "\n".join(_facts_of(kind, record)),
        *_in_a_recipe(kind, record),
        "## Contract",
        f"The base class is {_reference(record)}.",
        *_letters(base),
        *_supplied(record),
        *contract.methods(base, "###"),
        *_of_itself(kind, base),
        *_values(base),
        f"[The laws]({_laws_page(kind)}) say what else its parts keep: `zoo.testing` tries them.",
        "## Parts",
        *(block for entry in entries for block in _part(entry)),
        *(_costs(kind, entries) if costs else ()),
    )


def _reference(record: Kind) -> str:
    """The base class, with a link to where the reference has it."""
    module, _, name = record.base.partition(":")
    page = f"api/{module.removeprefix('zoo.')}.md"
    shown = f"`{module}.{name}`"
    return f"[{shown}](../{page}#{module}.{name})" if (ROOT / "docs" / page).is_file() else shown


def _facts_of(kind: str, record: Kind) -> Iterator[str]:
    yield f"- In a recipe: {_where(kind)}"
    yield f"- Default: {f'[{record.default}](#{record.default})' if record.default else _defaults(record)}"
    if record.section:
        yield f"- Instances: {docstring(ENUMERATORS[record.per]).first.lower()}"
    else:
        yield "- Instances: one for each place in the parts that hold it."


def _defaults(record: Kind) -> str:
    if record.defaults:
        return ", ".join(f"[{name}](#{name})" for name in record.defaults)
    return "none: a recipe says which" if record.section else "that of the option that holds it"


def _in_a_recipe(kind: str, record: Kind) -> Iterator[str]:
    yield "## In a recipe"
    yield code(example(kind), "yaml")
    if record.short:
        yield f"A number in its place, or a list of them, is the option `{record.short}` of the part."
    if kind in BESIDE:
        yield "In a list of parts, this may stand beside `type`:"
        yield table(HEADS, model_rows(BESIDE[kind]))
    if not record.section:
        rows = [(holder, f"`{option}`") for holder, option in holders(kind)]
        yield table(("held by", "under"), rows)


def _letters(base: type) -> Iterator[str]:
    """What the module of the base class says of letters and of conventions, behind its first line."""
    _, *more = docstring(inspect.getmodule(base)).text.split("\n\n")
    yield from more


def _supplied(record: Kind) -> Iterator[str]:
    if not record.supplied:
        yield "The constructor takes options alone, as keywords."
        return
    said = docstring(Site).sections["Attributes"] | {"latent": docstring(Site.latent.fget).text.lower()}
    yield "zoo supplies these to the constructor, which may ask for any of them by name; options are keywords alone:"
    yield table(("argument", "what it is"), [(f"`{name}`", said[name]) for name in record.supplied])


def _of_itself(kind: str, base: type) -> Iterator[str]:
    """What a part may say of itself in attributes, with what zoo takes."""
    shared = SHARED if issubclass(base, ModulePart) else ()
    own = {each.name: each for each in contract.attributes_of(base) if each.name not in shared}
    rows = [
        (f"`{name}`", f"`{each.default}`", each.said, can_be(kind, name) or f"`{_plain_type(each.type)}`")
        for name, each in own.items()
    ]
    taken = [name for name in shared if can_be(kind, name) and (name != "gives" or kind in GIVEN_BY)]
    rows += [_shared(kind, base, name) for name in taken]
    if rows:
        yield "### What a part may say of itself"
        yield table(("attribute", "default", "what it says", "what it can be"), rows)


def _shared(kind: str, base: type, name: str) -> tuple[str, str, str, str]:
    said, default = docstring(ModulePart).sections["Attributes"][name], getattr(base, name)
    shown = ", ".join(f"`{each}`" for each in sorted(default)) or "none"
    return f"[`{name}`](index.md#what-a-part-may-say-of-itself)", shown, said, can_be(kind, name)


def can_be(kind: str, name: str) -> str:
    """What zoo takes as an attribute, in the words of what it tells who has set another; empty where it takes any."""
    wrong = type("Wrong", (), {name: _Nonsense()})
    for mistake in mistakes(wrong, kind):
        words = mistake.split("; ", 1)[1].removeprefix("let it be ")
        if name == "gives" and kind in GIVEN_BY:
            return "a set of " + ", ".join(f"`{fact}`" for fact in sorted(GIVEN_BY[kind]))
        return escaped(words)
    return ""


def _plain_type(annotation: str) -> str:
    return annotation.removeprefix("ClassVar[").removesuffix("]") if annotation.startswith("ClassVar[") else annotation


class _Nonsense:
    """No value of any attribute."""

    def __repr__(self) -> str:
        return "?"  # like no word that there is


def _values(base: type) -> Iterator[str]:
    found = {cls: kind_of_base(cls) for cls in contract.passed_by(base)}
    if found:
        yield "### What passes"
    yield "\n".join(f"- `{cls.__name__}`: see [{kind}]({kind}.md)" for cls, kind in found.items() if kind)
    for cls, kind in found.items():
        if not kind:
            yield from contract.value(cls, "####")


def _laws_page(kind: str) -> str:
    own = set(laws_of(kind)) - set(LAWS)
    return f"../laws/{kind}.md" if own else "../laws/forward.md"


def _part(entry: PartEntry) -> Iterator[str]:
    yield f"### {entry.name}"
    yield _whose(entry)
    yield docstring(inspect.getdoc(entry.cls) or "").whole("Options", "Attributes")
    yield options_table(entry) or "It has no options."


def _whose(entry: PartEntry) -> str:
    file = Path(inspect.getsourcefile(entry.cls) or "").resolve()
    package = entry.plugin.name.removeprefix("diffusion-")
    whose = "built in" if package == "zoo" else f"of [{package}](../packages/{package}.md)"
    version = f", version {entry.version}" if entry.version > 1 else ""
    module = SOURCES.match(file.relative_to(ROOT).as_posix()) if file.is_relative_to(ROOT) else None
    where = f" in `{module[0]}`" if module else ""  # of an installed copy
    return f"*{whose[:1].upper()}{whose[1:]}{version}*: `{entry.cls.__qualname__}`{where}"


def _costs(kind: str, entries: tuple[PartEntry, ...]) -> Iterator[str]:
    record = KINDS[kind]
    if not (record.has_forward or kind == "patch_schedule"):
        return
    yield "## Cost"
    base = as_it_is(BASES[0])
    yield (
        "The part with its default options in place of the one there, in the first recipe of B size that it goes with;"
        f" `{base.base}` as it is has {base.parameters / 1e6:.2f} M parameters, and {base.macs / 1e9:.3f} G"
        " multiply-adds in the mean over uniform noise levels. A `-` is a part that goes into none of them by itself."
    )
    yield cost_table(entries)
