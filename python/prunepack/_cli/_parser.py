"""The command line: what each command takes, and its help."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__
from .._bench import DEFAULT_BATCHES, DEFAULT_PATTERNS, DTYPES
from . import _arguments
from ._output import writing_output

if TYPE_CHECKING:
    from typing import TypeAlias

    from _typeshed import SupportsWrite

    Commands: TypeAlias = "argparse._SubParsersAction[CommandParser]"

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

  prunepack prune MODEL-FOLDER SMALLER-FOLDER --target-size 3GB

In N:M, N counts the zeros: 3:4 keeps one weight of four and is 75 % sparse.
IN and OUT are .safetensors or .npz files, or the folders of Hugging Face models, whose
other files go along. OUT takes its place when it is complete, and IN stays as it is.

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

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Print help or version; argparse itself would say nothing if it could not."""
        with writing_output():
            (file or sys.stdout).write(message)


class CommandParser(Parser):
    """The parser of one command, which complains itself of what it does not know."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse all of `args`: nobody else knows the rest."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown


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
        dest="command", metavar="COMMAND", parser_class=CommandParser, title="commands"
    )
    _add_prune(commands)
    _add_pack(commands)
    _add_unpack(commands)
    _add_mask(commands)
    _add_apply(commands)
    _add_inspect(commands)
    _add_verify(commands)
    _add_report(commands)
    _add_bench(commands)
    _add_demo(commands)
    return parser


def _add_prune(commands: Commands) -> None:
    parser = _command(
        commands,
        "prune",
        "zero the smallest weights and pack what is left",
        "Zero the smallest weights of a model and pack what is left. Only weights are pruned:\n"
        "tensors of rank 2 or more with at least 2,048 elements, but no embeddings, output\n"
        "heads (lm_head), norms or biases unless --all or a rule says so. Everything else is\n"
        "passed through bit for bit. Packed tensors in IN are unpacked, pruned and packed again.",
    )
    _add_in_out(parser)
    _add_pattern(parser)
    parser.add_argument(
        "--target-size",
        metavar="SIZE",
        type=_arguments.size,
        help="prune as little as makes OUT no larger than, say, 3GB or 900MiB",
    )
    _add_selection(parser)
    _add_all(parser)
    _add_packing(parser, "packed", "dense", "sparse-bitmask", "sparse-24-bitmask")
    _add_common(parser)


def _add_pack(commands: Commands) -> None:
    parser = _command(
        commands,
        "pack",
        "pack the zeros that a model already has",
        "Pack the tensors of a model that are sparse already. No weight changes, except\n"
        "that -0.0 counts as zero. A tensor that packing would not shrink stays dense.",
    )
    _add_in_out(parser)
    _add_selection(parser)
    _add_packing(parser, "packed", "sparse-bitmask", "sparse-24-bitmask")
    _add_common(parser)


def _add_unpack(commands: Commands) -> None:
    parser = _command(
        commands,
        "unpack",
        "turn packed tensors back into dense ones",
        "Write a model whose tensors are all dense, for programs that know nothing of packed\n"
        "ones: of prunepack or compressed-tensors. Pruned weights are +0.0.",
    )
    _add_in_out(parser)
    _add_common(parser)


def _add_mask(commands: Commands) -> None:
    parser = _command(
        commands,
        "mask",
        "write only which weights would be kept, one bit each",
        "Decide which weights of a model are kept, as prune does, and write that alone: one bit\n"
        "a weight. apply prunes another model of the same shapes with it.",
    )
    parser.add_argument(
        "source", metavar="IN", type=Path, help="a .safetensors or .npz file, or a model's folder"
    )
    parser.add_argument(
        "target", metavar="OUT", type=Path, help="the file to write: .safetensors or .npz"
    )
    _add_pattern(parser)
    _add_selection(parser)
    _add_all(parser)
    _add_common(parser)


def _add_apply(commands: Commands) -> None:
    parser = _command(
        commands,
        "apply",
        "prune a model with masks made of another one",
        "Prune a model with the masks of another one of the same shapes: after fine-tuning or\n"
        "merging an adapter has filled what was zero. Tensors without a mask pass through.",
    )
    parser.add_argument(
        "masks", metavar="MASKS", type=Path, help="what mask wrote, or a model with packed tensors"
    )
    _add_in_out(parser)
    _add_packing(parser, "packed", "dense", "sparse-bitmask", "sparse-24-bitmask")
    _add_common(parser)


def _add_inspect(commands: Commands) -> None:
    parser = _command(
        commands,
        "inspect",
        "show each tensor: shape, dtype, sparsity, pattern, size",
        "Show the tensors of a model, with the pattern that their zeros follow. In N:M, N counts\n"
        "the zeros: 3:4 is 75 % sparse. The ratio is the dense size over the stored size.",
    )
    parser.add_argument("file", metavar="IN", type=Path, help="the file or folder to look at")
    _add_common(parser)


def _add_verify(commands: Commands) -> None:
    parser = _command(
        commands,
        "verify",
        "check that tensors follow a pattern",
        "Check that the weights of a model follow a pattern, or each its rule. Each tensor that\n"
        "does not is named, with its first broken group, and the exit status is 1.",
    )
    parser.add_argument("file", metavar="IN", type=Path, help="the file or folder to check")
    _add_pattern(parser)
    _add_selection(parser)
    _add_all(parser)
    _add_common(parser)


def _add_report(commands: Commands) -> None:
    parser = _command(
        commands,
        "report",
        "write a page that shows a model: sizes, zeros, magnitudes",
        "Write one HTML page, to be opened in a browser, that shows a model: sizes before and\n"
        "after, the sparsity of every layer, how the magnitudes of the largest tensors are\n"
        "distributed and where the cut is. Needs matplotlib: pip install matplotlib.",
    )
    parser.add_argument(
        "file", metavar="IN", type=Path, help="a .safetensors or .npz file, or a model's folder"
    )
    parser.add_argument("target", metavar="OUT.html", type=Path, help="the page to write")
    parser.add_argument(
        "--before", metavar="ORIG", type=Path, help="the model that IN was made from"
    )
    parser.add_argument(
        "--run",
        metavar="FILE",
        type=Path,
        help="what prune --json printed, for how long each tensor took",
    )
    _add_common(parser)


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
        "source", metavar="IN", type=Path, help="a .safetensors or .npz file, or a model's folder"
    )
    parser.add_argument(
        "target", metavar="OUT", type=Path, nargs="?", help="the file or folder to write"
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "--in-place", action="store_true", help="replace IN, in one step, when all is done"
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="write nothing; show every tensor, what would become of it, and its size",
    )
    group.add_argument(
        "--max-shard-size",
        metavar="SIZE",
        type=_arguments.size,
        help="write a folder with new shards of at most, say, 5GB (those of IN)",
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the folder OUT even if it holds other files beside a model",
    )


def _add_pattern(parser: Parser) -> None:
    group = parser.add_argument_group(
        "pattern (one of --sparsity, --nm, --block, --threshold, or --rules)"
    )
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
        choices=("tensor", "row", "model"),
        help="compare weights over the whole tensor (default), within each row of axis 0, or"
        " over all tensors of the model together",
    )
    group.add_argument(
        "--normalize",
        choices=("l2",),
        help="with --scope model: compare weights divided by the L2 norm of their tensor",
    )
    group.add_argument(
        "--min-sparsity",
        metavar="S",
        type=_arguments.sparsity,
        help="with --scope model: the least that each tensor loses",
    )
    group.add_argument(
        "--max-sparsity",
        metavar="S",
        type=_arguments.sparsity,
        help="with --scope model: the most that each tensor loses",
    )
    group.add_argument(
        "--rules",
        metavar="FILE",
        type=Path,
        help="a TOML file that says which tensors get which pattern; the first match decides",
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


def _add_all(parser: Parser) -> None:
    parser.add_argument(
        "--all",
        action="store_true",
        help="embeddings, output heads and whatever else is a weight by size and rank, too",
    )


def _add_packing(parser: Parser, *formats: str) -> None:
    group = parser.add_argument_group("format")
    group.add_argument(
        "--format",
        choices=formats,
        default="packed",
        help="how OUT stores tensors: packed (default); dense, with zeros; or as"
        " compressed-tensors did, which config.json then says",
    )
    group.add_argument(
        "--dialect",
        choices=("0.9", "0.3"),
        default="0.9",
        help="which compressed-tensors wrote sparse-bitmask so: from 0.9.0 (default) or 0.3 on",
    )
    group.add_argument(
        "--even-if-larger",
        action="store_true",
        help="pack tensors that packing does not shrink, too",
    )


def _add_common(parser: Parser) -> None:
    group = parser.add_argument_group("common")
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    group.add_argument("--quiet", action="store_true", help="print nothing but errors")
    group.add_argument(
        "-v", "--verbose", action="store_true", help="tell on standard error what is being done"
    )
    group.add_argument(
        "--num-threads",
        metavar="N",
        type=_arguments.threads,
        help="how many threads to use (all cores this process may use)",
    )
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
