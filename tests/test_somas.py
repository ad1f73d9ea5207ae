"""As somas dos cadernos, e o que acontece quando um arquivo muda."""

import nbformat
import pytest
import somas
from nbformat.v4 import new_code_cell, new_notebook

OLD = "0" * 64


def test_as_somas_dos_cadernos_estao_em_dia():
    assert somas.check() == []


@pytest.fixture
def course(tmp_path):
    """Um curso de mentira: um arquivo e um caderno que diz a soma dele."""

    def write(source: str):
        folder = tmp_path / "02-texto"
        folder.mkdir(exist_ok=True)
        (folder / "dados.jsonl").write_text("pão\n", encoding="utf-8")
        nbformat.write(new_notebook(cells=[new_code_cell(source)]), folder / "notebook.ipynb")
        return tmp_path

    return write


@pytest.mark.parametrize(
    "source", [f'SUMS = {{"02-texto/dados.jsonl": "{OLD}"}}',
               f'SUMS = {{\n    "02-texto/dados.jsonl": (\n        "{OLD}"),\n}}'],
)  # fmt: skip
def test_soma_velha_e_vista_e_carimbada(course, source):
    root = course(source)
    [said] = somas.check(root)
    assert "dados.jsonl mudou" in said
    assert somas.stamp(root) == ["02-texto"]
    assert somas.check(root) == [] and somas.stamp(root) == []


def test_constante_com_dono(course, monkeypatch):
    monkeypatch.setitem(somas.FILE_OF, "TOWN_SHA256", "02-texto/dados.jsonl")
    root = course(f'TOWN_SHA256 = "{OLD}"')
    assert len(somas.check(root)) == 1
    somas.stamp(root)
    assert somas.check(root) == []


@pytest.mark.parametrize(
    ("source", "says"),
    [(f'LOST_SHA256 = "{OLD}"', "não sei de que arquivo"),
     (f'SUMS = {{"02-texto/sumiu.jsonl": "{OLD}"}}', "não sei de que arquivo"),
     (f'course_file("02-texto/dados.jsonl", "{OLD}")', "está solta")],
)  # fmt: skip
def test_soma_sem_dono_e_vista(course, source, says):
    [said] = somas.check(course(source))
    assert says in said
