"""Treina o modelo base do curso e grava 05-pre-treinamento/modelo/ com o seu cartão.

    python tests/benchmarks/base.py --passos 5000 [--semente 1891] [--canais 256] [--blocos 4]
    python tests/benchmarks/base.py --segundos 3600 --nucleos 2
    python tests/benchmarks/base.py --ficha         reescreve só o cartão, do que se gravou

As definições são as dos cadernos. Numa máquina com GPU ela é usada. Com `--passos` o comando é
reproduzível; sem ele, um ensaio de quinze segundos diz quantos passos cabem em `--segundos`. O
treino grava um checkpoint a cada avaliação e, interrompido, continua dele; ficam os pesos da melhor
avaliação na validação. O teste só é lido no fim, para o cartão.
"""

import argparse
import datetime
import hashlib
import json
import sys
import textwrap
import time
from pathlib import Path

import torch
from pretreino import PARTS, VOCABULARY, Bench
from registro import cores, machine, pecas, versions

FOLDER = pecas.ROOT / "05-pre-treinamento" / "modelo"
LIMIT = 16_000_000  # bytes, a pasta inteira


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segundos", type=float, default=3600)
    parser.add_argument("--passos", type=int, default=0)
    parser.add_argument("--ficha", action="store_true")
    parser.add_argument("--nucleos", type=int, default=cores())
    parser.add_argument("--semente", type=int, default=1891)
    parser.add_argument("--canais", type=int, default=256)
    parser.add_argument("--blocos", type=int, default=4)
    parser.add_argument("--cabecas", type=int, default=4)
    parser.add_argument("--contexto", type=int, default=128)
    parser.add_argument("--memoria", type=int, default=12_288)
    parser.add_argument("--dropout", type=float, default=0.15)
    parser.add_argument("--lote", type=int, default=16)
    parser.add_argument("--avaliacoes", type=int, default=12)
    return parser.parse_args(arguments)


