"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const D = JSON.parse($("data").textContent);
  const T = D.tokens.length, L = D.layers, H = D.heads, TRI = (T * (T + 1)) / 2;
  const A = Uint8Array.from(atob(D.attention), (c) => c.charCodeAt(0));
  const at = (l, h, q, k) => A[(l * H + h) * TRI + (q * (q + 1)) / 2 + k] / 255;
  const shade = (v) => `rgba(var(--shade), ${v.toFixed(3)})`;
  let layer = D.layer, head = D.head, position = T - 1;

  function make(tag, text, attributes) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    return element;
  }

  function choose(at, focus) {
    position = Math.max(0, Math.min(T - 1, at));
    draw();
    if (focus) tokens[position].focus();
  }

  function pick(l, h) { layer = l; head = h; draw(); }

  const tokens = D.tokens.map((text, i) => {
    const button = make("button", text, { type: "button" });
    button.addEventListener("click", () => choose(i));
    return button;
  });
  $("tokens").replaceChildren(...tokens);
  $("tokens").addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: position - 1, ArrowRight: position + 1, Home: 0, End: T - 1 };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(steps[event.key], true);
  });

  for (const [id, count, set] of [["layer", L, (v) => pick(v, head)], ["head", H, (v) => pick(layer, v)]]) {
    $(id).replaceChildren(...Array.from({ length: count }, (_, i) => make("option", String(i), { value: i })));
    $(id).addEventListener("change", (event) => set(Number(event.target.value)));
  }

  const pictures = [];
  for (let l = 0; l < L; l++) for (let h = 0; h < H; h++) {
    const button = make("button", undefined, { type: "button", "aria-label": `layer ${l}, head ${h}`, title: `layer ${l}, head ${h}` });
    const canvas = make("canvas", undefined, { width: T, height: T });
    const context = canvas.getContext && canvas.getContext("2d");
    if (context) {
      const image = context.createImageData(T, T);
      for (let q = 0; q < T; q++) for (let k = 0; k <= q; k++) {
        const o = 4 * (q * T + k);
        image.data.set([40, 124, 190, Math.round(255 * at(l, h, q, k))], o);
      }
      context.putImageData(image, 0, 0);
    }
    button.append(canvas);
    button.addEventListener("click", () => pick(l, h));
    pictures.push(button);
  }
  $("heads").style.gridTemplateColumns = `repeat(${H}, minmax(2.5rem, 6rem))`;
  $("heads").replaceChildren(...pictures);

  const cells = [...document.querySelectorAll("#lens [data-at]")];
  cells.forEach((cell) => cell.addEventListener("click", () => choose(Number(cell.dataset.at))));

  function bars(list, pairs) {
    const top = Math.max(...pairs.map((pair) => Math.abs(pair[1])), 1e-9);
    list.replaceChildren(...pairs.map(([name, value]) => {
      const item = make("li");
      item.append(make("span", name), make("span", (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(2)));
      const color = value < 0 ? "--minus" : "--shade";
      item.style.background = `linear-gradient(90deg, rgba(var(${color}), .4) ${((100 * Math.abs(value)) / top).toFixed(1)}%, transparent 0)`;
      return item;
    }));
  }

  function draw() {
    tokens.forEach((button, i) => {
      const weight = i <= position ? at(layer, head, position, i) : 0;
      button.setAttribute("aria-pressed", i === position);
      button.setAttribute("aria-label", `${D.tokens[i]}, attention ${weight.toFixed(2)}`);
      button.title = `attention ${weight.toFixed(3)}`;
      button.tabIndex = i === position ? 0 : -1;
      button.style.backgroundColor = shade(weight);
      button.className = weight > 0.8 ? "dark" : "";
    });
    cells.forEach((cell) => cell.classList.toggle("on", Number(cell.dataset.at) === position));
    pictures.forEach((button, i) => button.setAttribute("aria-pressed", i === layer * H + head));
    $("layer").value = layer;
    $("head").value = head;
    $("numbers").replaceChildren(...D.tokens.slice(0, position + 1).map((text, i) => {
      const row = make("tr");
      row.append(make("th", text, { scope: "row" }), make("td", at(layer, head, position, i).toFixed(3)));
      return row;
    }));
    const best = D.next[position];
    $("said").textContent = `After ${D.tokens[position]}: ` + best.map(([word, p]) => `${word} ${p.toFixed(3)}`).join(", ");
    $("answer").textContent = best[0][0];
    bars($("attribution"), D.attribution[position]);
    bars($("neurons"), D.neurons[position]);
  }

  for (const id of ["controls", "more", "attribution-section", "heads-section"]) $(id).hidden = false;
  draw();
})();
