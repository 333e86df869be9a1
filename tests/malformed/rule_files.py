"""Files of rules that say what cannot be."""

from __future__ import annotations

PATTERN_KEYS = (
    "sparsity, scope, normalize, min_sparsity, max_sparsity, nm, axis, block, norm, threshold"
)
DIGITS = "9" * 5_000
SKIP = "[[rule]]\nthen = 'skip'\n"

_BROKEN = {
    "no value": ("x = ", "must be TOML: …"),
    "not TOML at all": ("{}", "must be TOML: …"),
    "key twice": (
        "nm = '2:4'\nnm = '2:4'",
        "must be TOML: …",
    ),
    "arrays nested deeply": (
        "nm = " + "[" * 100_000,
        "must nest a few levels, nests too deeply",
    ),
    "tables nested deeply": (
        "a = " + "{a = " * 100_000,
        "must nest a few levels, nests too deeply",
    ),
    "key of ten thousand parts": (
        "a" + ".a" * 10_000 + " = 1",
        "a line must have at most 32 dots outside of strings, one has more",
    ),
    "table of ten thousand parts": (
        "[a" + ".a" * 10_000 + "]",
        "a line must have at most 32 dots outside of strings, one has more",
    ),
    "thousands of digits": (
        f"sparsity = {DIGITS}",
        "must be TOML: Exceeds the limit …",
    ),
    "rule a number": ("rule = 3", "rule: must be tables, each headed [[rule]], got 3"),
    "rule a table": ("[rule]\nx = 1", "rule: must be tables, each headed [[rule]], got {'x': 1}"),
    "key nobody knows": ("speed = 3", f"speed: unknown; known are {PATTERN_KEYS}"),
    "long key nobody knows": (
        "k" * 10_000 + " = 3",
        f"'{'k' * 47}...{'k' * 48}': unknown; known are {PATTERN_KEYS}",
    ),
    "sparsity too large": ("sparsity = 2", "sparsity: must be from 0 to 1, got 2"),
    "sparsity not a number": ("sparsity = nan", "sparsity: must be from 0 to 1, got nan"),
    "sparsity a truth": ("sparsity = true", "sparsity: must be a number, got bool"),
    "sparsity a string": ("sparsity = 'half'", "sparsity: must be a number, got str"),
    "threshold infinite below": (
        "threshold = -inf",
        "threshold: value must not be negative or NaN, got -inf",
    ),
    "nm with more zeros than weights": (
        "nm = '5:4'",
        "nm: n counts the zeros of every m weights, so it must be from 0 to 4, got 5",
    ),
    "nm of nothing": ("nm = '3:0'", "nm: m must be at least 1, got 0"),
    "nm a number": ("nm = 34", "nm: must be a string, got int"),
    "nm of words": (
        "nm = 'many'",
        "nm: must be N:M, with N zeros in every M weights, such as 3:4, got 'many'",
    ),
    "nm of thousands of digits": (
        f"nm = '{DIGITS}:4'",
        (
            "nm: must be N:M, with N zeros in every M weights, such as 3:4,"
            f" got '{'9' * 47}...{'9' * 46}:4'"
        ),
    ),
    "block of nothing": (
        "block = '0x4'\nsparsity = 0.5",
        "block: must be the sides of a tile, such as 4x1, or 1x* for a row, got '0x4'",
    ),
    "nm of another sign": (
        "nm = '3-4'",
        "nm: must be N:M, with N zeros in every M weights, such as 3:4, got '3-4'",
    ),
    "nm and sparsity": ("nm = '3:4'\nsparsity = 0.5", "sparsity: does not go with nm"),
    "block without sparsity": ("block = '4x1'", "sparsity: must be given with block"),
    "scope without sparsity": ("scope = 'row'", "sparsity: must be given with scope"),
    "scope unknown": (
        "sparsity = 0.5\nscope = 'all'",
        "scope: must be 'tensor', 'row' or 'model', got 'all'",
    ),
    "two patterns": (
        "nm = '3:4'\nthreshold = 0.5",
        "nm: cannot be given together with threshold, each is a pattern of its own",
    ),
    "name of a number": (
        SKIP + "name = 3",
        "rule 1: name: must be a string or a list of strings, got 3",
    ),
    "regex that does not end": (
        SKIP + "regex = '('",
        "rule 1: regex: must be a regular expression, got '(': …",
    ),
    "regex of seconds": (
        SKIP + f"regex = '{'(a*)*' * 100_000}'",
        "rule 1: regex: must have at most 10000 characters, got 500000",
    ),
    "regex beyond counting": (
        SKIP + "regex = 'a{9999999999999}'",
        "rule 1: regex: must be a regular expression, got 'a{9999999999999}': …",
    ),
    "regex nested deeply": (
        SKIP + f"regex = '{'(' * 4_000}{')' * 4_000}'",
        f"rule 1: regex: must nest a few levels, '{'(' * 47}...{')' * 48}' nests too deeply",
    ),
    "shape of words": (
        SKIP + "shape = ['x']",
        "rule 1: shape: must be a list of integers and '*', got ['x']",
    ),
    "rank a truth": (SKIP + "min_rank = true", "rule 1: min_rank: must be an integer, got True"),
    "neither then nor a pattern": (
        "[[rule]]\nname = 'a'",
        "rule 1: must have either 'then' or a pattern, got name",
    ),
    "then and a pattern": (
        SKIP + "nm = '3:4'",
        "rule 1: must have either 'then' or a pattern, got then, nm",
    ),
    "condition nobody knows": (
        SKIP + "names = 'a'",
        (
            "rule 1: names: unknown; known are name, regex, dtype, shape, min_rank, max_rank,"
            f" min_size, max_size, then, {PATTERN_KEYS}"
        ),
    ),
    "then a number": ("[[rule]]\nthen = 3", "rule 1: then: must be 'skip' or 'keep dense', got 3"),
    "then unknown": (
        SKIP + "[[rule]]\nthen = 'drop'",
        "rule 2: then: must be a pattern, 'skip' or 'keep dense', got 'drop'",
    ),
}
RULES = {
    f"rules: {why}": (text.encode(), f"rules.toml: {message}")
    for why, (text, message) in _BROKEN.items()
} | {"rules: not UTF-8": (b"\xff", "rules.toml: must be UTF-8, byte 0 is not")}
