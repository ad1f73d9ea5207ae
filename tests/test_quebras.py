"""As quebras de propósito ainda se aplicam às peças de hoje (rodá-las é `quebras.py`)."""

import pecas
import pytest
import quebras


@pytest.mark.parametrize("quebra", quebras.BREAKS, ids=lambda q: q.what)
def test_a_quebra_ainda_se_aplica(quebra):
    definition = pecas.taught(pecas.notebooks()[quebra.chapter])[quebra.name]
    broken = definition.source.replace(quebra.old, quebra.new)
    assert broken != definition.source, f"{quebra.name} já não tem {quebra.old!r}"
    compile(broken, quebra.name, "exec")


def test_ha_quebras_de_todos_os_assuntos():
    assert len(quebras.BREAKS) >= 40
    assert len({q.tests for q in quebras.BREAKS}) >= 7
    assert len({q.what for q in quebras.BREAKS}) == len(quebras.BREAKS)
