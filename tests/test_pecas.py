"""A promessa das peças copiadas: cumprida nos cadernos, e cobrada de quem a quebra."""

import subprocess
import sys

import nbformat
import pecas
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ORIGIN = '''\
LIMIT = 3  # o comentário da constante

def twice(x: int) -> int:
    """Dobra."""
    # o comentário da origem
    return 2 * x'''

LATER = '''\
class Box:
    """Guarda um número."""

    def __init__(self, value=LIMIT):
        self.value = value'''

PROMISE_02 = "#@title Peças do capítulo 02, sem mudar nada\n"


def book(root, number: str, *cells: str):
    """Escreve um caderno de mentira com estas células de código."""
    path = root / f"{number}-capitulo" / "notebook.ipynb"
    path.parent.mkdir(exist_ok=True)
    all_cells = [new_markdown_cell("# Título"), *map(new_code_cell, cells)]
    nbformat.write(new_notebook(cells=all_cells), path)
    return path


def problems(root) -> list[str]:
    return pecas.broken_promises(pecas.notebooks(root))


# --- os cadernos de verdade ------------------------------------------------------------


def test_os_cadernos_cumprem_a_promessa():
    assert problems(pecas.ROOT) == []


def test_os_cadernos_prometem_alguma_coisa():
    """Sem células de promessa, o teste acima passaria por não ter o que conferir."""
    books = pecas.notebooks()
    assert {"02", "04", "05"} <= set(books)
    copied = {d.promise for d in pecas.definitions(books["05"]) if d.promise}
    assert {"02", "04"} <= copied


@pytest.mark.parametrize(
    ("chapter", "names"),
    [
        ("02", "BPETokenizer TokenDataset"),
        ("04", "GPTConfig LayerNorm GELU FeedForward TransformerBlock GPT"),
        ("05", "TrainConfig evaluate train generate"),
    ],
)
def test_as_pecas_do_contrato_nascem_no_seu_capitulo(chapter, names):
    born = pecas.taught(pecas.notebooks()[chapter])
    assert set(names.split()) <= set(born)


def test_toda_excecao_anunciada_existe_e_diz_por_que():
    books = pecas.notebooks()
    for (chapter, name), reason in pecas.TAUGHT_AGAIN.items():
        assert name in pecas.taught(books[chapter]), f"{name} não está em {chapter}"
        assert len(reason.split()) >= 4, f"o motivo de {name} é curto demais: {reason!r}"


def test_o_comando_confere_e_sai_com_zero():
    command = [sys.executable, str(pecas.ROOT / "tests" / "pecas.py")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Promessa mantida" in done.stdout


def test_a_licao_nao_roda_ao_ser_erguida(tmp_path):
    path = book(tmp_path, "02", "import math\n", "print('nunca')\n1 / 0", ORIGIN)
    module = pecas.lift(path, "caderno_de_mentira")
    assert module.twice(4) == 8 and module.LIMIT == 3 and module.math.pi > 3


# --- as quebras ------------------------------------------------------------------------


def test_copia_fiel_passa(tmp_path):
    book(tmp_path, "02", ORIGIN)
    book(tmp_path, "04", PROMISE_02 + ORIGIN, LATER)
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2 * x", "3 * x"),
        ("LIMIT = 3", "LIMIT = 4"),
        ("x: int)", "x: float)"),
        ("twice(x: int)", "twice(x: int = 0)"),
        ("def twice", "@staticmethod\ndef twice"),
    ],
)
def test_copia_que_mudou_e_acusada(tmp_path, old, new):
    book(tmp_path, "02", ORIGIN)
    book(tmp_path, "04", PROMISE_02 + ORIGIN.replace(old, new))
    [problem] = problems(tmp_path)
    assert "04-capitulo" in problem and "mudou" in problem and "--sincronizar" in problem


def test_copia_sem_origem_e_acusada(tmp_path):
    book(tmp_path, "02", "LIMIT = 3")
    book(tmp_path, "04", PROMISE_02 + ORIGIN)
    [problem] = problems(tmp_path)
    assert "twice não é ensinada no capítulo 02" in problem


