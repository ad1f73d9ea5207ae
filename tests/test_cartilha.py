"""A Cartilha da Professora Marta está inteira, e o validador vê cada defeito plantado."""

import copy
import json

import cartilha as N
import corpus as C
import dados as D
import pytest


@pytest.fixture(scope="module")
def parts():
    return N.load()[0]


@pytest.fixture(scope="module")
def rows(parts):
    return [row for part in parts.values() for row in part]


def world_and_secret():
    return (json.loads((C.FOLDER / name).read_text(encoding="utf-8"))
            for name in ("mundo.json", "combinacoes.json"))


def test_cartilha_sem_problemas():
    assert N.check() == []


def test_somas_e_cartao_em_dia(parts):
    assert (N.FOLDER / "SHA256SUMS").read_text(encoding="utf-8") == D.manifest(N.FOLDER), (
        "rode: python tests/cartilha.py --carimbar")
    assert (N.FOLDER / "README.md").read_text(encoding="utf-8") == N.card(parts)


def test_e_denso_no_que_o_corpus_tem_pouco(parts, rows):
    """Por byte, cada gatilho aparece bem mais na cartilha que no corpus."""
    book = [r for part in C.load()[0].values() for r in part]
    sizes = [sum(len(r["texto"].encode()) for r in group) for group in (rows, book)]
    assert sizes[0] >= 1_000_000
    here, there = N.triggers(rows), N.triggers(book)
    for name in N.TRIGGERS:
        assert here[name] / sizes[0] > 2 * there[name] / sizes[1], name


def test_datasets_le_o_cartilha(parts):
    datasets = pytest.importorskip("datasets")
    ds = datasets.load_dataset(
        "json", data_files={p: str(N.FOLDER / f"{p}.jsonl") for p in N.PARTS})
    assert {p: len(ds[p]) for p in N.PARTS} == {p: len(parts[p]) for p in N.PARTS}
    assert ds["treino"].column_names == list(C.FIELDS)


def first(parts):
    return parts["treino"][0]


def one_dictation(parts):
    return next(row for row in parts["treino"] if row["genero"] == "ditado")


def test_ve_defeito_de_documento(parts):
    bad = copy.deepcopy(parts)
    first(bad).update(id="bd-0001", texto="Curto demais.")
    found = " ".join(C.check_rows(bad, "cm"))
    assert "id fora do formato cm-0000" in found and "caracteres, fora de" in found


def test_ve_copia_do_corpus_e_de_si_mesmo(parts):
    bad, book = copy.deepcopy(parts), C.load()[0]["treino"]
    first(bad)["texto"] = book[3]["texto"][:900]
    bad["treino"][1]["texto"] = bad["validacao"][0]["texto"]
    found = " ".join(N.check_variety(bad, book))
    assert f"{first(bad)['id']} e {book[3]['id']}" in found
    assert bad["treino"][1]["id"] in found and "trechos em comum" in found


def test_ve_molde_genero_estranho_e_partes_desiguais(parts):
    bad = copy.deepcopy(parts)
    line = one_dictation(bad)["texto"].splitlines()[0]
    for row in bad["treino"][:40]:
        row["texto"] += "\nQuero que todos venham à praça para que a festa comece logo.\n" + line
        row["genero"] = "ditado"
    bad["treino"][50]["genero"] = "prova"
    bad["validacao"] = bad["validacao"][:1]
    found = " ".join(N.check_variety(bad, []))
    for hint in ("ditados.", "o gênero prova", "longe de 5 %", "O trecho «"):
        assert hint in found, hint


def test_ve_frase_de_prova(rows):
    asked = N.exams()
    pair = D.load(D.SETS["pares"])[0]["pares_minimos"][0]
    cloze = D.load(D.SETS["lacunas"])[0]["lacunas"][0]
    spare = N.exam()[0][0]
    for sentence in (pair["certa"], pair["errada"], spare["certa"], spare["errada"],
                     cloze["texto"].replace(D.GAP, cloze["resposta"])):
        row = rows[0] | {"texto": f"Era cedo. {sentence.upper()} Depois choveu."}
        assert N.check_exams([row], asked), sentence
    assert N.check_exams(rows[:5], asked) == []


