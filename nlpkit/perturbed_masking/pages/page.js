// Hover, focus or tap a word: every word lights up by its impact on the prediction of that one.
"use strict";
const SVG = "http://www.w3.org/2000/svg";

for (const article of document.querySelectorAll("article")) {
  const data = article.querySelector("script");
  if (data) liven(article, JSON.parse(data.textContent));
}

function liven(article, impact) {
  const tree = article.querySelector("figure svg");
  const says = article.querySelector(".says");
  const hint = says.textContent;
  const texts = [...tree.querySelectorAll("[data-unit]")].sort((a, b) => a.dataset.unit - b.dataset.unit);
  const words = texts.map((text) => text.textContent);
  const glows = texts.map((text) => {
    const box = text.getBBox();
    const glow = document.createElementNS(SVG, "rect");
    const place = { x: box.x - 3, y: box.y - 1, width: box.width + 6, height: box.height + 2, rx: 4, opacity: 0 };
    for (const [name, value] of Object.entries(place)) glow.setAttribute(name, value);
    glow.setAttribute("class", "glow");
    text.before(glow);
    return glow;
  });
  const map = drawMap(article.querySelector("canvas"), words, impact);

  function show(unit, other) {
    const row = impact[unit];
    const most = Math.max(...row, Number.MIN_VALUE);
    glows.forEach((glow, place) => glow.setAttribute("opacity", place === unit ? 0 : (0.75 * row[place]) / most));
    texts.forEach((text, place) => text.classList.toggle("chosen", place === unit || place === other));
    for (const path of tree.querySelectorAll("path[data-dependent]")) {
      const ends = [Number(path.dataset.dependent), Number(path.dataset.head)];
      path.classList.toggle("dim", !ends.includes(unit));
    }
    says.replaceChildren(...(other === undefined ? summary(unit) : cell(unit, other)));
    map.mark(unit, other);
  }

  function clear() {
    glows.forEach((glow) => glow.setAttribute("opacity", 0));
    texts.forEach((text) => text.classList.remove("chosen"));
    for (const path of tree.querySelectorAll("path.dim")) path.classList.remove("dim");
    says.textContent = hint;
    map.mark();
  }

  function bold(text) {
    const element = document.createElement("b");
    element.textContent = text;
    return element;
  }

  function largest(values, unit) {
    const places = values.map((_, place) => place).filter((place) => place !== unit);
    places.sort((a, b) => values[b] - values[a]);
    return places.slice(0, 4).map((place) => `${words[place]} ${values[place].toPrecision(3)}`).join(" · ");
  }

  function summary(unit) {
    const column = impact.map((row) => row[unit]);
    return [bold(words[unit]), ` is moved most by ${largest(impact[unit], unit)}; it moves most ${largest(column, unit)}`];
  }

  function cell(unit, other) {
    const value = impact[unit][other].toPrecision(3);
    return ["masking ", bold(words[other]), " beside it moves the prediction of ", bold(words[unit]), ` by ${value}`];
  }

  texts.forEach((text, unit) => {
    text.setAttribute("tabindex", "0");
    for (const kind of ["mouseenter", "focus", "click"]) text.addEventListener(kind, () => show(unit));
    for (const kind of ["mouseleave", "blur"]) text.addEventListener(kind, clear);
  });
  for (const path of tree.querySelectorAll("path[data-dependent]")) {
    const unit = Number(path.dataset.dependent), head = Number(path.dataset.head);
    path.addEventListener("mouseenter", () => show(unit, head < 0 ? undefined : head));
    path.addEventListener("mouseleave", clear);
  }
  map.canvas.addEventListener("mousemove", (event) => {
    const found = map.at(event);
    if (found) show(...found);
    else clear();
  });
  map.canvas.addEventListener("mouseleave", clear);
}

// The heat map: rows are predicted, columns masked beside them; the darker, the more impact.
function drawMap(canvas, words, impact) {
  const count = words.length;
  const side = Math.max(9, Math.min(26, Math.floor(760 / count)));
  const size = Math.max(8, Math.min(13, side - 1));
  const font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
  const pen = canvas.getContext("2d");
  pen.font = font;
  const edge = Math.min(160, 10 + Math.max(...words.map((word) => pen.measureText(word).width)));
  const width = edge + side * count + 1;
  const top = edge * 0.72 + 6;  // columns are written aslant
  const right = edge * 0.72;
  const sharp = window.devicePixelRatio || 1;
  canvas.width = (width + right) * sharp;
  canvas.height = (top + side * count + 1) * sharp;
  canvas.style.width = `${width + right}px`;
  canvas.style.height = `${top + side * count + 1}px`;
  const most = Math.max(...impact.flat(), Number.MIN_VALUE);

  function mark(unit, other) {
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    pen.clearRect(0, 0, width + right, canvas.height);
    pen.font = font;
    for (let i = 0; i < count; i++) {
      pen.fillStyle = i === unit ? "#d08700" : "#2e3440";
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      pen.fillText(words[i], edge - 5, top + side * (i + 0.5), edge - 8);
      pen.save();
      pen.translate(edge + side * (i + 0.5), top - 4);
      pen.rotate(-Math.PI / 4);
      pen.textAlign = "left";
      pen.fillStyle = i === other ? "#d08700" : "#2e3440";
      pen.fillText(words[i], 0, 0, edge);
      pen.restore();
      for (let j = 0; j < count; j++) {
        const share = Math.max(0, impact[i][j]) / most;
        pen.fillStyle = i === j ? "#eeeeee" : `rgba(29, 78, 137, ${share})`;
        pen.fillRect(edge + side * j, top + side * i, side - 1, side - 1);
      }
    }
    if (unit !== undefined) {
      pen.strokeStyle = "#d08700";
      pen.lineWidth = 1.5;
      if (other === undefined) pen.strokeRect(edge - 0.5, top + side * unit - 0.5, side * count, side);
      else pen.strokeRect(edge + side * other - 0.5, top + side * unit - 0.5, side, side);
    }
  }

  function at(event) {
    const j = Math.floor((event.offsetX - edge) / side), i = Math.floor((event.offsetY - top) / side);
    return i >= 0 && j >= 0 && i < count && j < count && i !== j ? [i, j] : null;
  }

  mark();
  return { canvas, mark, at };
}
