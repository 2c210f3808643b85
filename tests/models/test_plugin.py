"""A provider from another package, found by its entry point."""

from __future__ import annotations

import sys
import types

from evalkit.model import Model
from evalkit.models import load, wrap
from evalkit.models.fake import FakeBackend
from evalkit.protocols import BackendTraits
from evalkit.types import Requirements


async def test_a_plug_in_gets_the_whole_spec(tmp_path, monkeypatch):
    def make(spec):
        backend = FakeBackend(
            lambda request: f"{spec.extra['greeting']} {request.max_tokens}", name=spec.display
        )
        backend.traits = BackendTraits(defaults=dict(spec.generation))
        return backend

    package = tmp_path / "other_package-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[evalkit.models]\nmine = other_package_module:make\n")
    module = types.ModuleType("other_package_module")
    module.make = make
    monkeypatch.setitem(sys.modules, "other_package_module", module)
    monkeypatch.syspath_prepend(tmp_path)

    backend = load("mine:x?max_tokens=7&extra.greeting=hello")
    assert (await backend.probe(Requirements())).info.identity["model"] == "mine:x"
    model = Model(wrap(backend), adapter=backend)
    assert (await model.generate("?")).text == "hello 7"
