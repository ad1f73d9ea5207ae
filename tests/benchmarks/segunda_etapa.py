"""A segunda etapa do modelo base: o mesmo treino, com a Cartilha da Professora Marta e sem ela.

    python tests/benchmarks/base.py --passos 5000              a primeira etapa, só com o corpus
    python tests/benchmarks/segunda_etapa.py                   a segunda: o modelo e a comparação
    python tests/benchmarks/segunda_etapa.py --ramo controle   só um dos ramos
    python tests/benchmarks/segunda_etapa.py --ficha           reescreve só o cartão do modelo

Os dois ramos partem dos pesos da primeira etapa e dão os mesmos passos, com lotes do mesmo tamanho e
a mesma agenda; só muda o texto. O ramo `cartilha` lê o corpus e a cartilha, repetida até que pese
tanto quanto ele; o ramo `controle`, só o corpus. Ficam os pesos da melhor avaliação, medida nas
validações do corpus e da cartilha, juntas. As taxas reaquecem até a metade das da primeira etapa.
O modelo base é a média dos pesos dos dois ramos (Wortsman et al., 2022), com a maior fatia do ramo
`cartilha` que, na validação do corpus, fica a até SLACK da melhor das fatias SHARES. O que todos
sabem, e um trigrama que leu os mesmos textos, vai para `resultados/segunda_etapa.json`. A prova de
reserva foi escrita depois, por quem não viu a outra nem a cartilha. Um ramo interrompido continua
do seu checkpoint.
"""

import argparse
import datetime
import json
import sys
import time

import torch
from base import FOLDER, build_from, card, measure, write_sums
from pretreino import USED, VOCABULARY, Bench
from registro import cores, machine, pecas, save, versions

BRANCHES = ("cartilha", "controle")
KEPT = ("bits_por_byte", "lacunas", "pares", "combinações", "copiado")
SCRATCH = pecas.ROOT / "05-pre-treinamento" / "saida"
DEFINITIONS = {
    **USED, "05": sorted({*USED["05"], "copied_share", "word_grams", "generate", "prompt_ids",
                          "seeded", "filter_logits", "penalize", "save_model"})}
SCALE = 0.5  # das taxas da primeira etapa
SHARES, SLACK = (0.0, 0.25, 0.5, 0.75, 1.0), 0.002  # da média; bits por byte


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passos", type=int, default=2400)
    parser.add_argument("--ramo", choices=BRANCHES)
    parser.add_argument("--ficha", action="store_true")
    parser.add_argument("--nucleos", type=int, default=cores())
    parser.add_argument("--semente", type=int, default=1891)
    parser.add_argument("--lote", type=int, default=16)
    parser.add_argument("--avaliacoes", type=int, default=6)
    return parser.parse_args(arguments)


def primer(bench: Bench) -> tuple[dict[str, torch.Tensor], dict[str, list[str]]]:
    """(ids, textos) de cada parte da cartilha."""
    import cartilha

    parts, problems = cartilha.load()
    if problems:
        raise SystemExit("\n".join(problems))
    texts = {p: [bench.c02.document_text(r) for r in rows] for p, rows in parts.items()}
    return {p: bench.c02.token_stream(bench.tokenizer, t) for p, t in texts.items()}, texts


def n_bytes(texts: list[str]) -> int:
    return sum(len(text.encode("utf-8")) for text in texts)


def mixed(corpus: torch.Tensor, primer: torch.Tensor) -> torch.Tensor:
    """O corpus e tantas cópias da cartilha quantas o fazem pesar perto do mesmo. (N,) -> (M,)."""
    return torch.cat([corpus] + [primer] * max(1, round(len(corpus) / len(primer))))


