"""Confere os infográficos como o leitor os vê: desenhados por um Chromium sem janela.

    python tests/infograficos.py                  confere todos
    python tests/infograficos.py ARQUIVO …        só estes SVG (ou os de uma pasta)
    python tests/infograficos.py --exportar       faz antes os PNG que faltam ou envelheceram

Cada SVG de NN-capitulo/infograficos/ precisa de: <title> e <desc>; só famílias genéricas de
fonte; textos que não se sobrepõem, não atravessam a borda de um cartão (<rect>) nem saem do
desenho; contraste de 4,5 ou mais entre a letra e o que está pintado atrás dela, em página
clara e em página escura; nada que venha de fora; um PNG de mesmo nome, feito deste SVG; e um
lugar no README do capítulo, com texto alternativo.

Um <rect> que não é cartão (barra de um gráfico, faixa de marca-texto) traz
data-papel="marca", e então um texto pode passar por cima da borda dele.
"""

import argparse
import base64
import hashlib
import html
import json
import os
import posixpath
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "infograficos"
SVG = "{http://www.w3.org/2000/svg}"
SCALE = 2  # pontos do PNG por unidade do SVG
TOLERANCE = 1.0  # unidades do SVG: a folga das bordas das letras
CONTRAST = 4.5  # WCAG 2.1, critério 1.4.3, nível AA
TIMEOUT = 300  # segundos
CHUNK = b"svg-sha256"  # no PNG, o resumo do SVG de que ele foi feito

GENERIC = {
    "serif", "sans-serif", "monospace", "cursive", "fantasy", "system-ui", "math", "emoji",
    "ui-serif", "ui-sans-serif", "ui-monospace", "ui-rounded",
}  # fmt: skip
FORBIDDEN = {"image", "foreignobject", "script", "feimage", "iframe", "object", "embed",
             "audio", "video", "link"}  # fmt: skip
BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
)  # fmt: skip
NO_CHROMIUM = (
    "Os infográficos são conferidos como o leitor os vê, e não há Chromium (nem Chrome) nesta "
    "máquina: instale-o, ou diga onde ele está na variável de ambiente CHROMIUM."
)

