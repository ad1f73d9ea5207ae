"""Cada fato da cidade é dito o bastante no corpus, e o contador não conta o que não é."""

import json

import corpus as C
import fatos
import pytest


@pytest.fixture(scope="module")
def world():
    return json.loads((C.FOLDER / "mundo.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def known(world):
    return {f.key: f for f in fatos.facts(world)}


def row(text):
    return {"id": "bd-0000", "titulo": "", "texto": text}


def said(known, key, text):
    return bool(fatos.passages(fatos.prepare([row(text)]), known[key]))


def test_ha_um_fato_para_cada_coisa_que_o_mundo_afirma(world, known):
    people, places = world["pessoas"], world["lugares"]
    kin = sum(bool(p["pai"]) + bool(p["mae"]) for p in people)
    couples = sum(bool(p["conjuge"]) for p in people) // 2
    expected = 6 * len(people) + kin + couples + len(world["parentescos_extra"])
    expected += 2 * len(world["animais"]) + 2 * len(places) + 2 * len(world["eventos"])
    expected += sum(x["rua"] != x["nome"] for x in places)
    assert len(known) == expected + len(world["precos"]) + len(world["historia"])


@pytest.fixture(scope="module")
def table(world):
    parts, _ = C.load()
    return fatos.coverage([r for p in parts.values() for r in p], world)


def test_todo_fato_e_dito_em_oito_documentos_e_quatro_jeitos(table):
    assert fatos.too_few(table) == []


def test_cartao_conta_a_cobertura_de_hoje(table):
    text = (C.FOLDER / "README.md").read_text(encoding="utf-8")
    assert C.between(text, "fatos", fatos.summary(table)) == text, "corpus.py --carimbar"


@pytest.mark.parametrize(
    "key, text",
    [
        ("anselmo.sonho", "Seu Anselmo nunca foi à praia. Queria ver o mar antes de velho."),
        ("anselmo.profissao", "O padeiro, Seu Anselmo, abriu a porta."),
        ("bento.mae", "— Bento! — chamou a mãe. Dona Nair vinha com a colher."),
        ("anselmo.conjuge", "Seu Anselmo e Dona Nair são casados."),
        ("Farofa.dono", "Farofa, o cachorro do Bento, fugiu."),
        ("padaria.dias", "Na segunda, a padaria fecha."),
        ("preco.rapadura", "— Quanto é a rapadura? — Sete reais."),
        ("preco.pão francês", "O pão francês custa R$ 0,75."),
        ("festa_junina.quando", "A Festa Junina é em 24 de junho."),
        ("historia.5", "Na enchente de 1929, o sino da igreja caiu no rio e nunca mais foi achado."),
    ],
)
def test_reconhece_o_fato(known, key, text):
    assert said(known, key, text)


@pytest.mark.parametrize(
    "key, text",
    [
        ("anselmo.sonho", "Dona Nair queria ver o mar."),
        ("anselmo.profissao", "Seu Anselmo dormiu tarde."),
        ("bento.mae", "Bento e Dona Nair foram à praça."),
        ("Farofa.dono", "Farofa, o cachorro, fugiu."),
        ("preco.rapadura", "A rapadura estava dura como pedra."),
        ("preco.rapadura", "O pote custa sete reais."),
        ("padaria.rua", "A padaria fica perto da praça."),
    ],
)
def test_nao_ve_fato_onde_nao_ha(known, key, text):
    assert not said(known, key, text)


def test_nome_longe_do_fato_nao_conta(known):
    far = "Seu Anselmo chegou. " + "A chuva caiu sobre o telhado da praça. " * 20 + "Ver o mar."
    assert not said(known, "anselmo.sonho", far)


def test_acusa_fato_dito_de_menos(world):
    found = fatos.check_coverage([row("Seu Anselmo, o padeiro, sonha ver o mar.")], world)
    assert any(p.startswith("anselmo.sonho: dito em 1 documentos") for p in found)


def test_o_mesmo_jeito_repetido_conta_uma_vez(known):
    rows = [row("Ontem Seu Anselmo disse que quer ver o mar.") for _ in range(9)]
    found = fatos.passages(fatos.prepare(rows), known["anselmo.sonho"])
    assert len(found) == 9 and fatos.wordings(known["anselmo.sonho"], found) == 1
