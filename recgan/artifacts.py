"""Artifacts: versioned, checksummed folders that are either whole or not there.

An artifact is a folder with ``manifest.json`` (kind, format version, configuration, metrics, parents' digests,
library versions, the sha256 of each file) beside ``*.safetensors``, ``*.parquet`` and ``*.json`` parts. There is no
pickle anywhere. Locally it is written to a temporary sibling, fsynced and renamed; on an object store (any fsspec
URL) the parts go first and the manifest last, so that a reader never sees half of one.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Self

import fsspec
import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recgan.errors import ArtifactError, RecganError, StorageError

__all__ = [
    "Artifact",
    "ArtifactWriter",
    "Manifest",
    "atomic_folder",
    "json_digest",
    "open_artifact",
    "sha256_file",
    "write_artifact",
]

MANIFEST = "manifest.json"
_UMASK = os.umask(0o022)  # it can only be read by setting it
os.umask(_UMASK)
_LIBRARIES = ("recgan", "torch", "torchvision", "numpy", "pandas", "pyarrow", "safetensors")


class Manifest(BaseModel):
    """What ``manifest.json`` holds."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    format_version: int
    name: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    parents: dict[str, str]
    facts: dict[str, Any]
    libraries: dict[str, str]
    files: dict[str, str]

    @field_validator("files")
    @classmethod
    def _inside_the_folder(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"'{name}' lies outside the artifact")
        return files


