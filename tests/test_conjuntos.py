"""Os conjuntos de dados cumprem o que os cartões prometem, e o validador vê cada defeito."""

import copy
import json
import sys

import corpus as C
import dados as D
import pecas
import pytest

sys.path.insert(0, str(pecas.ROOT / "tests" / "benchmarks"))
import conjuntos  # noqa: E402

NAMES = list(D.SETS)


@pytest.fixture(scope="module")
def world():
    return json.loads((C.FOLDER / "mundo.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sets():
    return {name: D.load(spec)[0] for name, spec in D.SETS.items()}


def test_sem_problemas():
    assert D.check() == []


@pytest.mark.parametrize("name", D.CARDS)
def test_cartao_e_somas_em_dia(name):
    folder = D.SETS[name].folder
    hint = "rode: python tests/dados.py --carimbar"
    assert (folder / "SHA256SUMS").read_text(encoding="utf-8") == D.manifest(folder), hint
    assert (folder / "README.md").read_text(encoding="utf-8") == D.card(name), hint


def test_as_linhas_de_base_sao_destes_dados():
    recorded = json.loads(D.RESULTS.read_text(encoding="utf-8"))["tarefa"]["dados"]
    assert recorded == conjuntos.inputs(), "rode: python tests/benchmarks/conjuntos.py"


@pytest.mark.parametrize("name", NAMES)
def test_datasets_le(name, sets):
    datasets = pytest.importorskip("datasets")
    spec = D.SETS[name]
    files = {p: str(spec.folder / f"{p}.jsonl") for p in spec.files}
    loaded = datasets.load_dataset("json", data_files=files)
    for part, rows in sets[name].items():
        assert loaded[part].column_names == list(spec.fields)
        assert loaded[part][0] == rows[0] and len(loaded[part]) == len(rows)


# --- o que a linha de base pode, e o que não pode ---------------------------------------


def test_saco_de_palavras_nao_resolve_as_dificeis():
    for name, measured in D.results()["avaliacoes"].items():
        assert measured["difíceis"]["valor"] < 0.88, name
    best = max(m["difíceis"]["valor"] for m in D.results()["avaliacoes"].values())
    assert best < D.agreement()["difíceis"]


def test_as_provas_nao_se_resolvem_por_vizinhanca():
    base = D.results()
    assert all(m["todas"]["valor"] < 0.6 for m in base["lacunas"].values())
    assert all(m["todos"]["valor"] < 0.9 for m in base["pares"].values())
    assert base["instrucoes"]["todas"]["valor"] < 0.3


# --- defeitos de toda linha --------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "content, hint",
    [
        (b'{"id": "x"', "não é JSON"),
        (b'{"id": "x"}\n', "os campos devem ser"),
        (b"[1, 2]\n", "os campos devem ser"),
        ('{"id": "ação"}'.encode("latin-1"), "não está em UTF-8"),
        (b"\n{}\n", "está vazia"),
    ],
)
def test_ve_linha_quebrada(tmp_path, name, content, hint):
    path = tmp_path / "dados" / "treino.jsonl"
    path.parent.mkdir()
    path.write_bytes(content)
    rows, problems = D.read(path, D.SETS[name])
    assert rows == [] and any(hint in p for p in problems), problems


def test_ve_campo_de_outro_tipo_e_campo_vazio(tmp_path, sets):
    spec = D.SETS["avaliacoes"]
    good = sets["avaliacoes"]["treino"][0]
    path = tmp_path / "dados" / "treino.jsonl"
    path.parent.mkdir()
    for change in ({"dificil": "sim"}, {"texto": "  "}, {"extra": 1}):
        path.write_text(json.dumps(good | change), encoding="utf-8")
        assert D.read(path, spec)[0] == []
    path.write_text(json.dumps(good), encoding="utf-8")
    assert D.read(path, spec) == ([good], [])


def test_ve_arquivo_que_falta(tmp_path):
    _, problems = D.load(D.SETS["avaliacoes"], tmp_path)
    assert len(problems) == 3 and all("não existe" in p for p in problems)


WARM = "O pão saiu quente do forno e a fila andou depressa."
TEXT_DEFECTS = {
    "mojibake": "A cordaÃ§Ã£o da porta range muito alto quando chove.",
    "caracteres estranhos": WARM.replace("saiu", "saiu\u200b"),
    "fora da forma NFC": C.unicodedata.normalize("NFD", WARM),
    "fora de (40, 360)": "Curta.",
}


@pytest.mark.parametrize("expected", TEXT_DEFECTS)
def test_ve_texto_defeituoso(sets, expected):
    bad = copy.deepcopy(sets["avaliacoes"])
    bad["treino"][0]["texto"] = TEXT_DEFECTS[expected]
    found = D.check_rows(D.SETS["avaliacoes"], bad)
    assert any(expected in p for p in found), found


def test_ve_ids_e_textos_repetidos(sets):
    bad = copy.deepcopy(sets["avaliacoes"])
    train, test = bad["treino"], bad["teste"]
    train[0]["id"], train[1]["id"] = "x", test[0]["id"]
    train[2]["texto"] = train[3]["texto"]
    train[4]["texto"] = test[1]["texto"] + " Ufa."
    found = " ".join(D.check_rows(D.SETS["avaliacoes"], bad))
    for hint in ("id fora do formato", "id repetido", "repetido de avaliacoes",
                 "quase o mesmo texto, em partes diferentes"):
        assert hint in found, hint


@pytest.mark.parametrize("name", NAMES)
def test_ve_contradicao_dos_fatos(sets, world, name):
    bad = copy.deepcopy(sets[name])
    field = {"avaliacoes": "texto", "instrucoes": "saida", "lacunas": "texto", "pares": "certa",
             "inicios": "continuacao", "preferencias": "escolhida"}[name]
    assert D.check_world(D.SETS[name], bad, world) == []
    bad[D.SETS[name].files[0]][0][field] += " Seu Anselmo, o barbeiro, riu."
    found = D.check_world(D.SETS[name], bad, world)
    assert any("mas é padeiro" in p for p in found)


# --- avaliações --------------------------------------------------------------------------


def test_ve_rotulo_lugar_e_equilibrio(sets, world):
    bad = copy.deepcopy(sets["avaliacoes"])
    bad["treino"][0]["rotulo"] = "neutra"
    bad["treino"][1]["lugar"] = "shopping"
    bad["validacao"] = [r for r in bad["validacao"] if r["rotulo"] == "positiva"]
    bad["teste"] = bad["teste"][:300]
    found = " ".join(D.check_reviews(bad, world))
    for hint in ("rótulo «neutra»", "lugar «shopping»", "fora de 45 % a 55 %", "só 0 mistas",
                 "300 no teste"):
        assert hint in found, hint


def test_ve_rotulagem_cega_que_discorda_ou_nao_cobre(monkeypatch):
    real = D.blind_labels()
    monkeypatch.setattr(D, "blind_labels", lambda: dict.fromkeys(real, "positiva"))
    assert any("κ de" in p for p in D.check_blind())
    monkeypatch.setattr(D, "blind_labels", lambda: dict(list(real.items())[1:]))
    assert "não cobre" in D.check_blind()[0]


def test_acordo_perfeito_tem_kappa_um_e_o_acaso_zero():
    labels = ["positiva", "negativa"] * 10
    assert D.kappa(labels, labels) == 1
    assert abs(D.kappa(labels, ["positiva"] * 10 + ["negativa"] * 10)) < 0.2


# --- instruções --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, accepts, good, bad",
    [
        ("exata", ["Os pães saíram."], "os pães saíram", "Os pão saiu."),
        ("uma_de", ["Sim, senhora.", "Pois não."], "POIS NÃO!", "Não."),
        ("regex", [r"\bcinco\b|\b5\b"], "São Cinco letras.", "São cinquenta."),
        ("numero", ["7"], "Três mais quatro são sete.", "São dezessete."),
        ("numero", ["42"], "Dá quarenta e duas.", "Dá quarenta."),
        ("numero", ["4.5"], "O troco é 4,50", "O troco é 5"),
        ("livre", [], "Qualquer coisa.", "  "),
    ],
)
def test_corrige(kind, accepts, good, bad):
    item = {"correcao": kind, "aceita": accepts, "entrada": ""}
    assert D.grade(good, item) and not D.grade(bad, item)