# A página que mede. Cada SVG mora num iframe só seu, para que ids e estilos não se misturem, e
# vira três imagens: inteiro; sem as letras (o que está atrás delas); e só as letras, cada texto
# de uma cor, que diz de quem é cada ponto. O evento load espera pelas imagens.
PAGE = """<!doctype html>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
 script-src 'nonce-medidor'; style-src 'unsafe-inline'; img-src data:">
<body>
<script type="application/json" id="arquivos">__FILES__</script>
<script nonce="medidor">
const SCALE = __SCALE__, PAGES = {clara: [255, 255, 255], escura: [13, 17, 23]};
const FILES = JSON.parse(document.getElementById("arquivos").textContent);
const results = [], pending = [];
const clean = s => s.replace(/\\s+/g, " ").trim();

// Os quatro cantos de uma caixa, na tela; uma unidade do viewBox ocupa um ponto.
function quad(el, x, y, w, h) {
  const m = el.getScreenCTM();
  return [[x, y], [x + w, y], [x + w, y + h], [x, y + h]].map(
    ([a, b]) => [m.a * a + m.c * b + m.e, m.b * a + m.d * b + m.f]);
}

// Um texto com <tspan x= ou y=> tem várias linhas, e cada uma é uma caixa.
function lines(text) {
  const n = text.getNumberOfChars(), starts = new Map([[0, text]]);
  for (const span of text.querySelectorAll("tspan[x], tspan[y]")) {
    if (!span.getNumberOfChars()) continue;
    const p = span.getStartPositionOfChar(0);
    for (let i = 0; i < n; i++) {
      const q = text.getStartPositionOfChar(i);
      if (q.x === p.x && q.y === p.y && (i === 0 || !starts.has(i))) { starts.set(i, span); break; }
    }
  }
  const cuts = [...starts.keys()].sort((a, b) => a - b);
  return cuts.map((from, k) => {
    let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity;
    for (let i = from; i < (cuts[k + 1] ?? n); i++) {
      const e = text.getExtentOfChar(i);
      if (!e.width) continue;
      left = Math.min(left, e.x); right = Math.max(right, e.x + e.width);
      top = Math.min(top, e.y); bottom = Math.max(bottom, e.y + e.height);
    }
    if (left === Infinity) return null;
    return {label: clean(starts.get(from).textContent),
            quad: quad(text, left, top, right - left, bottom - top)};
  }).filter(Boolean);
}

const style = el => el.ownerDocument.defaultView.getComputedStyle(el);
const drawn = el => el.getBoundingClientRect().width > 0 && style(el).visibility === "visible"
  && !el.closest("defs, clipPath, mask, pattern, marker, symbol");

function load(svg, width, height) {
  svg.setAttribute("width", width * SCALE);
  svg.setAttribute("height", height * SCALE);
  const image = new Image();
  image.src = "data:image/svg+xml;charset=utf-8,"
    + encodeURIComponent(new XMLSerializer().serializeToString(svg));
  document.body.append(image);
  return image;
}

function measure(file) {
  const result = {texts: [], rects: [], families: [], uses: [], contrast: []};
  results.push(result);
  const frame = document.createElement("iframe");
  document.body.append(frame);
  const page = frame.contentDocument;
  const parsed = new DOMParser().parseFromString(file.source, "image/svg+xml");
  const root = page.importNode(parsed.documentElement, true);
  const [, , width, height] = root.getAttribute("viewBox").trim().split(/[\\s,]+/).map(Number);
  root.setAttribute("width", width);
  root.setAttribute("height", height);
  frame.style.cssText = `width:${width}px;height:${height}px;border:0`;
  page.body.style.margin = 0;
  page.body.append(root);
  root.style.cssText += ";display:block;position:absolute;left:0;top:0;margin:0";

  const copies = {whole: root.cloneNode(true), behind: root.cloneNode(true),
                  letters: root.cloneNode(true)};
  const behind = copies.behind.querySelectorAll("text");
  const letters = copies.letters.querySelectorAll("text");
  const sheet = page.createElementNS("http://www.w3.org/2000/svg", "style");
  sheet.textContent = "* {visibility: hidden !important; opacity: 1 !important;"
    + " fill-opacity: 1 !important; filter: none !important; mask: none !important;"
    + " mix-blend-mode: normal !important}";
  copies.letters.append(sheet);
  const labels = [];
  [...root.querySelectorAll("text")].forEach((text, i) => {
    const visible = drawn(text) && clean(text.textContent);
    const halo = style(text).paintOrder.startsWith("stroke");
    for (const el of [behind[i], ...behind[i].querySelectorAll("*")]) {
      el.style.setProperty("fill", "none", "important");
      if (!halo) el.style.setProperty("stroke", "none", "important");
    }
    if (!visible) return;
    labels.push(clean(text.textContent));
    const id = labels.length;  // 5 bits por canal, no meio de cada faixa de 8
    const color = [id, id >> 5, id >> 10].map(v => (v & 31) * 8 + 4).join();
    for (const el of [letters[i], ...letters[i].querySelectorAll("*")]) {
      el.style.setProperty("visibility", "visible", "important");
      el.style.setProperty("fill", `rgb(${color})`, "important");
      el.style.setProperty("stroke", "none", "important");
    }
    result.texts.push(...lines(text));
    for (const el of [text, ...text.querySelectorAll("*")])
      if ([...el.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
        result.families.push([style(el).fontFamily, clean(el.textContent)]);
  });
  for (const rect of root.querySelectorAll("rect")) {
    const s = style(rect), b = rect.getBBox();
    const painted = (s.fill !== "none" && s.fillOpacity > 0) || s.stroke !== "none";
    if (painted && s.opacity > 0 && drawn(rect) && rect.dataset.papel !== "marca")
      result.rects.push({x: b.x, y: b.y, quad: quad(rect, b.x, b.y, b.width, b.height)});
  }
  for (const use of root.querySelectorAll("use")) {
    const name = (use.getAttribute("href") ?? use.getAttribute("xlink:href") ?? "").slice(1);
    const target = name && root.querySelector("#" + CSS.escape(name));
    if (target && (target.matches("text") || target.querySelector("text")))
      result.uses.push(name);
  }
  const images = {};
  for (const [name, svg] of Object.entries(copies)) images[name] = load(svg, width, height);
  pending.push({result, file, labels, images, width, height});
}

const canvas = document.createElement("canvas");
const context = canvas.getContext("2d", {willReadFrequently: true});
function draw(image, width, height) {
  if (!image.naturalWidth) throw new Error("o desenho não abriu como imagem");
  canvas.width = width * SCALE;
  canvas.height = height * SCALE;
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
}
function pixels(image, width, height) {
  draw(image, width, height);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

// A luminância relativa e o contraste da WCAG.
function luminance(rgb) {
  const [r, g, b] = rgb.map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function ratio(a, b) {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}
const over = (rgba, page) => page.map(
  (p, i) => Math.round(p + (rgba[i] - p) * rgba[3] / 255));
const hex = rgb => "#" + rgb.map(v => v.toString(16).padStart(2, "0")).join("").toUpperCase();

// De cada texto, o par de cores (letra, fundo) que é pior sem ser acaso: 5 % dos pontos da
// letra têm contraste igual ou menor.
function contrast({result, file, labels, images, width, height}) {
  const whole = pixels(images.whole, width, height);
  if (file.export) result.png = canvas.toDataURL("image/png").split(",")[1];
  const behind = pixels(images.behind, width, height);
  const letters = pixels(images.letters, width, height);
  const inner = new Map(), edge = new Map();
  for (let i = 0; i < letters.length; i += 4) {
    const alpha = letters[i + 3];
    if (alpha < 128) continue;
    const id = (letters[i] >> 3) + ((letters[i + 1] >> 3) << 5) + ((letters[i + 2] >> 3) << 10);
    const kind = alpha === 255 ? inner : edge;
    if (!kind.has(id)) kind.set(id, new Map());
    const back = [0, 1, 2, 3].map(c => behind[i + c]);
    const ink = [0, 1, 2, 3].map(c => Math.max(0, Math.min(255, Math.round(
      back[c] + (whole[i + c] - back[c]) * 255 / alpha))));
    const key = ink.join() + "/" + back.join();
    kind.get(id).set(key, (kind.get(id).get(key) ?? 0) + 1);
  }
  labels.forEach((label, k) => {
    const pairs = inner.get(k + 1) ?? edge.get(k + 1);
    if (!pairs) { result.contrast.push({label, ratio: 0}); return; }
    const seen = [];
    let total = 0;
    for (const [key, count] of pairs) {
      const [ink, back] = key.split("/").map(s => s.split(",").map(Number));
      const each = Object.entries(PAGES).map(([name, page]) => {
        const a = over(ink, page), b = over(back, page);
        return {label, ratio: ratio(a, b), ink: hex(a), back: hex(b), page: name,
                clear: back[3] < 128, count};
      });
      seen.push(each.reduce((a, b) => a.ratio <= b.ratio ? a : b));
      total += count;
    }
    seen.sort((a, b) => a.ratio - b.ratio);
    let sum = 0;
    result.contrast.push(seen.find(s => (sum += s.count) >= 0.05 * total));
  });
}

function attempt(action, result) {
  try { action(); } catch (e) { (result ?? results.at(-1)).error = String(e); }
}
for (const file of FILES) attempt(() => measure(file));
addEventListener("load", () => {
  for (const job of pending) attempt(() => contrast(job), job.result);
  const out = document.createElement("pre");
  out.id = "resultado";
  out.textContent = JSON.stringify(results);
  document.body.replaceChildren(out);
});
</script>
"""


