"use strict";
// Two methods: the verdict of the test, every paired difference as a bar, the pictures on which each is best.
(async () => {
  const { byId, fill, state, remember, index, element, written } = invbench;
  const names = ["board", "first", "second", "metric"];
  const selects = Object.fromEntries(names.map((name) => [name, byId(name)]));
  const [WIDE, HIGH, LEFT, MOST] = [720, 260, 60, 8];
  const MANY = 500; // bars above so many are drawn as one path, without their names
  let [board, pairs] = [null, []];
  fill(selects.board, index.map((one) => [one.id, one.name]), invbench.startBoard());

  async function choose() {
    board = await invbench.board(selects.board.value);
    pairs = await invbench.load("pairs", `${selects.board.value}.pairs`);
    document.body.classList.toggle("pixelated", board.pixelated);
    const methods = board.methods.map((label, i) => [i, label]);
    const now = state();
    fill(selects.first, methods, now.get("first") ?? 0);
    fill(selects.second, methods, now.get("second") ?? Math.min(1, methods.length - 1));
    fill(selects.metric, board.metrics.map((one, i) => [i, one.head]), now.get("metric") ?? board.fidelity);
    await draw();
  }

  function verdict(metric, first, second) {
    const found = pairs[Number(selects.metric.value)].find(([a, b]) => (a === first && b === second) || (a === second && b === first));
    const [one, two] = [board.methods[first], board.methods[second]];
    if (first === second) return "Choose two methods.";
    if (!found) return `${metric.head} has no direction, or does not compare ${one} with ${two}.`;
    let [a, , mean, low, high, p, distinct, n, needed] = found;
    if (!Number.isFinite(mean)) return `A mean is infinite or missing: no difference between ${one} and ${two}.`;
    const sign = (metric.better === "higher" ? 1 : -1) * (a === first ? 1 : -1); // the advantage of the first
    const ends = low === null ? [] : [sign * low, sign * high].sort((x, y) => x - y);
    const better = sign * mean >= 0;
    if (!better) ends.reverse();
    const interval = ends.length ? `, 95 % interval ${ends.map((end) => written(better ? end : -end)).join(" to ")}` : "";
    const gap = `${written(Math.abs(mean))}${metric.unit ? ` ${metric.unit}` : ""} in ${metric.head} (n = ${n}${interval}${p === null ? "" : p < 0.001 ? ", p < 0.001" : `, p = ${p.toFixed(3)}`} after Holm's correction)`;
    const [winner, other] = better ? [one, two] : [two, one];
    if (distinct) return `${winner} is better than ${other} by ${gap}.`;
    const more = needed !== null && needed > n ? `; about ${Number(needed.toPrecision(2)).toLocaleString("en")} images would decide, if they differ as much as here` : "";
    return `${n} images cannot tell ${one} from ${two}: ${winner} leads by ${gap}${more}.`;
  }

  async function draw() {
    remember(Object.fromEntries(names.map((name) => [name, selects[name].value])));
    const [first, second] = [Number(selects.first.value), Number(selects.second.value)];
    const metric = board.metrics[Number(selects.metric.value)];
    if (!metric) return;
    byId("verdict").textContent = verdict(metric, first, second);
    const table = await invbench.table(selects.board.value, selects.metric.value);
    const sign = metric.better === "lower" ? -1 : 1;
    const gaps = table.map((row, i) => [sign * (row[first] - row[second]), i]).filter(([gap]) => Number.isFinite(gap)).sort(([a], [b]) => b - a);
    const wins = gaps.filter(([gap]) => gap > 0).length;
    const [one, two] = [board.methods[first], board.methods[second]];
    byId("caption").textContent = `Advantage of ${one} over ${two} in ${metric.head}, image by image: ${one} is better on ${wins} of ${gaps.length}`;
    plot(gaps);
    const label = (gap) => `+${written(gap)}${metric.unit ? ` ${metric.unit}` : ""}`;
    const list = (id, found, method) => byId(id).replaceChildren(...(found.length ? found.map(([gap, i]) => (
      invbench.tile(selects.board.value, board, i, method, label(Math.abs(gap))))) : [element("li", {}, "On no image.")]));
    byId("first-head").textContent = `Where ${one} beats ${two} most`;
    byId("second-head").textContent = `Where ${two} beats ${one} most`;
    list("first-best", gaps.slice(0, MOST).filter(([gap]) => gap > 0), first);
    list("second-best", gaps.slice(-MOST).reverse().filter(([gap]) => gap < 0), second);
  }

  function plot(gaps) {
    const svg = (tag, attributes, ...children) => element(tag, { svg: true, ...attributes }, ...children);
    const [top, low] = [Math.max(0, ...gaps.map(([gap]) => gap)), Math.min(0, ...gaps.map(([gap]) => gap))];
    const y = (value) => 12 + ((top - value) / (top - low || 1)) * (HIGH - 24);
    const step = Math.min((WIDE - LEFT - 8) / Math.max(gaps.length, 1), 40);
    const stroke = (gap, place) => `M${(LEFT + (place + 0.5) * step).toFixed(1)} ${y(0).toFixed(1)}V${y(gap).toFixed(1)}`;
    const path = (kind, d, ...title) => svg("path", { class: kind, "stroke-width": Math.max(step * 0.75, 0.5), d }, ...title);
    const bars = gaps.length > MANY
      ? ["better", "worse"].map((kind) => path(kind, gaps.map(([gap], place) => ((gap > 0) === (kind === "better") ? stroke(gap, place) : "")).join("")))
      : gaps.map(([gap, i], place) => path(gap > 0 ? "better" : "worse", stroke(gap, place), svg("title", {}, `${board.images[i]}: ${written(gap)}`)));
    const ticks = [...new Set([top, 0, low])].map((value) => svg("text", { class: "tick end", x: LEFT - 6, y: y(value) + 4 }, written(value)));
    byId("differences").replaceChildren(...bars, svg("path", { class: "grid", d: `M${LEFT} ${y(0)}H${WIDE}` }), ...ticks);
  }

  selects.board.addEventListener("change", () => { remember({ first: "", second: "", metric: "" }); choose(); });
  for (const name of names.slice(1)) selects[name].addEventListener("change", draw);
  if (index.length) await choose();
})();
