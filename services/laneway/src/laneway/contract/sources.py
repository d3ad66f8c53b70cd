"""A contract as it was written: its descriptors, and the place and the comments of each element of it.

Read from a folder of `.proto` files, from a git revision of one, or from a descriptor set.
"""

import io
import subprocess
import tarfile
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from laneway.contract.compile import described
from laneway.contract.elements import elements
from laneway.contract.findings import Finding, Place, Placed
from laneway.contract.model import Method, declared
from laneway.errors import ConfigurationError

_OTHERS = ("google/", "buf/")
"""Files of a descriptor set that are nobody's contract."""


class Source:
    """The contracts of some files, with those that they import.

    Raises:
        ConfigurationError: a file imports one that is not there.
    """

    def __init__(self, files: FileDescriptorSet, *, own: Collection[str], folder: str = "") -> None:
        self._pool = DescriptorPool()
        self._folder = Path(folder)
        self._protos = {proto.name: proto for proto in files.file}
        for proto in files.file:
            self._pool.Add(proto)
        self.files = tuple(self._file(name) for name in self._protos if name in own)

    @cached_property
    def messages(self) -> Mapping[str, Descriptor]:
        """The messages of these files by full name, nested ones and the entries of maps included."""
        found: dict[str, Descriptor] = {}
        waiting = [message for file in self.files for message in file.message_types_by_name.values()]
        while waiting:
            message = waiting.pop()
            found[message.full_name] = message
            waiting += message.nested_types
        return found

    @cached_property
    def enums(self) -> Mapping[str, EnumDescriptor]:
        """The enums of these files by full name, nested ones included."""
        top = (enum for file in self.files for enum in file.enum_types_by_name.values())
        nested = (enum for message in self.messages.values() for enum in message.enum_types)
        return {enum.full_name: enum for enum in (*top, *nested)}

    @cached_property
    def services(self) -> Mapping[str, ServiceDescriptor]:
        """The services of these files by full name."""
        return {service.full_name: service for file in self.files for service in file.services_by_name.values()}

    @cached_property
    def methods(self) -> Mapping[str, Method]:
        """The methods of these files by full name, unchecked."""
        return {method.full_name: declared(method) for each in self.services.values() for method in each.methods}

    def method(self, name: str) -> Method | None:
        """A method by its full name, also of an imported file; None where there is none."""
        if name in self.methods:
            return self.methods[name]
        try:
            return declared(self._pool.FindMethodByName(name))
        except KeyError:
            return None

    def comments(self) -> Iterator[tuple[str, str]]:
        """Each comment of these files, with the full name of what it stands before, or beside."""
        for file in self.files:
            names = dict(elements(self._protos[file.name]))
            for location in self._protos[file.name].source_code_info.location:
                name = names.get(tuple(location.path))
                if name is not None:
                    texts = (*location.leading_detached_comments, location.leading_comments, location.trailing_comments)
                    yield from ((name, text) for text in texts if text)

    def placed(self, finding: Finding) -> Placed:
        """A finding with the place of its element; what is not here (any more) is placed by what held it."""
        name = finding.element
        while name and name not in self._places:
            name = name.rpartition(".")[0]
        return Placed(finding, self._places.get(name) or Place(finding.element))

    @cached_property
    def _places(self) -> dict[str, Place]:
        places: dict[str, Place] = {}
        for file in self.files:
            proto = self._protos[file.name]
            shown = str(self._folder / file.name)
            lines = {tuple(location.path): location.span for location in proto.source_code_info.location}
            places.setdefault(proto.package, Place(shown, 1 if lines else None))
            places[file.name] = Place(shown, 1 if lines else None)
            for path, name in elements(proto):
                if path in lines:
                    line, column = lines[path][:2]
                    places[name] = Place(shown, line + 1, column + 1)
                elif not lines:  # where there are places, what has none was not written: the entry of a map
                    places[name] = Place(shown)
        return places

    def _file(self, name: str) -> FileDescriptor:
        try:
            return self._pool.FindFileByName(name)
        except (KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{name} cannot be read: {error}. A descriptor set holds what its files import: build it with "
                "`protoc --include_imports`, or with `buf build`."
            ) from None


def written(path: Path) -> Source:
    """The contracts of a folder, or of a descriptor set.

    Raises:
        ConfigurationError: it is neither, or one of them cannot be read.
    """
    return descriptor_set(path) if path.is_file() else folder(path)


def folder(root: Path) -> Source:
    """The contracts below a folder, which is where their imports begin.

    Raises:
        ConfigurationError: there is none, or one does not compile.
    """
    if not root.is_dir():
        raise ConfigurationError(f"There is no folder {root}; name the one that holds your .proto files.")
    files, own = described(root)
    return Source(files, own=own, folder=str(root))


def descriptor_set(file: Path) -> Source:
    """The contracts of a descriptor set, as `protoc --include_imports --include_source_info` or `buf build` write it.

    Raises:
        ConfigurationError: it is none, or it is not complete.
    """
    try:
        files = FileDescriptorSet.FromString(file.read_bytes())
    except (OSError, DecodeError) as error:
        raise ConfigurationError(
            f"{file} is no descriptor set ({error}); write one with protoc or `buf build`."
        ) from None
    own = {proto.name for proto in files.file if not proto.name.startswith(_OTHERS)}
    return Source(files, own=own)


def revision(name: str, root: Path) -> Source:
    """The contracts that a folder held at a git revision (`main`, `v1.2`), or that `<revision>:<folder>` holds.

    Raises:
        ConfigurationError: there is no such revision, or it has no such folder, or it does not compile.
    """
    tree = _line(_git(root, "rev-parse", "--verify", name if ":" in name else f"{name}:./", named=name))
    top = _line(_git(root, "rev-parse", "--show-toplevel", named=name))  # below it, git archives only a part of a tree
    archive = _git(Path(top), "archive", "--format=tar", tree, named=name)
    with TemporaryDirectory(prefix="laneway-revision-") as extracted:
        try:
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
                tar.extractall(extracted)  # noqa: S202 git wrote it
        except tarfile.TarError as error:
            raise ConfigurationError(f"{name} cannot be read: {error}.") from None
        files, own = described(Path(extracted))
    return Source(files, own=own, folder=f"{name}:")


def read(text: str, *, beside: Path) -> Source:
    """What is named on a command line: a folder, a descriptor set, or a git revision of the folder `beside`.

    Raises:
        ConfigurationError: it is nothing of these.
    """
    if Path(text).exists():
        return written(Path(text))
    if text.startswith("-"):
        raise ConfigurationError(f"{text} is no folder, no file and no git revision.")
    return revision(text, beside)


def _git(root: Path, *arguments: str, named: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    except OSError as error:
        raise ConfigurationError(f"git cannot be run ({error}); name a folder or a descriptor set.") from None
    if done.returncode:
        why = " ".join(done.stderr.decode(errors="replace").split())
        raise ConfigurationError(
            f"{named} is no folder, no file, and no git revision that has {root}: {why}. What a clone does not have is "
            "fetched first: `git fetch --depth=1 origin main`, and it is FETCH_HEAD."
        )
    return done.stdout


def _line(output: bytes) -> str:
    return output.decode().strip()