# --- os arquivos -----------------------------------------------------------------------


def infographics(root: Path = ROOT) -> list[Path]:
    """Todo SVG de NN-capitulo/infograficos/ e de 08-extras/*/infograficos/, em ordem."""
    found = set()
    for chapter in (f"[0-9][0-9]-*/{FOLDER}", f"08-extras/*/{FOLDER}"):
        found.update(root.glob(f"{chapter}/**/*.svg"))
    return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)


def chapter_of(path: Path) -> Path:
    """A pasta do capítulo: a que guarda `infograficos/`."""
    for folder in path.parents:
        if folder.name == FOLDER:
            return folder.parent
    return path.parent


def name_of(path: Path, root: Path = ROOT) -> str:
    """O caminho como se diz numa mensagem: a partir do curso, quando o arquivo é dele."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def digest(path: Path) -> str:
    """O sha256 do SVG, igual com quebras de linha do Windows e do Unix."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


# --- o que se vê sem desenhar ----------------------------------------------------------


def parse(path: Path) -> tuple[str, ET.Element]:
    """(fonte, raiz) de um SVG; ValueError com o motivo quando ele não se lê.

    Só a árvore é examinada; entidades são recusadas antes, pois podem crescer sem fim.
    """
    try:
        source = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"não é UTF-8 (byte {error.start}); salve-o como UTF-8") from None
    if not source.strip():
        raise ValueError("está vazio")
    if re.search(r"<!(?:DOCTYPE|ENTITY)", source):
        raise ValueError("tem <!DOCTYPE> ou <!ENTITY>; um infográfico não precisa deles")
    try:
        root = ET.fromstring(source)
    except ET.ParseError as error:
        line, column = error.position
        raise ValueError(
            f"não é XML bem formado (linha {line}, coluna {column + 1})"
        ) from None
    if root.tag != f"{SVG}svg":
        raise ValueError('não começa por <svg xmlns="http://www.w3.org/2000/svg">')
    numbers = re.split(r"[\s,]+", root.get("viewBox", "").strip())
    try:
        _, _, width, height = map(float, numbers)
    except ValueError:
        raise ValueError("não tem viewBox com quatro números") from None
    if not (1 <= width <= 4096 and 1 <= height <= 4096):
        raise ValueError("tem um viewBox de lado menor que 1 ou maior que 4096")
    return source, root


