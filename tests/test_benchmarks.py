"""Os resultados gravados ainda são das definições que dizem ter medido, e cumprem o prometido."""

import functools
import json
import re
import symtable
import sys
from pathlib import Path

import pecas
import pytest

sys.path.insert(0, str(pecas.ROOT / "tests" / "benchmarks"))
import registro  # noqa: E402

FILES = sorted(registro.RESULTS.glob("*.json"))


def load(name: str) -> dict:
    return json.loads((registro.RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_ha_resultados():
    assert {"bpe", "vazao", "conjuntos", "curvas", "quanto_texto", "historia", "ablacoes",
            "sentimento", "diario", "escada", "pretreino", "regua", "velocidade",
            "corrida"} <= {p.stem for p in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_o_resultado_e_das_definicoes_de_hoje(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    now = registro.fingerprint(result["definições"]["usadas"])
    assert now == result["definições"]["sha256"], f"rode de novo: {result['comando']}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_o_resultado_diz_de_onde_veio(path):
    text = path.read_text(encoding="utf-8")
    result = json.loads(text)
    assert {"comando", "sementes", "versões", "máquina", "data", "medidas"} <= set(result)
    script = re.fullmatch(r"python (tests/benchmarks/\w+\.py).*", result["comando"])[1]
    assert (pecas.ROOT / script).is_file()
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", result["data"])
    assert not re.search(r"/(root|home|work|tmp|Users)\b", text), "caminho de uma máquina"


def test_o_bpe_cumpre_o_prometido():
    measured = load("bpe")["medidas"]
    assert measured["nosso_sobre_rust"]["mediana"] <= 5
    assert measured["recontagem_sobre_nosso"] >= 25
    assert measured["mesmas_fusões_que_a_recontagem"] is True
    assert load("bpe")["tarefa"]["bytes"] >= 1_000_000
    assert load("bpe")["tarefa"]["tokens"] == 2048


def test_a_vazao_cumpre_o_prometido():
    for size, measured in load("vazao")["medidas"].items():
        assert measured["nosso_sobre_transformers"]["mediana"] >= 1, size
        assert measured["nosso_sobre_transformers"]["repetições"] >= 10, size
        assert 0 < measured["fração_do_pico"] < 1, size


WITHOUT_CORPUS = {"bpe", "vazao", "velocidade"}   # medem tempo


@pytest.mark.parametrize("path", [p for p in FILES if p.stem not in WITHOUT_CORPUS],
                         ids=lambda p: p.stem)
def test_o_resultado_e_do_corpus_de_hoje(path):
    import corpus

    result, now = json.loads(path.read_text(encoding="utf-8")), corpus.sums()
    told = result["tarefa"]["dados"]
    told = told.get("02-texto-vira-numero/corpus", told)
    assert told
    for file, digest in told.items():
        assert digest == now[Path(file).name], f"rode de novo: {result['comando']}"


# O que só corre quando algo dá errado, ou grava: não muda medida nenhuma.
NOT_MEASURED = {"CHECKPOINT_KEYS", "Diverged", "KVCache", "divergence", "fingerprint",
                "first_sick_part", "load_checkpoint", "restore", "save_checkpoint",
                "sick_weight", "training_state"}


def outer_names(source: str) -> set[str]:
    """Os nomes de fora que uma definição lê."""

    def read(table) -> set[str]:
        here = {s.get_name() for s in table.get_symbols() if s.is_global()}
        return here.union(*map(read, table.get_children()))

    return read(symtable.symtable(source, "definição", "exec"))


@functools.cache
def shelf() -> dict[str, dict]:
    """O que há em cada caderno: {capítulo: {nome: (onde nasceu, texto)}}."""
    return {n: {d.name: (d.promise or n, d.source) for d in pecas.definitions(path)}
            for n, path in pecas.notebooks().items()}


def reached(used: dict[str, list[str]]) -> set[tuple[str, str]]:
    """As definições de `used`, o que elas leem, e o que estas leem: (capítulo, nome)."""
    books = shelf()
    found, todo = set(), [(n, name) for n, names in used.items() for name in names]
    while todo:
        n, name = todo.pop()
        if (n, name) not in found:
            found.add((n, name))
            others = outer_names(books[n][name][1]) & set(books[n]) - NOT_MEASURED
            todo += [(books[n][other][0], other) for other in others]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_o_carimbo_alcanca_tudo_o_que_as_definicoes_usam(path):
    used = json.loads(path.read_text(encoding="utf-8"))["definições"]["usadas"]
    stamped = {(n, name) for n, names in used.items() for name in names}
    assert reached(used) - stamped == set()


def test_a_curva_do_corpus_nao_fica_abaixo_da_do_texto_publico():
    curves = load("curvas")["medidas"]
    ours, other = curves["Barro Doce"], curves["Declaração Universal"]
    for key in ("distintas", "bigramas"):
        for n, count in zip(other["palavras"], other[key], strict=True):
            assert ours[key][ours["palavras"].index(n)] >= count, (key, n)


def test_mais_texto_faz_um_modelo_melhor():
    measured = load("quanto_texto")["medidas"]
    few, all_of_it = measured["200 KB"]["execuções"], measured["corpus inteiro"]["execuções"]
    assert measured["200 KB"]["bytes"] < 210_000 and measured["corpus inteiro"]["bytes"] > 2e6
    assert max(r["bits_por_byte"] for r in all_of_it) < min(r["bits_por_byte"] for r in few)
    for key in ("lacunas", "pares"):
        assert min(r[key]["valor"] for r in all_of_it) > max(r[key]["valor"] for r in few), key


# --- o conferidor vê uma definição que mudou -------------------------------------------


@pytest.fixture
def books(tmp_path) -> Path:
    """Uma cópia dos cadernos de verdade, para mexer."""
    for path in pecas.notebooks().values():
        target = tmp_path / path.parent.name / path.name
        target.parent.mkdir()
        target.write_bytes(path.read_bytes())
    return tmp_path


def edit(root: Path, chapter: str, old: str, new: str) -> None:
    path = pecas.notebooks(root)[chapter]
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_mudar_uma_definicao_invalida_o_resultado(books):
    used = load("bpe")["definições"]["usadas"]
    before = registro.fingerprint(used, books)
    assert before == registro.fingerprint(used)
    edit(books, "02", "def merge_pair(ids: list[int]", "def merge_pair(ids: list")
    assert registro.fingerprint(used, books) != before


def test_mudar_um_comentario_nao_invalida(books):
    used = load("vazao")["definições"]["usadas"]
    before = registro.fingerprint(used, books)
    edit(books, "04", "Vaswani et al., 2017", "Vaswani e outros, 2017")
    assert registro.fingerprint(used, books) == before


def test_definicao_que_sumiu_e_acusada(books):
    with pytest.raises(ValueError, match="já não ensina"):
        registro.fingerprint({"02": ["merge_pair", "nunca_existiu"]}, books)


def test_a_historia_tem_tres_sementes_no_mesmo_orcamento():
    result = load("historia")
    measured, task = result["medidas"], result["tarefa"]
    for name in ("MLP", "RNN", "LSTM", "Transformer"):
        runs = measured[name]["execuções"]
        assert [r["semente"] for r in runs] == result["sementes"] and len(runs) >= 3
        assert measured[name]["números"] <= task["parâmetros"]
    bits = {n: [r["bits_por_byte"] for r in m["execuções"]] for n, m in measured.items()}
    grams = ["uniforme", "unigrama", "bigrama", "trigrama", "4-grama", "5-grama"]
    assert sorted(grams, key=lambda n: -bits[n][0]) == grams  # mais contexto, menos surpresa
    for name in ("MLP", "RNN", "LSTM", "Transformer"):
        assert max(bits[name]) < bits["trigrama"][0], name
