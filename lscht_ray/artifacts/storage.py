"""A folder that every node of a sweep can reach: a path, or a URI that pyarrow knows (s3://, gs://, file://)."""

import shutil
from pathlib import Path

from pyarrow import fs

from lscht_ray.errors import InputError
from lscht_ray.host import disk
from lscht_ray.host.files import replacing


class Storage:
    """Copies files and folders to and from a place in a file system of pyarrow.

    A single file is there whole or not at all, whoever reads it just then and whenever the process is killed: object
    stores have it so, and in a folder of this machine the file gets its name once it is whole.

    Args:
        root: A folder, or a URI such as s3://bucket/folder.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        try:
            self.filesystem, self.base = fs.FileSystem.from_uri(self.root)
        except (OSError, ValueError) as error:
            raise InputError(f"storage_path {root} can't be used: {error}") from None

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine's file system."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def put(self, source: Path, name: str) -> None:
        """Copy a file, or a folder's content, to ``name`` below the root; an empty name is the root itself."""
        target = f"{self.base}/{name}".rstrip("/")
        self.filesystem.create_dir(target if source.is_dir() else target.rsplit("/", 1)[0])
        if self.is_local and source.is_file():
            with replacing(Path(target)) as temporary:
                shutil.copyfile(source, temporary)
        else:
            fs.copy_files(str(source), target, fs.LocalFileSystem(), self.filesystem)

    def get(self, name: str, target: Path) -> None:
        """Copy the content of the folder ``name`` below the root to a local folder."""
        target.mkdir(parents=True, exist_ok=True)
        fs.copy_files(f"{self.base}/{name}", str(target), self.filesystem, fs.LocalFileSystem())

    def get_file(self, name: str, target: Path) -> None:
        """Copy the file ``name`` below the root to a local one."""
        fs.copy_files(f"{self.base}/{name}", str(target), self.filesystem, fs.LocalFileSystem())

    def fetched(self, name: str, folder: Path) -> Path:
        """Return the folder ``name`` as a local one: itself where the storage is local, else a copy in ``folder``."""
        if self.is_local:
            return Path(self.base) / name
        target = folder / name.rpartition("/")[2]
        self.get(name, target)
        return target

    def read_text(self, name: str) -> str | None:
        """Return the text of a small file; None where there is no such file."""
        try:
            with self.filesystem.open_input_file(f"{self.base}/{name}") as file:
                return bytes(file.read()).decode()
        except FileNotFoundError:
            return None

    def write_text(self, name: str, text: str) -> None:
        """Write a small file."""
        target = f"{self.base}/{name}"
        self.filesystem.create_dir(target.rsplit("/", 1)[0])
        if self.is_local:
            with replacing(Path(target)) as temporary:
                temporary.write_bytes(text.encode())
        else:
            with self.filesystem.open_output_stream(target) as file:
                file.write(text.encode())

    def check_room(self, needed: int) -> None:
        """Check that that many bytes fit; a storage that is no local folder is taken to have room.

        Raises:
            OSError: They do not fit.
        """
        if self.is_local:
            disk.check_room(Path(self.base), needed)

    def files(self, name: str) -> list[str]:
        """Return the names of the files in the folder ``name``; none where it does not exist."""
        selector = fs.FileSelector(f"{self.base}/{name}", allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector) if info.is_file)

    def delete_file(self, name: str) -> None:
        """Remove the file ``name``."""
        self.filesystem.delete_file(f"{self.base}/{name}")

    def folders(self, name: str) -> list[str]:
        """Return the names of the folders in the folder ``name``; none where it does not exist."""
        selector = fs.FileSelector(f"{self.base}/{name}", allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector) if not info.is_file)

    def delete(self, name: str) -> None:
        """Remove the folder ``name``."""
        self.filesystem.delete_dir(f"{self.base}/{name}")
