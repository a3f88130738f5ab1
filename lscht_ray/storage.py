"""A folder that every node of a sweep can reach: a path, or a URI that pyarrow knows (s3://, gs://, file://)."""

from pathlib import Path

from pyarrow import fs

from lscht_ray.errors import InputError


class Storage:
    """Copies files and folders to and from a place on a file system of pyarrow's."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        try:
            self.filesystem, self.base = fs.FileSystem.from_uri(self.root)
        except (OSError, ValueError) as error:
            raise InputError(f"storage_path {root} can't be used: {error}") from None

    def put(self, source: Path, name: str) -> None:
        """Copy a file or a folder's content to ``name`` below the root, or to the root itself."""
        target = f"{self.base}/{name}".rstrip("/")
        self.filesystem.create_dir(target if source.is_dir() else target.rsplit("/", 1)[0])
        fs.copy_files(str(source), target, fs.LocalFileSystem(), self.filesystem)

    def get(self, name: str, target: Path) -> None:
        """Copy the content of the folder ``name`` below the root to a local folder."""
        target.mkdir(parents=True, exist_ok=True)
        fs.copy_files(f"{self.base}/{name}", str(target), self.filesystem, fs.LocalFileSystem())

    def folders(self, name: str) -> list[str]:
        """The names of the folders in the folder ``name``; none where it does not exist."""
        selector = fs.FileSelector(f"{self.base}/{name}", allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector) if not info.is_file)

    def delete(self, name: str) -> None:
        """Remove the folder ``name``."""
        self.filesystem.delete_dir(f"{self.base}/{name}")