def size(root: ET.Element) -> tuple[float, float]:
    """(largura, altura) do viewBox, em unidades do SVG."""
    _, _, width, height = map(float, re.split(r"[\s,]+", root.attrib["viewBox"].strip()))
    return width, height


def described(root: ET.Element) -> Iterator[str]:
    """<title> e <desc>, filhos da raiz e com texto."""
    for tag, use in (("title", "o nome"), ("desc", "a descrição")):
        element = root.find(f"{SVG}{tag}")
        if element is None:
            yield f"falta <{tag}>, {use} que o leitor de tela diz"
        elif not "".join(element.itertext()).strip():
            yield f"<{tag}> está vazio"


def external(source: str, root: ET.Element) -> Iterator[str]:
    """Tudo o que viria de fora do arquivo, ou correria como programa."""
    if "<?xml-stylesheet" in source:
        yield "<?xml-stylesheet> busca um estilo fora do arquivo"
    for element in root.iter():
        if not isinstance(element.tag, str):
            continue
        tag = element.tag.rpartition("}")[2]
        if tag.lower() in FORBIDDEN:
            yield f"<{tag}> não pode estar num infográfico"
        css = element.text or "" if tag == "style" else ""
        for key, value in element.attrib.items():
            key = key.rpartition("}")[2]
            if key in {"href", "src"} and not value.strip().startswith("#"):
                yield f"<{tag}> aponta para fora do arquivo ({value.strip()[:60]})"
            elif key.lower().startswith("on"):
                yield f"<{tag}> traz um programa ({key})"
            else:
                css += f" {value}"
        if re.search(r"@import\b", css, re.I):
            yield f"<{tag}> usa @import, que busca um estilo fora do arquivo"
        for target in re.findall(r"url\(\s*[\"']?\s*([^)\"']*)", css, re.I):
            if not target.startswith("#"):
                yield f"<{tag}> usa url({target[:60]}), que está fora do desenho"


