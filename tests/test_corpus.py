"""O corpus de Barro Doce está inteiro, e o validador vê cada defeito plantado."""

import copy
import json

import corpus as C
import pytest


@pytest.fixture(scope="module")
def parts():
    return C.load()[0]


@pytest.fixture(scope="module")
def world():
    return json.loads((C.FOLDER / "mundo.json").read_text(encoding="utf-8"))


def test_corpus_sem_problemas():
    assert C.check() == []


def test_tamanho_prometido(parts):
    rows = [r for p in parts.values() for r in p]
    assert len(rows) >= 1800
    assert sum(len(r["texto"].encode()) for r in rows) >= 2_000_000


def test_variedade_prometida(parts):
    rows = [r for p in parts.values() for r in p]
    assert len({w for r in rows for w in C.words(r["texto"])}) <= 14_000
    train = "\n".join(r["texto"] for r in parts["treino"]).encode()
    assert len(C.lzma.compress(train, preset=9)) >= 0.24 * len(train)
    stories = [r["texto"] for r in rows if r["genero"] == "história"]
    assert sum("— " in t for t in stories) >= len(stories) / 3
    assert set("áàâãéêíóôõúç") <= set("".join(r["texto"] for r in rows))


def test_somas_e_cartao_em_dia(parts):
    recorded = dict(
        line.split()[::-1]
        for line in (C.FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
    assert recorded == C.sums(), "rode: python tests/corpus.py --carimbar"
    assert (C.FOLDER / "README.md").read_text(encoding="utf-8") == C.card(parts)


def test_somas_do_caderno_02_sao_as_do_corpus(c02):
    stamped = {path.split("/")[-1]: digest for path, digest in c02.CORPUS_SHA256.items()}
    assert stamped.items() <= C.sums().items()
    assert set(stamped) >= {f"{p}.jsonl" for p in C.PARTS}


def test_datasets_le_o_corpus(parts):
    datasets = pytest.importorskip("datasets")
    files = {p: str(C.FOLDER / f"{p}.jsonl") for p in C.PARTS}
    ds = datasets.load_dataset("json", data_files=files)
    assert {p: len(ds[p]) for p in C.PARTS} == {p: len(parts[p]) for p in C.PARTS}
    assert ds["treino"].column_names == list(C.FIELDS)


def first(parts):
    return parts["treino"][0]


DEFECTS = {
    "id fora do formato": lambda p: first(p).update(id="x1"),
    "id repetido": lambda p: first(p).update(id=p["teste"][0]["id"]),
    "caracteres, fora de": lambda p: first(p).update(texto="Curto demais."),
    "mojibake": lambda p: first(p).update(texto=first(p)["texto"][:600] + " coraÃ§Ã£o"),
    "caracteres estranhos": lambda p: first(p).update(texto=first(p)["texto"][:600] + "\u200b"),
    "fora da forma NFC": lambda p: first(p).update(
        texto=C.unicodedata.normalize("NFD", first(p)["texto"][:600])
    ),
    "texto repetido": lambda p: first(p).update(texto=p["teste"][0]["texto"]),
}


@pytest.mark.parametrize("expected", DEFECTS)
def test_ve_defeito_de_documento(parts, expected):
    bad = copy.deepcopy(parts)
    DEFECTS[expected](bad)
    found = C.check_rows(bad)
    assert any(expected in p for p in found), found


def test_ve_quase_duplicata_entre_partes(parts):
    bad = copy.deepcopy(parts)
    half = bad["teste"][0]["texto"][: len(bad["teste"][0]["texto"]) // 2]
    first(bad)["texto"] = half + first(bad)["texto"][: len(half)]
    assert any("trechos em comum" in p for p in C.check_variety(bad))


def test_ve_frase_feita_e_abertura_repetida(parts):
    bad = copy.deepcopy(parts)
    for row in bad["treino"][:60]:
        row["texto"] = "Era uma vez em Barro Doce um menino muito esperto. " + row["texto"]
    found = C.check_variety(bad)
    assert any("O trecho «" in p for p in found)
    assert any("documentos abrem com" in p for p in found)


def test_ve_generos_e_partes_desiguais(parts):
    bad = copy.deepcopy(parts)
    for row in bad["treino"]:
        row["genero"] = "história"
    bad["validacao"] = bad["validacao"][:1]
    found = " ".join(C.check_variety(bad))
    assert "passa de 30 %" in found and "validacao tem 1" in found


@pytest.mark.parametrize(
    "sentence, hint",
    [
        ("Seu Anselmo, o barbeiro, chegou cedo.", "mas é padeiro"),
        ("Jurema, a costureira, riu.", "mas é mecânica"),
        ("Bento, filho da Dona Hana, correu.", "parentesco"),
        ("Íris, irmã de Nina, leu.", "parentesco"),
        ("Farofa, o cachorro do Pedro, latiu.", "dono"),
        ("Marquesa, a vaca da Dona Zilda, sumiu.", "dono"),
    ],
)
def test_ve_contradicao(world, sentence, hint):
    found = C.check_facts([{"id": "bd-0000", "titulo": "", "texto": sentence}], world)
    assert any(hint in p for p in found), found


@pytest.mark.parametrize(
    "sentence",
    [
        "Seu Anselmo, o padeiro, e Bento, filho da Dona Nair, riram.",
        "Luzia, neta da Dona Zilda, falou de Farofa, o cachorro caramelo do Bento.",
        "Caio, irmão da Joana, e Helena, mãe da Íris, foram à praça.",
        "Léo, sobrinho da Fátima, conversou com Seu Tião, irmão do Seu Tonico.",
    ],
)
def test_aceita_o_que_e_verdade(world, sentence):
    assert C.check_facts([{"id": "bd-0000", "titulo": "", "texto": sentence}], world) == []


@pytest.mark.parametrize(
    "sentence, hint",
    [
        ("A padaria fica na Rua da Matriz.", "fica em Rua do Forno"),
        ("Bento mora na Avenida do Rio.", "mora em rua_do_forno"),
        ("A padaria não abre na sexta.", "abre terça a domingo"),
        ("O Cine Lua abre aos domingos.", "abre sexta e sábado"),
        ("O museu abre de segunda a sexta.", "abre quinta a domingo"),
        ("A rapadura custa R$ 9,00.", "custa R$ 7,00"),
        ("Ela comprou rapadura por oito reais e cinquenta.", "custa R$ 7,00"),
    ],
)
def test_ve_lugar_dia_ou_preco_errado(world, sentence, hint):
    row = {"id": "bd-0000", "titulo": "", "texto": sentence}
    found = C.check_places([row], world)
    assert any(hint in p for p in found), found


@pytest.mark.parametrize(
    "sentence",
    [
        "A padaria fica na Rua do Forno e fecha na segunda.",
        "Bento mora na Rua do Forno; Léo mora na Estrada da Serra.",
        "O museu abre de quinta a domingo. O Cine Lua só abre na sexta.",
        "A rapadura custa R$ 7,00 e a metade de um picolé de limão sai por um real e cinquenta.",
    ],
)
def test_aceita_lugar_dia_e_preco_certos(world, sentence):
    assert C.check_places([{"id": "bd-0000", "titulo": "", "texto": sentence}], world) == []


def test_ve_combinacao_que_vazou(parts, world, tmp_path):
    for name in ("mundo.json", "combinacoes.json"):
        (tmp_path / name).write_bytes((C.FOLDER / name).read_bytes())
    assert C.check_combinations(parts, tmp_path) == []
    bad = copy.deepcopy(parts)
    first(bad)["texto"] += next(
        r["texto"] for r in bad["teste"] if r["id"] == C.combinations(parts, world)[0]["documentos"][0]
    )
    assert "rode --carimbar" in C.check_combinations(bad, tmp_path)[0]
    (tmp_path / "combinacoes.json").unlink()
    assert "não existe" in C.check_combinations(parts, tmp_path)[0]


def plant(world, defect):
    bad = copy.deepcopy(world)
    {
        "conjuge": lambda: bad["pessoas"][0].update(conjuge="hana"),
        "pai": lambda: bad["pessoas"][2].update(pai="ninguém"),
        "idade": lambda: bad["pessoas"][2].update(idade=51),
        "casa": lambda: bad["pessoas"][0].update(casa="lua"),
        "dono": lambda: bad["animais"][0].update(donos=["ninguém"]),
        "nome": lambda: bad["pessoas"][0].update(chamado="Seu Bento"),
        "mapa": lambda: bad["lugares"][3].update(x=0, y=1),
        "preço": lambda: bad["precos"][0].update(preco=0),
    }[defect]()
    return bad


@pytest.mark.parametrize(
    "defect", ["conjuge", "pai", "idade", "casa", "dono", "nome", "mapa", "preço"]
)
def test_ve_fato_quebrado(world, defect):
    assert C.check_world(world) == []
    assert C.check_world(plant(world, defect))


@pytest.mark.parametrize(
    "content, hint",
    [
        (b'{"id": "bd-0001", "genero": "carta"', "não é JSON"),
        (b'{"id": "bd-0001", "genero": "carta", "titulo": "t"}', "os campos devem ser"),
        ('{"id": "b", "genero": "ação"}'.encode("latin-1"), "não está em UTF-8"),
    ],
)
def test_ve_linha_quebrada(tmp_path, content, hint):
    (tmp_path / "treino.jsonl").write_bytes(content)
    rows, problems = C.read_part(tmp_path / "treino.jsonl")
    assert rows == [] and hint in problems[0]


def test_ve_arquivo_que_falta(tmp_path):
    assert "não existe" in C.read_part(tmp_path / "treino.jsonl")[1][0]