def build(bench: Bench, asked, steps: int, device):
    """(modelo, opções, otimizador) do modelo base."""
    c = bench.c05
    config = c.ModernConfig(VOCABULARY, asked.contexto, asked.canais, asked.cabecas,
                            asked.blocos, asked.dropout, asked.memoria)
    every = max(1, steps // asked.avaliacoes)
    options = c.modern_options(steps, asked.semente, batch_size=asked.lote, eval_every=every,
                               checkpoint_every=every)
    torch.manual_seed(asked.semente)
    model = c.ModernGPT(config).to(device)
    return model, options, c.make_modern_optimizer(model, options)


def build_from(bench: Bench, folder: Path, asked, every: int, scale: float, device):
    """(modelo, opções, otimizador) a partir dos pesos de uma pasta, com `scale` das taxas."""
    c = bench.c05
    model, _ = c.load_model(folder, device)
    options = c.modern_options(asked.passos, asked.semente, batch_size=asked.lote,
                               learning_rate=scale * 6e-3, eval_every=every,
                               checkpoint_every=every)
    return model, options, c.make_modern_optimizer(
        model, options, muon_lr=scale * 0.02, embedding_lr=scale * 0.05, head_lr=scale * 0.006)


def steps_in(bench: Bench, asked, device, seconds: float = 15.0) -> int:
    """Quantos passos cabem no tempo pedido."""
    model, options, optimizer = build(bench, asked, 100_000, device)
    tools = bench.c05.mixed_precision(device)
    ids, step, began = bench.ids["hoje"]["treino"], 0, 0.0
    while step < 20 or time.perf_counter() - began < seconds:
        if step == 10:
            began = time.perf_counter()
        bench.c05.train_step(model, optimizer, ids, step, options, *tools)
        step += 1
    return round(asked.segundos * (step - 10) / (time.perf_counter() - began))


def samples(bench: Bench, model, n: int = 10) -> list[str]:
    """Dez documentos sem escolha: sementes 0 a 9, temperatura 0,8, top-p 0,95."""
    c, texts = bench.c05, []
    for seed in range(n):
        ids = c.generate(model, c.prompt_ids(bench.tokenizer), 160, 0.8, top_p=0.95,
                         generator=torch.Generator().manual_seed(seed))
        texts.append(bench.tokenizer.decode(ids[0, 1:].tolist()).split("<|fim|>")[0].strip())
    return texts


def starts(texts: list[str], words: int = 60) -> list[str]:
    """Os começos dos textos, do mesmo tamanho nos dois lados da comparação."""
    return [" ".join(text.split()[:words]) for text in texts]


def measure(bench: Bench, model, also_read: list[str] = ()) -> dict:
    """Tudo o que o cartão diz, medido no teste e nos conjuntos de medida.

    also_read: o que o modelo leu além do treino do corpus; o trigrama também o lê, e
    repeti-lo conta como cópia.
    """
    c, tokens = bench.c05, bench.ids["hoje"]
    texts = {p: [bench.c02.document_text(r) for r in bench.parts[p]] for p in PARTS}
    known, written = c.word_grams([*texts["treino"], *also_read]), samples(bench, model, 60)
    read = tokens["treino"]
    if also_read:
        read = torch.cat([read, bench.c02.token_stream(bench.tokenizer, also_read)])
    score = {p: c.evaluate(model, tokens[p], bench.bytes[p]).bits_per_byte
             for p in ("validacao", "teste")}
    return {"bits_por_byte": {p: round(v, 4) for p, v in score.items()},
            **bench.marks(model),
            "trigrama": bench.marks(c.NGram(read, 3, VOCABULARY)),
            "copiado": {"modelo": c.copied_share(starts(written), known),
                        "corpus": c.copied_share(starts(texts["teste"]), known)},
            "amostras": written[:10]}


def card(log: dict) -> str:
    """O cartão, em Markdown: tudo o que ele afirma vem do que `treino.json` gravou."""
    asked = options_of(log["treino"]["comando"].split()[2:])
    run, notes, later = log["treino"], log["medidas"], log.get("segunda etapa")

    def br(x: float, digits: int = 3) -> str:
        return f"{x:.{digits}f}".replace(".", ",")

    def pct(m: dict) -> str:
        return f"{br(100 * m['valor'], 1)}% [{br(100 * m['de'], 1)}; {br(100 * m['ate'], 1)}]"

    def mean(m: dict) -> str:
        return f"{br(100 * m['pares']['média dos fenômenos'], 1)}%"

    def thousands(n: int) -> str:
        return f"{n:,}".replace(",", ".")

    def told(run: dict, epochs: str) -> str:
        busy = (f" ({thousands(run['processador'])} de processador,\n  numa máquina que fazia "
                f"também outras coisas)" if run["processador"] < 0.98 * run["segundos"] else "")
        return (f"`{run['comando']}`;\n  {thousands(round(run['segundos']))} segundos de relógio "
                f"em {run['onde']}{busy},\n  {thousands(run['passos'])} passos, {epochs}, semente "
                f"{run.get('semente', asked.semente)}; {run['data']}.")

    rival, before = notes["trigrama"], log.get("antes")
    pairs, exam = notes["pares"], notes["combinações"]["prova cruzada"]
    whole = notes["combinações"]["documentos"]
    apart = whole["diferença"]
    seen, new = (exam[k]["valor"] if isinstance(exam[k], dict) else exam[k]
                 for k in ("visto", "novo"))

    def grouped(pick) -> str:
        """Uma linha por grupo, com a nota da primeira etapa ao lado, se houve segunda."""
        old = pick(before) if before else {}
        return "\n".join(
            f"| `{name}` | " + (f"{pct(old[name])} | " if before else "")
            + f"{pct(m)} | {m['itens']} |" for name, m in sorted(pick(notes).items()))

    head = "primeira etapa | hoje" if before else "acerto"
    lines = "---|---" if before else "---"
    weak = [f"`{name}`" for name, m in sorted(pairs["por_fenomeno"].items()) if m["de"] <= 0.5]
    unsure = [f"`{name}`" for name, m in sorted(notes["reserva"]["por_fenomeno"].items())
              if m["de"] <= 0.5] if later else []
    spare = f"; na prova de reserva, em: {', '.join(unsure)}" if unsure else ""
    shown = "\n\n".join(  # em bloco de código: o que o modelo inventa não é prosa do curso
        f"**Semente {i}**\n\n```text\n" + "\n".join(
            textwrap.fill(line, 88) for line in text.splitlines()) + "\n```"
        for i, text in enumerate(notes["amostras"]))
    origin = ("treinado só no corpus do curso,\npor um programa do repositório, com as definições "
              "do capítulo 05.")
    stages = f"- **Treino**: {told(run, br(run['epocas'], 1) + ' vezes o corpus')}"
    extra = ""
    if later:
        origin = ("treinado em duas etapas,\nprimeiro no corpus do curso, depois nele e na "
                  "[Cartilha da Professora Marta](../cartilha/), por\nprogramas do repositório, com as "
                  "definições do capítulo 05.")
        reads = br(later["tokens"] / later["texto"], 1)
        stages = (f"- **Primeira etapa**, só o corpus: "
                  f"{told(run, br(run['epocas'], 1) + ' vezes o corpus')}\n"
                  f"- **Segunda etapa**, o corpus e a cartilha, repetida até pesar perto do mesmo: "
                  f"{told(later, reads + ' vezes essa mistura')}\n  Os pesos gravados são a média "
                  f"dos desta etapa (fatia de {br(later['fatia'], 2)}) e dos do controle,\n"
                  f"  o gêmeo que deu os mesmos passos só com o corpus; a validação do corpus "
                  f"escolheu a fatia.\n  O controle custou outro tanto.")
        extra = (f"| prova de reserva, média dos fenômenos | "
                 f"{br(100 * notes['reserva']['média dos fenômenos'], 1)}% |\n"
                 f"| prova de reserva ao fim da primeira etapa | "
                 f"{br(100 * before['reserva']['média dos fenômenos'], 1)}% |\n"
                 f"| pares mínimos ao fim da primeira etapa | {mean(before)} |\n"
                 f"| lacunas ao fim da primeira etapa | {pct(before['lacunas']['todas'])} |\n"
                 f"| bits por byte no teste ao fim da primeira etapa | "
                 f"{br(before['bits_por_byte']['teste'])} |\n"
                 f"| bits por byte na validação da cartilha, primeira etapa | "
                 f"{br(before['cartilha'])} |\n"
                 f"| bits por byte na validação da cartilha, hoje | {br(notes['cartilha'])} |\n")
    return f"""# Modelo base de Barro Doce

O modelo de onde partem os capítulos 06 e seguintes. Um GPT pequeno, {origin}

- **Tarefa**: continuar textos em português do Brasil, no mundo de Barro Doce.
- **Licença**: CC0 1.0, como o corpus.
- **Planta**: {asked.blocos} blocos, {asked.canais} canais, {asked.cabecas} cabeças, janela de
  {asked.contexto} tokens, memória de pares com {thousands(asked.memoria)} linhas, dropout de
  {br(asked.dropout, 2)} no treino; {thousands(run['parametros'])} parâmetros, guardados em meia
  precisão. Tokenizador BPE de {thousands(VOCABULARY)} tokens, o do capítulo 02.
{stages}
  A história está em `treino.json`.

## Medidas

| medida | valor |
|---|---|
| bits por byte, validação (escolheu a hora de parar{' e a fatia' if later else ''}) | {br(notes['bits_por_byte']['validacao'])} |
| bits por byte, **teste** | {br(notes['bits_por_byte']['teste'])} |
| lacunas sobre a cidade (acaso: 25%) | {pct(notes['lacunas']['todas'])} |
| as mesmas lacunas, trigrama que leu os mesmos textos | {pct(rival['lacunas']['todas'])} |
| pares mínimos, média dos fenômenos (acaso: 50%) | {mean(notes)} |
| os mesmos pares, trigrama que leu os mesmos textos | {mean(rival)} |
{extra}| frases com combinações vistas no treino (acaso: 50%) | {br(100 * seen, 1)}% |
| frases com combinações guardadas para o teste | {br(100 * new, 1)}% |
| diferença, novas − vistas, em pontos | {pct(exam['diferença']).replace('%', '')} |
| bits por byte, documentos do teste sem combinação guardada | {br(whole['visto'])} |
| bits por byte, documentos com combinação guardada | {br(whole['novo'])} |
| diferença, com − sem | {br(apart['valor'])} [{br(apart['de'])}; {br(apart['ate'])}] |
| 8-gramas gerados que estão no que leu | {pct(notes['copiado']['modelo'])} |
| 8-gramas dos textos do teste que estão no que leu | {pct(notes['copiado']['corpus'])} |

Entre colchetes, o intervalo de 95%. A cópia compara as primeiras sessenta palavras de cada texto,
{notes['copiado']['modelo']['itens']} do modelo e {notes['copiado']['corpus']['itens']} do teste.

Uma diferença perto de zero entre combinações vistas e novas só fala bem do modelo se os dois
acertos passam do acaso e de quem responde sempre no mesmo gênero, que a seção 12 do caderno mede.

### Gramática, por fenômeno

| fenômeno | {head} | pares |
|---|{lines}|---|
{grouped(lambda m: m['pares']['por_fenomeno'])}

### Fatos da cidade, por tipo

| tipo | {head} | perguntas |
|---|{lines}|---|
{grouped(lambda m: m['lacunas']['por_tipo'])}

## Dez amostras sem escolha

Temperatura 0,8, top-p 0,95, sementes de 0 a 9, do começo do documento, até 160 tokens (as mais
compridas param onde o limite as corta).

{shown}

## Limites e vieses

Só conhece uma cidade inventada e um jeito de escrever. Inventa fatos com a mesma segurança com que
acerta. Esquece quem é quem em poucas frases. Na gramática, não se distingue do acaso, ou
fica abaixo dele, em: {', '.join(weak) or 'nenhum fenômeno'}{spare}.

As profissões e os gêneros do corpus não são
equilibrados (o cartão do corpus conta quanto), e o modelo herdou isso; o capítulo 06 mede. Não
serve para informar ninguém sobre nada que exista.
"""


def write_sums() -> None:
    """As somas da pasta do modelo, em SHA256SUMS."""
    sums = [f"{hashlib.sha256((FOLDER / n).read_bytes()).hexdigest()}  {n}" for n in
            ("config.json", "modelo.safetensors", "tokenizador.json", "treino.json")]
    (FOLDER / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    asked = options_of(arguments)
    if asked.ficha:
        log = json.loads((FOLDER / "treino.json").read_text(encoding="utf-8"))
        (FOLDER / "README.md").write_text(card(log), encoding="utf-8")
        return 0
    torch.set_num_threads(asked.nucleos)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bench = Bench()
    c, ids = bench.c05, bench.ids["hoje"]
    checkpoint = FOLDER.parent / "saida" / "base.pt"
    pace_file = checkpoint.with_suffix(".passos")
    if checkpoint.is_file() and pace_file.is_file():
        steps = asked.passos or int(pace_file.read_text())    # outro número: `restore` recusa
    else:
        checkpoint.unlink(missing_ok=True)
        steps = asked.passos or steps_in(bench, asked, device)
        checkpoint.parent.mkdir(exist_ok=True)
        pace_file.write_text(str(steps))
    model, options, optimizer = build(bench, asked, steps, device)
    began = time.process_time()
    history = c.train(model, ids["treino"], options, ids["validacao"],
                      bench.bytes["validacao"], checkpoint, optimizer=optimizer)
    model = model.cpu().eval()
    c.save_model(model, bench.tokenizer, FOLDER)
    model, _ = c.load_model(FOLDER)  # o que se mede é o que se gravou
    notes = measure(bench, model)
    run = {"comando": " ".join(["python tests/benchmarks/base.py", *arguments]),
           "segundos": history[-1]["seconds"], "passos": steps,
           "processador": round(time.process_time() - began), "máquina": machine(),
           "parametros": model.num_parameters(),
           "onde": "uma GPU" if device.type == "cuda" else "um núcleo de CPU"
           if asked.nucleos == 1 else f"{asked.nucleos} núcleos de CPU",
           "epocas": steps * options.batch_size * asked.contexto / len(ids["treino"]),
           "data": datetime.date.today().isoformat(), "versões": versions("torch", "numpy")}
    log = {"treino": run, "história": history, "medidas": notes}
    (FOLDER / "treino.json").write_text(
        json.dumps(log, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (FOLDER / "README.md").write_text(card(log), encoding="utf-8")
    write_sums()
    size = sum(p.stat().st_size for p in Path(FOLDER).iterdir())
    print(f"{size / 1e6:.1f} MB; teste {notes['bits_por_byte']['teste']}")
    checkpoint.unlink(missing_ok=True)
    pace_file.unlink(missing_ok=True)
    return 0 if size <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