def branch(bench: Bench, asked, name: str) -> dict:
    """Treina um ramo e mede: {"treino", "história", "medidas"}. Os pesos ficam em SCRATCH."""
    c, (ids, texts) = bench.c05, primer(bench)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    known = bench.ids["hoje"]
    read = mixed(known["treino"], ids["treino"]) if name == "cartilha" else known["treino"]
    watched = torch.cat([known["validacao"], ids["validacao"]])
    every = max(1, asked.passos // asked.avaliacoes)
    model, options, optimizer = build_from(bench, FOLDER, asked, every, SCALE, device)
    SCRATCH.mkdir(exist_ok=True)
    checkpoint = SCRATCH / f"cartilha-{name}.pt"
    began = time.process_time()
    history = c.train(model, read, options, watched,
                      bench.bytes["validacao"] + n_bytes(texts["validacao"]), checkpoint,
                      optimizer=optimizer)
    c.save_model(model.cpu().eval(), bench.tokenizer, SCRATCH / f"modelo-{name}")
    model, _ = c.load_model(SCRATCH / f"modelo-{name}")
    run = {"passos": asked.passos, "segundos": history[-1]["seconds"],
           "processador": round(time.process_time() - began), "semente": asked.semente,
           "onde": "uma GPU" if device.type == "cuda" else "um núcleo de CPU"
           if asked.nucleos == 1 else f"{asked.nucleos} núcleos de CPU",
           "tokens": asked.passos * options.batch_size * model.config.context_length,
           "texto": len(read), "máquina": machine(), "data": datetime.date.today().isoformat(),
           "versões": versions("torch", "numpy")}
    checkpoint.unlink(missing_ok=True)
    known = texts["treino"] if name == "cartilha" else []
    return {"treino": run, "história": history,
            "medidas": measure(bench, model, known) | {"cartilha": on_primer(bench, model)}}


def on_primer(bench: Bench, model) -> float:
    """Bits por byte na validação da cartilha."""
    ids, texts = primer(bench)
    score = bench.c05.evaluate(model, ids["validacao"], n_bytes(texts["validacao"]))
    return round(score.bits_per_byte, 4)


def on_reserve(bench: Bench, model) -> dict:
    """Os acertos na prova de reserva, escrita por quem não viu a outra nem a cartilha."""
    import cartilha

    rows, problems = cartilha.exam()
    if problems:
        raise SystemExit("\n".join(problems))
    return bench.c05.pair_accuracy(model, bench.tokenizer, rows)


def blended(bench: Bench, share: float):
    """A média dos pesos dos dois ramos: `share` do ramo cartilha, o resto do controle."""
    (model, _), (other, _) = (bench.c05.load_model(SCRATCH / f"modelo-{name}")
                              for name in BRANCHES)
    theirs = other.state_dict()
    model.load_state_dict({name: share * w + (1 - share) * theirs[name]
                           for name, w in model.state_dict().items()})
    return model


def best_share(notes: dict[float, dict], slack: float = SLACK) -> float:
    """A maior fatia a até `slack` da melhor validação do corpus."""
    limit = min(note["corpus"] for note in notes.values()) + slack
    return max(share for share, note in notes.items() if note["corpus"] <= limit)


def weighed(bench: Bench) -> tuple[float, dict[float, dict]]:
    """(a fatia escolhida, as duas validações de cada fatia). O teste e as provas não entram."""
    notes = {}
    for share in SHARES:
        model = blended(bench, share)
        score = bench.c05.evaluate(model, bench.ids["hoje"]["validacao"],
                                   bench.bytes["validacao"])
        notes[share] = {"corpus": round(score.bits_per_byte, 4),
                        "cartilha": on_primer(bench, model)}
    return best_share(notes), notes


def taken(bench: Bench, asked, name: str) -> dict:
    """O ramo já treinado por este comando, com estes passos e esta semente, ou treinado agora."""
    path = SCRATCH / f"cartilha-{name}.json"
    if path.is_file():
        old = json.loads(path.read_text(encoding="utf-8"))
        if all(old["treino"][k] == getattr(asked, k) for k in ("passos", "semente")):
            return old
    result = branch(bench, asked, name)
    path.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
    return result


def main(arguments: list[str]) -> int:
    asked = options_of(arguments)
    log_path = FOLDER / "treino.json"
    log = json.loads(log_path.read_text(encoding="utf-8"))
    if asked.ficha:
        (FOLDER / "README.md").write_text(card(log), encoding="utf-8")
        write_sums()
        return 0
    if "segunda etapa" in log:
        print("O modelo base gravado já passou pela segunda etapa. Para refazê-la, treine antes a "
              "primeira: python tests/benchmarks/base.py --passos 5000", file=sys.stderr)
        return 1
    import cartilha
    import dados

    torch.set_num_threads(asked.nucleos)
    bench = Bench()
    if asked.ramo:
        taken(bench, asked, asked.ramo)
        return 0
    runs = {name: taken(bench, asked, name) for name in BRANCHES}
    first, _ = bench.c05.load_model(FOLDER)
    before = {k: log["medidas"][k] for k in KEPT} | {
        "cartilha": on_primer(bench, first), "reserva": on_reserve(bench, first)}
    for name, run in runs.items():
        model, _ = bench.c05.load_model(SCRATCH / f"modelo-{name}")
        run["medidas"]["reserva"] = on_reserve(bench, model)
    share, notes = weighed(bench)
    bench.c05.save_model(blended(bench, share), bench.tokenizer, SCRATCH / "modelo-media")
    model, tokenizer = bench.c05.load_model(SCRATCH / "modelo-media")
    final = measure(bench, model, primer(bench)[1]["treino"]) | {
        "cartilha": on_primer(bench, model), "reserva": on_reserve(bench, model)}
    read = torch.cat([bench.ids["hoje"]["treino"], primer(bench)[0]["treino"]])
    counter = {k: final["trigrama"][k] for k in ("lacunas", "pares")} | {
        "reserva": on_reserve(bench, bench.c05.NGram(read, 3, VOCABULARY))}
    stages = {"primeira etapa": before} | {
        name: {k: m[k] for k in (*KEPT, "cartilha", "reserva")} for name, m in
        ({n: run["medidas"] for n, run in runs.items()} | {"média": final}).items()}
    save("segunda_etapa", DEFINITIONS, ["torch", "numpy"], sementes=[asked.semente],
         tarefa={"passos": asked.passos, "escala das taxas": SCALE,
                 "dados": {n: h for n, h in bench.sums.items() if n.endswith(".jsonl")},
                 "cartilha": dados.sums(cartilha.FOLDER)},
         medidas={"trigrama": counter, **stages, "fatias": notes, "fatia": share},
         treinos={name: {"treino": run["treino"], "história": run["história"]}
                  for name, run in runs.items()})
    second = runs["cartilha"]
    second["treino"] |= {"fatia": share, "comando": " ".join(
        ["python tests/benchmarks/segunda_etapa.py", *arguments])}
    bench.c05.save_model(model, tokenizer, FOLDER)
    log |= {"segunda etapa": second["treino"], "antes": before, "medidas": final,
            "história da segunda etapa": second["história"]}
    log_path.write_text(json.dumps(log, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (FOLDER / "README.md").write_text(card(log), encoding="utf-8")
    write_sums()
    for name in BRANCHES:
        (SCRATCH / f"cartilha-{name}.json").unlink()
    for name, m in stages.items():
        print(f"{name}: teste {m['bits_por_byte']['teste']}  cartilha {m['cartilha']}  "
              f"lacunas {m['lacunas']['todas']['valor']}  "
              f"pares {m['pares']['média dos fenômenos']}  "
              f"reserva {m['reserva']['média dos fenômenos']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
