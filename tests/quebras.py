"""Quebra cada peça de propósito e confere que algum teste fica vermelho.

    python tests/quebras.py              todas (uns dez minutos)
    python tests/quebras.py máscara      só as que têm esta palavra na descrição

Um teste que nunca falhou não prova nada. Cada quebra é feita numa cópia do curso: a definição
muda no caderno em que nasceu, as cópias são sincronizadas, e rodam os testes daquele assunto.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import enderecos
import nbformat
import pecas

ROOT = pecas.ROOT


@dataclass(frozen=True)
class Break:
    """O que se estraga: na definição `name` do capítulo, `old` vira `new`."""

    what: str
    chapter: str
    name: str
    old: str
    new: str
    tests: str

    def apply(self, root: Path) -> None:
        """Quebra a última definição do nome e leva a quebra às cópias."""
        path = pecas.notebooks(root)[self.chapter]
        definition = pecas.taught(path)[self.name]
        nb = nbformat.read(path, as_version=4)
        cell = nb.cells[definition.cell]
        broken = definition.source.replace(self.old, self.new)
        if broken == definition.source or definition.source not in cell.source:
            raise LookupError(f"{self.what}: {self.name} já não tem {self.old!r}")
        cell.source = cell.source.replace(definition.source, broken)
        nbformat.write(nb, path)
        pecas.synchronize(pecas.notebooks(root))


WORKSHOP, EXERCISES, TOKENIZER, DATA, MODEL, TRAINING, SAMPLING = (
    f"tests/test_{name}.py"
    for name in (
        "oficina", "exercicios", "tokenizador", "dados", "gpt", "treino", "geracao",
    )
)  # fmt: skip

BREAKS = [
    # --- capítulo 00 -------------------------------------------------------------------
    Break("o segundo caminho apaga o primeiro", "00", "Node",
          "parent.grad += slope", "parent.grad = slope", WORKSHOP),
    Break("a volta anda do mais velho ao mais novo", "00", "Node",
          "reverse=True", "reverse=False", WORKSHOP),
    Break("a volta repetida conta o meio em dobro", "00", "Node",
          "node.grad = 0.0", "pass", WORKSHOP),
    Break("o produto troca as derivadas", "00", "Value",
          "(other.data, self.data)", "(self.data, other.data)", WORKSHOP),
    Break("a derivada da tanh sem o quadrado", "00", "Value",
          "1 - out * out", "1 - out", WORKSHOP),
    Break("o log tem a derivada certa e o valor errado", "00", "Value",
          "Value(math.log(self.data)", "Value(math.log2(self.data)", WORKSHOP),
    Break("a subtração à esquerda sem trocar o sinal", "00", "Value",
          "as_value(other) + -self", "self + -as_value(other)", WORKSHOP),
    Break("a calculadora esquece duas tabelas da saída", "00", "training_memory",
          "tokens * 4 * V", "tokens * 2 * V", WORKSHOP),
    Break("a calculadora esquece a GELU", "00", "training_memory",
          "16 * C + plan", "12 * C + plan", WORKSHOP),
    Break("a calculadora esquece um estado do AdamW", "00", "training_memory",
          "start = P + 2 * P", "start = P + P", WORKSHOP),
    Break("o exame deixa passar um nan", "00", "check_device",
          "if not error < SANITY_LIMIT", "if error > SANITY_LIMIT", WORKSHOP),
    Break("o exame tolera um por cento", "00", "SANITY_LIMIT", "1e-4", "1e-1", WORKSHOP),
    Break("o buraco vazio é dado por errado", "00", "confere",
          "got is WAITING or (cases and got is None)", "got is WAITING", EXERCISES),
    Break("a função do aluno estraga o gabarito", "00", "confere",
          "*deepcopy(args)", "*args", EXERCISES),
    Break("só o primeiro caso da função conta", "00", "confere",
          "wrong = [t for t in trials if", "wrong = [t for t in trials[:1] if", EXERCISES),
    Break("formas diferentes são dadas por iguais", "00", "same_answer",
          "g.shape == w.shape and ", "", EXERCISES),
    Break("verdadeiro vale um", "00", "same_answer", "(str, bool, set)", "(str, set)", EXERCISES),
    # --- capítulo 02 -------------------------------------------------------------------
    Break("o texto do especial vira o token", "02", "BPETokenizer",
          "allowed = set(allowed_special)",
          "allowed = set(allowed_special) | set(self.special_tokens)", TOKENIZER),
    Break("o empate não fica com os menores ids", "02", "PairCounts",
          "heapq.heapify(self.heap)",
          "self.heap.sort(key=lambda e: (e[0], -e[1][0]))", TOKENIZER),
    Break("a contagem incremental esquece quantas vezes a palavra aparece", "02", "PairCounts",
          "self.total[p] -= self.counts[i]", "self.total[p] -= 1", TOKENIZER),
    Break("o corte em pedaços perde um algarismo sozinho", "02", "PATTERN",
          "[0-9]{1,3}", "[0-9]{2,3}", TOKENIZER),
    Break("codificar funde na ordem errada", "02", "bpe_merge", "min((", "max((", TOKENIZER),
    Break("o tokenizador alterado é aceito", "02", "BPETokenizer",
          "if not intact:", "if False:", TOKENIZER),
    Break("id negativo é aceito", "02", "BPETokenizer",
          "if not 0 <= i < self.vocab_size", "if not i < self.vocab_size", TOKENIZER),
    Break("o vocabulário pequeno demais é aceito", "02", "BPETokenizer",
          "if vocab_size < smallest:", "if vocab_size < 0:", TOKENIZER),
    Break("a soma do download é ignorada", "00", "course_file",
          "if hashlib.sha256(data).hexdigest() != sha256:", "if False:", DATA),
    Break("o arquivo já baixado não é conferido", "00", "course_file",
          "if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == sha256:",
          "if target.is_file():", DATA),
    Break("as linhas se separam em qualquer caractere do Unicode", "02", "check_jsonl",
          'text.split("\\n")', "text.splitlines()", DATA),
    Break("campo em branco é aceito", "02", "check_jsonl", ".strip()", "", DATA),
    Break("o alvo não anda um token", "02", "TokenDataset",
          "return chunk[:-1], chunk[1:]", "return chunk[:-1], chunk[:-1]", DATA),
    Break("falta a última janela", "02", "TokenDataset",
          "// self.stride + 1", "// self.stride", DATA),
    # --- capítulo 04 -------------------------------------------------------------------
    Break("a máscara deixa ver o futuro", "04", "causal",
          '{"is_causal": True}', "{}", MODEL),
    Break("a máscara do cache erra por um", "04", "causal",
          "tril(S - T)", "tril(S - T + 1)", MODEL),
    Break("a atenção sem a raiz de D", "04", "MultiHeadAttention",
          "q, k, v, dropout_p", "q, k, v, scale=1.0, dropout_p", MODEL),
    Break("os pesos não são atados", "04", "GPT",
          "self.lm_head.weight = self.wte.weight", "pass", MODEL),
    Break("os ramos residuais começam grandes", "04", "GPT",
          "0.02 / math.sqrt(2 * config.n_layer)", "0.02", MODEL),
    Break("a GELU exata no lugar da do GPT-2", "04", "GELU",
          'approximate="tanh"', 'approximate="none"', MODEL),
    Break("a LayerNorm com outro épsilon", "04", "LayerNorm", "1e-5", "1e-3", MODEL),
    Break("com cache, as posições recomeçam do zero", "04", "GPT",
          "torch.arange(past, past + ids.shape[1]", "torch.arange(0, ids.shape[1]", MODEL),
    Break("o leitor do GPT-2 esquece de transpor", "04", "from_gpt2_state_dict",
          '"c_proj.weight", ', "", MODEL),
    Break("dropout 1 é aceito", "04", "GPTConfig",
          "0 <= self.dropout < 1", "0 <= self.dropout <= 1", MODEL),
    Break("texto maior que o contexto é aceito", "04", "check_ids",
          "> config.context_length", "> 10**9", MODEL),
    # --- capítulo 05 -------------------------------------------------------------------
    Break("a avaliação para antes do fim do texto", "05", "evaluate",
          " + [len(ids) - 1]", "", TRAINING),
    Break("a avaliação conta um token duas vezes", "05", "evaluate",
          "row[width - (end - done):]", "row[-stride:]", TRAINING),
    Break("bits por byte sem o logaritmo de 2", "05", "evaluate",
          "total / math.log(2) / n_bytes", "total / n_bytes", TRAINING),
    Break("a avaliação deixa o dropout ligado", "05", "evaluate",
          "model.eval()", "pass", TRAINING),
    Break("o aquecimento começa do zero", "05", "learning_rate_at",
          "(step + 1)", "step", TRAINING),
    Break("o alvo do lote não anda um token", "05", "get_batch",
          "chunk[:, :-1], chunk[:, 1:]", "chunk[:, :-1], chunk[:, :-1]", TRAINING),
    Break("a ordem das janelas é a mesma em toda época", "05", "get_batch",
          " + epoch", "", TRAINING),
    Break("os lotes somados não são divididos", "05", "train_step",
          "loss / config.accumulation).backward()", "loss).backward()", TRAINING),
    Break("o gradiente não é cortado", "05", "train_step",
          "config.grad_clip)", "1e9)", TRAINING),
    Break("o gradiente velho se soma ao novo", "05", "train_step",
          "optimizer.zero_grad(set_to_none=True)", "pass", TRAINING),
    Break("a perda infinita passa", "05", "train_step",
          "not math.isfinite(total)", "False", TRAINING),
    Break("os vieses também encolhem", "05", "make_optimizer",
          '"weight_decay": 0.0, "lr_scale": 1.0',
          '"weight_decay": config.weight_decay, "lr_scale": 1.0', TRAINING),
    Break("a retomada esquece o sorteio", "05", "restore",
          "torch.set_rng_state(state[\"rng\"].cpu())", "pass", TRAINING),
    Break("a retomada esquece o otimizador", "05", "restore",
          "optimizer.load_state_dict(state[\"optimizer\"])", "pass", TRAINING),
    Break("checkpoint de outra configuração é aceito", "05", "restore",
          "if saved.get(k) != v", "if False", TRAINING),
    Break("a retomada esquece as perdas desde a última avaliação", "05", "restore",
          'state["recent"], state["best"]', '[], state["best"]', TRAINING),
    Break("as tabelas não andam mais depressa", "05", "make_optimizer",
          '"lr_scale": config.embedding_lr_scale', '"lr_scale": 1.0', TRAINING),
    Break("a taxa do grupo é ignorada", "05", "train_step",
          ' * group["lr_scale"]', "", TRAINING),
    Break("a gravação não é atômica", "05", "save_checkpoint",
          'path.with_name(path.name + ".parcial")', "path", TRAINING),
    Break("o checkpoint pode executar código", "05", "load_checkpoint",
          "weights_only=True", "weights_only=False", TRAINING),
    Break("o fim não volta à melhor avaliação", "05", "train",
          'model.load_state_dict(best["model"])', "pass", TRAINING),
    Break("top_p erra por um", "05", "filter_logits",
          "cumsum(-1) - ordered.softmax(-1)", "cumsum(-1)", SAMPLING),
    Break("top_k erra por um", "05", "filter_logits",
          "logits < smallest", "logits <= smallest", SAMPLING),
    Break("temperatura negativa é aceita", "05", "filter_logits",
          "temperature < 0 or", "", SAMPLING),
    Break("o gerador dado é ignorado", "05", "generate",
          "generator=generator", "generator=None", SAMPLING),
    Break("o cache passa do contexto", "05", "generate",
          "len(cache[0]) < T", "len(cache[0]) <= T", SAMPLING),
    Break("o começo longo não é cortado", "05", "generate", "ids[:, -T:]", "ids", SAMPLING),
    Break("o modo não volta depois da geração", "05", "generate",
          "model.train(was_training)", "pass", SAMPLING),
]  # fmt: skip


def copy_course(target: Path) -> None:
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*enderecos.SKIP))


def first_red(quebra: Break) -> str | None:
    """O nome do primeiro teste que acusa a quebra; None se todos ficam verdes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "curso"
        copy_course(root)
        quebra.apply(root)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:nbval",
             "-p", "no:cacheprovider", "-o", "addopts=", "--timeout=120", quebra.tests],
            cwd=root, capture_output=True, encoding="utf-8",
            env=os.environ | {"PYTHONUTF8": "1"},
        )  # fmt: skip
        red = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        if done.returncode == 1 and red:
            return red[0].split(" - ")[0].split("::", 1)[-1]
        if done.returncode != 0:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        return None


def main(args: list[str]) -> int:
    chosen = [q for q in BREAKS if not args or any(a in q.what for a in args)]
    survived = 0
    for quebra in chosen:
        red = first_red(quebra)
        survived += red is None
        print(f"{'VERDE' if red is None else 'vermelho':9}{quebra.what} -> {red}", flush=True)
    print(f"{len(chosen) - survived} de {len(chosen)} quebras foram vistas.")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
