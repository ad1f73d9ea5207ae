"""As quebras de propósito ainda se aplicam às peças de hoje (rodá-las é `quebras.py`)."""

import pecas
import pytest
import quebras

TAUGHT = {chapter: pecas.taught(path) for chapter, path in pecas.notebooks().items()}


@pytest.mark.parametrize("quebra", quebras.BREAKS, ids=lambda q: q.what)
def test_a_quebra_ainda_se_aplica(quebra):
    definition = TAUGHT[quebra.chapter][quebra.name]
    broken = definition.source.replace(quebra.old, quebra.new)
    assert broken != definition.source, f"{quebra.name} já não tem {quebra.old!r}"
    compile(broken, quebra.name, "exec")


def test_ha_quebras_de_todos_os_assuntos():
    assert len(quebras.BREAKS) >= 120
    assert len({q.tests for q in quebras.BREAKS}) >= 10
    assert len({q.what for q in quebras.BREAKS}) == len(quebras.BREAKS)
