"""Tokens por segundo no treino: o nosso GPT e o GPT-2 do `transformers`, lado a lado.

    python tests/benchmarks/vazao.py

Mesmos tamanhos, mesmos pesos, mesmos lotes, mesmo otimizador e o mesmo passo de treino do
capítulo 05; só o modelo muda. As repetições se alternam, para que o humor da máquina valha
para os dois. O pico é o de uma multiplicação de matrizes medida na mesma execução.
"""

import statistics
import sys
import time

import torch
from registro import cores, pecas, save, spread
from torch import nn

SEED = 1891
REPEATS = 15
STEPS = 12
BATCH = 8
SIZES = {
    "casa": {"d_model": 128, "n_head": 4, "n_layer": 4},
    "quarteirão": {"d_model": 256, "n_head": 8, "n_layer": 6},
}
USED = {
    "04": ["FeedForward", "GELU", "GPT", "GPTConfig", "LayerNorm", "MultiHeadAttention",
           "TransformerBlock", "check_ids", "from_gpt2_state_dict"],
    "05": ["TrainConfig", "get_batch", "learning_rate_at", "make_optimizer",
           "mixed_precision", "train_step"],
}  # fmt: skip


class Theirs(nn.Module):
    """O GPT-2 do transformers com a nossa tomada: ids -> logits, e `.config`."""

    def __init__(self, config):
        from transformers import GPT2Config, GPT2LMHeadModel

        super().__init__()
        self.config = config
        self.inner = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=config.vocab_size,
                n_positions=config.context_length,
                n_embd=config.d_model,
                n_head=config.n_head,
                n_layer=config.n_layer,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                attn_implementation="sdpa",
                bos_token_id=0,
                eos_token_id=0,
            )
        )

    def forward(self, ids):
        return self.inner(ids, use_cache=False).logits


def flops_per_token(config) -> float:
    """Contas de um token no treino: 2 por peso na ida, o dobro disso na volta.

    Entram as matrizes dos blocos (12·C² por camada), a saída (V·C) e a atenção (`q @ k.T` e a
    média dos valores: 4·T·C por camada, sem descontar a máscara).
    """
    C, L, T, V = config.d_model, config.n_layer, config.context_length, config.vocab_size
    forward = 2 * (12 * L * C**2 + V * C) + 4 * L * T * C
    return 3 * forward


def matmul_peak() -> float:
    """FLOP/s da melhor de várias multiplicações de matrizes, em float32."""
    best = 0.0
    for n in (512, 1024, 2048):
        a, b = torch.randn(n, n), torch.randn(n, n)
        for _ in range(12):
            began = time.perf_counter()
            a @ b
            best = max(best, 2 * n**3 / (time.perf_counter() - began))
    return best


def run(c, model, optimizer, ids, first, config) -> float:
    """Tokens por segundo de alguns passos."""
    autocast, scaler = c.mixed_precision(torch.device("cpu"))
    began = time.perf_counter()
    for step in range(first, first + STEPS):
        c.train_step(model, optimizer, ids, step, config, autocast, scaler)
    tokens = STEPS * config.batch_size * model.config.context_length
    return tokens / (time.perf_counter() - began)


def compare(c, convert, size: dict) -> dict:
    torch.manual_seed(SEED)
    model_config = c.GPTConfig(**size)
    theirs = Theirs(model_config)
    ours = c.GPT(model_config)
    ours.load_state_dict(convert(theirs.inner.state_dict()))
    ids = torch.randint(model_config.vocab_size, (100_000,))
    config = c.TrainConfig(steps=10_000, batch_size=BATCH, learning_rate=1e-4, seed=SEED)
    models = {"nosso": ours.train(), "transformers": theirs.train()}
    x = ids[:64].view(1, 64)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=1e-4)
    optimizers = {name: c.make_optimizer(model, config) for name, model in models.items()}
    speed = {name: [] for name in models}
    for repeat in range(REPEATS + 1):
        order = list(models) if repeat % 2 else list(models)[::-1]
        for name in order:
            value = run(c, models[name], optimizers[name], ids, repeat * STEPS, config)
            if repeat:  # a primeira volta só aquece
                speed[name].append(value)
        print(f"volta {repeat}: {value:.0f} tokens/s", file=sys.stderr)
    ratios = [a / b for a, b in zip(speed["nosso"], speed["transformers"], strict=True)]
    peak = matmul_peak()
    share = flops_per_token(model_config) * statistics.median(speed["nosso"]) / peak
    return {
        "parâmetros": ours.num_parameters(),
        "contexto": model_config.context_length,
        "vocabulário": model_config.vocab_size,
        "lote": BATCH,
        **size,
        "nosso_tokens_por_s": spread(speed["nosso"]),
        "transformers_tokens_por_s": spread(speed["transformers"]),
        "nosso_sobre_transformers": spread(ratios),
        "pico_gflops": round(peak / 1e9, 1),
        "fração_do_pico": round(share, 3),
    }


def main() -> None:
    torch.set_num_threads(cores())
    c = pecas.lift(pecas.notebooks()["05"])
    convert = pecas.lift(pecas.notebooks()["04"]).from_gpt2_state_dict
    save(
        "vazao",
        USED,
        ["torch", "transformers"],
        sementes=[SEED],
        tarefa={"passos_por_repetição": STEPS, "threads": torch.get_num_threads()},
        medidas={name: compare(c, convert, size) for name, size in SIZES.items()},
    )


if __name__ == "__main__":
    main()