def test_ve_combinacao_guardada_e_fato_trocado(rows):
    world, secret = world_and_secret()
    people = {p["id"]: p for p in world["pessoas"]}
    pair = secret[0]
    text = f"{people[pair['pessoa']]['chamado']} foi à {C.PLACE_NAMES[pair['lugar']]}."
    assert N.check_combinations([rows[0] | {"texto": text}], world, secret)
    assert C.check_facts([rows[0] | {"texto": "Seu Anselmo, o barbeiro, riu."}], world)


def test_as_provas_contam_o_cartilha_como_treino(monkeypatch):
    """Uma frase de prova posta na cartilha derruba também a conferência dos conjuntos."""
    pair = D.load(D.SETS["pares"])[0]["pares_minimos"][0]
    row = {"id": "cm-0001", "genero": "ditado", "titulo": "x", "texto": pair["certa"]}
    monkeypatch.setattr(D, "primer_rows", lambda: [row])
    assert any("a frase certa está no corpus" in problem for problem in D.check())


def test_a_conferencia_inteira_chama_cada_uma(parts, monkeypatch):
    """`check` podia esquecer uma das conferências: numa cartilha boa, todas dão lista vazia."""
    bad, (world, secret) = copy.deepcopy(parts), world_and_secret()
    people = {p["id"]: p for p in world["pessoas"]}
    pair, spare = secret[0], N.exam()[0][0]
    met = f"{people[pair['pessoa']]['chamado']} foi à {C.PLACE_NAMES[pair['lugar']]}."
    first(bad)["genero"] = "prova"
    for row, said in zip(bad["treino"], (
            met, spare["certa"], "Seu Anselmo, o barbeiro, riu."), strict=False):
        row["texto"] += "\n" + said
    bad["treino"][3]["texto"] = "Curto demais."
    monkeypatch.setattr(N, "load", lambda folder=None: (bad, ["linha ilegível"]))
    found = " ".join(N.check())
    for hint in ("linha ilegível", "caracteres, fora de", "o gênero prova",
                 "tem uma frase da prova", "par guardado para o teste",
                 "a frase certa está no corpus", "Anselmo"):
        assert hint in found, hint


def test_conta_os_gatilhos_como_diz():
    rows = [{"texto": "Vou embora. Embora chova, fico. Caso da vizinha; caso falte sal."},
            {"texto": "Antes que o sol saia, peço que durmam."}]
    told = N.triggers(rows)
    assert {name: n for name, n in told.items() if n} == {
        "embora": 1, "caso": 1, "antes que": 1, "pedir que": 1}


