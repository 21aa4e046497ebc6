"""Artifacts: versioned, checksummed folders that are either whole or not there.

An artifact is a folder with ``manifest.json`` (kind, format version, configuration, metrics, parents' digests,
library versions, the sha256 of each file and of all this) beside ``*.safetensors``, ``*.parquet`` and ``*.json``
parts. There is no pickle anywhere. Locally it is written to a temporary sibling, fsynced and renamed
(`recgan.atomic`); on an object store (any fsspec URL) the parts go first and the manifest last, so that a reader never
sees half of one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recgan.atomic import atomic_folder, check_place
from recgan.errors import ArtifactError, StorageError
from recgan.remote import cached, caching, check_remote, download, is_remote, upload

__all__ = [
    "Artifact",
    "ArtifactWriter",
    "Manifest",
    "check_out",
    "json_digest",
    "open_artifact",
    "sha256_file",
    "write_artifact",
]

MANIFEST = "manifest.json"
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
    digest: str = ""
    """Of all the rest (`contents_digest`); empty in a manifest written before there was one."""

    def contents_digest(self) -> str:
        """Return the sha256 of what the manifest says, which covers every file of the artifact."""
        # As it will be read: what JSON does not tell apart counts alike.
        return json_digest(json.loads(self.model_dump_json(exclude={"digest"})))

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


class ArtifactWriter:
    """Writes the parts of one artifact into a folder; made by `write_artifact`."""

    def __init__(self, folder: Path, target: str) -> None:
        self.folder = folder
        self.target = target
        self.metrics: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}

    def tensors(self, part: str, tensors: Mapping[str, np.ndarray]) -> None:
        """Write named arrays as ``<part>.safetensors``."""
        path = self.path(f"{part}.safetensors")
        try:
            save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)
        except SafetensorError as error:  # it hides the operating system's error
            raise StorageError(
                f"cannot write '{path.name}' of '{self.target}': {error}; free some space or choose another --out"
            ) from error

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
    url, remote = str(target), is_remote(target)
    if remote:
        check_out(url, overwrite=overwrite)
    with (
        tempfile.TemporaryDirectory()
        if remote
        else atomic_folder(url.removeprefix("file://"), overwrite=overwrite) as folder
    ):
        folder = Path(folder)
        writer = ArtifactWriter(folder, url)
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
        manifest.digest = manifest.contents_digest()
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if remote:
            upload(folder, url, list(files), MANIFEST)


def check_out(target: str | Path, *, overwrite: bool = False) -> None:
    """Refuse, before the work, a place to which `write_artifact` could not write after it.

    Raises:
        ArtifactError: there is an artifact already and ``overwrite`` is false.
        StorageError: it cannot be written.
        SettingsError: no file system of the URL's kind is installed.
    """
    if is_remote(target):
        check_remote(str(target), MANIFEST, overwrite=overwrite)
    else:
        check_place(str(target).removeprefix("file://"), overwrite=overwrite)


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
        """The artifact's identity: `Manifest.contents_digest`."""
        return self.manifest.contents_digest()

    def tensors(self, part: str) -> dict[str, np.ndarray]:
        """Return the arrays of ``<part>.safetensors``."""
        with self._readable(part):
            return load_file(self.path(f"{part}.safetensors"))

    def mapped(self, part: str) -> dict[str, np.ndarray]:
        """Return the arrays of ``<part>.safetensors``, mapped into memory from the file: they are read when they are
        looked at, and all processes of a machine share them. What is written to one is this process's own."""
        from safetensors import safe_open  # it maps the file for torch alone; for numpy it copies

        with self._readable(part), safe_open(self.path(f"{part}.safetensors"), framework="pt") as file:
            return {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 (it is no mapping)

    @contextmanager
    def _readable(self, part: str) -> Iterator[None]:
        try:
            yield
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
    """Open an artifact of one kind and check it. Of a remote one (fsspec URL) the manifest is fetched, and the rest
    where this machine has no copy of it yet (`recgan.remote.cached`); a copy is always checked.

    Raises:
        ArtifactError: not an artifact, of another kind or format version, incomplete, or damaged.
        StorageError: there is no room for a copy.
    """
    url = str(source)
    folder = _fetch(url) if is_remote(url) else Path(url.removeprefix("file://"))
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
    return artifact.verify() if verify and not is_remote(url) else artifact


def _read_manifest(folder: Path, source: str) -> Manifest:
    damaged = f"'{source}': {MANIFEST} is damaged; copy the artifact again or make it anew"
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise ArtifactError(damaged) from error
    if manifest.digest and manifest.digest != manifest.contents_digest():
        raise ArtifactError(damaged)
    return manifest


def _fetch(url: str) -> Path:
    """Return this machine's copy of a remote artifact, whole; it is named by the digest, so that all processes share
    it, also when the artifact lies elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        download(url, [MANIFEST], Path(folder))
        if not (Path(folder) / MANIFEST).is_file():
            raise ArtifactError(f"'{url}' holds no {MANIFEST}: it is not an artifact, or was not finished")
        manifest = _read_manifest(Path(folder), url)
    copy = cached(manifest.contents_digest())
    if _is_whole(copy, manifest):
        return copy
    with caching(copy):
        if not _is_whole(copy, manifest):  # another process may have been quicker
            shutil.rmtree(copy, ignore_errors=True)  # the place is for copies alone
            with atomic_folder(copy, overwrite=True) as building:
                download(url, [*manifest.files, MANIFEST], building)
                Artifact(building, manifest, url).verify()
    return copy


def _is_whole(copy: Path, manifest: Manifest) -> bool:
    try:
        Artifact(copy, manifest, str(copy)).verify()
    except ArtifactError:  # it is not there yet, or what keeps it has changed it: it is fetched (again)
        return False
    return (copy / MANIFEST).is_file()
