"""Compiles `.proto` files: `python -m laneway.contract.compile protos --only shop --out services/contracts/src`.

Runs protoc (from grpcio-tools) with its Python and stub generators and, for contracts, our plugin.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from buf.validate import validate_pb2
from laneway.errors import ConfigurationError
from laneway.v1 import call_pb2

GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_laneway.py")
"""What is made of contracts, and nothing else is called."""


def compile_protos(root: Path, only: str, out: Path, *, plugin: bool = True) -> list[Path]:
    """Compile the files below `root/only` into `out`; returns the sources.

    What was generated below `out/only` and no contract makes any more is removed. Without `only` nothing is: the folder
    may hold code that others generate.

    Raises:
        ConfigurationError: protoc or the plugin refused a file; the text is theirs, with place and line.
    """
    sources = _sources(root / only)
    plugin_path = Path(sys.executable).with_name("protoc-gen-laneway")
    with TemporaryDirectory() as made:
        generators = [f"--plugin=protoc-gen-laneway={plugin_path}", f"--laneway_out={made}"] if plugin else []
        _protoc(root, sources, f"--python_out={made}", f"--pyi_out={made}", *generators)
        shutil.copytree(made, out, dirs_exist_ok=True)
        if only:
            for stale in generated(out / only) - generated(Path(made) / only):
                (out / only / stale).unlink()
    return sources


def generated(folder: Path) -> set[Path]:
    """What lies below a folder and has the name of generated code, relative to it."""
    return {file.relative_to(folder) for pattern in GENERATED for file in folder.rglob(pattern)}


def described(root: Path) -> tuple[FileDescriptorSet, set[str]]:
    """The descriptors of the files below a folder and of what they import, with their places; and the files' names.

    Raises:
        ConfigurationError: there is none, or protoc refused one; the text is its own, with place and line.
    """
    sources = _sources(root)
    with TemporaryDirectory() as folder:
        written = Path(folder) / "descriptors.pb"
        _protoc(root, sources, f"--descriptor_set_out={written}", "--include_imports", "--include_source_info")
        files = FileDescriptorSet.FromString(written.read_bytes())
    return files, {source.relative_to(root).as_posix() for source in sources}


def _sources(folder: Path) -> list[Path]:
    sources = sorted(folder.rglob("*.proto"))
    if not sources:
        raise ConfigurationError(f"No .proto file below {folder}; name the folder that holds your contracts.")
    return sources


def _protoc(root: Path, sources: Iterable[Path], *outputs: str) -> None:
    with TemporaryDirectory() as extra:
        include = includes(root, Path(extra))
        done = subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", *include, *outputs, *map(str, sources)],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ConfigurationError(f"The contract does not compile:\n{done.stderr.strip()}")


def includes(root: Path, extra: Path) -> list[str]:
    """protoc's arguments for what a contract may import; `extra` is an empty folder, for as long as protoc runs."""
    google = Path(annotations_pb2.__file__).parents[1]
    # googleapis-common-protos ships operations.proto under another name than its descriptor's
    operations = extra / "google" / "longrunning" / "operations.proto"
    operations.parent.mkdir(parents=True)
    shutil.copyfile(google / "longrunning" / "operations_proto.proto", operations)
    # A contract needs no copy of the vocabulary, nor of buf.validate; one that is in the folders comes first.
    vocabularies = extra / "vocabularies.binpb"
    known = FileDescriptorSet()
    for file in (validate_pb2, call_pb2):
        file.DESCRIPTOR.CopyToProto(known.file.add())
    vocabularies.write_bytes(known.SerializeToString())
    folders = [root, extra, Path(str(files("grpc_tools") / "_proto")), google.parent]
    return [*(f"--proto_path={folder}" for folder in folders), f"--descriptor_set_in={vocabularies}"]


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--only", default="", help="folder below ROOT to compile")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--no-plugin", action="store_true", help="messages only")
    given = parser.parse_args()
    try:
        compile_protos(given.root, given.only, given.out, plugin=not given.no_plugin)
    except ConfigurationError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