def test_a_ficha_diz_o_que_a_reserva_tem_da_cartilha(rows):
    exam, book = N.exam()[0], [r for part in C.load()[0].values() for r in part]
    grams = [g for r in exam for g in C.grams(r["certa"], 4)]
    said = []
    for shelf in (rows, book):
        known = set().union(*(C.grams(r["texto"], 4) for r in shelf))
        said.append(D.pct(sum(g in known for g in grams) / len(grams)))
    text = (N.FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{said[0]} estão na cartilha e {said[1]} no corpus" in text


def test_ve_prova_de_reserva_que_nao_serve(rows):
    exam, problems = N.exam()
    assert problems == []
    book = " ".join(D.plain(r["texto"]) for r in rows)
    assert N.check_exam(exam, book) == []
    other = D.load(D.SETS["pares"])[0]["pares_minimos"][0]
    bad = [exam[0] | {"certa": other["certa"], "errada": other["errada"]},
           exam[1] | {"errada": exam[1]["certa"]}, *exam[2:]]
    found = " ".join(N.check_exam(bad, book))
    assert other["id"] in found and "as duas frases são iguais" in found
    named = " ".join(N.check_exam([r | {"fenomeno": "crase"} for r in exam], book))
    assert "crase" in named and "o mínimo é" in named
    said = exam[0]["certa"]
    assert any("está no corpus" in p for p in N.check_exam(exam, book + " " + D.plain(said)))


# ------------------------------------------------------------------ a segunda etapa


@pytest.fixture(scope="module")
def second():
    """O programa da segunda etapa, sem rodar nada."""
    import sys

    sys.path.insert(0, str(C.ROOT / "tests" / "benchmarks"))
    import segunda_etapa

    return segunda_etapa


@pytest.mark.parametrize("old, new, copies", [(900, 400, 2), (900, 350, 3), (100, 900, 1)])
def test_a_mistura_pesa_perto_do_mesmo(second, old, new, copies):
    torch = pytest.importorskip("torch")
    corpus, primer = torch.arange(old), -1 - torch.arange(new)
    mixed = second.mixed(corpus, primer)
    assert torch.equal(mixed[mixed >= 0], corpus)
    assert (mixed < 0).sum() == copies * new
    assert all((mixed == token).sum() == copies for token in primer[:3])


def test_os_ramos_partem_dos_pesos_gravados_com_meia_taxa(second, c05):
    import types

    torch = pytest.importorskip("torch")
    asked = second.options_of(["--passos", "40"])
    bench = types.SimpleNamespace(c05=c05)
    model, options, optimizer = second.build_from(
        bench, second.FOLDER, asked, 10, second.SCALE, torch.device("cpu"))
    saved, _ = c05.load_model(second.FOLDER)
    for name, weights in saved.state_dict().items():
        assert torch.equal(weights, model.state_dict()[name]), name
    fresh = c05.make_modern_optimizer(saved, c05.modern_options(40))
    peaks = [[g["lr_scale"] * c05.learning_rate_at(options.warmup_steps, o)
              for g in opt.param_groups]
             for opt, o in ((optimizer, options), (fresh, c05.modern_options(40)))]
    assert peaks[0] == pytest.approx([second.SCALE * peak for peak in peaks[1]])


def test_so_o_texto_separa_os_ramos(second, tmp_path, monkeypatch):
    """O que cada ramo lê, o que vigia, com que taxas, e o que conta como lido."""
    import types

    torch = pytest.importorskip("torch")
    model = torch.nn.Module()
    model.config = types.SimpleNamespace(context_length=8)
    options, ran = types.SimpleNamespace(batch_size=16), {}
    ids = {"treino": -1 - torch.arange(40), "validacao": torch.tensor([-99])}
    texts = {"treino": ["lido"], "validacao": ["né"]}
    corpus = {"treino": torch.arange(90), "validacao": torch.tensor([500, 501])}

    def train(model, read, options, watched, size, checkpoint, optimizer):
        ran["agora"] = (read, watched, size)
        return [{"seconds": 1.0}]

    bench = types.SimpleNamespace(
        ids={"hoje": corpus}, bytes={"validacao": 10}, tokenizer=None, c05=types.SimpleNamespace(
            train=train, save_model=lambda *_: None, load_model=lambda folder: (model, None)))
    monkeypatch.setattr(second, "SCRATCH", tmp_path)
    monkeypatch.setattr(second, "primer", lambda bench: (ids, texts))
    monkeypatch.setattr(second, "on_primer", lambda bench, model: 0.0)
    monkeypatch.setattr(second, "measure", lambda bench, model, also: {"lido": also})
    monkeypatch.setattr(second, "build_from", lambda bench, folder, asked, every, scale, device: (
        (model, options, ran.update(partida=(folder, scale)))))
    asked = second.options_of(["--passos", "12", "--nucleos", "1"])
    wanted = {"controle": (corpus["treino"], []),
              "cartilha": (second.mixed(corpus["treino"], ids["treino"]), ["lido"])}
    for name, (text, known) in wanted.items():
        told = second.branch(bench, asked, name)
        read, watched, size = ran["agora"]
        assert torch.equal(read, text), name
        assert watched.tolist() == [500, 501, -99] and size == 10 + len("né".encode())
        assert ran["partida"] == (second.FOLDER, 0.5)
        assert told["medidas"]["lido"] == known, name
        assert told["treino"]["tokens"] == 12 * 16 * 8 and told["treino"]["texto"] == len(text)


@pytest.mark.parametrize("costs, share", [
    ({0.0: 1.32, 0.5: 1.303, 0.75: 1.3049, 1.0: 1.312}, 0.75),
    ({0.0: 1.30, 0.5: 1.303, 0.75: 1.31, 1.0: 1.32}, 0.0),
    ({0.0: 1.33, 0.5: 1.32, 0.75: 1.31, 1.0: 1.30}, 1.0)])
def test_a_maior_fatia_que_nao_custa(second, costs, share):
    notes = {s: {"corpus": cost, "cartilha": 1.0} for s, cost in costs.items()}
    assert second.best_share(notes) == share


def test_a_media_dos_pesos(second, c05, tmp_path, monkeypatch):
    import types

    torch = pytest.importorskip("torch")
    models = {name: c05.ModernGPT(c05.ModernConfig(300, 8, 8, 2, 1)) for name in second.BRANCHES}
    pairs = {}
    for name, model in models.items():
        for p in model.parameters():
            torch.nn.init.normal_(p)
        pairs[f"modelo-{name}"] = model
    monkeypatch.setattr(second, "SCRATCH", tmp_path)
    bench = types.SimpleNamespace(c05=types.SimpleNamespace(
        load_model=lambda folder: (pairs[folder.name], None)))
    one, other = (models[n].state_dict() for n in second.BRANCHES)
    want = {k: 0.75 * one[k] + 0.25 * other[k] for k in one}
    for key, weights in second.blended(bench, 0.75).state_dict().items():
        assert torch.allclose(weights, want[key]), key


def test_o_ramo_de_outro_ensaio_nao_serve(second, tmp_path, monkeypatch):
    """Um ramo de cem passos, esquecido no disco, não passa por um de 2.400."""
    monkeypatch.setattr(second, "SCRATCH", tmp_path)
    monkeypatch.setattr(second, "branch", lambda bench, asked, name: {
        "treino": {"passos": asked.passos, "semente": asked.semente}, "novo": True})
    short, long = (second.options_of(["--passos", n]) for n in ("100", "2400"))
    assert second.taken(None, short, "controle")["novo"]
    assert second.taken(None, short, "controle") == json.loads(
        (tmp_path / "cartilha-controle.json").read_text(encoding="utf-8"))
    assert second.taken(None, long, "controle")["treino"]["passos"] == 2400


def test_a_reserva_e_a_prova_da_cartilha(second):
    import types

    bench = types.SimpleNamespace(tokenizer=None, c05=types.SimpleNamespace(
        pair_accuracy=lambda model, tokenizer, rows: rows))
    assert second.on_reserve(bench, None) == N.exam()[0]


def test_a_segunda_etapa_nao_se_repete_por_engano(second, capsys):
    before = {p.name: p.stat().st_mtime_ns for p in second.FOLDER.iterdir()}
    assert second.main([]) == 1
    assert "treine antes a primeira" in capsys.readouterr().err
    assert before == {p.name: p.stat().st_mtime_ns for p in second.FOLDER.iterdir()}


def test_quantas_vezes_por_milhao_de_bytes(c05):
    text = "Antes que chova, corra. É preciso que a noite caia ANTES QUE o galo cante."
    assert c05.per_megabyte(text, "antes que") == pytest.approx(
        2e6 / len(text.encode("utf-8")))
    assert c05.per_megabyte(2 * text, "antes que") == pytest.approx(
        c05.per_megabyte(text, "antes que"))
    assert c05.per_megabyte("um doce para quem vem, e comparaque", "para que") == 0
