"""The command line: what each command takes, and its help."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .. import __version__
from .._bench import DEFAULT_BATCHES, DEFAULT_PATTERNS, DTYPES
from . import _arguments

if TYPE_CHECKING:
    from typing import TypeAlias

    Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

DESCRIPTION = """\
Prune the weights of a model on the CPU, and store what is left as a bit mask plus
the non-zero values."""

EPILOG = """\
examples:
  prunepack prune model.safetensors small.safetensors --sparsity 0.75
  prunepack prune model.safetensors small.safetensors --nm 3:4
  prunepack prune model.safetensors small.safetensors --block 4x1 --sparsity 50%
  prunepack inspect small.safetensors
  prunepack unpack small.safetensors dense.safetensors
  prunepack bench 4096x11008
  prunepack demo

In N:M, N counts the zeros: 3:4 keeps one weight of four and is 75 % sparse.
Files are .safetensors or .npz, by their names. IN and OUT may be the same file: the
old one is replaced only when the new one is complete.

exit status: 0 done, 1 failed (or verify found a broken pattern), 2 wrong usage."""

RAW = argparse.RawDescriptionHelpFormatter


class UsageError(Exception):
    """The command line does not say a thing that can be done."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises its complaint, so that main prints one line."""

    def error(self, message: str) -> NoReturn:
        """Raise `message`, with a pointer to the help of the command it is about."""
        told = message.removeprefix("argument ").replace(": must", " must", 1)
        msg = f"{told} (see {self.prog} --help)"
        raise UsageError(msg)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line.

    Returns
    -------
    argparse.ArgumentParser
        Its results always have ``command``; given one, also ``json``, ``quiet`` and ``debug``.
        The rest depends on the command.
    """
    parser = Parser(
        prog="prunepack",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RAW,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"prunepack {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", parser_class=Parser, title="commands"
    )
    _add_prune(commands)
    _add_pack(commands)
    _add_unpack(commands)
    _add_inspect(commands)
    _add_verify(commands)
    _add_bench(commands)
    _add_demo(commands)
    return parser


def _add_prune(commands: Commands) -> None:
    parser = _command(
        commands,
        "prune",
        "zero the smallest weights and pack what is left",
        "Zero the smallest weights of a model file and pack what is left. Only weights are\n"
        "pruned: tensors of rank 2 or more with at least 2,048 elements. Everything else is\n"
        "passed through bit for bit. Packed tensors in IN are unpacked, pruned and packed again.",
    )
    _add_in_out(parser)
    _add_pattern(parser)
    _add_selection(parser)
    _add_packing(parser)
    parser.add_argument(
        "--format",
        choices=("packed", "dense"),
        default="packed",
        help="how OUT stores the pruned tensors: packed (default), or dense with zeros",
    )
    _add_common(parser)


def _add_pack(commands: Commands) -> None:
    parser = _command(
        commands,
        "pack",
        "pack the zeros that a model already has",
        "Pack the tensors of a model file that are sparse already. No weight changes, except\n"
        "that -0.0 counts as zero. A tensor that packing would not shrink stays dense.",
    )
    _add_in_out(parser)
    _add_selection(parser)
    _add_packing(parser)
    _add_common(parser)


def _add_unpack(commands: Commands) -> None:
    parser = _command(
        commands,
        "unpack",
        "turn packed tensors back into dense ones",
        "Write a model file whose tensors are all dense, for programs that know nothing of\n"
        "packed ones. Pruned weights are +0.0.",
    )
    _add_in_out(parser)
    _add_common(parser)


def _add_inspect(commands: Commands) -> None:
    parser = _command(
        commands,
        "inspect",
        "show each tensor: shape, dtype, sparsity, pattern, size",
        "Show the tensors of a file, with the pattern that their zeros follow. In N:M, N counts\n"
        "the zeros: 3:4 is 75 % sparse. The ratio is the dense size over the stored size.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the file to look at")
    _add_common(parser, quiet=False)


def _add_verify(commands: Commands) -> None:
    parser = _command(
        commands,
        "verify",
        "check that tensors follow a pattern",
        "Check that the weights of a file follow a pattern. Each tensor that does not is named,\n"
        "with its first broken group, and the exit status is 1.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the file to check")
    _add_pattern(parser)
    _add_selection(parser)
    _add_common(parser, threads=False)


def _add_bench(commands: Commands) -> None:
    parser = _command(
        commands,
        "bench",
        "time linear layers of your shapes here, dense and packed",
        "Time linear layers on this machine: dense, as prunepack, NumPy and torch (if it is\n"
        "installed) compute them, and packed. The weights are random numbers, pruned each way.\n"
        "Contestants take turns; what is printed are medians.",
    )
    parser.add_argument(
        "shapes",
        metavar="SHAPE",
        nargs="+",
        type=_arguments.matrix_shape,
        help="OUTxIN, the outputs and inputs of a layer, such as 4096x11008",
    )
    parser.add_argument(
        "--dtype",
        choices=tuple(DTYPES),
        default="float32",
        help="the dtype of the weights (float32); bfloat16 and int8 take such activations, too",
    )
    parser.add_argument(
        "--batch",
        metavar="B,B",
        type=_arguments.batches,
        default=DEFAULT_BATCHES,
        help=f"rows of activations ({','.join(map(str, DEFAULT_BATCHES))})",
    )
    parser.add_argument(
        "--patterns",
        metavar="P,P",
        type=_arguments.patterns,
        default=DEFAULT_PATTERNS,
        help=f"what to prune ({','.join(DEFAULT_PATTERNS).replace('%', '%%')});"
        " 16x1@75%% is blocks of 16 outputs by 1 input",
    )
    _add_common(parser)


def _add_demo(commands: Commands) -> None:
    parser = _command(
        commands,
        "demo",
        "make a small model, prune it several ways, check and compare",
        "Make a small checkpoint shaped like a transformer, prune it several ways, pack, unpack,\n"
        "and check each weight against plain NumPy. Downloads nothing; takes a few seconds.",
    )
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, help="write the files to DIR and leave them there"
    )
    _add_common(parser)


def _command(commands: Commands, name: str, summary: str, description: str) -> Parser:
    return commands.add_parser(
        name, help=summary, description=description, formatter_class=RAW, allow_abbrev=False
    )


def _add_in_out(parser: Parser) -> None:
    parser.add_argument(
        "source", metavar="IN", type=Path, help="the model file: .safetensors or .npz"
    )
    parser.add_argument(
        "target", metavar="OUT", type=Path, help="the file to write: .safetensors or .npz"
    )


def _add_pattern(parser: Parser) -> None:
    group = parser.add_argument_group("pattern (one of --sparsity, --nm, --block, --threshold)")
    group.add_argument(
        "--sparsity",
        metavar="S",
        type=_arguments.sparsity,
        help="the share of weights to zero, such as 0.75 or 75%%",
    )
    group.add_argument(
        "--nm",
        metavar="N:M",
        type=_arguments.zeros_of,
        help="N zeros in every M weights: 3:4 is 75 %% sparse",
    )
    group.add_argument(
        "--block",
        metavar="RxC",
        type=_arguments.tile,
        help="zero whole tiles, with --sparsity: 4x1 is 4 output channels, 1x* a row",
    )
    group.add_argument(
        "--threshold",
        metavar="T",
        type=_arguments.threshold,
        help="zero every weight whose magnitude is at most T",
    )
    group.add_argument(
        "--scope",
        choices=("tensor", "row"),
        help="compare weights over the whole tensor (default) or within each row of axis 0",
    )
    group.add_argument("--norm", choices=("l1", "l2", "max"), help="how --block ranks tiles (l2)")
    group.add_argument(
        "--axis",
        metavar="A",
        type=_arguments.count,
        help="the axis along which --nm groups weights (1, the input channels)",
    )


def _add_selection(parser: Parser) -> None:
    group = parser.add_argument_group("which tensors")
    group.add_argument(
        "--include",
        metavar="GLOB",
        action="append",
        default=[],
        help="only tensors whose names match, such as '*.mlp.*'; may be repeated",
    )
    group.add_argument(
        "--exclude",
        metavar="GLOB",
        action="append",
        default=[],
        help="not the tensors whose names match; may be repeated",
    )
    group.add_argument(
        "--min-size",
        metavar="N",
        type=_arguments.count,
        default=2048,
        help="only tensors of at least N elements (2048)",
    )
    group.add_argument(
        "--min-rank",
        metavar="R",
        type=_arguments.count,
        default=2,
        help="only tensors of at least R dimensions (2)",
    )


def _add_packing(parser: Parser) -> None:
    parser.add_argument(
        "--even-if-larger",
        action="store_true",
        help="pack tensors that packing does not shrink, too",
    )


def _add_common(parser: Parser, *, quiet: bool = True, threads: bool = True) -> None:
    group = parser.add_argument_group("common")
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    if quiet:
        group.add_argument("--quiet", action="store_true", help="print nothing but errors")
    if threads:
        group.add_argument(
            "--num-threads",
            metavar="N",
            type=_arguments.positive,
            help="how many threads to use (all cores this process may use)",
        )
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(quiet=False)
