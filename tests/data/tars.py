"""Tar files of samples."""

import io
import tarfile
from pathlib import Path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """A tar file of members, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def samples(folder: Path, names: list[str], classes: str) -> dict[str, bytes]:
    """Pictures of a folder with their class folders' places in ``classes``, a ``.cls`` each."""
    return {
        member: content
        for name in names
        for member, content in (
            (name, (folder / name).read_bytes()),
            (str(Path(name).with_suffix(".cls")), str(classes.index(name[0])).encode()),
        )
    }
