"""YAML to a tree with origins: YAML 1.2 scalars, and refusal of what no recipe needs."""

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import RecipeError
from zoo.recipe.source import MAX_BYTES, MAX_DEPTH, Origin, node_of, parse_yaml, read_yaml, show, shown_path

# Without digits: PyYAML's own writer leaves "1e5" and "0o10" without quotes, which YAML 1.2 reads as numbers.
TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Nd"]), max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXT, below, max_size=4),
    max_leaves=12,
)


def problems(text: str, *, line_numbers: bool = True) -> tuple[str, ...]:
    with pytest.raises(RecipeError) as caught:
        parse_yaml(text, "r.yaml", line_numbers=line_numbers)
    return caught.value.problems


@given(PLAIN)
def test_reads_back_what_yaml_dump_wrote(value):
    assert parse_yaml(yaml.safe_dump(value, allow_unicode=True), "r.yaml").plain() == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.25", -0.25),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("+7", 7),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("True", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("2024-01-01", "2024-01-01"),
        ("null", None),
        ("~", None),
        ("", None),
        ("# a comment alone", None),
        ("-.inf", -math.inf),
        ("inf", "inf"),
        ("1e400", math.inf),
        ("9" * 5000, math.inf),
        ('"8"', "8"),
        ("'null'", "null"),
        ("=", "="),
        ("|\n  a\n  b", "a\nb"),
        ("[1, [two, 3.0], {four: 5}]", [1, ["two", 3.0], {"four": 5}]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    got = parse_yaml(text, "r.yaml").plain()
    assert got == value
    assert type(got) is type(value)


def test_nan_is_read():
    assert math.isnan(parse_yaml(".nan", "r.yaml").plain())


def test_every_value_remembers_its_line():
    tree = parse_yaml("a: 1\nb:\n  - x\n  - c: 2\n    d:\n      {e: 3}\n", "r.yaml")
    lines = {path: tree.origin_of(path).line for path in [("a",), ("b",), ("b", 0), ("b", 1, "c"), ("b", 1, "d", "e")]}
    assert lines == {("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 1, "c"): 4, ("b", 1, "d", "e"): 6}
    assert str(tree.origin_of(("b", 1, "c"))) == "r.yaml:4"


@pytest.mark.parametrize(
    ("path", "line"), [(("b", "missing"), 2), (("b", "c", "too deep"), 3), (("nowhere",), 1), (("b", 0), 2)]
)
def test_what_is_missing_is_blamed_on_what_is_above_it(path, line):
    assert parse_yaml("a: 1\nb:\n  c: 2\n", "r.yaml").origin_of(path).line == line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", ["r.yaml:3: a: written twice, first on line 1; remove one"]),
        (
            "a:\n  b: 1\n  b: 2\nc: [{d: 1,\n d: 2}]",
            [
                "r.yaml:3: a.b: written twice, first on line 2; remove one",
                "r.yaml:5: c.0.d: written twice, first on line 4; remove one",
            ],
        ),
        (
            "a: &x [1]\nb: *x",
            ["r.yaml:2: aliases (*name) are not read in recipes; write the value out, or use `extends`"],
        ),
        ("a: &x {b: 1}\nc:\n  <<: *x", ["r.yaml:3: aliases (*name) are not read"]),
        ("a: !!python/object/apply:os.system [ls]", ["r.yaml:1: tags are not read in recipes; remove !!python/object"]),
        ("a: !!int 3", ["r.yaml:1: tags are not read in recipes; remove !!int"]),
        ("a: ! 3", ["r.yaml:1: tags are not read in recipes; remove !"]),
        ("a: !own {b: 1}", ["r.yaml:1: tags are not read in recipes; remove !own"]),
        ("a: 1\n---\nb: 2", ["r.yaml:2: a second YAML document; a recipe is one document"]),
        ("\n3: a", ["r.yaml:2: keys are words, not 3; put it in quotes if it is one"]),
        ("true: a", ["r.yaml:1: keys are words, not true; put it in quotes if it is one"]),
        ("~: a", ["r.yaml:1: keys are words, not null; put it in quotes if it is one"]),
        ("[a]: b", ["r.yaml:1: keys are words, not lists or mappings"]),
        ("? {a: b}\n: c", ["r.yaml:1: keys are words, not lists or mappings"]),
        ("a:\n\tb: 1", ["r.yaml:2: not valid YAML: a tab; indent with spaces"]),
        ("a: b: c", ["r.yaml:1: not valid YAML: a ':' where none can stand; put text with ': ' in it in quotes"]),
        ("a:1\nb: 2", ["r.yaml:2: not valid YAML: a ':' where none can stand"]),
        ("a: {b", ["r.yaml:1: not valid YAML: '{' is not closed, or a comma is missing"]),
        ("a: [1, 2\nb: 3", ["r.yaml:2: not valid YAML: '[' of line 1 is not closed, or a comma is missing"]),
        ("a: [", ["r.yaml:1: not valid YAML: '[' or '{' is not closed"]),
        ('a: "b', ["r.yaml:1: not valid YAML: a quote is not closed"]),
        ("a: 'it's'", ["r.yaml:1: not valid YAML: text behind a closed quote; put all of it in quotes"]),
        ("a:\n  b: 1\n c: 2", ["r.yaml:3: not valid YAML: begins in another column than the lines above it"]),
        ("a: @x", ["r.yaml:1: not valid YAML: '@' begins no value; put it in quotes"]),
        ("a: |\n x\ny", ["r.yaml:3: not valid YAML: neither 'key: value' nor text that goes on"]),
        ("a: 1]\nb: ]", ["r.yaml:2: not valid YAML: while parsing a block node expected the node content"]),
        ("%YAML 9.0\n---\na", ["r.yaml:1: not valid YAML: found incompatible YAML document"]),
        ("a: 1\nb: \x07", ["r.yaml:2: not valid YAML: character U+0007 is not allowed; remove it"]),
        ("a: \x00", ["r.yaml:1: not valid YAML: character U+0000 is not allowed; remove it"]),
        (r'a: "\ud800"', ["r.yaml:1: half of a surrogate pair is no character; write the character itself"]),
    ],
)
def test_refuses_what_no_recipe_needs(text, expected):
    got = problems(text)
    assert len(got) == len(expected)
    for line, start in zip(got, expected, strict=True):
        assert line.startswith(start)


def test_text_from_the_shell_has_no_lines():
    assert problems("{a: 1, a: 2}", line_numbers=False) == ("r.yaml: a: written twice; remove one",)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 100_000,
        "a: " + "{b: " * 50_000,
        "- " * 100_000 + "a",
        "? " * 100_000 + "a",
        "{? " * 60_000,
        "\n".join(" " * depth + "a:" for depth in range(600)),
        "[" + "a," * 120_000 + "]",
        "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    ],
    ids=["flow lists", "flow mappings", "block lists", "keys", "flow keys", "block mappings", "long", "alias bomb"],
)
def test_refuses_nesting_and_bombs(text):
    reason = "nested deeper than|keys are words|more than 20000 YAML events|aliases"
    with pytest.raises(RecipeError, match=reason):
        parse_yaml(text, "r.yaml")