def sha256_file(path: str | Path) -> str:
    """Return the hexadecimal sha256 of a file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """Return the hexadecimal sha256 of a JSON-able value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_folder(target: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling folder that becomes ``target`` when the block ends without an error.

    On any error, Ctrl-C included, the temporary folder is removed and ``target`` is left as it was.

    Raises:
        ArtifactError: ``target`` exists already and ``overwrite`` is false.
        StorageError: the disk is full or the place cannot be written.
    """
    target = Path(target)
    building: Path | None = None
    try:
        if target.exists() and not overwrite:  # asking fails too where the name is too long
            raise ArtifactError(f"'{target}' exists already; choose another --out or pass --overwrite")
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{target.name}.building-", dir=target.parent))
        yield building
        for path in [*sorted(building.rglob("*")), building]:
            if path.is_dir() or path.stat().st_nlink == 1:  # a hard link is another folder's file too
                # Temporary folders and safetensors files are made for their owner alone; a service may be another user.
                os.chmod(path, (0o777 if path.is_dir() else 0o666) & ~_UMASK)
            _fsync(path)
        if target.exists():
            retired = target.with_name(f".{target.name}.replaced-{uuid.uuid4().hex}")
            os.rename(target, retired)
            try:
                os.rename(building, target)
            except BaseException:
                os.rename(retired, target)
                raise
            shutil.rmtree(retired, ignore_errors=True)
        else:
            os.rename(building, target)
        _fsync(target.parent)
    except BaseException as error:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, RecganError):
            mend = {errno.ENOSPC: "free some space", errno.EACCES: "choose a place you may write"}
            hint = mend.get(error.errno or 0, "check the place and try again")
            raise StorageError(
                f"cannot write '{target}': {error.strerror or error}; {hint}. Nothing was changed"
            ) from error
        raise


class ArtifactWriter:
    """Writes the parts of one artifact into a folder; made by `write_artifact`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}

    def tensors(self, part: str, tensors: Mapping[str, np.ndarray]) -> None:
        """Write named arrays as ``<part>.safetensors``."""
        path = self.path(f"{part}.safetensors")
        try:
            save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)
        except SafetensorError as error:  # it hides the operating system's error
            raise StorageError(f"cannot write '{path.name}': {error}; free some space and try again") from error

    def table(self, part: str, frame: pd.DataFrame) -> None:
        """Write a table as ``<part>.parquet`` (zstd)."""
        frame.to_parquet(self.path(f"{part}.parquet"), index=False, compression="zstd")

    def json(self, part: str, value: Any) -> None:
        """Write a JSON-able value as ``<part>.json``."""
        self.path(f"{part}.json").write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def path(self, name: str) -> Path:
        """Return the path at which the part called ``name`` (with its ending) may be written by other means."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@contextmanager
def write_artifact(
    target: str | Path,
    *,
    kind: str,
    format_version: int,
    name: str,
    config: Mapping[str, Any],
    parents: Mapping[str, str],
    overwrite: bool = False,
) -> Iterator[ArtifactWriter]:
    """Write an artifact atomically; ``target`` is a local path or an fsspec URL.

    Yields an `ArtifactWriter`; its ``metrics`` and ``facts`` may be filled until the block ends.
    """
    url = str(target)
    remote = "://" in url and not url.startswith("file://")
    if remote and not overwrite:
        _refuse_existing(url)
    with (
        tempfile.TemporaryDirectory()
        if remote
        else atomic_folder(url.removeprefix("file://"), overwrite=overwrite) as folder
    ):
        folder = Path(folder)
        writer = ArtifactWriter(folder)
        yield writer
        files = {str(p.relative_to(folder)): sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
        manifest = Manifest(
            kind=kind,
            format_version=format_version,
            name=name,
            config=dict(config),
            metrics=writer.metrics,
            parents=dict(parents),
            facts=writer.facts,
            libraries=_library_versions(),
            files=files,
        )
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if remote:
            _upload(folder, url, list(files))


def _refuse_existing(url: str) -> None:
    store, root = fsspec.core.url_to_fs(url)
    if store.exists(f"{root}/{MANIFEST}"):
        raise ArtifactError(f"'{url}' exists already; choose another --out or pass --overwrite")


def _upload(folder: Path, url: str, parts: list[str]) -> None:
    store, root = fsspec.core.url_to_fs(url)
    try:
        if store.exists(f"{root}/{MANIFEST}"):
            store.rm(f"{root}/{MANIFEST}")
        for part in [*parts, MANIFEST]:
            store.makedirs(f"{root}/{part}".rsplit("/", 1)[0], exist_ok=True)
            store.put_file(str(folder / part), f"{root}/{part}")
    except OSError as error:
        raise StorageError(
            f"cannot write '{url}': {error}; the manifest was not written, so nothing half-done is readable"
        ) from error


def _library_versions() -> dict[str, str]:
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


class Artifact:
    """An opened artifact: its manifest, its parts by name and its digest."""

    def __init__(self, folder: Path, manifest: Manifest, source: str) -> None:
        self.folder = folder
        self.manifest = manifest
        self.source = source

    @property
    def digest(self) -> str:
        """The artifact's identity: the sha256 of its manifest's contents, which cover every file."""
        return json_digest(self.manifest.model_dump(mode="json"))

    def tensors(self, part: str) -> dict[str, np.ndarray]:
        """Return the arrays of ``<part>.safetensors``."""
        try:
            return load_file(self.path(f"{part}.safetensors"))
        except SafetensorError as error:
            raise ArtifactError(
                f"'{self.source}': part '{part}' is damaged ({error}); make the artifact again"
            ) from error

    def table(self, part: str) -> pd.DataFrame:
        """Return the table ``<part>.parquet``."""
        return pd.read_parquet(self.path(f"{part}.parquet"))

    def json(self, part: str) -> Any:
        """Return the value of ``<part>.json``."""
        return json.loads(self.path(f"{part}.json").read_text(encoding="utf-8"))

    def path(self, name: str) -> Path:
        """Return the local path of a part listed in the manifest."""
        if name not in self.manifest.files:
            raise ArtifactError(
                f"'{self.source}' has no part '{name}'; it was written by another version: make it again"
            )
        return self.folder / name

    def verify(self) -> Self:
        """Check every file against its sha256.

        Raises:
            ArtifactError: a file is missing or its bytes have changed.
        """
        for name, expected in self.manifest.files.items():
            path = self.folder / name
            if not path.is_file():
                raise ArtifactError(
                    f"'{self.source}': part '{name}' is missing; copy the artifact again or make it anew"
                )
            if sha256_file(path) != expected:
                raise ArtifactError(
                    f"'{self.source}': part '{name}' does not match its checksum (damaged or edited); "
                    "copy the artifact again or make it anew"
                )
        return self


def open_artifact(source: str | Path, kind: str, *, format_version: int, verify: bool = True) -> Artifact:
    """Open an artifact of one kind and check it; a remote one (fsspec URL) is fetched to a local folder first.

    Raises:
        ArtifactError: not an artifact, of another kind or format version, incomplete, or damaged.
    """
    url = str(source)
    folder = _fetch(url) if "://" in url and not url.startswith("file://") else Path(url.removeprefix("file://"))
    if not (folder / MANIFEST).is_file():
        what = (
            "does not exist"
            if not folder.exists()
            else f"holds no {MANIFEST}: it is not an artifact, or was not finished"
        )
        raise ArtifactError(f"'{url}' {what}; give the folder that a recgan verb wrote with --out")
    manifest = _read_manifest(folder, url)
    if manifest.kind != kind:
        raise ArtifactError(f"'{url}' is a {manifest.kind}, not a {kind}; give the folder of a {kind}")
    if manifest.format_version != format_version:
        raise ArtifactError(
            f"'{url}' has {kind} format {manifest.format_version}, this recgan reads {format_version}; make it anew"
        )
    artifact = Artifact(folder, manifest, url)
    return artifact.verify() if verify else artifact


def _read_manifest(folder: Path, source: str) -> Manifest:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise ArtifactError(f"'{source}': {MANIFEST} is damaged; copy the artifact again or make it anew") from error


def _fetch(url: str) -> Path:
    """Copy a remote artifact into a local folder that lives as long as the process."""
    store, root = fsspec.core.url_to_fs(url)
    folder = Path(tempfile.mkdtemp(prefix="recgan-artifact-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        if not store.exists(f"{root}/{MANIFEST}"):
            raise ArtifactError(f"'{url}' holds no {MANIFEST}: it is not an artifact, or was not finished")
        store.get_file(f"{root}/{MANIFEST}", str(folder / MANIFEST))
        for part in _read_manifest(folder, url).files:
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            if store.exists(f"{root}/{part}"):
                store.get_file(f"{root}/{part}", str(folder / part))
    except OSError as error:
        raise ArtifactError(f"'{url}' cannot be fetched: {error}; try again") from error
    return folder
