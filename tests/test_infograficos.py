"""Os infográficos como o leitor os vê, e o conferidor deles posto à prova."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import infograficos
import pytest

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 200" font-family="sans-serif">'
NAMES = "<title>Um cartão</title><desc>Duas linhas num cartão claro.</desc>"
BACK = '<rect width="400" height="200" fill="#FFFFFF"/>'
CARD = '<rect x="20" y="20" width="200" height="90" rx="8" fill="#E7F4FC" stroke="#56B4E9"/>'
LINES = (
    '<text x="32" y="50" font-size="18" fill="#1B2733">o pão de queijo</text>'
    '<text x="32" y="80" font-size="18" fill="#46535F">da Serra da Jabuticaba</text>'
)
GOOD = f"{HEAD}{NAMES}{BACK}{CARD}{LINES}</svg>"


def text(x: float, y: float, body: str, **extra: str) -> str:
    """Um <text> de 18 px, escuro; os atributos a mais têm _ no lugar de -."""
    given = {"font-size": "18", "fill": "#1B2733"}
    given |= {key.replace("_", "-"): value for key, value in extra.items()}
    attributes = "".join(f' {key}="{value}"' for key, value in given.items())
    return f'<text x="{x:g}" y="{y:g}"{attributes}>{body}</text>'


def plus(*more: str) -> str:
    """O SVG bom, com algo a mais no fim."""
    return GOOD.replace("</svg>", "".join(more) + "</svg>")


# nome → (SVG, o que a única frase precisa dizer)
FAULTS = {
    "sem título": (GOOD.replace("<title>Um cartão</title>", ""), "falta <title>"),
    "título vazio": (GOOD.replace(">Um cartão<", "> <"), "<title> está vazio"),
    "sem descrição": (GOOD.replace("desc>", "metadata>"), "falta <desc>"),
    "descrição vazia": (GOOD.replace("Duas linhas num cartão claro.", ""), "<desc> está vazio"),
    "fonte de marca": (plus(text(250, 60, "Oi", font_family="Inter, sans-serif")), "fonte Inter"),
    "fonte no estilo": (plus("<style>.a{font-family:'Fira Code'}</style>",
                             text(250, 60, "Oi", **{"class": "a"})), "fonte Fira Code"),
    "sem fonte": (GOOD.replace(' font-family="sans-serif"', ""), "não diz a sua font-family"),
    "letra de ícone": (plus(text(250, 60, "Oi &#xE88A;")), "fonte de ícones"),
    "texto sobre texto": (plus(text(120, 56, "quente")), "se sobrepõe a “quente”"),
    "linhas de um texto": (plus('<text font-size="18"><tspan x="250" y="60">uma</tspan>'
                                '<tspan x="250" dy="8">outra</tspan></text>'),
                           "“uma” se sobrepõe a “outra”"),
    "texto girado": (plus(text(250, 60, "reta"),
                          text(240, 100, "inclinada", transform="rotate(-45 240 100)")),
                     "“reta” se sobrepõe a “inclinada”"),
    "sai do cartão": (plus(text(32, 104, "uma linha comprida demais")), "atravessa"),
    "entra no cartão": (plus(text(240, 60, "de fora", text_anchor="middle")),
                        "atravessa"),
    "sai do desenho": (plus(text(370, 150, "longe")), "sai"),
    "sai por baixo": (plus(text(20, 200, "baixo, página")), "px do desenho"),
    "contraste": (plus(text(250, 60, "pálido", fill="#999999")), "contraste 2,84"),
    "contraste por pouco": (plus(text(250, 60, "quase", fill="#777777")), "contraste 4,47"),
    "contraste no cartão": (plus(text(32, 104, "cinza", fill="#737373")), "sobre #E7F4FC"),
    "opacidade": (plus(f'<g opacity="0.5">{text(250, 60, "meio")}</g>'), "contraste"),
    "degradê": (plus('<linearGradient id="g"><stop stop-color="#000"/><stop offset="1" '
                     'stop-color="#fff"/></linearGradient><rect x="230" y="30" width="160" '
                     'height="50" fill="url(#g)"/>', text(240, 60, "do preto ao")), "contraste"),
    "coberto": (plus(text(250, 60, "atrás"), '<path d="M240 30h90v50h-90z" fill="#009E73"/>'),
                "contraste 1,00"),
    "fundo transparente": (plus(text(250, 60, "no ar")).replace(BACK, ""),
                           "em página escura o fundo transparente"),
    "transparente de todo": (plus(text(250, 60, "nada", fill="none")), "contraste 1,00"),
    "endereço": (plus('<a href="https://exemplo.org">', text(250, 60, "aqui"), "</a>"),
                 "aponta para fora do arquivo (https://exemplo.org)"),
    "@import": (plus("<style>@import 'x.css';</style>"), "@import"),
    "url": (plus("<style>rect{fill:url(http://exemplo.org/a.svg#b)}</style>"), "url(http:"),
    "imagem": (plus('<image href="#a" width="9" height="9"/>'), "<image> não pode"),
    "HTML": (plus('<foreignObject width="9" height="9"/>'), "<foreignObject> não pode"),
    "programa": (plus("<script>document.title = 1</script>"), "<script> não pode"),
    "programa no atributo": (GOOD.replace(" viewBox", ' onload="alert(1)" viewBox'), "(onload)"),
    "estilo de fora": ("<?xml-stylesheet href='a.css'?>" + GOOD, "xml-stylesheet"),
    "texto repetido": (plus(f"<defs><g id='a'>{text(0, 0, 'eco')}</g></defs>"
                            "<use href='#a' x='250' y='60'/>"), "<use> repete o texto de #a"),
    "XML mal formado": (GOOD.replace("</svg>", ""), "não é XML bem formado (linha 1, coluna"),
    "entidade": ('<!DOCTYPE svg [<!ENTITY a "b">]>' + GOOD, "<!DOCTYPE>"),
    "vazio": ("", "está vazio"),
    "sem xmlns": (GOOD.replace(' xmlns="http://www.w3.org/2000/svg"', ""), "xmlns="),
    "sem viewBox": (GOOD.replace("viewBox", "data-caixa"), "não tem viewBox"),
    "viewBox enorme": (GOOD.replace("0 0 400 200", "0 0 400 99999"), "maior que 4096"),
}  # fmt: skip

# Parecem defeitos e não são.
FINE = {
    "o bom": GOOD,
    "quebras do Windows": GOOD.replace("><", ">\r\n<"),
    "no limite do contraste": plus(text(250, 60, "passa", fill="#767676")),
    "marca sob o texto": plus('<rect data-papel="marca" x="250" y="40" width="20" height="30" '
                              'fill="#F4E3ED"/>', text(252, 60, "marcado")),
    "linha que só passa": plus('<path d="M262 20v100" stroke="#D55E00"/>', text(250, 60, "valor")),
    "caixas giradas que só se cruzam por fora": plus(
        text(240, 90, "inclinada", transform="rotate(-45 240 90)"), text(290, 100, "reta")),
    "linhas separadas de um texto": plus('<text font-size="18"><tspan x="250" y="60">uma</tspan>'
                                         '<tspan x="250" y="85">outra</tspan></text>'),
    "expoente": plus(text(250, 60, 'T<tspan dy="-6" font-size="13">2</tspan>')),
    "halo": plus('<path d="M240 30h90v50h-90z" fill="#1B2733"/>', text(
        250, 60, "claro", stroke="#FFFFFF", stroke_width="6", paint_order="stroke")),
    "letra clara em fundo escuro": plus('<path d="M240 30h90v50h-90z" fill="#0072B2"/>',
                                        text(250, 60, "branco", fill="#FFFFFF")),
    "outro arquivo tem a mesma classe": plus(text(250, 60, "Oi", **{"class": "a"})),
    "outro arquivo tem o mesmo id": plus(
        '<linearGradient id="g"><stop stop-color="#fff"/></linearGradient>'
        '<rect x="230" y="30" width="160" height="50" fill="url(#g)"/>', text(240, 60, "branco")),
    "rect que não se vê": plus('<rect x="250" y="40" width="20" height="30" fill="none"/>',
                               text(252, 60, "livre")),
    "viewBox que não começa em zero": GOOD.replace("0 0 400 200", "-10 -10 420 220").replace(
        '<rect width="400" height="200"', '<rect x="-10" y="-10" width="420" height="220"'),
}  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> str:
    """O Chromium; sem ele o teste se cala, dizendo por quê, menos na integração contínua."""
    found = infograficos.chromium()
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(infograficos.NO_CHROMIUM)
    return found


def plant(chapter: Path, name: str, svg: str) -> Path:
    """Um SVG na pasta de infográficos de um capítulo, e o README que o mostra."""
    path = chapter / "infograficos" / f"{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(svg.encode("utf-8"))
    with (chapter / "README.md").open("a", encoding="utf-8") as readme:
        readme.write(f"\n![Um cartão, x[1, 0].](infograficos/{name}.svg)\n")
    return path


@pytest.fixture(scope="module")
def planted(browser, tmp_path_factory) -> dict[str, list[str]]:
    """Todos os SVG plantados, exportados e conferidos por um Chromium só: nome → frases."""
    root = tmp_path_factory.mktemp("curso")
    names = {}
    for i, (name, svg) in enumerate([(n, s) for n, (s, _) in FAULTS.items()] + [*FINE.items()]):
        path = plant(root / "00-passo-zero", f"{i:02d}", svg)
        names[infograficos.name_of(path, root)] = name
    found, written = infograficos.check(root=root, export=True)
    assert len(written) > len(FINE)
    sentences = {name: [] for name in names.values()}
    for sentence in found:
        where, _, says = sentence.partition(": ")
        if not says.startswith("falta 3"):  # o PNG de um SVG que não se lê
            sentences[names[where]].append(says)
    return sentences


def test_os_infograficos_do_curso_nao_tem_defeito(browser):
    assert infograficos.problems() == []


@pytest.mark.parametrize("name", FAULTS)
def test_defeito_plantado_e_visto(planted, name):
    found = planted[name]
    assert found, "passou sem ser visto"
    assert any(FAULTS[name][1] in sentence for sentence in found), found


@pytest.mark.parametrize("name", ["texto sobre texto", "sai do cartão", "contraste", "sem título",
                                  "fonte de marca", "endereço", "sai do desenho"])  # fmt: skip
def test_um_defeito_e_uma_frase(planted, name):
    assert len(planted[name]) == 1


@pytest.mark.parametrize("name", FINE)
def test_o_que_e_bom_passa(planted, name):
    assert planted[name] == []


# --- PNG e README ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(browser, tmp_path_factory) -> Path:
    """Um curso de um infográfico só, bom e exportado."""
    root = tmp_path_factory.mktemp("exportado")
    path = plant(root / "08-extras" / "01-apendice", "01-cartao", GOOD)
    found, written = infograficos.check(root=root, export=True)
    assert found == [] and written == [path.with_suffix(".png")]
    return root


@pytest.fixture
def course(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "curso"))


def one(course: Path) -> Path:
    [path] = infograficos.infographics(course)
    return path


def test_o_png_tem_o_dobro_do_tamanho_e_nao_se_refaz_a_toa(course):
    kind, header = next(infograficos.chunks(one(course).with_suffix(".png").read_bytes()))
    assert kind == b"IHDR"
    assert header[:8] == (800).to_bytes(4, "big") + (400).to_bytes(4, "big")
    assert infograficos.check(root=course, export=True) == ([], [])


def no_mark(data: bytes) -> bytes:
    at = data.index(infograficos.CHUNK) - 8
    return data[:at] + data[at + 12 + int.from_bytes(data[at : at + 4], "big") :]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (None, "falta 01-cartao.png"),
        (no_mark, "não diz de que SVG foi feito"),
        (lambda data: infograficos.stamped(no_mark(data), "0" * 64), "outra versão do SVG"),
        (lambda data: data[:-20], "está cortado"),
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "está estragado"),
        (lambda data: b"<svg/>", "não é um PNG"),
        (lambda data: b"", "não é um PNG"),
    ],
)
def test_png_que_nao_esta_em_dia_e_visto(course, change, says):
    path = one(course)
    png = path.with_suffix(".png")
    if change is None:
        png.unlink()
    else:
        png.write_bytes(change(png.read_bytes()))
    assert says in infograficos.png_problem(path, infograficos.parse(path)[1])


def test_svg_que_muda_envelhece_o_png_e_exportar_o_refaz(course):
    path = one(course)
    path.write_text(GOOD.replace("queijo", "milho"), encoding="utf-8")
    assert "outra versão" in " ".join(infograficos.problems(root=course))
    found, written = infograficos.check(root=course, export=True)
    assert found == [] and len(written) == 1


def test_quebra_de_linha_do_windows_nao_envelhece_o_png(tmp_path):
    a, b = tmp_path / "a.svg", tmp_path / "b.svg"
    a.write_bytes(b"<svg>\n</svg>\n")
    b.write_bytes(b"<svg>\r\n</svg>\r\n")
    assert infograficos.digest(a) == infograficos.digest(b)


def test_png_sem_svg_e_visto(course):
    one(course).with_suffix(".png").with_name("99-velho.png").write_bytes(b"")
    [sentence] = infograficos.problems(root=course)
    assert "99-velho.png: não há SVG" in sentence


RAW = "https://raw.githubusercontent.com/a/b/main/08-extras/01-apendice/infograficos"


@pytest.mark.parametrize(
    ("readme", "says"),
    [
        (None, "não existe"),
        ("# Nada\n", "não o mostra"),
        ("![Um cartão](infograficos/02-outro.svg)", "não o mostra"),
        ("[Um cartão](infograficos/01-cartao.svg)", "não o mostra"),
        ("```\n![Um cartão](infograficos/01-cartao.svg)\n```\n", "não o mostra"),
        ("<!-- ![Um cartão](infograficos/01-cartao.svg) -->", "não o mostra"),
        ("![](infograficos/01-cartao.svg)", "sem texto alternativo"),
        ('<img src="infograficos/01-cartao.svg">', "sem texto alternativo"),
        ("![Um cartão](infograficos/01-cartao.svg) ![ ](infograficos/01-cartao.png)", "sem texto"),
        (f"![Um cartão]({RAW.replace('01-', '02-')}/01-cartao.svg)", "não o mostra"),
        ("![x[1, 0] de `x`](infograficos/01-cartao.svg)", None),
        ("![Um cartão](./infograficos/01-cartao.png 'Título')", None),
        (f"![Um cartão]({RAW}/01-cartao.svg)", None),
        ('<p>\n<img width="800"\n alt="Um cartão" src="infograficos/01-cartao.svg"></p>', None),
    ],
)
def test_o_readme_mostra_cada_infografico(course, readme, says):
    page = one(course).parent.parent / "README.md"
    page.unlink()
    if readme is not None:
        page.write_text(readme, encoding="utf-8")
    found = infograficos.readme_problem(one(course), course)
    assert found is None if says is None else says in found


# --- a linha de comando ----------------------------------------------------------------


def run(*args: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, infograficos.__file__, *args]
    given = os.environ | {"PYTHONUTF8": "1"} | environment
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=given)


def test_o_comando_diz_os_defeitos_em_portugues_e_exporta(browser, tmp_path):
    path = plant(tmp_path / "00-x", "01", plus(text(250, 60, "pálido", fill="#999999")))
    done = run(str(path))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "“pálido” tem contraste 2,84 (#999999 sobre #FFFFFF)" in done.stdout
    assert "falta 01.png" in done.stdout
    path.write_text(GOOD, encoding="utf-8")
    done = run("--exportar", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Exportado: " in done.stdout and "nenhum defeito" in done.stdout


def test_sem_chromium_uma_frase_e_saida_2(tmp_path, monkeypatch, capsys):
    path = plant(tmp_path / "00-x", "01", GOOD)
    monkeypatch.setattr(infograficos, "chromium", lambda: None)
    assert infograficos.main([str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.strip() == infograficos.NO_CHROMIUM
    with pytest.raises(RuntimeError, match="não há Chromium"):
        infograficos.measure([GOOD])


@pytest.mark.parametrize("command", ["true", "false"])
def test_chromium_que_nao_responde_e_dito(monkeypatch, capsys, tmp_path, command):
    found = shutil.which(command)
    if found is None:
        pytest.skip(f"não há o comando {command} nesta máquina")
    monkeypatch.setattr(infograficos, "chromium", lambda: found)
    assert infograficos.main([str(plant(tmp_path / "00-x", "01", GOOD))]) == 2
    assert "não mediu nada" in capsys.readouterr().err


@pytest.mark.parametrize("bad", ["nada.svg", "README.md", "vazia"])
def test_caminho_errado_e_dito(tmp_path, bad, capsys):
    (tmp_path / "vazia").mkdir()
    (tmp_path / "README.md").write_text("oi", encoding="utf-8")
    assert infograficos.main([str(tmp_path / bad)]) == 2
    assert "confira o caminho" in capsys.readouterr().err


def test_svg_que_nao_e_utf8_e_dito(tmp_path):
    path = tmp_path / "a.svg"
    path.write_bytes(GOOD.encode("latin-1"))
    with pytest.raises(ValueError, match="não é UTF-8"):
        infograficos.parse(path)


def test_curso_sem_infograficos_nao_precisa_de_chromium(tmp_path, monkeypatch):
    monkeypatch.setattr(infograficos, "chromium", lambda: None)
    assert infograficos.problems(root=tmp_path) == []