@pytest.mark.parametrize("chapter", ["04", "05", "09"])
def test_promessa_de_capitulo_que_nao_vem_antes_e_acusada(tmp_path, chapter):
    book(tmp_path, "04", PROMISE_02.replace("02", chapter) + ORIGIN)
    book(tmp_path, "05", "OTHER = 1")
    assert any("não vem antes" in p for p in problems(tmp_path))


def test_redefinicao_sem_aviso_e_acusada(tmp_path):
    book(tmp_path, "02", ORIGIN)
    book(tmp_path, "04", ORIGIN)
    found = problems(tmp_path)
    assert [p.split(": ")[1].split()[0] for p in found] == ["LIMIT", "twice"]
    assert all("já foi ensinada no capítulo 02" in p for p in found)


def test_redefinicao_depois_da_copia_tambem_e_acusada(tmp_path):
    book(tmp_path, "02", ORIGIN)
    book(tmp_path, "04", PROMISE_02 + ORIGIN, "def twice(x):\n    return x + x")
    [problem] = problems(tmp_path)
    assert "já foi ensinada" in problem


def test_redefinicao_anunciada_passa(tmp_path, monkeypatch):
    book(tmp_path, "02", ORIGIN)
    book(tmp_path, "04", "def twice(x):\n    return x + x")
    monkeypatch.setitem(pecas.TAUGHT_AGAIN, ("04", "twice"), "agora sem multiplicar")
    assert problems(tmp_path) == []


def test_vale_a_ultima_versao_ensinada(tmp_path):
    slow = "def twice(x: int) -> int:\n    return x + x"
    book(tmp_path, "02", slow, ORIGIN)
    book(tmp_path, "04", PROMISE_02 + ORIGIN)
    assert problems(tmp_path) == []
    book(tmp_path, "04", PROMISE_02 + slow)
    assert len(problems(tmp_path)) == 1


@pytest.mark.parametrize(
    "title",
    [
        "#@title Peças do capítulo 2, sem mudar nada",
        "#@title Peças do capítulo 02",
        "# @title Peças do capítulo 02, sem mudar nada",
        "#@title peças do capítulo 02, sem mudar nada",
    ],
)
def test_promessa_mal_escrita_e_acusada(tmp_path, title):
    book(tmp_path, "02", "OTHER = 1")
    book(tmp_path, "04", f"{title}\n{ORIGIN}")
    [problem] = problems(tmp_path)
    assert "letra por letra" in problem


@pytest.mark.parametrize(
    "copy",
    [
        ORIGIN.replace('    """Dobra."""\n', ""),
        ORIGIN.replace("Dobra.", "Devolve o dobro de x."),
        ORIGIN.replace("    # o comentário da origem\n", ""),
        ORIGIN.replace("return 2 * x", "return (2 * x)  # dobro"),
        ORIGIN.replace("  # o comentário da constante", ""),
    ],
)
def test_docstring_e_comentario_podem_diferir(tmp_path, copy):
    assert copy != ORIGIN
    book(tmp_path, "02", ORIGIN)
    book(tmp_path, "04", PROMISE_02 + copy)
    assert problems(tmp_path) == []


# --- --sincronizar ---------------------------------------------------------------------


def test_sincronizar_conserta_guarda_comentarios_e_para_quieto(tmp_path):
    book(tmp_path, "02", ORIGIN, LATER)
    drifted = (
        PROMISE_02
        + "# o comentário da célula\nimport math\n\nLIMIT = 99\n\n\n"
        + "def twice(x):\n    return x\n\n\n"
        + "class Box:\n    pass\n"
    )
    path = book(tmp_path, "04", drifted, "print(twice(LIMIT))")
    books = pecas.notebooks(tmp_path)
    assert len(pecas.broken_promises(books)) == 3
    assert pecas.synchronize(books) == ["04-capitulo, célula 1"]
    assert pecas.broken_promises(books) == []

    cells = nbformat.read(path, as_version=4).cells
    copy = cells[1].source
    assert copy.startswith(PROMISE_02 + "# o comentário da célula\nimport math\n\nLIMIT")
    assert "    # o comentário da origem\n" in copy and '"""Dobra."""' in copy
    assert ORIGIN.split("\n\n")[1] in copy and LATER in copy
    assert cells[2].source == "print(twice(LIMIT))"

    before = path.read_bytes()
    assert pecas.synchronize(books) == []
    assert path.read_bytes() == before


