"use strict";
// The matrix of paired differences: row minus column, coloured where a test tells the two methods apart.
(() => {
  const data = JSON.parse(document.getElementById("board-data").textContent);
  const { methods, blocks } = data.comparisons;
  const byId = (id) => document.getElementById(id);
  if (!blocks.length) return;
  const unique = (values) => [...new Set(values)];
  const [dataset, edit, metric] = ["dataset", "edit", "metric"].map((name) => byId(`comparison-${name}`));
  const fill = (select, values, texts = values) => {
    const before = select.value;
    select.replaceChildren(...values.map((value, index) => new Option(texts[index], value)));
    if (values.includes(before)) select.value = before;
  };
  const cell = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    element.append(text);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const signed = (value) => (value > 0 ? "+" : value < 0 ? "\u2212" : "") + Number(Math.abs(value).toPrecision(3));
  const probability = (p) => (p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);

  function difference(block, row, column) {
    const found = block.pairs.find(([a, b]) => (a === row && b === column) || (a === column && b === row));
    const [first, , mean, low, high, p, distinct] = found;
    if (mean === null) return cell("td", "\u2013", { class: "same", title: "a mean is infinite: no difference" });
    const sign = first === row ? 1 : -1;
    const ends = [sign * low, sign * high].sort((a, b) => a - b);
    const lower = data.metrics[block.metric].better === "lower";
    const kind = !distinct ? "same" : (sign * mean < 0) === lower ? "better" : "worse";
    const interval = low === null ? "" : `\ninterval ${signed(ends[0])} to ${signed(ends[1])}`;
    const words = { same: "cannot be told apart from", better: "is better than", worse: "is worse than" }[kind];
    const element = cell("td", signed(sign * mean), {
      class: kind, title: `${methods[row]} ${words} ${methods[column]}${interval}${p === null ? "" : `\n${probability(p)} after Holm's correction`}`,
    });
    if (p !== null) element.append(cell("span", probability(p), { class: "interval" }));
    return element;
  }

  function draw() {
    const block = blocks.find((one) => one.dataset === dataset.value && one.edit === edit.value && one.metric === metric.value);
    const head = document.createElement("tr");
    const label = (index) => methods[block.order[index]];
    head.append(cell("th", "rank", { scope: "col" }), cell("th", "method", { scope: "col" }), ...block.order.map((_, index) => cell("th", label(index), { scope: "col" })));
    const body = document.createElement("tbody");
    block.order.forEach((row, index) => {
      const line = document.createElement("tr");
      line.append(cell("td", block.ranks[index], { class: "same" }), cell("th", label(index), { scope: "row" }));
      line.append(...block.order.map((column) => (column === row ? cell("td", "", { class: "same" }) : difference(block, row, column))));
      body.append(line);
    });
    const top = document.createElement("thead");
    top.append(head);
    byId("comparison").replaceChildren(top, body);
    byId("comparison-note").textContent = `${block.n} of ${block.of} images, best first.`;
  }

  const choose = (from) => {
    if (from === "dataset") {
      const values = unique(blocks.filter((one) => one.dataset === dataset.value).map((one) => one.edit));
      fill(edit, values, values.map((value) => value || "reconstructions"));
    }
    if (from !== "metric") {
      fill(metric, blocks.filter((one) => one.dataset === dataset.value && one.edit === edit.value).map((one) => one.metric));
    }
    draw();
  };
  fill(dataset, unique(blocks.map((one) => one.dataset)));
  for (const [name, select] of Object.entries({ dataset, edit, metric })) select.addEventListener("change", () => choose(name));
  choose("dataset");
})();
