"""Vazão: o nosso GPT, um à moda do nanoGPT e o do `transformers`; e o preço de cada escolha.

    python tests/benchmarks/vazao.py

Duas medidas, em três tamanhos. A primeira, em tokens por segundo: mesmos pesos, mesmos lotes,
mesmo otimizador e o mesmo passo de treino do capítulo 05; só o modelo muda. A segunda, a escada
do capítulo 04: ida e volta sem otimizador, trocando uma escolha por vez (tempo ÷ o nosso), mais
as threads e as três formas do AdamW. As repetições se alternam, para que o humor da máquina
valha para todos. O pico é o de uma multiplicação de matrizes medida na mesma execução.
"""

import statistics
import sys
import time

import torch
from registro import cores, pecas, save, spread
from torch import nn

SEED = 1891
REPEATS = 10
STEPS = 12
LAPS = 20
SIZES = {  # a planta, e quantos textos por lote
    "casa": ({"d_model": 128, "n_head": 4, "n_layer": 4}, 8),
    "quarteirão": ({"d_model": 256, "n_head": 8, "n_layer": 6}, 8),
    "avenida": ({"d_model": 128, "n_head": 4, "n_layer": 4, "context_length": 512}, 2),
}
USED = {
    "03": ["attention", "attention_weights", "causal_mask", "check_mask", "merge_heads",
           "split_heads"],
    "04": ["DETOURS", "FeedForward", "GELU", "GPT", "GPTConfig", "HandAttention", "LayerNorm",
           "MultiHeadAttention", "NanoAttention", "NanoBlock", "NanoGPT", "STEPPERS",
           "SeparateHeads", "TransformerBlock", "Written", "causal", "check_ids",
           "from_gpt2_state_dict", "gelu_by_hand", "init_weights", "layer_norm_by_hand", "pass_seconds",
           "race", "step_seconds", "swapped"],
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


def against(clock: dict[str, list[float]], name: str) -> list[float]:
    """O tempo de `name` dividido pelo nosso, volta a volta."""
    return [a / b for a, b in zip(clock[name], clock["nosso"], strict=True)]


def ladder(c4, ours, theirs, batch: int) -> dict:
    """O preço de cada escolha: tempo de ida e volta ÷ o nosso."""
    ids = torch.randint(ours.config.vocab_size, (batch, ours.config.context_length + 1))
    runners = {"nosso": ours, "transformers": theirs, "à moda do nanoGPT": nano_like(c4, ours)}
    runners |= {name: c4.swapped(ours, *change) for name, change in c4.DETOURS.items()}
    with torch.no_grad():
        wanted = ours(ids[:, :-1])
        for name, runner in runners.items():
            torch.testing.assert_close(runner(ids[:, :-1]), wanted, atol=1e-4, rtol=1e-4,
                                       msg=name)  # fmt: skip
    runners["GELU exata"] = c4.swapped(ours, c4.GELU, lambda part: nn.GELU())  # outros logits
    clock = c4.race(runners, ids, LAPS)
    threads, single = torch.get_num_threads(), []
    for both in clock["nosso"]:
        torch.set_num_threads(1)
        c4.pass_seconds(ours, ids)
        single.append(c4.pass_seconds(ours, ids) / both)
        torch.set_num_threads(threads)
    steps = {kind: c4.step_seconds(ours, ids, kind, 40)[0] for kind in c4.STEPPERS}
    return {
        "escada": {name: spread(against(clock, name)) for name in runners if name != "nosso"}
        | {"uma thread": spread(single)},
        "ida_e_volta_ms": round(1000 * statistics.median(clock["nosso"]), 2),
        "adamw_ms": {kind: round(1000 * seconds, 3) for kind, seconds in steps.items()},
    }


def nano_like(c4, ours):
    nano = c4.NanoGPT(ours.config)
    nano.load_state_dict(ours.state_dict())
    return nano.train()


def compare(c, c4, size: dict, batch: int) -> dict:
    torch.manual_seed(SEED)
    model_config = c4.GPTConfig(**size)
    theirs = Theirs(model_config)
    ours = c4.GPT(model_config)
    ours.load_state_dict(c4.from_gpt2_state_dict(theirs.inner.state_dict()))
    measured = ladder(c4, ours.train(), theirs.train(), batch)
    ids = torch.randint(model_config.vocab_size, (100_000,))
    config = c.TrainConfig(steps=10_000, batch_size=batch, learning_rate=1e-4, seed=SEED)
    models = {"nosso": ours, "transformers": theirs, "nano": nano_like(c4, ours)}
    optimizers = {name: c.make_optimizer(model, config) for name, model in models.items()}
    speed = {name: [] for name in models}
    for repeat in range(REPEATS + 1):
        order = list(models) if repeat % 2 else list(models)[::-1]
        for name in order:
            value = run(c, models[name], optimizers[name], ids, repeat * STEPS, config)
            if repeat:  # a primeira volta só aquece
                speed[name].append(value)
        print(f"volta {repeat}: {value:.0f} tokens/s", file=sys.stderr)
    peak = matmul_peak()
    share = flops_per_token(model_config) * statistics.median(speed["nosso"]) / peak
    return {
        "parâmetros": ours.num_parameters(),
        "contexto": model_config.context_length,
        "vocabulário": model_config.vocab_size,
        "lote": batch,
        **size,
        **{f"{name}_tokens_por_s": spread(values) for name, values in speed.items()},
        **{
            f"nosso_sobre_{name}": spread(
                [a / b for a, b in zip(speed["nosso"], speed[name], strict=True)]
            )
            for name in ("transformers", "nano")
        },
        **measured,
        "pico_gflops": round(peak / 1e9, 1),
        "fração_do_pico": round(share, 3),
    }


def main() -> None:
    torch.set_num_threads(cores())
    c = pecas.lift(pecas.notebooks()["05"])
    c4 = pecas.lift(pecas.notebooks()["04"])
    save(
        "vazao",
        USED,
        ["torch", "transformers"],
        sementes=[SEED],
        tarefa={"passos_por_repetição": STEPS, "voltas_da_escada": LAPS,
                "threads": torch.get_num_threads()},  # fmt: skip
        medidas={name: compare(c, c4, *size) for name, size in SIZES.items()},
    )


if __name__ == "__main__":
    main()