def test_quem_devolve_a_entrada_nao_respondeu():
    item = {"correcao": "regex", "aceita": ["gata"], "entrada": "A gata dormiu na cesta de lã."}
    assert D.grade("Foi a gata.", item)
    assert not D.grade("A gata dormiu na cesta de lã!", item)


@pytest.mark.parametrize(
    "kind, accepts",
    [("exata", []), ("regex", ["("]), ("numero", ["muitos"]), ("adivinhe", ["a"]), ("exata", [3])],
)
def test_recusa_correcao_que_nao_serve(kind, accepts):
    with pytest.raises(ValueError, match="não serve|não é válido|pede um número"):
        D.grade("resposta", {"correcao": kind, "aceita": accepts, "entrada": ""})


def exam(sets, change):
    bad = copy.deepcopy(sets["instrucoes"])
    change(bad)
    return " ".join(D.check_instructions(bad))


def first_of(part, **wanted):
    return next(r for r in part if all(r[k] == v for k, v in wanted.items()))


def test_ve_resposta_que_esta_no_treino(sets):
    assert "letra por letra, no treino" in exam(
        sets, lambda p: p["treino"][0].update(instrucao="Leia: " + p["teste"][0]["saida"]))


def test_ve_correcao_que_aceita_tudo_ou_nada(sets):
    loose = exam(sets, lambda p: p["teste"][0].update(correcao="regex", aceita=[r"\w"]))
    assert "respostas de outros itens" in loose
    assert "vazia" in exam(sets, lambda p: p["teste"][0].update(correcao="regex", aceita=[".*"]))
    assert "não passa" in exam(
        sets, lambda p: p["teste"][0].update(correcao="exata", aceita=["outra coisa"]))


