"""Compiles `.proto` files: `python -m laneway.contract.compile protos --only shop --out services/contracts/src`.

Runs protoc (from grpcio-tools) with its Python and stub generators and, for contracts, our plugin.
"""

import argparse
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from google.api import annotations_pb2

from laneway.errors import ConfigurationError


def compile_protos(root: Path, only: str, out: Path, *, plugin: bool = True) -> list[Path]:
    """Compile the files below `root/only` into `out`; returns the sources.

    Raises:
        ConfigurationError: protoc or the plugin refused a file; the text is theirs, with place and line.
    """
    sources = sorted((root / only).rglob("*.proto"))
    if not sources:
        raise ConfigurationError(f"No .proto file below {root / only}; name the folder that holds your contracts.")
    out.mkdir(parents=True, exist_ok=True)
    plugin_path = Path(sys.executable).with_name("protoc-gen-laneway")
    with TemporaryDirectory() as extra:
        arguments = [
            *(f"--proto_path={path}" for path in _include(root, Path(extra))),
            f"--python_out={out}",
            f"--pyi_out={out}",
            *([f"--plugin=protoc-gen-laneway={plugin_path}", f"--laneway_out={out}"] if plugin else []),
            *map(str, sources),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ConfigurationError(f"The contract does not compile:\n{done.stderr.strip()}")
    return sources


def _include(root: Path, extra: Path) -> list[Path]:
    google = Path(annotations_pb2.__file__).parents[1]
    # googleapis-common-protos ships operations.proto under another name than its descriptor's
    operations = extra / "google" / "longrunning" / "operations.proto"
    operations.parent.mkdir(parents=True)
    shutil.copyfile(google / "longrunning" / "operations_proto.proto", operations)
    return [root, extra, Path(str(files("grpc_tools") / "_proto")), google.parent]


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
