"""A checkout's tenants: where their file is, and the files that are written from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchctl.errors import BatchctlError
from batchctl.tenants import catalogue, document, parameters, pipeline, samconfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from batchctl.tenants.catalogue import Tenant
    from batchctl.tenants.document import Document
    from batchctl.tenants.parameters import Parameters


@dataclass(frozen=True, slots=True)
class Project:
    """The files of a checkout that have to do with tenants."""

    root: Path

    @property
    def file(self) -> Path:
        """Where the tenants are written down."""
        return self.root / "tenants" / "tenants.yaml"

    def read(self) -> Document:
        """Read the tenants' file; what it says is not looked at yet."""
        return document.read(self.file)

    def tenants(self, read: Document) -> tuple[Tenant, ...]:
        """Return the tenants of a document. Raises InvalidFileError with all that is wrong."""
        return catalogue.load(read, self.file.with_name("tenants.schema.json"), self.parameters())

    def parameters(self) -> Parameters:
        """Return what the template takes. Raises BatchctlError when there is no template."""
        return parameters.read_parameters(self.root / "template.yaml")

    def change(self, text: str) -> tuple[Tenant, ...]:
        """Replace the tenants' file, unless the new one would not hold.

        Raises InvalidFileError with all that would be wrong; the file is then as it was.
        """
        tenants = self.tenants(document.parse(self.file, text))
        write(self.file, text)
        return tenants

    def rendered(self, tenants: Sequence[Tenant]) -> dict[Path, str]:
        """Return the files that are written from the tenants."""
        template = self.root / "pipeline.yaml"
        try:
            written = template.read_text(encoding="utf-8")
        except OSError as error:
            raise BatchctlError(f"{template} cannot be read: {error.strerror}.") from error
        return {
            self.root / "samconfig.toml": samconfig.render(tenants),
            template: pipeline.render(written, tenants),
        }

    def stale(self, tenants: Sequence[Tenant]) -> list[Path]:
        """Return the files that are not as they would be written."""
        return [
            file
            for file, text in self.rendered(tenants).items()
            if not file.exists() or file.read_text(encoding="utf-8") != text
        ]


def write(file: Path, text: str) -> None:
    """Replace a file whole. Raises BatchctlError when that cannot be done."""
    beside = file.with_name(f"{file.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise BatchctlError(f"{file} cannot be written: {error.strerror}.") from error
