"""Quebra cada peça de propósito e confere que algum teste fica vermelho.

    python tests/quebras.py              todas (mais de meia hora)
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


(WORKSHOP, EXERCISES, STATISTICS, LAUNDRY, VECTORS, TOKENIZER, DATA, MODEL, TRAINING,
 SAMPLING) = (
    f"tests/test_{name}.py"
    for name in (
        "oficina", "exercicios", "estatistica", "limpeza", "vetores", "tokenizador", "dados",
        "gpt", "treino", "geracao",
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
    # --- capítulo 01 -------------------------------------------------------------------
    Break("o trecho atravessa a divisa", "01", "gram_keys",
          "inside &= back != FIM", "pass", STATISTICS),
    Break("Kneser–Ney conta vezes, e não companhias", "01", "KneserNey",
          "keys, counts = np.unique(self.shorter(keys, n), return_counts=True)",
          "keys, w = np.unique(self.shorter(keys, n), return_inverse=True); "
          "counts = np.bincount(w, weights=counts).astype(np.int64)", STATISTICS),
    Break("o desconto tirado não é o repartido", "01", "KneserNey",
          "share = d * look_up", "share = 0.5 * look_up", STATISTICS),
    Break("o contexto nunca visto não recua", "01", "KneserNey",
          "np.where(total > 0, mixed, lower)", "mixed", STATISTICS),
    Break("quem fala esquece o FIM da frente", "01", "KneserNey",
          "bytes(self.order) + text", 'b" " * self.order + text', STATISTICS),
    Break("a busca aceita a chave vizinha", "01", "look_up",
          "np.where(keys[place] == wanted, values[place], 0)", "values[place]", STATISTICS),
    Break("o recuo tosco com outro desconto", "01", "crude_scores",
          "0.4 * crude_scores", "0.5 * crude_scores", STATISTICS),
    Break("a nota em nats", "01", "bpb", "np.log2", "np.log", STATISTICS),
    Break("os FIM contam como texto no compressor", "01", "added_bits",
          ' - new.count(b"\\0")', "", STATISTICS),
    Break("o compressor sem a memória do treino", "01", "added_bits",
          "before + new", "new", STATISTICS),
    Break("texto com FIM é aceito", "01", "to_stream",
          'if any("\\0" in text for text in texts)', "if False", STATISTICS),
    Break("a temperatura ao contrário", "01", "tempered",
          "1e-300)) / temperature", "1e-300)) * temperature", STATISTICS),
    Break("temperatura que não é número é aceita", "01", "tempered",
          "if not temperature > 0", "if temperature <= 0", STATISTICS),
    Break("a escrita não para no FIM", "01", "write",
          "if byte == FIM:", "if False:", STATISTICS),
    Break("a semente é ignorada", "01", "write",
          "np.random.default_rng(seed)", "np.random.default_rng(0)", STATISTICS),
    Break("a faixa dá o FIM ao documento seguinte", "01", "resampled",
          "stream[:-1] == FIM) - 1", "stream[1:] == FIM)", STATISTICS),
    Break("a MLP vê um byte do futuro", "01", "ByteMLP",
          "(0, 0, self.K - 1, 0)", "(0, 0, self.K - 2, 1)", STATISTICS),
    Break("a atenção sem máscara", "01", "ByteBlock",
          "is_causal=True", "is_causal=False", STATISTICS),
    Break("a atenção esquece o atalho", "01", "ByteBlock",
          "x = x + self.join", "x = self.join", STATISTICS),
    Break("o Transformer não sabe o lugar", "01", "ByteTransformer",
          "x + self.place[:x.shape[1]]", "x", STATISTICS),
    Break("a rede passa do orçamento", "01", "ByteLSTM",
          "channels: int = 160", "channels: int = 192", STATISTICS),
    Break("a rede fala sem o FIM da frente", "01", "ByteModel",
          'b"\\0" + text', "text", STATISTICS),
    Break("a medida erra o byte por um", "01", "stream_probs",
          "ids[rows + 1]", "ids[rows]", STATISTICS),
    Break("a medida conta a metade velha da janela", "01", "stream_probs",
          "(st - lo)[:, None] + torch.arange(step)", "torch.arange(step)[None] + 0 * lo[:, None]",
          STATISTICS),
    Break("a medida esquece os bytes do fim", "01", "stream_probs",
          "torch.arange(0, N, step)", "torch.arange(0, max(N - step, 1), step)", STATISTICS),
    Break("a janela da medida perde o passado", "01", "stream_probs",
          "(starts + step - T).clamp(min=0)", "starts", STATISTICS),
    Break("o treino mostra a resposta", "01", "train_for",
          "model(window[:, :-1])", "model(window[:, 1:])", STATISTICS),
    Break("a perda do treino em nats", "01", "train_for",
          "loss.item() / math.log(2)", "loss.item()", STATISTICS),
    Break("a taxa não cai com o tempo", "01", "train_for",
          " * max(1 - spent, 0)", "", STATISTICS),
    Break("o treino ignora a semente", "01", "train_for",
          "manual_seed(seed)", "manual_seed(0)", STATISTICS),
    Break("texto curto entra no treino", "01", "train_for",
          "if len(data) <= T:", "if len(data) < 0:", STATISTICS),
    Break("a janela do treino pede um byte a mais do que precisa", "01", "train_for",
          "if len(data) <= T:", "if len(data) <= T + 1:", STATISTICS),
    Break("o alcance começa no byte mais velho", "01", "reach", ".flip(0)", "", STATISTICS),
    Break("um byte impossível não ganha fatia", "01", "whole_slices",
          "1 + np.floor", "np.floor", STATISTICS),
    Break("as fatias não somam tudo", "01", "whole_slices",
          "slices[probs.argmax()] += 2 ** SLICES - slices.sum()", "pass", STATISTICS),
    Break("o código cai fora do intervalo", "01", "squeeze",
          "(low >> spare) + 1", "low >> spare", STATISTICS),
    Break("o código guarda bits que não importam", "01", "squeeze",
          "(width.bit_length() - 2) // 8 * 8", "0", STATISTICS),
    Break("dois FIM são aceitos", "01", "squeeze",
          'data.find(b"\\0") != len(data) - 1', 'not data.endswith(b"\\0")', STATISTICS),
    Break("quem abre erra a divisa das fatias", "01", "expand",
          "low + width * slices[byte] <= target", "low + width * slices[byte] < target",
          STATISTICS),
    Break("quem abre não desiste", "01", "expand",
          "if len(data) >= limit:", "if len(data) >= 10 ** 4:", STATISTICS),
    Break("o intervalo não encolhe por dentro", "01", "narrow",
          "low + width * p[:byte].sum()", "low + p[:byte].sum()", STATISTICS),
    Break("o palpite errado sai barato", "01", "guess_bits",
          "3 + math.log2(96)", "3 + math.log2(9)", STATISTICS),
    Break("a letra acentuada paga um byte só", "01", "char_bits",
          "text += bytes([byte])", "pass", STATISTICS),
    Break("o GPT vê a resposta", "01", "gpt_pairs",
          "words[:i])", "words[:i + 1])", STATISTICS),
    Break("o BERT esconde tudo o que escolhe", "01", "bert_mask",
          "luck < 0.9", "True", STATISTICS),
    Break("o T5 deixa a resposta na entrada", "01", "t5_spans",
          "last = stop", "last = start", STATISTICS),
    Break("o T5 sem a sentinela do fim", "01", "t5_spans",
          '[*target, f"<extra_id_{len(spans)}>"]', "target", STATISTICS),
    Break("a chave dos dois lados troca perto e longe", "01", "two_sided_keys",
          "left2 << 32 | right2 << 24", "right2 << 32 | left2 << 24", STATISTICS),
    Break("a página abre outro arquivo gravado", "01", "HISTORY_SHA256",
          '"bab', '"bac', STATISTICS),
    Break("um peso do GPT-3 mal copiado", "01", "GPT3_DATA", "(19, 22, 2.9)", "(19, 21, 2.9)",
          STATISTICS),
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
    # --- capítulo 02: a faxina e os vetores ---------------------------------------------
    Break("a limpeza passa uma vez só", "02", "clean",
          "while text != before:", "for _ in range(1):", LAUNDRY),
    Break("a limpeza não junta os acentos", "02", "clean",
          'text = unicodedata.normalize("NFC", text)', "pass", LAUNDRY),
    Break("o texto trocado que não é UTF-8 derruba a limpeza", "02", "undo_mojibake",
          "(KeyError, UnicodeDecodeError)", "KeyError", LAUNDRY),
    Break("os bytes sem letra no Windows-1252 se perdem", "02", "CP1252",
          "or chr(b)", 'or "?"', LAUNDRY),
    Break("a última telha cai", "02", "shingles", "- n + 1", "- n", LAUNDRY),
    Break("as maiúsculas mudam a telha", "02", "words", "text.lower()", "text", LAUNDRY),
    Break("a união conta duas vezes o que é comum", "02", "jaccard",
          "len(a | b)", "len(a) + len(b)", LAUNDRY),
    Break("cada assinatura embaralha de um jeito", "02", "signature",
          "default_rng(seed)", "default_rng()", LAUNDRY),
    Break("o embaralhamento só desloca", "02", "signature",
          "a * tiles + b", "tiles + b", LAUNDRY),
    Break("menor também conta como igual", "02", "estimate",
          "one == two", "one <= two", LAUNDRY),
    Break("a última faixa não entra", "02", "candidates",
          "- rows + 1, rows", "- rows, rows", LAUNDRY),
    Break("o LSH decide sozinho", "02", "near_duplicates",
          ">= limit", ">= 0", LAUNDRY),
    Break("o limite exato escapa", "02", "near_duplicates",
          ">= limit", "> limit", LAUNDRY),
    Break("duas páginas já fazem moldura", "02", "repeated_lines",
          "max(2, share", "max(1, share", LAUNDRY),
    Break("fica a moldura e sai o texto", "02", "drop_lines",
          "not in unwanted", "in unwanted", LAUNDRY),
    Break("a parte depende de quem já passou", "02", "part_of",
          "doc_id.encode", "str(id(doc_id)).encode", LAUNDRY),
    Break("a validação leva metade do pedido", "02", "part_of",
          "held_out * 2**32", "held_out * 2**31", LAUNDRY),
    Break("o corpus de um documento se divide", "02", "split_documents",
          "if total < 2:", "if total < 0:", LAUNDRY),
    Break("a parte vazia é aceita", "02", "split_documents",
          "if empty := [name for name, rows in parts.items() if not rows]:",
          "if empty := []:", LAUNDRY),
    Break("a fila manda um documento a mais", "02", "stream_documents",
          "sent == limit", "sent > limit", LAUNDRY),
    Break("o documento longo demais passa", "02", "stream_documents",
          "<= len(text) <= max_chars", "<= len(text)", LAUNDRY),
    Break("o Parquet não é conferido", "02", "open_rows",
          "check_parquet(path, columns)", "pass", LAUNDRY),
    Break("a falta de internet sai em inglês", "02", "open_rows",
          "except OSError", "except KeyError", LAUNDRY),
    Break("a linha enorme é aceita", "02", "check_jsonl",
          "if len(line) > longest:", "if False:", LAUNDRY),
    # --- capítulo 02: os vetores -------------------------------------------------------
    Break("as senoides andam depressa demais", "02", "sinusoidal_positions",
          "10_000.0", "1_000.0", VECTORS),
    Break("senos e cossenos trocados", "02", "sinusoidal_positions",
          "[angles.sin(), angles.cos()]", "[angles.cos(), angles.sin()]", VECTORS),
    Break("o canal sem par é aceito", "02", "sinusoidal_positions",
          "if channels % 2:", "if False:", VECTORS),
    Break("o giro vira outra coisa", "02", "rotate",
          "a * angles.cos() - b", "a * angles.cos() + b", VECTORS),
    Break("o giro toma metades, e não pares", "02", "rotate",
          "x[..., 0::2], x[..., 1::2]", "x[..., :C // 2], x[..., C // 2:]", VECTORS),
    Break("todas as linhas giram pela primeira posição", "02", "rotate",
          "positions[:, None] *", "positions[:1, None] *", VECTORS),
    Break("só o q gira", "02", "rotary_dot", "rotate(k, torch.tensor([n]))", "k", VECTORS),
    Break("o vizinho de dois é sempre o de um", "02", "neighbour_pairs",
          "ids[:-k], ids[k:]", "ids[:-1], ids[1:]", VECTORS),
    Break("antes e depois trocados", "02", "neighbour_pairs",
          "[b + V * (2 * k - 2), a + V * (2 * k - 1)]",
          "[b + V * (2 * k - 1), a + V * (2 * k - 2)]", VECTORS),
    Break("a palavra desconhecida vira vizinha", "02", "neighbour_pairs",
          "(a >= 0) & (b >= 0)", "a >= 0", VECTORS),
    Break("a perda aplaude a mentira", "02", "SkipGram",
          "log_sigmoid(-bad)", "log_sigmoid(bad)", VECTORS),
    Break("as mentiras entram pela média", "02", "SkipGram",
          "log_sigmoid(-bad).sum(-1)", "log_sigmoid(-bad).mean(-1)", VECTORS),
    Break("as saídas nascem sorteadas", "02", "SkipGram",
          "torch.nn.init.zeros_(self.outputs.weight)", "pass", VECTORS),
    Break("a mentira cai noutro lugar", "02", "draw_lies",
          "neighbour // V * V", "neighbour * 0", VECTORS),
    Break("toda mentira tem a mesma chance", "02", "draw_lies",
          "multinomial(noise,", "multinomial(torch.ones_like(noise),", VECTORS),
    Break("o sorteio das mentiras não obedece à semente", "02", "draw_lies",
          "generator=generator", "generator=None", VECTORS),
    Break("o par repetido conta uma vez", "02", "cooccurrence",
          "accumulate=True", "accumulate=False", VECTORS),
    Break("o PPMI fica negativo", "02", "ppmi",
          ".clamp_min(1).log()", ".clamp_min(1e-9).log()", VECTORS),
    Break("o acaso se divide pelo tamanho da tabela", "02", "ppmi",
          "/ counts.sum()", "/ counts.numel()", VECTORS),
    Break("o mais próximo pelo produto escalar", "02", "nearest",
          "torch.nn.functional.normalize(table, dim=1)", "table", VECTORS),
    Break("cada um é vizinho de si mesmo", "02", "nearest",
          " if names[i] != word", "", VECTORS),
    Break("qualquer grupo serve", "02", "same_group",
          "label.get(n) == group", "n in label", VECTORS),
    Break("em cima e embaixo se sorteiam itens diferentes", "02", "ratio_interval",
          "b[pick]", "b[pick.flip(0)]", VECTORS),
    Break("o intervalo de 95% é de 50%", "02", "ratio_interval",
          "[0.025, 0.975]", "[0.25, 0.75]", VECTORS),
    Break("o bootstrap mexe no sorteio de todos", "02", "ratio_interval",
          ", generator=generator)", ")", VECTORS),
    Break("o mapa não tira a média", "02", "pca_2d",
          "vectors - vectors.mean(0)", "vectors", VECTORS),
    Break("as telhas mudam a cada processo", "02", "tile_numbers",
          'zlib.crc32(word.encode("utf-8"))', "hash(word) & 0xFFFFFFFF", LAUNDRY),
    Break("quem se parece com um descartado também cai", "02", "near_duplicates",
          "if i not in dropped:", "if True:", LAUNDRY),
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