# --- o PNG -----------------------------------------------------------------------------

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(tipo, conteúdo) de cada bloco de um PNG; ValueError se ele está estragado."""
    if not data.startswith(SIGNATURE):
        raise ValueError("não é um PNG")
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise ValueError("está cortado")
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body, crc = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(crc) < 4:
            raise ValueError("está cortado")
        if zlib.crc32(kind + body) != int.from_bytes(crc, "big"):
            raise ValueError("está estragado")
        yield kind, body
        at += 12 + length


def stamped(data: bytes, sha: str) -> bytes:
    """O mesmo PNG, com o resumo do SVG logo depois do cabeçalho."""
    out = [SIGNATURE]
    for kind, body in chunks(data):
        new = [(kind, body)]
        if kind == b"IHDR":
            new.append((b"tEXt", CHUNK + b"\0" + sha.encode("ascii")))
        for name, content in new:
            crc = zlib.crc32(name + content)
            out.append(struct.pack(">I4s", len(content), name) + content)
            out.append(struct.pack(">I", crc))
    return b"".join(out)


def png_problem(path: Path, root: ET.Element | None = None) -> str | None:
    """O que falta ao PNG deste SVG; None quando ele está em dia."""
    png = path.with_suffix(".png")
    remedy = "rode python tests/infograficos.py --exportar"
    if not png.is_file():
        return f"falta {png.name}; {remedy}"
    try:
        found = list(chunks(png.read_bytes()))
    except ValueError as error:
        return f"{png.name} {error}; {remedy}"
    marks = [body.partition(b"\0")[2] for kind, body in found
             if kind == b"tEXt" and body.startswith(CHUNK + b"\0")]  # fmt: skip
    if not marks:
        return f"{png.name} não diz de que SVG foi feito; {remedy}"
    if marks != [digest(path).encode("ascii")]:
        return f"{png.name} foi feito de outra versão do SVG; {remedy}"
    if root is not None:
        seen = struct.unpack(">II", found[0][1][:8])
        wanted = tuple(int(side * SCALE) for side in size(root))
        if seen != wanted:
            return (f"{png.name} tem {seen[0]} × {seen[1]} pontos, e o SVG pede "
                    f"{wanted[0]} × {wanted[1]}; {remedy}")  # fmt: skip
    return None


# --- o README --------------------------------------------------------------------------

IMAGE = re.compile(
    r"!\[((?:\\.|[^\[\]\\]|\[[^\]]*\])*)\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^\"']*[\"'])?\s*\)"
)


def images(text: str) -> Iterator[tuple[str, str]]:
    """(endereço, texto alternativo) de cada imagem de um Markdown, fora dos blocos de código."""
    text = re.sub(r"(?ms)^ *(```|~~~).*?^ *\1|<!--.*?-->", "", text)
    for alt, source in IMAGE.findall(text):
        yield unquote(source), alt.strip()
    for tag in re.findall(r"<img\b[^>]*>", text):
        found = {key.lower(): html.unescape(a or b) for key, a, b in re.findall(
            r"\b(src|alt)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", tag, re.I)}  # fmt: skip
        yield unquote(found.get("src", "")), found.get("alt", "").strip()


def readme_problem(path: Path, root: Path = ROOT) -> str | None:
    """O que falta à menção deste SVG no README do capítulo; None quando nada falta."""
    chapter = chapter_of(path)
    readme = chapter / "README.md"
    if not readme.is_file():
        return f"{name_of(readme, root)}, que deveria mostrá-lo, não existe"
    own = path.relative_to(chapter).with_suffix("").as_posix()
    prefix = chapter.relative_to(root).as_posix() if chapter.is_relative_to(root) else chapter.name
    alts = []
    for source, alt in images(readme.read_text(encoding="utf-8")):
        stem, extension = posixpath.splitext(re.split(r"[?#]", source)[0])
        if re.match(r"https?:", stem):
            same = stem.endswith(f"/{prefix}/{own}")
        else:
            same = posixpath.normpath(stem) == own
        if same and extension in {".svg", ".png"}:
            alts.append(alt)
    if not alts:
        return "o README do capítulo não o mostra"
    if not all(alts):
        return "o README do capítulo o mostra sem texto alternativo"
    return None


# --- o navegador -----------------------------------------------------------------------


def chromium() -> str | None:
    """O Chromium (ou o Chrome) desta máquina; None se não há."""
    return next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM", ""), *BROWSERS))), None)


def measure(sources: Iterable[str], export: Iterable[bool] | None = None) -> list[dict]:
    """O que o Chromium, aberto uma vez só, mediu em cada fonte de SVG.

    RuntimeError, com o motivo, quando ele não abre ou não responde.
    """
    sources = list(sources)
    if not sources:
        return []
    command = chromium()
    if command is None:
        raise RuntimeError(NO_CHROMIUM)
    wanted = list(export or [False] * len(sources))
    files = [{"source": s, "export": e} for s, e in zip(sources, wanted, strict=True)]
    page = PAGE.replace("__SCALE__", str(SCALE))
    page = page.replace("__FILES__", json.dumps(files).replace("<", "\\u003c"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        target = Path(folder, "medidor.html")
        target.write_text(page, encoding="utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--no-first-run", "--force-color-profile=srgb", "--hide-scrollbars",
                 "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}/perfil",
                 "--dump-dom", target.as_uri()]  # fmt: skip
        try:
            done = subprocess.run([command, *flags], capture_output=True, encoding="utf-8",
                                  errors="replace", timeout=TIMEOUT)  # fmt: skip
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"O Chromium não respondeu em {TIMEOUT} segundos.") from None
        except OSError as error:
            raise RuntimeError(f"O Chromium não abriu: {error}.") from None
    match = re.search(r'<pre id="resultado">(.*?)</pre>', done.stdout, re.DOTALL)
    if not match:
        last = (done.stderr.strip().splitlines() or ["sem mensagem"])[-1]
        raise RuntimeError(f"O Chromium abriu e não mediu nada (saída {done.returncode}): {last}")
    return json.loads(html.unescape(match[1]))


# --- o que se vê desenhado -------------------------------------------------------------

Quad = list[list[float]]  # quatro cantos, em ordem


def spans(quad: Quad, *others: Quad) -> Iterator[list[tuple[float, float]]]:
    """Em cada eixo de `quad`, o (menor, maior) da projeção dele e de cada um dos outros."""
    for (ax, ay), (bx, by) in zip(quad[:2], quad[1:3], strict=True):
        length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5 or 1.0
        ux, uy = (bx - ax) / length, (by - ay) / length
        seen = [[x * ux + y * uy for x, y in q] for q in (quad, *others)]
        yield [(min(s), max(s)) for s in seen]


def overlap(a: Quad, b: Quad) -> float:
    """Quanto duas caixas entram uma na outra (≤ 0: estão separadas)."""
    each = [*spans(a, b), *spans(b, a)]
    return min(min(p[1] - q[0], q[1] - p[0]) for p, q in each)


def outside(inner: Quad, outer: Quad) -> float:
    """Quanto a primeira caixa passa da borda da segunda (≤ 0: cabe nela)."""
    return max(max(o[0] - i[0], i[1] - o[1]) for o, i in spans(outer, inner))


def number(value: float, digits: int = 1) -> str:
    """O número com vírgula."""
    return f"{value:.{digits}f}".replace(".", ",")


def quoted(label: str) -> str:
    """O começo de um texto, entre aspas."""
    return f"“{label if len(label) <= 48 else label[:47] + '…'}”"


def font_problems(families: list[list[str]], source: str) -> Iterator[str]:
    """As famílias que não são genéricas, e as letras que só uma fonte de ícones tem."""
    seen = set()
    for family, label in families:
        for name in (part.strip().strip("\"'") for part in family.split(",")):
            if name.lower() not in GENERIC and name not in seen:
                seen.add(name)
                if name.lower() in html.unescape(source).lower():
                    yield f"{quoted(label)} usa a fonte {name}, que não é uma família genérica"
                else:
                    yield f"{quoted(label)} não diz a sua font-family"
        if re.search("[\ue000-\uf8ff\U000f0000-\U0010fffd]", label):
            yield f"{quoted(label)} tem um ícone que só existe numa fonte de ícones"


def box_problems(result: dict, width: float, height: float) -> Iterator[str]:
    """Textos sobre textos, textos na borda de um cartão, textos fora do desenho."""
    texts = result["texts"]
    view = [[0, 0], [width, 0], [width, height], [0, height]]
    for i, text in enumerate(texts):
        for other in texts[i + 1 :]:
            depth = overlap(text["quad"], other["quad"])
            if depth > TOLERANCE:
                yield (f"{quoted(text['label'])} se sobrepõe a {quoted(other['label'])} "
                       f"em {number(depth)} px")  # fmt: skip
    for text in texts:
        out = outside(text["quad"], view)
        if out > TOLERANCE:
            yield f"{quoted(text['label'])} sai {number(out)} px do desenho"
            continue  # os cartões encostados na borda diriam o mesmo
        for rect in result["rects"]:
            depth, out = overlap(text["quad"], rect["quad"]), outside(text["quad"], rect["quad"])
            if min(depth, out) > TOLERANCE:
                yield (f"{quoted(text['label'])} atravessa em {number(min(depth, out))} px a borda "
                       f"do cartão de x={rect['x']:g}, y={rect['y']:g}")  # fmt: skip


def contrast_problems(contrast: list[dict]) -> Iterator[str]:
    """Textos que não se distinguem do que está atrás deles."""
    for seen in contrast:
        if seen["ratio"] == 0:
            yield f"{quoted(seen['label'])} não deixa nenhum ponto à vista"
        elif seen["ratio"] < CONTRAST:
            shown = number(int(seen["ratio"] * 100) / 100, 2)  # 4,499 não vira 4,50
            why = f", e em página {seen['page']} o fundo transparente" if seen["clear"] else ""
            yield (f"{quoted(seen['label'])} tem contraste {shown} ({seen['ink']} sobre "
                   f"{seen['back']}{why}); o mínimo é {number(CONTRAST)}")  # fmt: skip


def rendered_problems(result: dict, source: str, root: ET.Element) -> Iterator[str]:
    """Tudo o que só se vê desenhado."""
    yield from font_problems(result["families"], source)
    yield from box_problems(result, *size(root))
    yield from contrast_problems(result["contrast"])
    for name in result["uses"]:
        yield f"<use> repete o texto de #{name}, e texto repetido não se confere: escreva-o"
    if "error" in result:
        yield f"o Chromium não conseguiu medi-lo ({result['error']})"


# --- tudo junto ------------------------------------------------------------------------


def check(
    paths: Iterable[Path] | None = None, root: Path = ROOT, export: bool = False
) -> tuple[list[str], list[Path]]:
    """(uma frase por defeito, os PNG escritos); sem `paths`, todos os do curso."""
    everything = paths is None
    paths = infographics(root) if paths is None else list(paths)
    found: dict[Path, list[str]] = {path: [] for path in paths}
    parsed, written = {}, []
    for path in paths:
        try:
            source, tree = parsed[path] = parse(path)
        except ValueError as error:
            found[path].append(str(error))
            continue
        found[path] += [*described(tree), *external(source, tree)]
    stale = [export and png_problem(path, tree) is not None for path, (_, tree) in parsed.items()]
    measured = measure((source for source, _ in parsed.values()), stale)
    for (path, (source, tree)), result in zip(parsed.items(), measured, strict=True):
        found[path] += rendered_problems(result, source, tree)
        if "png" in result:
            data = stamped(base64.b64decode(result["png"]), digest(path))
            path.with_suffix(".png").write_bytes(data)
            written.append(path.with_suffix(".png"))
    for path in paths:
        tree = parsed[path][1] if path in parsed else None
        found[path] += filter(None, (png_problem(path, tree), readme_problem(path, root)))
    sentences = [f"{name_of(path, root)}: {text}." for path in paths
                 for text in dict.fromkeys(found[path])]  # fmt: skip
    if everything:
        folders = [*root.glob(f"[0-9][0-9]-*/{FOLDER}"), *root.glob(f"08-extras/*/{FOLDER}")]
        for png in sorted(png for folder in folders for png in folder.rglob("*.png")):
            if not png.with_suffix(".svg").is_file():
                sentences.append(f"{name_of(png, root)}: não há SVG com este nome.")
    return sentences, written


def problems(paths: Iterable[Path] | None = None, root: Path = ROOT) -> list[str]:
    """Uma frase por defeito; sem `paths`, em todos os infográficos do curso."""
    return check(paths, root)[0]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Confere os infográficos, desenhados.")
    parser.add_argument("arquivos", nargs="*", type=Path, metavar="ARQUIVO")
    parser.add_argument("--exportar", action="store_true", help="faz os PNG que faltam")
    args = parser.parse_args(argv)
    paths = [] if args.arquivos else None
    for given in args.arquivos:
        if given.is_dir():
            paths += sorted(given.resolve().rglob("*.svg"))
        elif given.is_file() and given.suffix == ".svg":
            paths.append(given.resolve())
        else:
            print(f"{given} não é um SVG nem uma pasta: confira o caminho.", file=sys.stderr)
            return 2
    total = len(infographics() if paths is None else paths)
    if not total and args.arquivos:
        print("Não há nenhum SVG nestas pastas: confira o caminho.", file=sys.stderr)
        return 2
    if total and chromium() is None:
        print(NO_CHROMIUM, file=sys.stderr)
        return 2
    try:
        found, written = check(paths, export=args.exportar)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    for png in written:
        print(f"Exportado: {name_of(png)}")
    good = f"{total} infográficos conferidos, nenhum defeito."
    print("\n".join(found) or (good if total else "Ainda não há infográficos para conferir."))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
