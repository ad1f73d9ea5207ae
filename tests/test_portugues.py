"""Português sem erro de digitação, em tudo o que se lê."""

import os
import re

import portugues
import pytest

ROOT = portugues.ROOT


def require_dictionary() -> None:
    """Sem o dicionário não há o que conferir; na integração contínua isso é uma falha."""
    if not portugues.available():
        reason = "falta o hunspell com o pt_BR (apt-get install hunspell hunspell-pt-br)"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module", autouse=True)
def dictionary():
    require_dictionary()
    portugues.prepare(portugues.pages())


@pytest.mark.parametrize(
    "path", portugues.pages(), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_ortografia(path):
    found = portugues.check([path])
    listed = [f"{word}: {', '.join(places[:3])}" for word, places in found.items()]
    assert listed == [], "corrija, ponha código entre crases, ou aceite em palavras_aceitas.txt"


def test_a_lista_de_palavras_aceitas_esta_em_ordem():
    """Sem repetir, e nenhuma que o dicionário já conheça."""
    words = portugues.listed()[""]
    assert sorted(words) == sorted(set(words)), "há palavra repetida"
    assert len(words) < 1000, "a lista cresceu demais: é erro de verdade ou falta crase?"
    known = [w for w in words if not portugues.ask_dictionary([w, *w.split("-")])]
    assert known == [], "o dicionário já conhece estas"


def test_cada_erro_de_proposito_esta_no_seu_documento():
    """A criança que escreve 'nao' no diário: aceita ali, e só ali."""
    files = [p for p in portugues.pages() if p.suffix == ".jsonl"]
    texts = {where: text for path in files for where, text in portugues.prose_of(path)}
    for place, words in portugues.listed().items():
        for word in words if place else []:
            assert word in portugues.words_of(texts[place]), f"{word} não está em {place}"


def test_nenhuma_palavra_aceita_e_portugues_sem_acento():
    """Aceitar 'nao' ou 'atencao' por engano desligaria o teste para elas."""
    typo = re.compile(r".*(cao|coes|sao|[aeo]ncia|avel|ivel|logica)|voce|tambem|nao|ate|ja")
    names = {"validacao", "avaliacoes", "instrucoes", "continuacao", "correcao", "inicios"}
    words = set(portugues.listed()[""]) - names  # partes, arquivos e campos dos dados
    assert [w for w in words if typo.fullmatch(w)] == []


# --- o conferidor vê o que precisa ver -------------------------------------------------

PLANTED = {
    "pagina.md": ("# Título\n\nA atenção é tudo, mas a atenssão não.\n", "atenssão"),
    "sem_acento.md": ("O codigo roda.\n", "codigo"),
    "imagem.md": ("![Um gáto dormindo](https://x.y/z.png)\n", "gáto"),
    "detalhe.md": ("<details><summary>Respósta</summary>\n\nSim.\n\n</details>\n", "Respósta"),
    "italico.md": ("O *atensao* é curto.\n", "atensao"),
    "comentario.py": ("x = 1  # o númeru da sorte\n", "númeru"),
    "docstring.py": ('def f():\n    """Devolve o dôbro."""\n', "dôbro"),
    "mensagem.py": ('raise ValueError("não há espasso no disco")\n', "espasso"),
    "fstring.py": ('n = 1\nprint(f"são {n} palávras")\n', "palávras"),
    "corpus.jsonl": ('{"titulo": "Oi", "texto": "A menina comeu o bollo."}\n', "bollo"),
    "titulo.jsonl": ('{"titulo": "O pãu", "texto": "Oi."}\n', "pãu"),
    "caderno.ipynb": (
        '{"cells": [{"cell_type": "markdown", "source": ["Uma fraze."]}]}', "fraze",
    ),
    "celula.ipynb": (
        '{"cells": [{"cell_type": "code", "source": ["x = 1  # um comentáryo"]}]}', "comentáryo",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_erro_plantado_e_visto(tmp_path, monkeypatch, name):
    content, wrong = PLANTED[name]
    monkeypatch.setattr(portugues, "ROOT", tmp_path)
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert list(portugues.check([tmp_path / name])) == [wrong]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("codigo.md", "Chame `atenssao(x)`.\n\n```python\natenssao = 1  # dôbro\n```\n"),
        ("link.md", "[aqui](https://exemplo.org/atenssao) e https://a.b/fraze\n"),
        ("conta.md", "A forma é (B, T, C), e $\\sqrt{atenssao}$ também; custa R$ 4,50.\n"),
        ("artigo.md", "Leia *Attention Is All You Need* inteiro.\n"),
        ("nomes.md", "Farofa, o cachorro de Bento, mora em Barro Doce.\n"),
        ("sigla.md", "Numa GPU ou na CPU; e o gol foi um goooool!\n"),
        ("nome.py", "def fraze(atenssao):\n    return atenssao  # a atenssao da fraze\n"),
        ("texto.py", 'SOURCE = "def f():\\n    # não é prósa\\n    return 1"\n'),
        ("ingles.py", 'x = "a path without accents is not a message"\n'),
        ("forma.py", "y = 2  # (B, H, T, D)  d_model nn.Linear 4*C\n"),
    ],
)
def test_o_que_nao_e_prosa_passa(tmp_path, monkeypatch, name, content):
    monkeypatch.setattr(portugues, "ROOT", tmp_path)
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert portugues.check([tmp_path / name]) == {}


def test_sem_o_hunspell_diz_o_que_instalar(monkeypatch, capsys):
    monkeypatch.setattr(portugues.shutil, "which", lambda name: None)
    assert not portugues.available()
    assert portugues.main([]) == 2
    assert "apt-get install hunspell" in capsys.readouterr().out


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail), ("", pytest.skip)])
def test_sem_o_hunspell_a_integracao_continua_falha(monkeypatch, ci, outcome):
    monkeypatch.setattr(portugues, "available", lambda: False)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome.Exception, match="falta o hunspell"):
        require_dictionary()