def test_ve_ineditismo_falso(sets):
    def copy_request(p):
        row = first_of(p["teste"], inedito="frase")
        row["instrucao"] = first_of(p["treino"], familia=row["familia"])["instrucao"]

    def copy_everything(p):
        row = first_of(p["teste"], inedito="entidade")
        other = first_of(p["treino"], familia=row["familia"])
        row.update({k: other[k] for k in ("instrucao", "entrada", "saida")})

    assert "quase igual a um do treino" in exam(sets, copy_request)
    assert "não há entidade inédita" in exam(sets, copy_everything)
    assert "livre" in exam(sets, lambda p: p["teste"][0].update(correcao="livre", aceita=[]))
    assert "não existe" in exam(sets, lambda p: p["teste"][0].update(inedito="tudo"))


def test_ve_prova_pequena(sets):
    few = exam(sets, lambda p: p.update(teste=p["teste"][:50]))
    assert "50 na prova" in few and "inédita" in few


# --- lacunas, pares, inícios, preferências -----------------------------------------------

CLOZE = {"id": "la-0001", "texto": "Seu Anselmo sonha em ver o ____.",
         "opcoes": ["mar", "circo", "trem", "deserto"], "resposta": "mar", "tipo": "sonho",
         "fato": "anselmo.sonho"}  # fmt: skip


@pytest.mark.parametrize(
    "change, hint",
    [
        ({"texto": "Sem lacuna."}, "uma só lacuna"),
        ({"opcoes": ["mar", "Mar", "trem", "circo"]}, "quatro opções"),
        ({"resposta": "lago"}, "não está entre as opções"),
        ({"fato": "anselmo.altura"}, "não existe em mundo.json"),
        ({"resposta": "circo"}, "não combina com o fato"),
        ({"resposta": "circo"}, "«mar» também combina"),
        ({"texto": "Seu Anselmo fala do mar: quer ver o ____."}, "já diz a resposta"),
    ],
)
def test_ve_lacuna_defeituosa(world, change, hint):
    assert not any(p.startswith("la-") for p in D.check_cloze([CLOZE], world))
    assert any(hint in p for p in D.check_cloze([CLOZE | change], world))


def test_ve_resposta_sempre_no_mesmo_lugar(world):
    assert any("mesma posição" in p for p in D.check_cloze([CLOZE] * 3, world))


PAIR = {"id": "pm-0001", "certa": "As meninas chegaram.", "errada": "As menina chegaram.",
        "fenomeno": "numero_sn"}  # fmt: skip


@pytest.mark.parametrize(
    "change, hint",
    [
        ({"errada": "As meninas chegaram."}, "são iguais"),
        ({"errada": "Os menino chegou."}, "mais de duas palavras"),
        ({"certa": "Ontem as meninas saíram."}, "está no corpus"),
    ],
)
def test_ve_par_defeituoso(change, hint):
    corpus_text = D.plain("Ontem as meninas saíram. E mais.")
    assert not any(p.startswith("pm-") for p in D.check_pairs([PAIR], corpus_text))
    assert any(hint in p for p in D.check_pairs([PAIR | change], corpus_text))


def test_ve_par_repetido_e_fenomenos_de_menos():
    found = " ".join(D.check_pairs([PAIR, PAIR | {"id": "pm-0002"}], ""))
    assert "frase repetida" in found and "600 em 12" in found and "só tem 2" in found


@pytest.mark.parametrize(
    "good, bad, expected",
    [
        ("a b c", "a x c", (["b"], ["x"])),
        ("a b c", "a c", (["b"], [])),
        ("foi do rio", "foi de o rio", (["do"], ["de", "o"])),
        ("a b", "a b", ([], [])),
    ],
)
def test_diferenca(good, bad, expected):
    assert D.difference(good, bad) == expected


def test_ve_inicio_do_corpus():
    row = {"id": "ho-0001", "inicio": "Era cedo", "continuacao": "e chovia.", "genero": "x"}
    found = " ".join(D.check_prompts([row], D.plain("Era cedo, e chovia.")))
    assert "o inicio está no corpus" in found and "o continuacao está" in found
    assert "só 1" in found


def test_ve_preferencia_defeituosa():
    row = {"id": "pr-0001", "pedido": "Que horas?", "escolhida": "Não sei.",
           "rejeitada": "Não sei!", "criterio": "graça"}  # fmt: skip
    found = " ".join(D.check_preferences({"treino": [row, row | {"criterio": "brevidade"}]}))
    for hint in ("não existe", "são iguais", "não é a mais curta", "mínimo é 500"):
        assert hint in found