def test_nesting_up_to_the_limit_is_read():
    value = parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, "r.yaml").plain()
    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert value == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: " + b"x" * 10_000_000, f"larger than {MAX_BYTES // 1024} KiB; a recipe is a short text"),
        (bytes(range(32, 256)), "not UTF-8 text (byte 96); is this a recipe?"),
        ("a: 1".encode("utf-16"), "not UTF-8 text (byte 0); is this a recipe?"),
    ],
)
def test_refuses_files_that_are_no_text(data, message):
    Path("r.yaml").write_bytes(data)
    with pytest.raises(RecipeError) as caught:
        read_yaml(Path("r.yaml"))
    assert str(caught.value).startswith(f"r.yaml: {message}")


def test_refuses_a_folder_and_a_missing_file(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)
    with pytest.raises(RecipeError, match="cannot be read: No such file or directory"):
        read_yaml(tmp_path / "r.yaml")


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfa: 1\n", b"a: 1\r\n", b"%YAML 1.2\n---\na: 1\n...\n"])
def test_reads_byte_order_mark_and_other_line_ends(tmp_path, data):
    path = tmp_path / "r.yaml"
    path.write_bytes(data)
    assert read_yaml(path).plain() == {"a": 1}


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_random_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_bytes(data)
    try:
        problems = read_yaml(path) and ()
    except RecipeError as error:
        problems = error.problems
    assert all(line.startswith(str(path)) and line.isprintable() for line in problems)


@given(PLAIN)
def test_plain_values_make_a_tree_and_back(value):
    assert node_of(value, Origin("values")).plain() == value


def test_plain_values_are_plain():
    with pytest.raises(RecipeError, match="values: recipes hold plain values, not complex"):
        node_of({"a": [1j]}, Origin("values"))


def test_paths_below_the_working_folder_are_shown_relative_to_it(tmp_path):
    assert shown_path(tmp_path / "sub" / "r.yaml") == str(Path("sub", "r.yaml"))
    assert shown_path(Path("sub/../r.yaml")) == "r.yaml"
    assert shown_path(tmp_path.parent / "r.yaml") == str(tmp_path.parent / "r.yaml")
    assert shown_path(Path("../r.yaml")) == "../r.yaml"


def test_long_values_are_shown_in_part():
    assert show("x" * 100) == '"' + "x" * 56 + "..."
    assert show({"a": [True, None, "é"]}) == '{"a": [true, null, "é"]}'
