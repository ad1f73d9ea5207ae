"""Cadernos limpos, e cada regra da limpeza vista pegando o defeito que procura."""

import os
import subprocess
import sys

import cadernos
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = cadernos.ROOT
CHAPTER = "02-texto"


@pytest.mark.parametrize(
    "path", cadernos.notebooks(), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_caderno_limpo(path):
    assert cadernos.findings(path) == []


def test_ha_cadernos_para_conferir():
    found = {p.relative_to(ROOT).parts[0][:2] for p in cadernos.notebooks()}
    assert {"02", "04", "05"} <= found


def test_paginas_sem_palavras_de_rascunho():
    found = []
    for path in [ROOT / "README.md", *ROOT.glob("[0-9][0-9]-*/**/README.md")]:
        for match in cadernos.STUB.finditer(path.read_text(encoding="utf-8")):
            found.append(f"{path.relative_to(ROOT)}: {match[0]}")
    assert found == []


def test_ruff_nos_cadernos_e_nos_testes():
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_le_os_cadernos(tmp_path):
    """Um import que ninguém usa, plantado num caderno, é visto com as nossas regras."""
    nb = new_notebook(cells=[new_code_cell("import os\nx = 1")])
    nbformat.write(nb, tmp_path / "plantado.ipynb")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config"]
    done = subprocess.run(
        [*command, str(ROOT / "pyproject.toml"), str(tmp_path)],
        capture_output=True, encoding="utf-8", env=os.environ | {"NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 1 and "F401" in done.stdout


# --- os defeitos plantados -------------------------------------------------------------


def text_output(text):
    return new_output("stream", name="stdout", text=text)


def clean_notebook():
    """Um caderno pequeno e sem defeito."""
    own = f"{cadernos.enderecos.REPOSITORY}/blob/{cadernos.enderecos.BRANCH}"
    badge = (
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{own}/{CHAPTER}/notebook.ipynb)"
    )
    image = "![Três caixas em fila](https://example.com/caixas.png)"
    folded = {"cellView": "form", "jupyter": {"source_hidden": True}}
    checked = {"tags": ["nbval-check-output"]}
    failing = {"tags": ["raises-exception"]}
    error = new_output("error", ename="ZeroDivisionError", evalue="", traceback=["opa"])
    cells = [
        new_markdown_cell(f"# Título\n\n{badge}\n\n{image}"),
        new_code_cell("#@title Dobrada\nimport math", execution_count=1, metadata=folded),
        new_code_cell(
            "print(2)\nassert 2 > 1", execution_count=2, metadata=checked,
            outputs=[text_output("2\n")],
        ),
        new_markdown_cell("Uma frase. Todo método tem o seu preço: `TODO: nada`"),
        new_code_cell("1 / 0", execution_count=3, metadata=failing, outputs=[error]),
    ]  # fmt: skip
    meta = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "colab": {"provenance": [], "toc_visible": True}}  # fmt: skip
    return new_notebook(cells=cells, metadata=meta)


def check(nb, tmp_path) -> list[str]:
    path = tmp_path / CHAPTER / "notebook.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nb, path)
    return cadernos.findings(path, tmp_path)


def test_o_caderno_limpo_passa(tmp_path):
    assert check(clean_notebook(), tmp_path) == []


def add(nb, source, **kwargs):
    """Mais uma frase e uma célula de código, com a contagem certa."""
    n = sum(c.cell_type == "code" for c in nb.cells) + 1
    nb.cells += [new_markdown_cell("Frase."), new_code_cell(source, execution_count=n, **kwargs)]


DEFECTS = {
    "contagem None": lambda nb: nb.cells[1].update(execution_count=None),
    "contagem 9": lambda nb: nb.cells[2].update(execution_count=9),
    "erro gravado": lambda nb: nb.cells[4].metadata.update(tags=[]),
    "não o mostra": lambda nb: nb.cells[4].update(outputs=[]),
    "sem conferir nada": lambda nb: nb.cells[2].update(outputs=[]),
    "com stderr": lambda nb: nb.cells[2].outputs.append(
        new_output("stream", name="stderr", text="aviso")
    ),
    "esconde a célula": lambda nb: nb.cells[2].metadata.update(tags=["nbval-skip"]),
    "máquina numa saída: /home": lambda nb: add(
        nb, "x = 1", outputs=[text_output("arquivo em /home/ana/curso")]
    ),
    "máquina numa saída: ipykernel_12": lambda nb: add(
        nb, "x = 1", outputs=[text_output("ipykernel_12/x.py:1: Warning")]
    ),
    "máquina numa saída: /tmp": lambda nb: add(
        nb, "x",
        outputs=[new_output("execute_result", {"text/html": "<b>/tmp/x</b>"}, execution_count=4)],
    ),
    "precisa ter o emblema": lambda nb: nb.cells[0].update(source="# Título"),
    "o emblema não abre": lambda nb: nb.cells[0].update(
        source=nb.cells[0].source.replace(CHAPTER, "03-atencao")
    ),
    "começar com o título": lambda nb: nb.cells[0].update(source="oi\n" + nb.cells[0].source),
    "metadados do Colab": lambda nb: nb.metadata.pop("colab"),
    "metadados do Colab:": lambda nb: nb.metadata.colab.update(provenance=[{"file_id": "x"}]),
    "kernel precisa": lambda nb: nb.metadata.kernelspec.update(name="meu-ambiente"),
    "metadata.widgets": lambda nb: nb.metadata.update(widgets={}),
    "saída de widget": lambda nb: add(
        nb, "x", outputs=[new_output("display_data", {
            "application/vnd.jupyter.widget-view+json": {}, "text/plain": "x"})],
    ),
    "sem cellView": lambda nb: nb.cells[1].metadata.pop("cellView"),
    "sem jupyter.source_hidden": lambda nb: nb.cells[1].metadata.pop("jupyter"),
    "dobrada sem #@title": lambda nb: nb.cells[2].metadata.update(cellView="form"),
    "imagem relativa": lambda nb: nb.cells[3].update(source="![Uma bela figura](x.png)"),
    "imagem relativa quebra no Colab: <img": lambda nb: nb.cells[3].update(
        source='<img src="x.png" alt="Uma bela figura">'
    ),
    "sem texto alternativo": lambda nb: nb.cells[3].update(source="![](https://x.y/z.png)"),
    "sem texto alternativo de verdade: <img": lambda nb: nb.cells[3].update(
        source='<img src="https://x.y/z.png">'
    ),
    "link relativo": lambda nb: nb.cells[3].update(source="[roteiro](README.md)"),
    "não fecha": lambda nb: nb.cells[3].update(source="<details><summary>R</summary>"),
    "pesado demais": lambda nb: nb.cells[3].update(source="a" * 3_100_000),
    "89 colunas": lambda nb: add(nb, "x = '" + "a" * 83 + "'"),
    "não pode falhar": lambda nb: add(nb, "assert True"),
    "não pode falhar ": lambda nb: add(nb, "assert (1 == 2, 'sempre verdade')"),
    "rascunho: TODO": lambda nb: nb.cells[3].update(source="TODO: escrever"),
    "rascunho: FIXME": lambda nb: add(nb, "x = 1  # FIXME"),
    "rascunho: Lorem": lambda nb: nb.cells[3].update(source="Lorem ipsum dolor"),
    "rascunho: NotImplemented": lambda nb: add(nb, "def f():\n    raise NotImplementedError"),
    "rascunho: @T02@": lambda nb: nb.cells[3].update(source="leva @T02@ minutos"),
    "do repositório: pecas": lambda nb: add(nb, "import pecas"),
    "do repositório: tests.pecas": lambda nb: add(nb, "from tests.pecas import lift"),
    "do repositório: .": lambda nb: add(nb, "from . import x"),
    "do repositório: sys.path": lambda nb: add(nb, "import sys\nsys.path.insert(0, '..')"),
    "usa %run": lambda nb: add(nb, "%run ../02-texto/notebook.ipynb"),
    "instala pacotes": lambda nb: add(nb, "%pip install -q torch"),
    "não é Python": lambda nb: add(nb, "x = = 1"),
    "código vazia": lambda nb: add(nb, "  "),
    "sem uma frase": lambda nb: nb.cells.extend(
        new_code_cell(f"x = {n}", execution_count=n) for n in (4, 5, 6)
    ),
    "se repetem": lambda nb: nb.cells[1].update(id=nb.cells[2].id),
    "formato inválido": lambda nb: nb.cells[2].metadata.update(tags="x"),
}  # fmt: skip


@pytest.mark.parametrize("says", DEFECTS)
@pytest.mark.filterwarnings("ignore")
def test_defeito_plantado_e_visto(tmp_path, says):
    nb = clean_notebook()
    DEFECTS[says](nb)
    path = tmp_path / CHAPTER / "notebook.ipynb"
    path.parent.mkdir()
    path.write_text(nbformat.v4.writes(nb), encoding="utf-8")  # sem consertar nada
    found = cadernos.findings(path, tmp_path)
    assert any(says.strip() in text for text in found), found
    assert len(found) <= 2, "um defeito só não deveria virar tantos"


def test_o_que_parece_defeito_e_nao_e(tmp_path):
    nb = clean_notebook()
    nb.cells[3].source = "Veja TODO o texto, `TODO:` e `![](x.png)`. Todo: nada."
    add(nb, "if IN_COLAB:\n    %pip install -q gguf")
    add(nb, "print(1)", outputs=[text_output("1/2 /tempo e / e 2/tmp")])
    add(nb, "class A:\n    def f(self):\n        raise NotImplementedError")
    nb.cells.append(nbformat.v4.new_markdown_cell("Agora a que completa."))
    add(nb, "class B(A):\n    def f(self):\n        return 1")
    add(nb, 'FONTE = "corpus"  #@param ["corpus", "' + "Wikipédia " * 9 + '"]')
    assert check(nb, tmp_path) == []