def test_sincronizar_traz_os_decoradores(tmp_path):
    body = "class Point:\n    x: int = 0"
    book(tmp_path, "02", "from dataclasses import dataclass\n\n\n@dataclass\n" + body)
    path = book(tmp_path, "04", PROMISE_02 + body)
    books = pecas.notebooks(tmp_path)
    assert len(pecas.broken_promises(books)) == 1
    pecas.synchronize(books)
    assert pecas.broken_promises(books) == []
    assert nbformat.read(path, as_version=4).cells[1].source.count("@dataclass") == 1


def test_sincronizar_pelo_comando(tmp_path, monkeypatch, capsys):
    book(tmp_path, "02", ORIGIN)
    book(tmp_path, "04", PROMISE_02 + ORIGIN.replace("2 * x", "x"))
    books = pecas.notebooks(tmp_path)
    monkeypatch.setattr(pecas, "notebooks", lambda root=tmp_path: books)
    assert pecas.main([]) == 1
    assert pecas.main(["--sincronizar"]) == 0
    assert "04-capitulo, célula 1" in capsys.readouterr().out
    assert pecas.main([]) == 0


def test_magicas_e_porcentos(tmp_path):
    """Linhas do IPython saem do caminho; um % no meio de uma conta fica onde está."""
    source = "%matplotlib inline\n!ls\nRATE = 1"
    path = book(tmp_path, "02", source, "LEFT = (7\n        % 4)", "%%time\nprint(1")
    module = pecas.lift(path, "caderno_magico")
    assert module.RATE == 1 and module.LEFT == 3


# --- as soluções também prometem ---------------------------------------------------------


def solutions_book(root, number: str, *cells: str):
    path = book(root, number, *cells)
    return path.rename(path.with_name("solucoes.ipynb"))


def test_as_solucoes_copiam_o_seu_proprio_capitulo(tmp_path):
    path = solutions_book(tmp_path, "02", PROMISE_02 + ORIGIN, "def answer(x):\n    return x")
    book(tmp_path, "02", ORIGIN, "def answer(x):\n    ...")
    assert path.is_file() and problems(tmp_path) == []


def test_solucoes_com_peca_mudada_sao_vistas_e_sincronizadas(tmp_path):
    path = solutions_book(tmp_path, "02", PROMISE_02 + ORIGIN.replace("2 * x", "3 * x"))
    book(tmp_path, "02", ORIGIN)
    [said] = problems(tmp_path)
    assert "02-capitulo/solucoes.ipynb" in said and "twice" in said
    pecas.synchronize(pecas.notebooks(tmp_path))
    assert problems(tmp_path) == []
    assert "return 2 * x" in nbformat.read(path, 4).cells[1].source


def test_um_caderno_nao_promete_o_proprio_capitulo(tmp_path):
    book(tmp_path, "02", ORIGIN, PROMISE_02 + ORIGIN)
    assert problems(tmp_path) != []


# --- erguer as peças ---------------------------------------------------------------------


def test_erguer_inclui_o_que_se_pendura_numa_classe(tmp_path):
    path = book(tmp_path, "02", LATER.replace("LIMIT", "3"),
                "Box.half = lambda self: self.value / 2\nBox.a, Box.b = 1, 2")  # fmt: skip
    assert pecas.lift(path).Box(8).half() == 4


def test_erguer_nao_executa_outras_atribuicoes(tmp_path):
    path = book(tmp_path, "02", LATER.replace("LIMIT", "3"),
                "box = Box()\nbox.value = 1 / 0\nimport os\nos.answer = 1 / 0")  # fmt: skip
    assert not hasattr(pecas.lift(path), "box")


def test_sincroniza_todas_as_celulas_de_promessa(tmp_path):
    """Uma célula rescrita não pode fazer a seguinte ser esquecida."""
    book(tmp_path, "02", ORIGIN, LATER)
    changed = [ORIGIN.replace("2 * x", "3 * x"), LATER.replace("value", "thing")]
    book(tmp_path, "03", *(PROMISE_02 + source for source in changed))
    assert len(pecas.synchronize(pecas.notebooks(tmp_path))) == 2
    assert problems(tmp_path) == []
